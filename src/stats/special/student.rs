//! Student's t distribution with any positive real number of degrees of freedom.

use super::beta::{Part, TOP};

/// The distribution function of Student's t distribution at `t`.
///
/// `None` when `t` is NaN or the degrees of freedom are not in `(0, 1e9]`. The lower tail keeps its relative accuracy;
/// for the upper tail take the value at `-t`.
pub fn student_t_cdf(t: f64, dof: f64) -> Option<f64> {
    let tail = 0.5 * outside(t, dof)?.value();
    Some(if t < 0.0 { tail } else { 1.0 - tail })
}

/// The logarithm of [`student_t_cdf`], also where that underflows.
pub(in crate::stats) fn ln_student_t_cdf(t: f64, dof: f64) -> Option<f64> {
    let outside = outside(t, dof)?;
    Some(if t < 0.0 { outside.log_value() - std::f64::consts::LN_2 } else { libm::log1p(-0.5 * outside.value()) })
}

/// The probability of a value at least as far from zero as `t`: I_x(dof / 2, 1 / 2) with x = dof / (dof + t^2).
fn outside(t: f64, dof: f64) -> Option<Part> {
    if t.is_nan() || !(dof > 0.0 && dof <= TOP) {
        return None;
    }
    // Both x and 1 - x without cancellation, and without squaring anything above one.
    let r = t.abs() / dof.sqrt();
    let (x, y) = if r <= 1.0 {
        (1.0 / (1.0 + r * r), r * r / (1.0 + r * r))
    } else {
        let s = 1.0 / (r * r);
        (s / (1.0 + s), 1.0 / (1.0 + s))
    };
    Part::of(0.5 * dof, 0.5, x, y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::special::normal_cdf;

    /// From 40-digit arithmetic.
    const CDF: [(f64, f64, f64); 11] = [
        (0.0, 3.0, 0.5),
        (1.0, 1.0, 0.75),
        (-2.0, 1.5, 0.11209416517802553),
        (0.5, 10.0, 0.6860531971285135),
        (2.228138851964939, 10.0, 0.9749999999990957),
        (-1e-5, 10.0, 0.4999961089161604),
        (-12.0, 7.5, 1.8304032278097398e-6),
        (-40.0, 30.0, 6.863022597203201e-28),
        (3.0, 250.0, 0.9985136689544112),
        (-1.0, 1e5, 0.158656463782055),
        (-30.0, 1000.0, 7.687343722021741e-142),
    ];

    #[test]
    fn the_distribution_function_is_right() {
        for (t, dof, expected) in CDF {
            let actual = student_t_cdf(t, dof).expect("inside");
            assert!((actual - expected).abs() <= 1e-13 * expected, "t {t} dof {dof}: {actual:e} is not {expected:e}");
            let ln = ln_student_t_cdf(t, dof).expect("inside");
            assert!((ln - libm::log(expected)).abs() <= 1e-13, "t {t} dof {dof}: {ln}");
        }
    }

    #[test]
    fn the_ends_of_the_domain() {
        for dof in [1e-3, 1.0, 1e9] {
            assert_eq!(student_t_cdf(f64::INFINITY, dof), Some(1.0));
            assert_eq!(student_t_cdf(f64::NEG_INFINITY, dof), Some(0.0));
            assert_eq!(student_t_cdf(0.0, dof), Some(0.5));
        }
        for (t, dof) in [(f64::NAN, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
            assert_eq!(student_t_cdf(t, dof), None);
        }
    }

    /// One degree of freedom is the Cauchy distribution: the tail beyond a large t is 1 / (pi t).
    #[test]
    fn a_heavy_tail_far_out() {
        let tail = student_t_cdf(-1e150, 1.0).expect("inside");
        assert!((tail * 1e150 * std::f64::consts::PI - 1.0).abs() < 1e-12, "{tail:e}");
    }

    proptest! {
        #[test]
        fn two_degrees_of_freedom_in_closed_form(t in -1e6..1e6_f64) {
            let root = (2.0 + t * t).sqrt();
            let expected = if t < 0.0 { 1.0 / (root * (root - t)) } else { 0.5 + 0.5 * t / root };
            let actual = student_t_cdf(t, 2.0).expect("inside");
            prop_assert!((actual - expected).abs() <= 1e-13 * expected, "{} {}", actual, expected);
        }

        #[test]
        fn symmetric_and_monotone(t in -50.0..50.0_f64, u in -50.0..50.0_f64, dof in 0.1..5000.0_f64) {
            let cdf = |t: f64| student_t_cdf(t, dof).expect("inside");
            prop_assert!((cdf(t) + cdf(-t) - 1.0).abs() < 1e-15);
            prop_assert!(cdf(t.min(u)) <= cdf(t.max(u)) * (1.0 + 1e-12));
        }

        #[test]
        fn many_degrees_of_freedom_are_normal(t in -5.0..5.0_f64) {
            let actual = student_t_cdf(t, 1e9).expect("inside");
            prop_assert!((actual - normal_cdf(t)).abs() < 1e-8, "{}", actual);
        }
    }
}
