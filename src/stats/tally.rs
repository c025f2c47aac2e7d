//! Running sum, sum of squares and drawdown of one window in one number type.

use std::collections::VecDeque;

use super::drawdown::Sliding;
use super::near;
use super::number::Number;
use super::scaled::signed;

/// Everything a window knows beside its values. All of it is exact, so all of it is a function of the values.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally<N: Number> {
    sum: N,
    squares: N::Square,
    path: Sliding<N>,
}

/// A value of a window whose number type holds all its values.
fn known<N: Number>(x: f64) -> N {
    N::of(x).expect("a window counts the values that its number type does not hold")
}

impl<N: Number> Tally<N> {
    /// The tally of values given oldest first.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut tally = Tally::default();
        values.for_each(|x| tally.push(&known(x)));
        tally
    }

    pub fn push(&mut self, x: &N) {
        self.sum += x;
        self.squares += &x.square();
        self.path.push(x);
    }

    /// Forgets `oldest`, which has just left `values`.
    pub fn evict(&mut self, oldest: f64, values: &VecDeque<f64>) {
        let oldest = known::<N>(oldest);
        self.sum -= &oldest;
        self.squares -= &oldest.square();
        self.path.evict(values.iter().rev().map(|&x| known(x)));
    }

    /// Fetches what the next values will change into the cache.
    #[inline]
    pub fn fetch_behind(&self) {
        near::fetch(&self.squares);
        self.path.fetch_behind();
    }

    /// Whether the sum is below zero.
    pub fn is_negative(&self) -> bool {
        self.sum.is_negative()
    }

    pub fn sum(&self) -> f64 {
        self.sum.to_f64()
    }

    /// The exact sum by `n >= 1`, rounded once.
    pub fn mean(&self, n: u64) -> f64 {
        self.sum.quotient(n)
    }

    /// Sample standard deviation of `n >= 2` values: the exact variance rounded once, then its root.
    pub fn std(&self, n: u64) -> f64 {
        N::spread(&self.sum, &self.squares, n).divided_by(n * (n - 1)).sqrt()
    }

    /// At most zero.
    pub fn drawdown(&self) -> f64 {
        signed(true, self.path.fall().to_f64())
    }
}
