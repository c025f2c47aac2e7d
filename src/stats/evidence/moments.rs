//! Skewness and kurtosis of a finished sequence.

use crate::stats::admit;

/// Count, mean, deviation and shape of a sequence, computed in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    pub count: u64,
    /// Unit of the values.
    pub mean: f64,
    /// Sample standard deviation, divisor n - 1, in the unit of the values; zero below two values.
    pub std: f64,
    /// Skewness and kurtosis, `None` without dispersion.
    pub shape: Option<Shape>,
}

/// Third and fourth standardised moments in population form (divisor n), without a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// `sqrt(n) M3 / M2^1.5`; zero for a symmetric distribution.
    pub skew: f64,
    /// `n M4 / M2^2`, raw: three for a normal distribution.
    pub kurtosis: f64,
}

impl Shape {
    /// The shape of the normal distribution.
    pub const NORMAL: Shape = Shape { skew: 0.0, kurtosis: 3.0 };
}

impl Moments {
    /// The moments of at least one value. Values pass [`admit`].
    ///
    /// Three passes: the mean, then the deviations and what the mean was off by, then their standardised powers, which
    /// neither overflow nor underflow.
    pub fn of(values: &[f64]) -> Option<Moments> {
        let n = values.len() as f64;
        let values = || values.iter().copied().map(admit);
        if n == 0.0 {
            return None;
        }
        let first = values().sum::<f64>() / n;
        let mean = first + values().map(|x| x - first).sum::<f64>() / n;
        let square = values().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        let population = (square / n).sqrt();
        let std = if n > 1.0 { (square / (n - 1.0)).sqrt() } else { 0.0 };
        let power = |z: fn(f64) -> f64| values().map(|x| z((x - mean) / population)).sum::<f64>() / n;
        let shape =
            (population > 0.0).then(|| Shape { skew: power(|z| z * z * z), kurtosis: power(|z| z * z * z * z) });
        Some(Moments { count: values().len() as u64, mean, std, shape })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(actual: f64, expected: f64, bound: f64) {
        assert!((actual - expected).abs() <= bound * expected.abs(), "{actual} is not {expected}");
    }

    #[test]
    fn published_deviations() {
        let twenty = [
            -50.0, -30.0, -22.0, -10.0, -5.0, -3.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0,
            20.0, 40.0,
        ];
        let m = Moments::of(&twenty).expect("not empty");
        close(m.std, 18.696678567961857, 1e-15);
        close(m.std * (19.0_f64 / 20.0).sqrt(), 18.22326809329216, 1e-15);
        // The textbook formula from sums gives a variance of -170.67 here.
        let m = Moments::of(&[4.0, 7.0, 13.0, 16.0].map(|x| 1e9 + x)).expect("not empty");
        close(m.std * m.std, 30.0, 1e-15);
        let m = Moments::of(&[0.01, -0.02, 0.015, -0.005, 0.025]).expect("not empty");
        close(m.mean / m.std * 252.0_f64.sqrt(), 4.48998886412873, 1e-14);
    }

    #[test]
    fn shapes_in_closed_form() {
        // Two points with probabilities p and q: skew (q - p) / sqrt(pq), kurtosis 1 + skew^2; here p = 1/4 at the top.
        let m = Moments::of(&[0.0, 0.0, 0.0, 8.0]).expect("not empty");
        let shape = m.shape.expect("dispersed");
        close(shape.skew, 2.0 / 3.0_f64.sqrt(), 1e-15);
        close(shape.kurtosis, 7.0 / 3.0, 1e-15);
        // Deciles of a uniform distribution: 9/5 (1 - 2 / (3 (n^2 - 1)) ..), exactly (3/5) (3 n^2 - 7) / (n^2 - 1).
        let ten: Vec<f64> = (0..10).map(f64::from).collect();
        let shape = Moments::of(&ten).and_then(|m| m.shape).expect("dispersed");
        close(shape.kurtosis, 0.6 * 293.0 / 99.0, 1e-15);
        assert!(shape.skew.abs() < 1e-16);
    }

    #[test]
    fn empty_single_and_constant() {
        assert_eq!(Moments::of(&[]), None);
        assert_eq!(Moments::of(&[7.0]), Some(Moments { count: 1, mean: 7.0, std: 0.0, shape: None }));
        let m = Moments::of(&[0.1; 10]).expect("not empty");
        assert_eq!((m.std, m.shape), (0.0, None));
    }

    proptest! {
        #[test]
        fn shape_has_no_unit_and_obeys_pearson(
            values in prop::collection::vec(-100.0..100.0_f64, 2..100), power in -200_i32..40, top in any::<bool>()
        ) {
            let unit = f64::from_bits(((1023 + power) as u64) << 52) * if top { -1.0 } else { 1.0 };
            let scaled: Vec<f64> = values.iter().map(|x| x * unit).collect();
            let (m, s) = (Moments::of(&values).expect("not empty"), Moments::of(&scaled).expect("not empty"));
            let (a, b) = (m.shape.expect("dispersed"), s.shape.expect("dispersed"));
            prop_assert!((a.kurtosis - b.kurtosis).abs() < 1e-12 * a.kurtosis);
            prop_assert!((a.skew.abs() - b.skew.abs()).abs() < 1e-12);
            prop_assert!(a.kurtosis >= 1.0 + a.skew * a.skew - 1e-12);
        }
    }
}
