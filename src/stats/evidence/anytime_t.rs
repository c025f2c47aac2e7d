//! The anytime-valid t-test: evidence about the sign of a Sharpe ratio that may be looked at after every run.
//!
//! The mean in standard deviations gets a normal prior with variance `g` around zero and the scale its right Haar
//! prior; the Bayes factor against zero is an e-process (Perez-Ortiz et al. 2022, Wang and Ramdas 2024). For normal
//! values it is exact. For strongly skewed ones it is not: small gains with a rare large loss look like an edge until
//! the loss comes. So it is shown beside [`super::betting`] and does not promote alone.

use super::exp_capped;
use crate::stats::special::{TOP, ln_student_t_cdf};

/// Logarithms of three e-values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnytimeT {
    /// Against a mean equal to the hurdle.
    pub ln_both: f64,
    /// Against a mean at most the hurdle.
    pub ln_above: f64,
    /// Against a mean at least the hurdle.
    pub ln_below: f64,
}

impl AnytimeT {
    /// From count, sum and sum of squares of the values and the hurdle, all in the same unit; `g` has none.
    ///
    /// `None` for fewer than two values, when all of them equal the hurdle, for `g <= 0`, for 1e9 values and more, or
    /// for sums that are not finite. Where mean and hurdle are large against the deviation, [`AnytimeT::of_moments`]
    /// loses fewer digits.
    pub fn of_sums(n: u64, sum: f64, sum_sq: f64, hurdle: f64, g: f64) -> Option<AnytimeT> {
        let count = n as f64;
        let centred = sum - count * hurdle;
        let square = sum_sq - 2.0 * hurdle * sum + count * hurdle * hurdle;
        if !(sum.is_finite() && square.is_finite()) {
            return None;
        }
        let about_mean = (square - centred * centred / count).max(0.0);
        AnytimeT::of(n, centred / count, about_mean, g)
    }

    /// From count, mean and sample standard deviation (divisor n - 1); domain as of [`AnytimeT::of_sums`].
    pub fn of_moments(n: u64, mean: f64, std: f64, hurdle: f64, g: f64) -> Option<AnytimeT> {
        AnytimeT::of(n, mean - hurdle, std * std * (n as f64 - 1.0), g)
    }

    /// With `s = n m` and `q = square + n m^2`: `B = q - s^2 g / (1 + n g)`, `ln E = -ln(1 + n g) / 2 + n / 2 ln(q / B)`.
    /// The posterior probability T of a positive mean is that of Student's t with n degrees of freedom at
    /// `v s / sqrt(v B / n)`, `v = g / (1 + n g)`; one-sided evidence is `2 E T` and `2 E (1 - T)`.
    fn of(n: u64, mean: f64, square: f64, g: f64) -> Option<AnytimeT> {
        let count = n as f64;
        let total = square + count * mean * mean;
        if n < 2 || count >= TOP || !(g > 0.0 && g.is_finite() && total > 0.0 && total.is_finite()) {
            return None;
        }
        // B / q = 1 - w; for w near one that is computed from the deviation, which then has the digits.
        let prior = count * g;
        let w = count * mean * mean / total * (prior / (1.0 + prior));
        let rest = if w < 0.5 { 1.0 - w } else { (1.0 + prior * (square / total)) / (1.0 + prior) };
        let ln_rest = if w < 0.5 { libm::log1p(-w) } else { libm::log(rest) };
        let ln_both = -0.5 * libm::log1p(prior) - 0.5 * count * ln_rest;
        let t = (count * w / rest).sqrt() * if mean < 0.0 { -1.0 } else { 1.0 };
        let doubled = std::f64::consts::LN_2 + ln_both;
        Some(AnytimeT {
            ln_both,
            ln_above: doubled + ln_student_t_cdf(t, count)?,
            ln_below: doubled + ln_student_t_cdf(-t, count)?,
        })
    }

    /// The e-value against a mean equal to the hurdle, at most `f64::MAX`.
    pub fn both(&self) -> f64 {
        exp_capped(self.ln_both)
    }

    /// The e-value against a mean at most the hurdle: evidence of an edge.
    pub fn above(&self) -> f64 {
        exp_capped(self.ln_above)
    }

    /// The e-value against a mean at least the hurdle: evidence of a loss.
    pub fn below(&self) -> f64 {
        exp_capped(self.ln_below)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64], hurdle: f64, g: f64) -> Option<AnytimeT> {
        let (sum, sum_sq) = values.iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        AnytimeT::of_sums(values.len() as u64, sum, sum_sq, hurdle, g)
    }

    /// n = 10, sum 60, sum of squares 1134; also by numerical integration of the noncentral t distribution.
    #[test]
    fn reference_values() {
        for (g, both, above, below) in [
            (0.04, 1.359587197456153, 2.254918440987621, 0.46425595392468577),
            (1.0, 1.6547608375227367, 3.1909135867297374, 0.11860808831573641),
        ] {
            for e in [
                AnytimeT::of_sums(10, 60.0, 1134.0, 0.0, g),
                AnytimeT::of_sums(10, 80.0, 1414.0, 2.0, g),
                AnytimeT::of_moments(10, 6.0, (774.0_f64 / 9.0).sqrt(), 0.0, g),
            ] {
                let e = e.expect("inside");
                for (actual, expected) in [(e.both(), both), (e.above(), above), (e.below(), below)] {
                    assert!((actual - expected).abs() < 2e-14 * expected, "g {g}: {actual} is not {expected}");
                }
            }
        }
    }

    /// For values that are all the same the Bayes factor is (1 + n g)^((n - 1) / 2).
    #[test]
    fn without_dispersion_in_closed_form() {
        let e = of(&[3.0; 100], 0.0, 0.04).expect("inside");
        let expected = 49.5 * libm::log(5.0);
        assert!((e.ln_both - expected).abs() < 1e-12, "{}", e.ln_both);
        assert!((e.ln_above - expected - std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!(of(&[3.0; 100], 3.0, 0.04), None, "all at the hurdle");
    }

    #[test]
    fn strong_evidence_neither_overflows_nor_vanishes() {
        let e = AnytimeT::of_moments(1_000_000, 3.0, 1.0, 0.0, 1.0).expect("inside");
        assert!(e.ln_both > 1e6 && e.ln_below < 0.0 && e.ln_below > -30.0, "{e:?}");
        assert_eq!(e.above(), f64::MAX);
        assert!(e.below() > 0.0);
    }

    #[test]
    fn outside_the_domain() {
        assert_eq!(AnytimeT::of_sums(0, 0.0, 0.0, 0.0, 1.0), None);
        assert_eq!(AnytimeT::of_sums(1, 1.0, 1.0, 0.0, 1.0), None);
        assert_eq!(AnytimeT::of_sums(2, 0.0, 0.0, 0.0, 1.0), None);
        for g in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(AnytimeT::of_sums(2, 1.0, 1.0, 0.0, g), None);
        }
        for x in [f64::NAN, f64::INFINITY] {
            assert_eq!(AnytimeT::of_sums(2, x, 1.0, 0.0, 1.0), None);
            assert_eq!(AnytimeT::of_sums(2, 1.0, x, 0.0, 1.0), None);
        }
    }

    proptest! {
        #[test]
        fn the_two_sides_make_up_the_whole(values in vec(-100.0..100.0_f64, 2..80), g in 0.01..4.0_f64) {
            let e = of(&values, 0.0, g).expect("inside");
            prop_assert!((e.above() + e.below() - 2.0 * e.both()).abs() <= 1e-12 * e.both());
        }

        #[test]
        fn mirrored_values_swap_the_sides(values in vec(-100.0..100.0_f64, 2..80), g in 0.01..4.0_f64) {
            let mirrored: Vec<f64> = values.iter().map(|x| -x).collect();
            let (e, m) = (of(&values, 0.0, g).expect("inside"), of(&mirrored, 0.0, g).expect("inside"));
            prop_assert_eq!((e.ln_both, e.ln_above, e.ln_below), (m.ln_both, m.ln_below, m.ln_above));
        }

        #[test]
        fn the_unit_does_not_matter(values in vec(-100.0..100.0_f64, 2..80), power in -30_i32..30) {
            let unit = f64::from_bits(((1023 + power) as u64) << 52);
            let scaled: Vec<f64> = values.iter().map(|x| x * unit).collect();
            prop_assert_eq!(of(&values, 0.0, 0.04), of(&scaled, 0.0, 0.04));
        }

        /// A lower hurdle is more evidence of being above it: what makes the one-sided test valid for a whole half-line.
        #[test]
        fn evidence_of_an_edge_falls_with_the_hurdle(
            values in vec(-100.0..100.0_f64, 2..80), a in -50.0..50.0_f64, b in -50.0..50.0_f64
        ) {
            let (low, high) = (of(&values, a.min(b), 0.04).expect("inside"), of(&values, a.max(b), 0.04).expect("inside"));
            prop_assert!(low.ln_above >= high.ln_above - 1e-9, "{:?} {:?}", low, high);
            prop_assert!(low.ln_below <= high.ln_below + 1e-9, "{:?} {:?}", low, high);
        }
    }
}
