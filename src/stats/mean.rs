//! A bounded FIFO of `f64` with its exact mean, and with nothing else kept up.

use std::collections::VecDeque;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Exact, Window, near, ring, scaled::admit};

/// The last values of a sequence, oldest first, with their mean: a [`Window`] for those who ask for no more. Both have
/// one wire form, and the same mean to the bit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeanWindow {
    capacity: u32,
    values: VecDeque<f64>,
    #[serde(skip)]
    sum: Exact,
}

impl MeanWindow {
    /// Changes the capacity (brought into 1 to [`Window::LARGEST`]); the oldest values leave if it shrinks below them.
    #[inline]
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.clamp(1, Window::LARGEST) as u32;
        self.trim(self.capacity as usize);
    }

    /// Appends a value; the oldest one leaves when the window was full.
    pub fn push(&mut self, x: f64) {
        let x = admit(x);
        self.trim(self.capacity as usize - 1);
        ring::make_room(&mut self.values, self.capacity as usize);
        self.values.push_back(x);
        self.sum += x;
    }

    /// Fetches itself into the cache.
    #[inline]
    pub fn fetch(&self) {
        near::fetch(&self.values);
        near::fetch(&self.sum);
    }

    /// Fetches what [`Self::push`] will look at.
    #[inline]
    pub fn fetch_behind(&self) {
        near::fetch_next(&self.values);
    }

    #[inline]
    fn trim(&mut self, most: usize) {
        while self.values.len() > most {
            let Some(oldest) = self.values.pop_front() else { break };
            self.sum -= oldest;
        }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The exact mean, rounded once; zero when empty.
    pub fn mean(&self) -> f64 {
        self.sum.divided_by(self.len() as u64)
    }
}

impl Default for MeanWindow {
    /// Of capacity 1, for owners that set the capacity in force before each push.
    fn default() -> MeanWindow {
        MeanWindow { capacity: 1, values: VecDeque::new(), sum: Exact::ZERO }
    }
}

impl<'de> Deserialize<'de> for MeanWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MeanWindow, D::Error> {
        let window = Window::deserialize(deserializer)?;
        let values: VecDeque<f64> = window.iter().collect();
        Ok(MeanWindow { capacity: window.capacity() as u32, sum: values.iter().copied().sum(), values })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        let odd = prop::sample::select(vec![0.0, -0.0, 0.1, -0.3, 9e15, -9e15, 1e-300, f64::NAN, f64::INFINITY]);
        prop_oneof![odd, -100.0..100.0]
    }

    proptest! {
        #[test]
        fn its_mean_and_its_bytes_are_those_of_a_window(
            values in prop::collection::vec(value(), 0..60), capacity in 1..20_usize, later in 0..20_usize,
        ) {
            let (mut means, mut window) = (MeanWindow::default(), Window::default());
            means.set_capacity(capacity);
            window.set_capacity(capacity);
            for (i, x) in values.into_iter().enumerate() {
                if i == 30 {
                    means.set_capacity(later);
                    window.set_capacity(later);
                }
                means.push(x);
                window.push(x);
                prop_assert_eq!((means.len(), means.mean().to_bits()), (window.len(), window.mean().to_bits()));
                prop_assert_eq!(means.is_empty(), window.is_empty());
            }
            let bytes = postcard::to_allocvec(&means).expect("memory");
            prop_assert_eq!(&bytes, &postcard::to_allocvec(&window).expect("memory"));
            prop_assert_eq!(postcard::from_bytes::<MeanWindow>(&bytes).expect("own bytes"), means);
        }
    }
}
