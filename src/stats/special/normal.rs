//! The standard normal distribution and its inverse.

use std::f64::consts::FRAC_1_SQRT_2;

/// ln(sqrt(2 pi)).
const LN_SQRT_TWO_PI: f64 = 0.9189385332046727;

/// Below this argument the distribution function nears the subnormal numbers and its logarithm takes a series.
const FAR: f64 = -35.0;

/// The distribution function of the standard normal distribution at `x`; zero and one at the infinities, NaN for NaN.
///
/// Relative error about `1e-16 (2 + x^2)`: in the lower tail the rounding of the argument is what counts.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// The logarithm of [`normal_cdf`], also where that underflows.
pub fn ln_normal_cdf(x: f64) -> f64 {
    if x >= 0.0 {
        return libm::log1p(-normal_cdf(-x));
    }
    if x > FAR || x.is_nan() {
        return libm::log(normal_cdf(x));
    }
    // Mills' ratio: 1 - 1/x^2 + 3/x^4 - 15/x^6 + ..; beyond FAR the next term is below 1e-13 of the sum.
    let s = 1.0 / (x * x);
    let tail = -s * (1.0 - 3.0 * s * (1.0 - 5.0 * s * (1.0 - 7.0 * s * (1.0 - 9.0 * s))));
    -0.5 * x * x - libm::log(-x) - LN_SQRT_TWO_PI + libm::log1p(tail)
}

/// The value that a standard normal variable stays below with probability `p`, for `0 < p < 1`.
///
/// Wichura 1988, algorithm AS 241 (PPND16), and a Newton step far out, where its polynomials lose a digit: relative
/// error about 2e-16. Near the middle a step would only add the rounding errors of the distribution function. For an
/// upper tail of probability `q` take `-normal_quantile(q)`, which does not round `1 - q`.
pub fn normal_quantile(p: f64) -> Option<f64> {
    if !(p > 0.0 && p < 1.0) {
        return None;
    }
    let centred = p - 0.5;
    if centred.abs() <= 0.425 {
        let r = 0.180625 - centred * centred;
        return Some(centred * ratio(r, &CENTRE));
    }
    let tail = if centred < 0.0 { p } else { 1.0 - p };
    let r = (-libm::log(tail)).sqrt();
    let magnitude = if r <= 5.0 { ratio(r - 1.6, &MIDDLE) } else { refined(ratio(r - 5.0, &OUTER), tail) };
    Some(if centred < 0.0 { -magnitude } else { magnitude })
}

/// One Newton step towards the `x` whose upper tail is `tail`.
fn refined(x: f64, tail: f64) -> f64 {
    let density = libm::exp(-0.5 * x * x - LN_SQRT_TWO_PI);
    // Among the subnormal numbers the quotient would have too few digits to help.
    if density > 1e-300 { x + (normal_cdf(-x) - tail) / density } else { x }
}

/// Coefficients of numerator and denominator, highest power first.
type Rational = [[f64; 8]; 2];

/// The quotient of two polynomials of degree seven at `r`.
fn ratio(r: f64, coefficients: &Rational) -> f64 {
    let [numerator, denominator] = coefficients.map(|c| c.iter().fold(0.0, |value, c| value * r + c));
    numerator / denominator
}

const CENTRE: Rational = [
    [
        2509.0809287301227,
        33430.57558358813,
        67265.7709270087,
        45921.95393154987,
        13731.69376550946,
        1971.5909503065513,
        133.14166789178438,
        3.3871328727963665,
    ],
    [
        5226.495278852546,
        28729.085735721943,
        39307.89580009271,
        21213.794301586597,
        5394.196021424751,
        687.1870074920579,
        42.31333070160091,
        1.0,
    ],
];

const MIDDLE: Rational = [
    [
        0.0007745450142783414,
        0.022723844989269184,
        0.2417807251774506,
        1.2704582524523684,
        3.6478483247632045,
        5.769497221460691,
        4.630337846156546,
        1.4234371107496835,
    ],
    [
        1.0507500716444169e-9,
        0.0005475938084995345,
        0.015198666563616457,
        0.14810397642748008,
        0.6897673349851,
        1.6763848301838038,
        2.053191626637759,
        1.0,
    ],
];

const OUTER: Rational = [
    [
        2.0103343992922881e-7,
        2.7115555687434876e-5,
        0.0012426609473880784,
        0.026532189526576124,
        0.2965605718284949,
        1.7848265399172913,
        5.463784911164114,
        6.657904643501103,
    ],
    [
        2.0442631033899397e-15,
        1.421511758316446e-7,
        1.8463183175100548e-5,
        0.0007868691311456133,
        0.014875361290850615,
        0.1369298809227358,
        0.599832206555888,
        1.0,
    ],
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From 40-digit arithmetic, for the exact double on the left.
    const CDF: [(f64, f64); 10] = [
        (-37.5, 4.605353009581955e-308),
        (-20.0, 2.7536241186062337e-89),
        (-8.25, 7.919726314642477e-17),
        (-3.0, 0.0013498980316300946),
        (-1.0, 0.15865525393145705),
        (-0.5, 0.3085375387259869),
        (-1e-3, 0.49960105778608893),
        (0.0, 0.5),
        (0.75, 0.7733726476231318),
        (5.0, 0.9999997133484281),
    ];

    const QUANTILES: [(f64, f64); 21] = [
        (1e-300, -37.0470962993612),
        (1e-100, -21.273453560965326),
        (1e-20, -9.262340089798407),
        (1e-10, -6.361340902404057),
        (1e-5, -4.264890793922825),
        (0.001, -3.0902323061678136),
        (0.01, -2.326347874040841),
        (0.025, -1.9599639845400543),
        (0.05, -1.6448536269514726),
        (0.07, -1.4757910281791706),
        (0.0749, -1.4402382675279637),
        (0.0751, -1.43882539275254),
        (0.1, -1.2815515655446004),
        (0.25, -0.6744897501960817),
        (0.4, -0.2533471031357997),
        (0.4999, -0.00025066283008800747),
        (0.5625, 0.1573106846101707),
        (0.925, 1.4395314709384561),
        (0.9251, 1.440238267527964),
        (0.95, 1.6448536269514722),
        (0.999, 3.090232306167813),
    ];

    #[test]
    fn the_distribution_function_is_right() {
        for (x, expected) in CDF {
            let actual = normal_cdf(x);
            let bound = 1.2e-16 * (2.0 + x * x) * expected;
            assert!((actual - expected).abs() <= bound, "{x}: {actual:e} is not {expected:e}");
        }
        assert_eq!((normal_cdf(f64::NEG_INFINITY), normal_cdf(f64::INFINITY)), (0.0, 1.0));
    }

    #[test]
    fn the_quantile_is_right() {
        for (p, expected) in QUANTILES {
            let actual = normal_quantile(p).expect("inside");
            assert!((actual - expected).abs() <= 5e-16 * expected.abs(), "{p}: {actual:e} is not {expected:e}");
        }
        assert_eq!(normal_quantile(0.5), Some(0.0));
        for p in [0.0, 1.0, -1.0, 2.0, f64::NAN] {
            assert_eq!(normal_quantile(p), None, "{p}");
        }
        assert!(normal_quantile(5e-324).is_some_and(|x| (-38.5..-38.4).contains(&x)));
    }

    #[test]
    fn the_logarithm_goes_on_below_the_smallest_double() {
        let expected = [(-34.9, -613.4772446953714), (-35.5, -634.6142631550883), (-1e4, -50000010.12927891)];
        for (x, expected) in expected {
            let actual = ln_normal_cdf(x);
            assert!((actual - expected).abs() <= 3e-16 * expected.abs(), "{x}: {actual} is not {expected}");
        }
        let (left, right) = (ln_normal_cdf(FAR.next_up()), ln_normal_cdf(FAR));
        assert!((left - right).abs() < 1e-12, "{left} {right}");
        assert_eq!(ln_normal_cdf(f64::NEG_INFINITY), f64::NEG_INFINITY);
    }

    proptest! {
        #[test]
        fn the_quantile_inverts_and_is_odd(x in -30.0..6.0_f64) {
            let p = normal_cdf(x);
            let back = normal_quantile(p).expect("inside");
            // Near one a probability has few digits left: one ulp of p moves x by that over the density.
            let density = libm::exp(-0.5 * x * x - LN_SQRT_TWO_PI);
            prop_assert!((back - x).abs() <= 4e-15 + 4.0 * f64::EPSILON * p / density, "{} {}", x, back);
            let dyadic = (p * 1024.0).floor() / 1024.0;
            if dyadic > 0.0 && dyadic < 1.0 {
                prop_assert_eq!(normal_quantile(dyadic), normal_quantile(1.0 - dyadic).map(|x| -x));
            }
        }

        #[test]
        fn both_are_monotone(a in -40.0..40.0_f64, b in -40.0..40.0_f64) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(normal_cdf(low) <= normal_cdf(high));
            prop_assert!(ln_normal_cdf(low) <= ln_normal_cdf(high));
            let (p, q) = (normal_cdf(low), normal_cdf(high));
            if p > 0.0 && q < 1.0 {
                prop_assert!(normal_quantile(p) <= normal_quantile(q));
            }
        }
    }
}
