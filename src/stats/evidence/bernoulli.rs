//! Rates and medians: the uniform mixture of Bernoulli likelihood ratios.
//!
//! Against the null hypothesis "a hit has probability at most p0" the likelihood ratio of each larger rate p is
//! `(p / p0)^k ((1 - p) / (1 - p0))^(n - k)` for k hits in n trials. Its mean over p uniform in (p0, 1) is an e-process:
//!
//! `E = B(k + 1, n - k + 1) (1 - I_p0(k + 1, n - k + 1)) / ((1 - p0) p0^k (1 - p0)^(n - k))`

use super::exp_capped;
use crate::stats::special::{Part, TOP};

/// The logarithm of the e-value of `hits` in `trials` against a rate of at most `limit`.
///
/// `None` unless `0 < limit < 1`, `hits <= trials` and there are fewer than 1e9 trials.
pub fn ln_rate_above(hits: u64, trials: u64, limit: f64) -> Option<f64> {
    if !(limit > 0.0 && limit < 1.0) || hits > trials || trials as f64 >= TOP {
        return None;
    }
    // With hits and misses each one more. The product in the denominator is the density of the incomplete beta function
    // at p0, less one factor each: where the upper tail is that density times a ratio, the density cancels.
    let (a, b) = (hits as f64 + 1.0, (trials - hits) as f64 + 1.0);
    let part = Part::of(a, b, limit, 1.0 - limit)?;
    let ln_limit = libm::log(limit);
    Some(if part.upper {
        ln_limit + libm::log(part.ratio)
    } else {
        ln_limit + libm::log1p(-part.value()) - part.ln_density
    })
}

/// The e-value of `hits` in `trials` against a rate of at most `limit`, at most `f64::MAX`.
///
/// Evidence that errors are **too frequent** counts errors against the limit.
pub fn rate_above(hits: u64, trials: u64, limit: f64) -> Option<f64> {
    ln_rate_above(hits, trials, limit).map(exp_capped)
}

/// The e-value of `hits` in `trials` against a rate of at least `limit`: misses above `1 - limit`.
///
/// Evidence that errors are **rare enough** counts errors against the limit this way.
pub fn rate_below(hits: u64, trials: u64, limit: f64) -> Option<f64> {
    rate_above(trials.checked_sub(hits)?, trials, 1.0 - limit)
}

/// The e-value of `below` values strictly below a limit among `count`, against "the median is at or above the limit".
///
/// A median at or above the limit means that a value is below it with probability at most one half.
pub fn median_below(below: u64, count: u64) -> Option<f64> {
    rate_above(below, count, 0.5)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn e(hits: u64, trials: u64, limit: f64) -> f64 {
        rate_above(hits, trials, limit).expect("inside")
    }

    /// From 40-digit arithmetic; the shorter values agree with the printed ones.
    #[test]
    fn reference_values() {
        for (hits, trials, limit, expected) in [
            (8, 20, 0.2, 2.6472705141435786),
            (10, 20, 0.2, 29.27325409368752),
            (5, 10, 0.2, 4.250360750360749),
            (0, 20, 0.2, 0.047619047619047616),
            (3, 10, 0.05, 9.12121212121212),
            (60, 100, 0.5, 1.7840590318646552),
            (2, 400, 0.2, 0.0025568909805686285),
            (90, 400, 0.2, 0.12542900974121504),
        ] {
            let actual = e(hits, trials, limit);
            assert!((actual - expected).abs() < 3e-14 * expected, "{hits} of {trials} at {limit}: {actual}");
        }
        for (hits, trials, limit, printed) in
            [(8, 20, 0.2, 2.647271), (10, 20, 0.2, 29.273254), (5, 10, 0.2, 4.250361), (0, 20, 0.2, 0.047619)]
        {
            assert!((e(hits, trials, limit) - printed).abs() <= 5.1e-7);
        }
        assert!((e(3, 10, 0.05) - 9.121212).abs() <= 5e-7);
    }

    /// Without hits the mixture is the integral of `((1 - p) / (1 - p0))^n`, which is 1 / (n + 1).
    #[test]
    fn no_hits_and_only_hits_in_closed_form() {
        for n in [0_u64, 1, 20, 5000, 1_000_000] {
            for limit in [0.01, 0.2, 0.5, 0.95] {
                let actual = e(0, n, limit) * (n as f64 + 1.0);
                assert!((actual - 1.0).abs() < 1e-12, "{n} {limit}: {actual}");
            }
        }
        // Only hits: (1 - p0^(n + 1)) / ((n + 1) (1 - p0) p0^n), here 2^n (2 - 2^-n) / (n + 1).
        let actual = e(100, 100, 0.5);
        assert!((actual / (2.0 * 1.2676506002282294e30 / 101.0) - 1.0).abs() < 1e-12, "{actual:e}");
        assert_eq!(e(100_000, 100_000, 0.5), f64::MAX);
        assert!(ln_rate_above(100_000, 100_000, 0.5).is_some_and(f64::is_finite));
    }

    #[test]
    fn outside_the_domain() {
        for (hits, trials, limit) in [(1, 0, 0.5), (0, 1, 0.0), (0, 1, 1.0), (0, 1, f64::NAN), (0, u64::MAX, 0.5)] {
            assert_eq!(rate_above(hits, trials, limit), None, "{hits} {trials} {limit}");
            assert_eq!(rate_below(hits, trials, limit), None, "{hits} {trials} {limit}");
        }
    }

    /// Sums over all sequences of at most twelve trials at the rate `p`: the mean e-value, and the chance that it ever
    /// reached `1 / alpha`.
    fn tree(p: f64, limit: f64, runs: u64, alpha: f64) -> (f64, f64) {
        // chances[k]: k hits, not yet reached.
        let (mut chances, mut reached) = (vec![1.0], 0.0);
        let mut all = vec![1.0];
        let next = |chances: &[f64]| {
            let mut next = vec![0.0; chances.len() + 1];
            for (k, chance) in chances.iter().enumerate() {
                next[k] += chance * (1.0 - p);
                next[k + 1] += chance * p;
            }
            next
        };
        for n in 1..=runs {
            (chances, all) = (next(&chances), next(&all));
            for (k, chance) in chances.iter_mut().enumerate().filter(|(k, _)| e(*k as u64, n, limit) >= 1.0 / alpha) {
                assert!(k > 0);
                reached += *chance;
                *chance = 0.0;
            }
        }
        let mean = all.iter().enumerate().map(|(k, chance)| chance * e(k as u64, runs, limit)).sum();
        (mean, reached)
    }

    #[test]
    fn the_mean_is_one_at_the_limit() {
        for limit in [0.02, 0.2, 0.5, 0.9] {
            for runs in [1, 5, 12, 120] {
                let (mean, chance) = tree(limit, limit, runs, 0.05);
                assert!((mean - 1.0).abs() < 1e-11, "{limit} {runs}: {mean}");
                assert!(chance <= 0.05, "{limit} {runs}: {chance}");
            }
        }
    }

    /// The chance of a false alarm in 400 looks at a true rate of exactly 0.2: .028.
    #[test]
    fn false_alarms_in_four_hundred_looks() {
        let (_, chance) = tree(0.2, 0.2, 400, 0.05);
        assert!((chance - 0.028).abs() < 0.002, "{chance}");
    }

    proptest! {
        #[test]
        fn the_mean_is_at_most_one_below_the_limit(share in 0.0..1.0_f64, limit in 0.01..0.99_f64, runs in 1_u64..=12) {
            let (mean, chance) = tree(share * limit, limit, runs, 0.1);
            prop_assert!(mean <= 1.0 + 1e-11, "{}", mean);
            prop_assert!(chance <= 0.1 + 1e-11, "{}", chance);
        }

        #[test]
        fn more_hits_or_a_lower_limit_are_more_evidence(
            n in 1_u64..3000, at in any::<prop::sample::Index>(), limit in 0.01..0.98_f64, more in 0.0001..0.01_f64
        ) {
            let k = at.index(n as usize) as u64;
            let ln = |k, limit| ln_rate_above(k, n, limit).expect("inside");
            prop_assert!(ln(k, limit) < ln(k + 1, limit));
            prop_assert!(ln(k, limit + more) <= ln(k, limit) + 1e-9);
            let below = |k| rate_below(k, n, limit).expect("inside");
            prop_assert!(below(k) >= below(k + 1));
        }
    }
}
