//! Bounds that hold at all times at once (Howard, Ramdas, McAuliffe and Sekhon 2021).
//!
//! For a sum of centred values with variance process `v` (for values of variance s^2 it is n s^2; for values in [a, b]
//! n (b - a)^2 / 4) the normal mixture gives an e-process and, where that equals `1 / alpha`, a boundary that the sum
//! ever crosses with probability at most `alpha`. The parameter `rho` says at which `v` the boundary is tightest.

use crate::stats::special::{ln_beta, ln_normal_cdf};

/// Steps of a bisection: the interval is below one ulp long before.
const HALVINGS: u32 = 200;

/// The least weight of the prior of a rate, in trials.
const LEAST_WEIGHT: f64 = 1e-3;

/// The `rho` that makes the two-sided boundary tightest at variance `best`: `best / (2 ln(1/a) + ln(1 + 2 ln(1/a)))`.
///
/// For a one-sided boundary take twice the alpha. `None` unless `best` is positive and finite and `0 < alpha < 1`.
pub fn best_rho(best: f64, alpha: f64) -> Option<f64> {
    let inside = best > 0.0 && best.is_finite() && alpha > 0.0 && alpha < 1.0;
    let log = -2.0 * libm::log(alpha);
    inside.then(|| best / (log + libm::log1p(log)))
}

/// A normal mixture with its parameter, in the unit of the variance process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalMixture {
    rho: f64,
}

impl NormalMixture {
    /// `None` unless `rho` is positive and finite.
    pub fn new(rho: f64) -> Option<NormalMixture> {
        (rho > 0.0 && rho.is_finite()).then_some(NormalMixture { rho })
    }

    /// The logarithm of the two-sided e-value of a sum `s`: `ln(rho / (v + rho)) / 2 + s^2 / (2 (v + rho))`.
    pub fn ln_both(&self, s: f64, v: f64) -> Option<f64> {
        let (share, scaled) = self.parts(s, v)?;
        Some(0.5 * libm::log(share) + 0.5 * scaled * scaled)
    }

    /// The logarithm of the e-value for sums above: the normal prior folded to one side.
    pub fn ln_above(&self, s: f64, v: f64) -> Option<f64> {
        let (share, scaled) = self.parts(s, v)?;
        Some(0.5 * libm::log(4.0 * share) + 0.5 * scaled * scaled + ln_normal_cdf(scaled))
    }

    /// `rho / (v + rho)` and `s / sqrt(v + rho)`.
    fn parts(&self, s: f64, v: f64) -> Option<(f64, f64)> {
        let whole = v + self.rho;
        let scaled = s / whole.sqrt();
        (v >= 0.0 && whole.is_finite() && (scaled * scaled).is_finite()).then_some((self.rho / whole, scaled))
    }

    /// The sum's absolute value stays below this at all `v` at once with probability `1 - alpha`.
    pub fn bound_both(&self, v: f64, alpha: f64) -> Option<f64> {
        let inside = v >= 0.0 && alpha > 0.0 && alpha < 1.0;
        let whole = v + self.rho;
        let bound = (whole * (libm::log(whole / self.rho) - 2.0 * libm::log(alpha))).sqrt();
        (inside && bound.is_finite()).then_some(bound)
    }

    /// The sum stays below this at all `v` at once with probability `1 - alpha`.
    pub fn bound_above(&self, v: f64, alpha: f64) -> Option<f64> {
        // The one-sided e-value is at least the two-sided one for positive sums, and grows with the sum.
        let top = self.bound_both(v, alpha)?;
        let target = -libm::log(alpha);
        self.ln_above(0.0, v)?;
        Some(bisect(0.0, top, |s| self.ln_above(s, v).is_some_and(|ln| ln < target)))
    }
}

/// The point between `low` and `high` up to which `below` holds.
fn bisect(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        *(if below(middle) { &mut low } else { &mut high }) = middle;
    }
    f64::midpoint(low, high)
}

/// The rates that `hits` in `trials` do not contradict, at all numbers of trials at once with probability `1 - alpha`.
///
/// The beta-binomial mixture tuned for `best` trials, inverted by bisection. `None` unless `0 < alpha < 1`,
/// `hits <= trials` with at least one trial, and `best` is positive and finite.
pub fn rate_interval(hits: u64, trials: u64, alpha: f64, best: f64) -> Option<(f64, f64)> {
    let (n, k) = (trials as f64, hits as f64);
    // The prior when testing a rate p is a beta distribution around p that weighs as much as that many trials.
    let weight = (best_rho(best, alpha)? - 1.0).max(LEAST_WEIGHT);
    if hits > trials || trials == 0 {
        return None;
    }
    let target = -libm::log(alpha);
    let against = |p: f64| {
        let (a, b) = (weight * p, weight * (1.0 - p));
        let ratio = ln_beta(a + k, b + n - k)? - ln_beta(a, b)?;
        Some(ratio - k * libm::log(p) - (n - k) * libm::log1p(-p))
    };
    let excluded = |p: f64| against(p).is_none_or(|ln| ln >= target);
    let rate = k / n;
    let low = if hits == 0 { 0.0 } else { bisect(0.0, rate, excluded) };
    let high = if hits == trials { 1.0 } else { bisect(rate, 1.0, |p| !excluded(p)) };
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::evidence::calibration::Chance;

    fn close(actual: Option<f64>, expected: f64, bound: f64) {
        let actual = actual.expect("inside");
        assert!((actual - expected).abs() <= bound, "{actual} is not {expected}");
    }

    /// Howard et al. 2021, the expected values of the authors' own implementation.
    #[test]
    fn normal_mixtures() {
        let rho = best_rho(100.0, 0.05);
        close(rho, 12.60056, 5e-6);
        let both = rho.and_then(NormalMixture::new).expect("inside");
        close(both.ln_both(10.0, 100.0), -0.6510052, 5e-8);
        close(both.bound_both(100.0, 0.05), 30.35209, 5e-6);
        let rho = best_rho(100.0, 0.10);
        close(rho, 15.80063, 5e-6);
        let above = rho.and_then(NormalMixture::new).expect("inside");
        close(above.ln_above(10.0, 100.0), -0.06502391, 5e-9);
        close(above.bound_above(100.0, 0.05), 27.66071, 5e-6);
    }

    #[test]
    fn intervals_of_a_rate() {
        for (hits, trials, best, low, high) in
            [(700, 1000, 100.0, 0.651629, 0.745949), (5, 50, 50.0, 0.013021, 0.269264)]
        {
            let interval = rate_interval(hits, trials, 0.05, best).expect("inside");
            close(Some(interval.0), low, 1.1e-6);
            close(Some(interval.1), high, 1.1e-6);
            let (low, high) = rate_interval(trials - hits, trials, 0.05, best).expect("inside");
            close(Some(1.0 - high), interval.0, 1e-12);
            close(Some(1.0 - low), interval.1, 1e-12);
        }
        let (low, high) = rate_interval(0, 20, 0.05, 20.0).expect("inside");
        assert!(low == 0.0 && (0.1..0.5).contains(&high), "{high}");
        assert_eq!(rate_interval(20, 20, 0.05, 20.0).map(|x| x.1), Some(1.0));
    }

    #[test]
    fn outside_the_domain() {
        for (best, alpha) in [(0.0, 0.05), (f64::INFINITY, 0.05), (1.0, 0.0), (1.0, 1.0), (f64::NAN, 0.5)] {
            assert_eq!((best_rho(best, alpha), rate_interval(1, 2, alpha, best)), (None, None));
        }
        assert_eq!((NormalMixture::new(0.0), NormalMixture::new(f64::NAN)), (None, None));
        let mixture = NormalMixture::new(1.0).expect("inside");
        assert_eq!((mixture.ln_both(1.0, -1.0), mixture.ln_above(f64::NAN, 1.0)), (None, None));
        assert_eq!((mixture.bound_both(-1.0, 0.05), mixture.bound_above(1.0, 2.0)), (None, None));
        assert_eq!((rate_interval(3, 2, 0.05, 10.0), rate_interval(0, 0, 0.05, 10.0)), (None, None));
    }

    /// The share of random walks that cross the boundary within 500 steps.
    #[test]
    fn random_walks_seldom_cross() {
        let mixture = best_rho(100.0, 0.05).and_then(NormalMixture::new).expect("inside");
        let bounds: Vec<f64> = (1..=500).map(|n| mixture.bound_both(f64::from(n), 0.05).expect("inside")).collect();
        let mut chance = Chance::new(11);
        let crossed = (0..2000).filter(|_| {
            let mut sum = 0.0;
            bounds
                .iter()
                .filter(|bound| {
                    sum += chance.normal();
                    f64::abs(sum) >= **bound
                })
                .count()
                > 0
        });
        let share = crossed.count() as f64 / 2000.0;
        assert!(share <= 0.05, "{share}");
    }

    proptest! {
        #[test]
        fn the_boundary_is_where_the_evidence_is_enough(v in 0.0..1e5_f64, rho in 0.1..1e3_f64, alpha in 0.001..0.5_f64) {
            let mixture = NormalMixture::new(rho).expect("inside");
            let (both, above) = (mixture.bound_both(v, alpha).expect("inside"), mixture.bound_above(v, alpha).expect("inside"));
            let target = -libm::log(alpha);
            prop_assert!((mixture.ln_both(both, v).expect("inside") - target).abs() < 1e-10);
            prop_assert!((mixture.ln_above(above, v).expect("inside") - target).abs() < 1e-10);
            prop_assert!(above <= both);
        }

        #[test]
        fn a_folded_mixture_has_two_sides(s in -100.0..100.0_f64, v in 0.0..1e4_f64) {
            let mixture = NormalMixture::new(10.0).expect("inside");
            let [both, above, below] =
                [mixture.ln_both(s, v), mixture.ln_above(s, v), mixture.ln_above(-s, v)].map(|ln| ln.expect("inside"));
            let mean = 0.5 * (libm::exp(above - both) + libm::exp(below - both));
            prop_assert!((mean - 1.0).abs() < 1e-12, "{}", mean);
        }

        #[test]
        fn an_interval_holds_its_rate(n in 1_u64..2000, at in any::<prop::sample::Index>(), alpha in 0.001..0.5_f64) {
            let k = at.index(n as usize + 1) as u64;
            let (low, high) = rate_interval(k, n, alpha, 100.0).expect("inside");
            let (wider_low, wider_high) = rate_interval(k, n, 0.0005, 100.0).expect("inside");
            let rate = k as f64 / n as f64;
            prop_assert!(0.0 <= low && low <= rate && rate <= high && high <= 1.0);
            prop_assert!(wider_low <= wider_high);
        }
    }
}
