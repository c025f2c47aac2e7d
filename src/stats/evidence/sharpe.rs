//! Sharpe ratios with their uncertainty: probabilistic and deflated Sharpe ratio, minimum track record length.
//!
//! All ratios are per run and not annualised, the kurtosis is raw (three for normal values) and the variance is
//! evaluated at the estimate: the convention of Bailey and Lopez de Prado (2012, "The Sharpe ratio efficient frontier";
//! 2014, "The deflated Sharpe ratio"). The figures are for one look at a fixed number of runs.

use super::moments::{Moments, Shape};
use crate::stats::special::{normal_cdf, normal_quantile};
use crate::stats::window::DISPERSION_FLOOR;

/// The Euler-Mascheroni constant.
const EULER: f64 = 0.5772156649015329;

/// A Sharpe ratio as estimated from `runs` values of a distribution of some shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharpeRatio {
    /// Mean above the hurdle by sample standard deviation, per run.
    pub ratio: f64,
    pub runs: u64,
    pub shape: Shape,
}

impl SharpeRatio {
    /// The ratio over a hurdle in the unit of the values; `None` where there is no dispersion to speak of.
    pub fn of(moments: &Moments, hurdle: f64) -> Option<SharpeRatio> {
        let shape = moments.shape.filter(|_| moments.std > DISPERSION_FLOOR)?;
        Some(SharpeRatio { ratio: (moments.mean - hurdle) / moments.std, runs: moments.count, shape })
    }

    /// The estimator's variance times n - 1: `1 - g3 SR + (g4 - 1) / 4 SR^2`.
    ///
    /// `None` when it is not positive, which for moments of real values happens at most by rounding.
    pub fn variance_term(&self) -> Option<f64> {
        let sr = self.ratio;
        let term = 1.0 - self.shape.skew * sr + 0.25 * (self.shape.kurtosis - 1.0) * sr * sr;
        (term > 0.0 && term.is_finite()).then_some(term)
    }

    /// The standard error of the estimate, from two runs on.
    pub fn standard_error(&self) -> Option<f64> {
        if self.runs < 2 {
            return None;
        }
        Some((self.variance_term()? / (self.runs as f64 - 1.0)).sqrt())
    }

    /// The probability that the true ratio is above `benchmark` (2012, the probabilistic Sharpe ratio).
    pub fn probability_above(&self, benchmark: f64) -> Option<f64> {
        let standardised = (self.ratio - benchmark) / self.standard_error()?;
        standardised.is_finite().then(|| normal_cdf(standardised))
    }

    /// How many runs this ratio takes to be above `benchmark` with the given confidence (2012), a real number.
    ///
    /// `None` when the ratio is not above the benchmark, or unless `0.5 < confidence < 1`.
    pub fn min_track_record(&self, benchmark: f64, confidence: f64) -> Option<f64> {
        let ahead = self.ratio - benchmark;
        if !(ahead > 0.0 && confidence > 0.5) {
            return None;
        }
        let quotient = normal_quantile(confidence)? / ahead;
        let runs = 1.0 + self.variance_term()? * quotient * quotient;
        runs.is_finite().then_some(runs)
    }

    /// The probability that the true ratio is above what the best of `trials` ratios without an edge shows (2014).
    pub fn deflated(&self, variance: f64, trials: f64) -> Option<f64> {
        self.probability_above(expected_max(variance, trials)?)
    }
}

/// The expected largest of `trials` independent ratios around zero with the given variance (2014).
///
/// `trials >= 1` may be fractional, see [`effective_trials`]. The approximation falls below zero near one trial, where
/// the truth is zero; it is cut off there.
pub fn expected_max(variance: f64, trials: f64) -> Option<f64> {
    if !(variance >= 0.0 && variance.is_finite() && trials >= 1.0 && trials.is_finite()) {
        return None;
    }
    let Some(first) = normal_quantile(1.0 / trials) else {
        return Some(0.0);
    };
    let second = normal_quantile(1.0 / (trials * std::f64::consts::E))?;
    // Minus the quantile of 1 / N is the quantile of 1 - 1 / N without rounding that.
    let standardised = -((1.0 - EULER) * first + EULER * second);
    Some(variance.sqrt() * standardised.max(0.0))
}

/// How many independent trials `trials` correlated ones are worth: `N (1 - rho) + rho`, for a mean correlation in 0..=1.
pub fn effective_trials(trials: u64, correlation: f64) -> Option<f64> {
    let inside = trials >= 1 && (0.0..=1.0).contains(&correlation);
    inside.then_some(trials as f64 * (1.0 - correlation) + correlation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ratio(ratio: f64, runs: u64, skew: f64, kurtosis: f64) -> SharpeRatio {
        SharpeRatio { ratio, runs, shape: Shape { skew, kurtosis } }
    }

    fn close(actual: Option<f64>, expected: f64, bound: f64) {
        let actual = actual.expect("inside");
        assert!((actual - expected).abs() <= bound, "{actual} is not {expected}");
    }

    /// Bailey and Lopez de Prado 2012: hedge fund index, 24 months.
    #[test]
    fn probabilistic_sharpe_ratio() {
        close(ratio(0.458, 24, 0.0, 3.0).probability_above(0.0), 0.9817, 5e-5);
        close(ratio(0.458, 24, -2.448, 10.164).probability_above(0.0), 0.9134, 5e-5);
        close(ratio(0.458, 24, 0.0, 3.0).probability_above(0.0), 0.982, 5e-4);
        close(ratio(0.458, 24, -2.448, 10.164).probability_above(0.0), 0.913, 5e-4);
    }

    /// A widespread mistake puts the excess kurtosis here and gets 0.375.
    #[test]
    fn the_kurtosis_is_raw() {
        assert_eq!(ratio(0.5, 24, 1.5, 6.0).variance_term(), Some(0.5625));
    }

    /// Daily returns of a share from 1990 to 2022, against an independent implementation (skewness to seven digits).
    #[test]
    fn against_an_independent_implementation() {
        let share = ratio(0.04107481873603644, 8312, -0.3924154, 26.30467843159243);
        close(share.probability_above(0.0), 0.9998902284693852, 1e-11);
        close(share.probability_above(0.05), 0.21099431279825553, 1e-9);
    }

    /// 2012: an annual ratio of 2 against 1 at 95 %, in years.
    #[test]
    fn minimum_track_record_length() {
        let years = |per_year: f64, skew, kurtosis| {
            let ratio = ratio(2.0 / per_year.sqrt(), 100, skew, kurtosis);
            ratio.min_track_record(1.0 / per_year.sqrt(), 0.95).map(|runs| runs / per_year)
        };
        close(years(250.0, 0.0, 3.0), 2.731, 5e-4);
        close(years(52.0, 0.0, 3.0), 2.829, 5e-4);
        close(years(12.0, 0.0, 3.0), 3.240, 5e-4);
        close(years(12.0, -0.72, 5.78).map(|x| x * 12.0), 59.895, 5e-4);
        close(years(12.0, -0.72, 5.78), 4.99, 5e-3);
    }

    /// 2012, figure 16: monthly ratios of two portfolios over 134 months (themselves printed to four digits).
    #[test]
    fn figure_sixteen() {
        let monthly = 0.5 / 12.0_f64.sqrt();
        let years = |ratio: &SharpeRatio, benchmark| ratio.min_track_record(benchmark, 0.95).map(|runs| runs / 12.0);
        let first = ratio(0.7079, 134, -0.2250, 2.9570);
        close(first.standard_error(), 0.1028, 5e-5);
        close(years(&first, 0.0), 0.7152, 5e-5);
        close(years(&first, monthly), 1.0804, 2e-4);
        let second = ratio(0.8183, 134, -1.4455, 7.0497);
        close(second.standard_error(), 0.1550, 5e-5);
        close(years(&second, 0.0), 1.1593, 5e-5);
        close(years(&second, monthly), 1.6695, 2e-4);
        close(second.probability_above(monthly), 0.99999, 5e-6);
    }

    /// Bailey and Lopez de Prado 2014, the numerical example.
    #[test]
    fn deflated_sharpe_ratio() {
        let variance = 0.5 / 250.0;
        close(expected_max(variance, 100.0), 0.11317200186513214, 1e-15);
        close(expected_max(variance, 100.0), 0.1132, 5e-5);
        close(expected_max(variance, 46.0), 0.10036237, 5e-9);
        let best = ratio(2.5 / 250.0_f64.sqrt(), 1250, -3.0, 10.0);
        close(best.deflated(variance, 100.0), 0.9003968344493903, 1e-14);
        close(best.deflated(variance, 100.0), 0.9004, 5e-5);
        close(best.deflated(variance, 46.0), 0.9505017, 5e-8);
        let normal = SharpeRatio { shape: Shape::NORMAL, ..best };
        close(normal.deflated(variance, 88.0), 0.9504908, 5e-8);
    }

    /// Beside the exact expected maximum of that many normal variables.
    #[test]
    fn expected_maximum() {
        for (trials, approximate, exact, bound) in [
            (2.0, 0.519755, 0.564190, 0.08),
            (5.0, 1.192594, 1.162964, 0.03),
            (10.0, 1.574598, 1.538753, 0.03),
            (100.0, 2.530603, 2.507594, 0.01),
        ] {
            close(expected_max(1.0, trials), approximate, 5e-7);
            close(expected_max(1.0, trials), exact, bound * exact);
        }
        assert_eq!(expected_max(1.0, 1.0), Some(0.0));
        assert_eq!(expected_max(1.0, 1.01), Some(0.0));
        for (variance, trials) in [(-1.0, 2.0), (1.0, 0.5), (f64::NAN, 2.0), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
            assert_eq!(expected_max(variance, trials), None);
        }
    }

    #[test]
    fn trials_that_move_together_count_less() {
        assert_eq!(effective_trials(100, 0.0), Some(100.0));
        assert_eq!(effective_trials(100, 1.0), Some(1.0));
        assert_eq!(effective_trials(100, 0.5), Some(50.5));
        assert_eq!(
            (effective_trials(0, 0.5), effective_trials(5, 1.5), effective_trials(5, f64::NAN)),
            (None, None, None)
        );
    }

    #[test]
    fn from_values() {
        let of = |values: &[f64], hurdle| Moments::of(values).and_then(|m| SharpeRatio::of(&m, hurdle));
        let values = [12.0, -5.0, 8.0, 20.0, -3.0, 7.0, 15.0, -9.0, 11.0, 4.0];
        let six = of(&values, 0.0).expect("dispersed");
        close(Some(six.ratio), 6.0 / (774.0_f64 / 9.0).sqrt(), 1e-15);
        assert_eq!(of(&values, 6.0).map(|x| x.ratio), Some(0.0));
        assert_eq!(of(&values, 6.0).and_then(|x| x.probability_above(0.0)), Some(0.5));
        assert_eq!((of(&[], 0.0), of(&[1.0], 0.0), of(&[2.0; 9], 0.0)), (None, None, None));
        let degenerate = ratio(2.0, 10, 1.0, 2.0);
        assert_eq!((degenerate.variance_term(), degenerate.probability_above(0.0)), (None, None));
        assert_eq!(ratio(0.5, 1, 0.0, 3.0).probability_above(0.0), None);
        assert_eq!(six.min_track_record(six.ratio, 0.95), None);
        assert_eq!(six.min_track_record(0.0, 1.0), None);
    }

    proptest! {
        #[test]
        fn the_track_record_length_is_where_the_probability_reaches_the_confidence(
            sr in 0.05..1.5_f64, below in 0.02..1.0_f64, skew in -1.0..1.0_f64, over in 1.5..9.0_f64
        ) {
            let benchmark = sr - below;
            let at = |runs| ratio(sr, runs, skew, over + skew * skew);
            let least = at(2).min_track_record(benchmark, 0.95).expect("ahead").ceil() as u64;
            prop_assert!(at(least + 1).probability_above(benchmark) >= Some(0.95));
            prop_assert!(least < 4 || at(least - 2).probability_above(benchmark) < Some(0.95));
        }

        #[test]
        fn a_higher_benchmark_or_more_trials_are_less_likely_beaten(
            sr in -1.0..1.0_f64, a in -1.0..1.0_f64, b in -1.0..1.0_f64, n in 2_u64..2000, trials in 1.0..1e6_f64
        ) {
            let r = ratio(sr, n, -0.5, 5.0);
            prop_assert!(r.probability_above(a.min(b)) >= r.probability_above(a.max(b)));
            prop_assert!(r.deflated(0.01, trials) >= r.deflated(0.01, trials * 1.5));
        }
    }
}
