//! Counts per fixed bucket with an exact sum.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::Exact;
use super::scaled::admit;

/// The buckets of a kind of histogram, as a type, so that a histogram stores and writes only its counts.
pub trait Bounds {
    /// Inclusive upper bounds in strictly ascending order, 15 at most. A last bucket without bound follows.
    const UPPER: &'static [f64];
}

/// Buckets at most: they stand in place, two cache lines of them.
const MOST: usize = 16;

/// How many values fell into each bucket, and their exact sum.
///
/// A value belongs to the first bucket whose bound is not below it (the `le` of Prometheus).
pub struct Histogram<B> {
    /// One count per bound and one for the rest, and zeros; not cumulative.
    counts: [u64; MOST],
    sum: Exact,
    bounds: PhantomData<fn() -> B>,
}

impl<B: Bounds> Histogram<B> {
    /// How many buckets there are.
    pub const BUCKETS: usize = B::UPPER.len() + 1;

    pub fn new() -> Self {
        const { assert!(Self::BUCKETS <= MOST) };
        Histogram { counts: [0; MOST], sum: Exact::ZERO, bounds: PhantomData }
    }

    /// Counts a value and returns the index of its bucket: that of its bound, or the number of bounds above them all.
    pub fn observe(&mut self, x: f64) -> usize {
        let x = admit(x);
        let bucket = Self::bucket(x);
        self.counts[bucket] += 1;
        self.sum += x;
        bucket
    }

    /// The index of the bucket that a value belongs to.
    #[inline]
    pub fn bucket(x: f64) -> usize {
        // The bounds ascend; counting all of them takes no branch, and so less time than a search.
        B::UPPER.iter().filter(|bound| **bound < x).count()
    }

    /// Values per bucket, not cumulative; the last one is above every bound.
    pub fn counts(&self) -> &[u64] {
        &self.counts[..Self::BUCKETS]
    }

    /// `(bound, values at or below it)` in ascending order, infinity last.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = B::UPPER.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts().iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }

    /// All values counted.
    pub fn count(&self) -> u64 {
        self.counts().iter().sum()
    }

    pub fn sum(&self) -> &Exact {
        &self.sum
    }
}

impl<B: Bounds> Default for Histogram<B> {
    fn default() -> Self {
        Histogram::new()
    }
}

// By hand, because the derived ones would ask the same of `B`.
impl<B: Bounds> Clone for Histogram<B> {
    fn clone(&self) -> Self {
        Histogram { counts: self.counts, sum: self.sum.clone(), bounds: PhantomData }
    }
}

impl<B> PartialEq for Histogram<B> {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts && self.sum == other.sum
    }
}

impl<B: Bounds> fmt::Debug for Histogram<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("counts", &self.counts()).field("sum", &self.sum.to_f64()).finish()
    }
}

impl<B: Bounds> Serialize for Histogram<B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.counts(), &self.sum).serialize(serializer)
    }
}

impl<'de, B: Bounds> Deserialize<'de> for Histogram<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (counts, sum) = <(Box<[u64]>, Exact)>::deserialize(deserializer)?;
        if counts.len() != Self::BUCKETS {
            return Err(D::Error::custom(format!(
                "a histogram of {} buckets where {} are kept",
                counts.len(),
                Self::BUCKETS
            )));
        }
        let mut histogram = Histogram { sum, ..Self::new() };
        histogram.counts[..Self::BUCKETS].copy_from_slice(&counts);
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Three;

    impl Bounds for Three {
        const UPPER: &'static [f64] = &[-1.0, 0.0, 10.0];
    }

    fn observed(values: &[f64]) -> Histogram<Three> {
        let mut histogram = Histogram::new();
        for &x in values {
            histogram.observe(x);
        }
        histogram
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut h = Histogram::<Three>::new();
        let buckets = [-5.0, -1.0, -0.5, -0.0, 0.1, 10.0, 10.000000000000002, 1e15].map(|x| h.observe(x));
        assert_eq!(buckets, [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!((h.counts(), h.count()), (&[2, 2, 2, 2][..], 8));
        let cumulative: Vec<_> = h.cumulative().collect();
        assert_eq!(cumulative, [(-1.0, 2), (0.0, 4), (10.0, 6), (f64::INFINITY, 8)]);
    }

    #[test]
    fn the_sum_is_exact_in_any_order() {
        let one = observed(&[1e15, 0.1, -1e15, 0.2]);
        assert_eq!(one, observed(&[0.2, -1e15, 0.1, 1e15]));
        assert_eq!(one.sum().to_f64(), 0.1 + 0.2);
    }

    #[test]
    fn the_wire_form_comes_back() {
        struct Two;
        impl Bounds for Two {
            const UPPER: &'static [f64] = &[1.0, 2.0];
        }
        let h = observed(&[3.25, -7.0, 99.0]);
        let bytes = postcard::to_allocvec(&h).expect("memory");
        assert_eq!(postcard::from_bytes::<Histogram<Three>>(&bytes).expect("own bytes"), h);
        assert!(postcard::from_bytes::<Histogram<Two>>(&bytes).is_err(), "other buckets");
    }
}
