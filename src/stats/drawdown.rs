//! The largest fall of a path, over a growing sequence and over a sliding window.
//!
//! Equity and peak start at zero; per value `equity += x`, `peak = max(peak, equity)`, and the drawdown is the largest
//! `peak - equity`, here as a magnitude `>= 0`. All numbers are exact, so regrouping cannot change an answer.
//!
//! The sliding form is the two-stacks queue (Tangwongsan, Hirzel, Schneider, DEBS 2017) over the monoid (sum, max
//! prefix, min prefix, max drawdown), with two savings. Of the front only two numbers are ever needed: its drawdown,
//! and its `descent` (max prefix minus sum), since a fall from the front into the back is `descent - min prefix of the
//! back`. And both grow with the front's length, often by long steps, so one entry per step is kept.

use super::near;
use super::number::Number;

/// Drawdown of a growing sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct Path<N> {
    equity: N,
    peak: N,
    /// Lowest equity, at most zero.
    low: N,
    /// The largest fall so far, `>= 0`.
    fall: N,
}

impl<N: Number> Path<N> {
    pub fn push(&mut self, x: &N) {
        self.equity += x;
        if self.equity > self.peak {
            self.peak = self.equity.clone();
            return;
        }
        if self.equity < self.low {
            self.low = self.equity.clone();
        }
        let mut fall = self.peak.clone();
        fall -= &self.equity;
        if fall > self.fall {
            self.fall = fall;
        }
    }
}

/// What the front half contributes while it holds at least `length` values (and fewer than the next entry asks for).
#[derive(Clone, Debug)]
struct Step<N> {
    length: u32,
    descent: N,
    fall: N,
}

/// Drawdown of a window that grows at one end and shrinks at the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Sliding<N> {
    /// Steps of the front half by rising length.
    steps: Vec<Step<N>>,
    /// Values in the front half.
    front: u32,
    back: Path<N>,
}

impl<N: Number> Sliding<N> {
    pub fn push(&mut self, x: &N) {
        self.back.push(x);
    }

    /// Fetches what the next values will change into the cache.
    #[inline]
    pub fn fetch_behind(&self) {
        near::fetch(&self.back);
        if let Some(step) = self.steps.last() {
            near::fetch(step);
        }
    }

    /// Forgets the oldest value; `left` yields those that remain, newest first.
    ///
    /// The remaining values are read only when the front half is used up: once in as many calls as there are values.
    pub fn evict(&mut self, left: impl Iterator<Item = N>) {
        match self.front.checked_sub(1) {
            Some(front) => {
                self.front = front;
                self.steps.pop_if(|step| step.length > front);
            }
            None => self.turn(left),
        }
    }

    /// Moves everything to the front half.
    fn turn(&mut self, newest_first: impl Iterator<Item = N>) {
        let (mut sum, mut low, mut descent, mut fall) = (N::default(), N::default(), N::default(), N::default());
        self.steps.clear();
        self.front = 0;
        self.back = Path::default();
        for x in newest_first {
            self.front += 1;
            sum += &x;
            low += &x;
            low = low.min(N::default());
            // A peak before `x` falls by -sum until the end, and by -low until the lowest point.
            let (to_end, to_low) = (-sum.clone(), -low.clone());
            if self.steps.is_empty() || to_end > descent || to_low > fall {
                descent = descent.max(to_end);
                fall = fall.max(to_low);
                self.steps.push(Step { length: self.front, descent: descent.clone(), fall: fall.clone() });
            }
        }
    }

    /// The largest fall within the window, `>= 0`.
    pub fn fall(&self) -> N {
        let back = self.back.fall.clone();
        match self.steps.last() {
            None => back,
            Some(step) => {
                let mut across = step.descent.clone();
                across -= &self.back.low;
                across.max(back).max(step.fall.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fall_of(values: &[i128]) -> i128 {
        let mut path = Path::default();
        values.iter().for_each(|x| path.push(x));
        path.fall
    }

    /// Slides a window of `width` over `values` and compares each answer with a fresh pass.
    fn check(values: &[i128], width: usize) {
        let mut sliding = Sliding::default();
        for end in 0..values.len() {
            if let Some(start) = (end + 1).checked_sub(width).filter(|&start| start > 0) {
                sliding.evict(values[start..end].iter().rev().copied());
            }
            sliding.push(&values[end]);
            let window = &values[(end + 1).saturating_sub(width)..=end];
            assert_eq!(sliding.fall(), fall_of(window), "{window:?}");
        }
    }

    #[test]
    fn the_peak_starts_at_zero() {
        assert_eq!(fall_of(&[]), 0);
        assert_eq!(fall_of(&[-3, 1]), 3);
        assert_eq!(fall_of(&[3, 1]), 0);
        assert_eq!(fall_of(&[5, -20, 10, -15, 30, -5, -40, 25]), 45);
    }

    #[test]
    fn sliding_equals_a_fresh_pass() {
        let mut seed = 7_u64;
        let noise: Vec<i128> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            i128::from(seed >> 58) - 32
        })
        .take(400)
        .collect();
        for width in [1, 2, 3, 5, 8, 20, 300] {
            check(&noise, width);
            check(&[-1; 60], width);
            check(&[1; 60], width);
        }
    }

    #[test]
    fn flat_stretches_cost_no_memory() {
        let mut sliding = Sliding::default();
        sliding.evict(std::iter::repeat_n(1_i128, 1000));
        assert_eq!((sliding.steps.len(), sliding.front), (1, 1000));
    }
}
