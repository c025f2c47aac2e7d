//! A bounded FIFO of `f64` with exact statistics in constant time per push.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::fixed::Wide;
use super::near;
use super::number::{MOST, Number};
use super::ring;
use super::scaled::{LIMIT, admit};
use super::tally::Tally;

/// Dispersion at or below this counts as none: the ratio of mean and dispersion is then given as zero.
pub const DISPERSION_FLOOR: f64 = 1e-9;

/// Mean by dispersion, zero when there is no dispersion to speak of.
pub(super) fn sharpe(mean: f64, std: f64) -> f64 {
    if std > DISPERSION_FLOOR { mean / std } else { 0.0 }
}

/// The last values of a sequence, oldest first, with their sum, mean, deviation and drawdown.
///
/// Answers depend on the values alone. A window is therefore written as its capacity and its values, and one that was
/// read back answers as the one that was written, to the bit.
#[derive(Clone, Debug)]
pub struct Window {
    capacity: u32,
    /// Values that `i128` does not hold. The tally is wide while there is one.
    wide: u32,
    values: VecDeque<f64>,
    tally: Either,
}

#[derive(Clone, Debug)]
enum Either {
    Narrow(Tally<i128>),
    Wide(Box<Tally<Wide>>),
}

/// Runs the same expression on whichever tally there is.
macro_rules! either {
    ($either:expr, $tally:ident => $answer:expr) => {
        match $either {
            Either::Narrow($tally) => $answer,
            Either::Wide($tally) => $answer,
        }
    };
}

impl Window {
    /// The largest capacity.
    pub const LARGEST: usize = MOST;

    /// An empty window of `capacity` values, brought into 1 to [`Window::LARGEST`]. Memory grows with the values.
    pub fn new(capacity: usize) -> Window {
        let capacity = capacity.clamp(1, Window::LARGEST) as u32;
        Window { capacity, wide: 0, values: VecDeque::new(), tally: Either::Narrow(Tally::default()) }
    }

    /// Appends a value; the oldest one leaves, and is returned, when the window was full.
    pub fn push(&mut self, x: f64) -> Option<f64> {
        let x = admit(x);
        let evicted = if self.len() == self.capacity() { self.evict() } else { None };
        ring::make_room(&mut self.values, self.capacity as usize);
        self.values.push_back(x);
        let narrow = i128::of(x);
        self.wide += u32::from(narrow.is_none());
        match (&mut self.tally, narrow) {
            (Either::Narrow(tally), Some(units)) => tally.push(&units),
            (Either::Wide(tally), _) => tally.push(&Wide::of(x).expect("every admitted value is wide enough")),
            (Either::Narrow(_), None) => self.retally(),
        }
        evicted
    }

    /// Removes the oldest value.
    fn evict(&mut self) -> Option<f64> {
        let oldest = self.values.pop_front()?;
        if self.wide > 0 && i128::of(oldest).is_none() {
            self.wide -= 1;
            if self.wide == 0 {
                self.retally();
                return Some(oldest);
            }
        }
        either!(&mut self.tally, tally => tally.evict(oldest, &self.values));
        Some(oldest)
    }

    /// Counts again from the values, in the number type that holds them.
    ///
    /// Happens when the first wide value enters and when the last one leaves, which is a whole window later.
    fn retally(&mut self) {
        let values = self.values.iter().copied();
        self.tally = match self.wide {
            0 => Either::Narrow(Tally::of(values)),
            _ => Either::Wide(Box::new(Tally::of(values))),
        };
    }

    /// Fetches itself into the cache.
    #[inline]
    pub fn fetch(&self) {
        near::fetch(&self.values);
        near::fetch(&self.tally);
    }

    /// Fetches what [`Self::push`] will look at.
    #[inline]
    pub fn fetch_behind(&self) {
        near::fetch_next(&self.values);
        either!(&self.tally, tally => tally.fetch_behind());
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Changes the capacity (brought into 1 to [`Window::LARGEST`]); the oldest values leave if it shrinks below them.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.clamp(1, Window::LARGEST) as u32;
        while self.len() > self.capacity() {
            self.evict();
        }
    }

    /// Forgets every value and keeps the capacity.
    pub fn clear(&mut self) {
        *self = Window::new(self.capacity());
    }

    /// The values, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f64> + DoubleEndedIterator + '_ {
        self.values.iter().copied()
    }

    /// The exact sum, rounded once.
    pub fn sum(&self) -> f64 {
        either!(&self.tally, tally => tally.sum())
    }

    /// The exact mean, rounded once; zero when empty.
    pub fn mean(&self) -> f64 {
        match self.len() as u64 {
            0 => 0.0,
            n => either!(&self.tally, tally => tally.mean(n)),
        }
    }

    /// Sample standard deviation (divisor n - 1); zero below two values.
    pub fn std(&self) -> f64 {
        match self.len() as u64 {
            0 | 1 => 0.0,
            n => either!(&self.tally, tally => tally.std(n)),
        }
    }

    /// Mean by sample standard deviation, per value and not annualised; zero when the deviation is at most
    /// [`DISPERSION_FLOOR`].
    pub fn sharpe(&self) -> f64 {
        sharpe(self.mean(), self.std())
    }

    /// Whether [`Window::sharpe`] is below a floor; most answers need the sign of the sum only.
    pub fn sharpe_is_below(&self, floor: f64) -> bool {
        // Without a loss in all the ratio is at least zero.
        let plain = floor <= 0.0 && !either!(&self.tally, tally => tally.is_negative());
        !plain && self.sharpe() < floor
    }

    /// Lowest value of equity minus its peak, both starting at zero: at most zero, exact and rounded once.
    pub fn drawdown(&self) -> f64 {
        either!(&self.tally, tally => tally.drawdown())
    }
}

impl Default for Window {
    /// Of capacity 1, for owners that set the capacity in force before each push.
    fn default() -> Window {
        Window::new(1)
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Window) -> bool {
        self.capacity == other.capacity && self.values == other.values
    }
}

impl Extend<f64> for Window {
    fn extend<T: IntoIterator<Item = f64>>(&mut self, values: T) {
        for x in values {
            self.push(x);
        }
    }
}

/// What a window is on the wire.
#[derive(Serialize)]
struct Written<'a> {
    capacity: u32,
    values: &'a VecDeque<f64>,
}

#[derive(Deserialize)]
struct Read {
    capacity: u32,
    values: VecDeque<f64>,
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { capacity: self.capacity, values: &self.values }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        let Read { capacity, values } = Read::deserialize(deserializer)?;
        if !(1..=Window::LARGEST).contains(&(capacity as usize)) || values.len() > capacity as usize {
            return Err(D::Error::custom(format!("a window of {} values and capacity {capacity}", values.len())));
        }
        if let Some(x) = values.iter().find(|x| !x.is_finite() || x.abs() > LIMIT) {
            return Err(D::Error::custom(format!("a window with the value {x}, outside ±2^53")));
        }
        let wide = values.iter().filter(|&&x| i128::of(x).is_none()).count() as u32;
        let mut window = Window { capacity, wide, values, tally: Either::Narrow(Tally::default()) };
        window.retally();
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window of `capacity` after `values`.
    fn window(capacity: usize, values: &[f64]) -> Window {
        let mut window = Window::new(capacity);
        window.extend(values.iter().copied());
        window
    }

    #[test]
    fn an_empty_window_answers_zero() {
        let w = Window::new(3);
        assert_eq!((w.sum(), w.mean(), w.std(), w.sharpe(), w.drawdown()), (0.0, 0.0, 0.0, 0.0, 0.0));
        assert!(w.is_empty() && w.drawdown().is_sign_positive());
    }

    #[test]
    fn the_oldest_leaves_when_full() {
        let mut w = Window::new(2);
        assert_eq!((w.push(1.0), w.push(2.0), w.push(3.0)), (None, None, Some(1.0)));
        assert_eq!((w.iter().collect::<Vec<_>>(), w.len(), w.capacity()), (vec![2.0, 3.0], 2, 2));
    }

    #[test]
    fn published_values() {
        assert_eq!(window(9, &[5.0, -20.0, 10.0, -15.0, 30.0, -5.0, -40.0, 25.0]).drawdown(), -45.0);
        let far = window(9, &[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]);
        assert_eq!((far.std(), far.mean()), (30.0_f64.sqrt(), 1e9 + 10.0));
        let nautilus = window(9, &[0.01, -0.02, 0.015, -0.005, 0.025]).sharpe() * 252.0_f64.sqrt();
        assert!((nautilus - 4.48998886412873).abs() < 1e-12, "{nautilus}");
    }

    #[test]
    fn values_that_left_leave_no_trace() {
        let rolled = window(2, &[1.2e3, 1.3e17, 1.5e17, 1995.0, 1990.0]).std();
        assert!((rolled - 3.5355339059).abs() < 1e-10, "{rolled}");
        let five = window(5, &[9.54e8, 0.6225, 0.0, 1.14, 0.0]).std();
        assert!(five > 4e8);
        let four = window(4, &[9.54e8, 0.6225, 0.0, 1.14, 0.0]).std();
        assert!((four - 0.5509097589).abs() < 1e-10, "{four}");
        let mut zeros = vec![1000.0];
        zeros.resize(11, 0.0);
        assert_eq!(window(10, &zeros).std(), 0.0);
    }

    #[test]
    fn a_smaller_capacity_drops_the_oldest() {
        let mut w = window(5, &[1e-300, 2.0, 3.0, -4.0, 5.0]);
        w.set_capacity(3);
        assert_eq!(w, window(3, &[3.0, -4.0, 5.0]));
        assert_eq!((w.sum(), w.drawdown(), w.wide), (4.0, -4.0, 0));
        w.set_capacity(0);
        assert_eq!((w.capacity(), w.len()), (1, 1));
        w.clear();
        assert_eq!((w.capacity(), w.len()), (1, 0));
    }

    #[test]
    fn inputs_out_of_range_are_admitted() {
        let w = window(9, &[f64::NAN, f64::INFINITY, -0.0, f64::NEG_INFINITY]);
        assert_eq!(w.iter().collect::<Vec<_>>(), [0.0, LIMIT, 0.0, -LIMIT]);
        assert_eq!(w.drawdown(), -LIMIT);
    }

    #[test]
    fn the_wire_form_is_capacity_and_values() {
        let slid = window(2, &[9.0, 1.0, 2.0]);
        let bytes = postcard::to_allocvec(&slid).expect("memory");
        assert_eq!(bytes, postcard::to_allocvec(&window(2, &[1.0, 2.0])).expect("memory"));
        assert_eq!(bytes, postcard::to_allocvec(&(2_u32, vec![1.0, 2.0])).expect("memory"));
        assert_eq!(postcard::from_bytes::<Window>(&bytes).expect("own bytes"), slid);
    }

    #[test]
    fn a_damaged_wire_form_is_refused() {
        for (capacity, values) in [(0, vec![]), (1, vec![1.0, 2.0]), (1_000_001, vec![]), (2, vec![f64::NAN])] {
            let bytes = postcard::to_allocvec(&(capacity as u32, values)).expect("memory");
            assert!(postcard::from_bytes::<Window>(&bytes).is_err(), "{bytes:?}");
        }
    }
}
