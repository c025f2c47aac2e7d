//! Median and nearest-rank percentiles by integer arithmetic.
//!
//! Both reorder the scratch slice they are given and take linear time.

use std::cmp::Ordering;

/// The two middle values in ascending order: the same one twice when the count is odd, `None` when it is zero.
pub(super) fn middle<T: Clone>(scratch: &mut [T], order: fn(&T, &T) -> Ordering) -> Option<(T, T)> {
    let upper = scratch.len() / 2;
    let odd = scratch.len() % 2 == 1;
    if scratch.is_empty() {
        return None;
    }
    let (below, at, _) = scratch.select_nth_unstable_by(upper, order);
    let lower = if odd { None } else { below.iter().max_by(|a, b| order(a, b)) };
    Some((lower.unwrap_or(at).clone(), at.clone()))
}

/// The median; for an even count the mean of the two middle values, rounded once.
pub fn median(scratch: &mut [f64]) -> Option<f64> {
    // The midpoint is rounded once: either the sum is exact because it is tiny, or halving it is.
    middle(scratch, f64::total_cmp).map(|(lower, upper)| f64::midpoint(lower, upper) + 0.0)
}

/// The nearest-rank percentile: the value of rank `ceil(permille / 1000 * n)`, at least the first and at most the last.
pub fn percentile(scratch: &mut [f64], permille: u32) -> Option<f64> {
    if scratch.is_empty() {
        return None;
    }
    let n = scratch.len();
    let rank = (n as u128 * u128::from(permille)).div_ceil(1000).clamp(1, n as u128) as usize;
    Some(*scratch.select_nth_unstable_by(rank - 1, f64::total_cmp).1 + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_both() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0]), Some(3.0));
        assert_eq!(median(&mut [9.0, -1.0, 4.0]), Some(4.0));
        assert_eq!(median(&mut [9.0, -1.0, 4.0, 5.0]), Some(4.5));
        assert_eq!(median(&mut [-0.0, -0.0]).map(f64::to_bits), Some(0));
    }

    #[test]
    fn the_mean_of_both_is_rounded_once() {
        assert_eq!(median(&mut [5e-324, 1e-323]), Some(1e-323), "1.5 units, a tie, goes to the even 2");
        assert_eq!(median(&mut [0.0, 5e-324]), Some(0.0));
        assert_eq!(median(&mut [9_007_199_254_740_991.0, 9_007_199_254_740_992.0]), Some(9_007_199_254_740_992.0));
        assert_eq!(median(&mut [0.1, 0.2]), Some(0.15000000000000002));
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let hundred = || (1..=100).rev().map(f64::from).collect::<Vec<_>>();
        for (permille, expected) in [(0, 1.0), (10, 1.0), (11, 2.0), (500, 50.0), (950, 95.0), (1000, 100.0)] {
            assert_eq!(percentile(&mut hundred(), permille), Some(expected), "{permille}");
        }
        assert_eq!(percentile(&mut [2.0, 1.0, 3.0], 950), Some(3.0));
        assert_eq!(percentile(&mut [1.0], 2000), Some(1.0));
        assert_eq!(percentile(&mut [], 950), None);
    }

    #[test]
    fn the_rank_does_not_depend_on_rounding() {
        // 0.95 * 20 is 19 exactly, and 0.07 * 100 is 7 although the product of doubles is above it.
        let ranks = |n: u32| (1..=n).map(f64::from).collect::<Vec<_>>();
        assert_eq!(percentile(&mut ranks(20), 950), Some(19.0));
        assert_eq!(percentile(&mut ranks(100), 70), Some(7.0));
    }
}
