//! Wald's sequential test and cumulative sum charts.
//!
//! Both need an alternative stated beforehand and identically distributed values; they detect exactly that one soonest.

use serde::{Deserialize, Serialize};

/// The bounds of Wald's sequential probability ratio test (1945), on the log-likelihood ratio of alternative to null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sprt {
    /// At or below: accept the null hypothesis.
    pub accept_null: f64,
    /// At or above: accept the alternative.
    pub accept_alternative: f64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hypothesis {
    Null,
    Alternative,
}

impl Sprt {
    /// For a probability `alpha` of accepting a false alternative and `beta` of accepting a false null hypothesis.
    ///
    /// `None` unless both are positive and their sum is below one.
    pub fn new(alpha: f64, beta: f64) -> Option<Sprt> {
        let inside = alpha > 0.0 && beta > 0.0 && alpha + beta < 1.0;
        inside.then(|| Sprt {
            accept_null: libm::log(beta / (1.0 - alpha)),
            accept_alternative: libm::log((1.0 - beta) / alpha),
        })
    }

    /// What a log-likelihood ratio decides, `None` to go on.
    pub fn decide(&self, llr: f64) -> Option<Hypothesis> {
        if llr >= self.accept_alternative {
            Some(Hypothesis::Alternative)
        } else if llr <= self.accept_null {
            Some(Hypothesis::Null)
        } else {
            None
        }
    }
}

/// The log-likelihood ratio of rate `p1` to rate `p0` for `hits` in `trials`, both rates strictly between 0 and 1.
pub fn bernoulli_llr(hits: u64, trials: u64, p0: f64, p1: f64) -> Option<f64> {
    let misses = trials.checked_sub(hits)? as f64;
    let (hit, miss) = bernoulli_terms(p0, p1)?;
    Some(hits as f64 * hit + misses * miss)
}

/// What one hit and one miss add to the log-likelihood ratio.
fn bernoulli_terms(p0: f64, p1: f64) -> Option<(f64, f64)> {
    let inside = |p: f64| p > 0.0 && p < 1.0;
    (inside(p0) && inside(p1)).then(|| (libm::log(p1 / p0), libm::log((1.0 - p1) / (1.0 - p0))))
}

/// Wald's approximate expected number of trials when the null hypothesis is true, and when the alternative is.
pub fn bernoulli_expected_trials(alpha: f64, beta: f64, p0: f64, p1: f64) -> Option<(f64, f64)> {
    let (bounds, (hit, miss)) = (Sprt::new(alpha, beta)?, bernoulli_terms(p0, p1)?);
    let trials = |wrong_end: f64, p: f64| {
        let end = (1.0 - wrong_end) * bounds.accept_null + wrong_end * bounds.accept_alternative;
        end / (p * hit + (1.0 - p) * miss)
    };
    let both = (trials(alpha, p0), trials(1.0 - beta, p1));
    (both.0.is_finite() && both.1.is_finite()).then_some(both)
}

/// The log-likelihood ratio of mean `mu1` to mean `mu0` for `n` normal values of known deviation with that sum.
pub fn normal_llr(n: u64, sum: f64, mu0: f64, mu1: f64, std: f64) -> Option<f64> {
    let llr = (mu1 - mu0) / (std * std) * (sum - n as f64 * 0.5 * (mu0 + mu1));
    (std > 0.0 && llr.is_finite()).then_some(llr)
}

/// A two-sided tabular cumulative sum chart (Page 1954; Montgomery, Introduction to Statistical Quality Control).
///
/// How far the values have run above and below their target, each run at least `slack` off it counting. For values in
/// standard deviations with a slack of 1/2 an alarm at 4 comes falsely once in 168 values and takes 8.4 values for a
/// shift by one deviation; an alarm at 5 once in 465 and 10.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    high: f64,
    low: f64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shift {
    Up,
    Down,
}

impl Cusum {
    /// Takes in one value; target and slack have its unit. A value that is not finite changes nothing.
    pub fn step(&mut self, x: f64, target: f64, slack: f64) {
        let distance = x - target;
        if distance.is_finite() && slack.is_finite() {
            self.high = (self.high + distance - slack).clamp(0.0, f64::MAX);
            self.low = (self.low - distance - slack).clamp(0.0, f64::MAX);
        }
    }

    /// How far the values have run above the target.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// How far the values have run below the target.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// Whether either sum is above the limit, the larger one if both are.
    pub fn alarm(&self, limit: f64) -> Option<Shift> {
        let (shift, sum) = if self.low > self.high { (Shift::Down, self.low) } else { (Shift::Up, self.high) };
        (sum > limit).then_some(shift)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::evidence::calibration::Chance;

    fn close(actual: f64, expected: f64, bound: f64) {
        assert!((actual - expected).abs() <= bound, "{actual} is not {expected}");
    }

    /// Wald 1945.
    #[test]
    fn sequential_test() {
        let bounds = Sprt::new(0.05, 0.10).expect("inside");
        close(bounds.accept_alternative, 2.8903717578961645, 1e-15);
        close(bounds.accept_null, -2.251291798606495, 1e-15);
        let llr = |hits, trials| bernoulli_llr(hits, trials, 0.05, 0.20).expect("inside");
        close(llr(1, 1), 1.3862943611, 5e-11);
        close(llr(0, 1), -0.1718502569, 5e-11);
        let (null, alternative) = bernoulli_expected_trials(0.05, 0.10, 0.05, 0.20).expect("inside");
        close(null, 21.23, 5e-3);
        close(alternative, 17.00, 5e-3);
        assert_eq!(bounds.decide(llr(2, 2)), None);
        assert_eq!(bounds.decide(llr(3, 3)), Some(Hypothesis::Alternative));
        assert_eq!((bounds.decide(llr(0, 13)), bounds.decide(llr(0, 14))), (None, Some(Hypothesis::Null)));
        close(normal_llr(4, 10.0, 0.0, 2.0, 3.0).expect("inside"), 2.0 / 9.0 * 6.0, 1e-15);
    }

    #[test]
    fn outside_the_domain() {
        for (alpha, beta) in [(0.0, 0.1), (0.1, 0.0), (0.6, 0.4), (f64::NAN, 0.1)] {
            assert_eq!(Sprt::new(alpha, beta), None);
        }
        assert_eq!(bernoulli_llr(2, 1, 0.1, 0.2), None);
        assert_eq!((bernoulli_llr(0, 1, 0.0, 0.2), bernoulli_llr(0, 1, 0.1, 1.0)), (None, None));
        assert_eq!(bernoulli_expected_trials(0.05, 0.1, 0.2, 0.2), None);
        assert_eq!((normal_llr(1, 1.0, 0.0, 1.0, 0.0), normal_llr(1, f64::NAN, 0.0, 1.0, 1.0)), (None, None));
    }

    /// NIST/SEMATECH e-Handbook of Statistical Methods 6.3.2.3.
    #[test]
    fn cumulative_sums() {
        let values = [
            324.93, 324.68, 324.73, 324.35, 325.35, 325.23, 324.13, 324.53, 325.23, 324.60, 324.63, 325.15, 328.33,
            327.25, 327.83, 328.50, 326.68, 327.78, 326.88, 328.35,
        ];
        let printed = [
            0.0, 0.0, 0.0, 0.0, 0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.01, 4.94, 7.46, 10.64, 12.00, 14.46, 16.03,
            19.06,
        ];
        let mut chart = Cusum::default();
        let mut first = None;
        for (i, (x, high)) in values.into_iter().zip(printed).enumerate() {
            chart.step(x, 325.0, 0.3175);
            close(chart.high(), high, 0.0051);
            first = first.or(chart.alarm(4.1959).map(|shift| (i + 1, shift)));
        }
        assert_eq!(first, Some((14, Shift::Up)));
    }

    /// The mean number of normal values, their mean shifted by so many deviations, until an alarm; and its standard error.
    fn run_length(limit: f64, shift: f64, charts: u32) -> (f64, f64) {
        let mut chance = Chance::new(7);
        let (mut sum, mut square) = (0.0, 0.0);
        for _ in 0..charts {
            let (mut chart, mut length) = (Cusum::default(), 0.0);
            while chart.alarm(limit).is_none() {
                chart.step(chance.normal() + shift, 0.0, 0.5);
                length += 1.0;
            }
            sum += length;
            square += length * length;
        }
        let n = f64::from(charts);
        (sum / n, ((square / n - sum / n * (sum / n)) / n).sqrt())
    }

    /// Montgomery's table of average run lengths for a slack of one half.
    #[test]
    fn average_run_lengths() {
        for (limit, shift, charts, printed) in
            [(4.0, 0.0, 4000, 167.7), (4.0, 1.0, 20_000, 8.38), (5.0, 0.0, 2000, 465.4), (5.0, 1.0, 20_000, 10.4)]
        {
            let (mean, error) = run_length(limit, shift, charts);
            close(mean, printed, 4.0 * error);
            assert!(error < 0.03 * printed);
        }
    }

    proptest! {
        #[test]
        fn a_mirrored_chart_swaps_its_sides(values in prop::collection::vec(-5.0..5.0_f64, 0..50)) {
            let [mut chart, mut mirrored] = [Cusum::default(); 2];
            for x in values {
                chart.step(x, 0.0, 0.5);
                mirrored.step(-x, 0.0, 0.5);
            }
            prop_assert_eq!((chart.high(), chart.low()), (mirrored.low(), mirrored.high()));
        }

        /// What Wald's error bounds rest on, over all sequences.
        #[test]
        fn the_likelihood_ratio_has_mean_one(p0 in 0.05..0.95_f64, p1 in 0.05..0.95_f64, n in 1_u64..=12) {
            let mut mean = 0.0;
            for path in 0..1_u64 << n {
                let hits = u64::from(path.count_ones());
                let chance = (0..n).map(|i| if path >> i & 1 == 1 { p0 } else { 1.0 - p0 }).product::<f64>();
                mean += chance * libm::exp(bernoulli_llr(hits, n, p0, p1).expect("inside"));
            }
            prop_assert!((mean - 1.0).abs() < 1e-10, "{}", mean);
        }
    }
}
