//! Logarithm of the beta function and the regularised incomplete beta function.

/// The largest parameter: up to here the continued fraction converges within [`STEPS`].
pub(in crate::stats) const TOP: f64 = 1e9;

/// Bound on the terms of the continued fraction. The worst case, parameters of [`TOP`] at their mean, takes a quarter.
const STEPS: u32 = 20_000;

/// From here on the gamma function is Stirling's formula times the exponential of [`stirling`].
const LARGE: f64 = 10.0;

const LN_SQRT_TWO_PI: f64 = 0.9189385332046727;

/// Stands in for a zero denominator in Lentz's method.
const TINY: f64 = 1e-300;

/// ln B(a, b) for positive finite `a` and `b`.
///
/// For large parameters the terms that nearly cancel are taken together (Didonato and Morris 1992), so the error is a
/// few roundings of the result and not of ln(Gamma).
pub fn ln_beta(a: f64, b: f64) -> Option<f64> {
    if !(a > 0.0 && b > 0.0 && a.is_finite() && b.is_finite()) {
        return None;
    }
    let (p, q) = (a.min(b), a.max(b));
    let ln_rest = libm::log1p(-p / (p + q));
    Some(if p >= LARGE {
        let correction = stirling(p) + stirling(q) - stirling(p + q);
        let rise = (p - 0.5) * libm::log(p / (p + q));
        rise + q * ln_rest - 0.5 * libm::log(q) + LN_SQRT_TWO_PI + correction
    } else if q >= LARGE {
        libm::lgamma(p) + stirling(q) - stirling(p + q) + p - p * libm::log(p + q) + (q - 0.5) * ln_rest
    } else {
        libm::lgamma(p) + libm::lgamma(q) - libm::lgamma(p + q)
    })
}

/// ln(Gamma(x)) less Stirling's formula `(x - 1/2) ln x - x + ln sqrt(2 pi)`, for `x >= LARGE`.
///
/// The first seven terms of the asymptotic series (Abramowitz and Stegun 6.1.41); the eighth is below 3e-17.
fn stirling(x: f64) -> f64 {
    let s = 1.0 / (x * x);
    let inner = 1.0 / 1188.0 - s * (691.0 / 360_360.0 - s / 156.0);
    (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s * inner)))) / x
}

/// I_x(a, b), the distribution function at `x` of the beta distribution with parameters `a` and `b`.
///
/// `None` unless `0 <= x <= 1` and both parameters lie in `(0, 1e9]`. Relative error below 1e-13 for parameters up to
/// 1e5, also in the lower tail.
pub fn inc_beta(a: f64, b: f64, x: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&x) {
        return None;
    }
    Some(Part::of(a, b, x, 1.0 - x)?.value())
}

/// The incomplete beta function as the product of a density and a ratio of moderate size, for whichever tail converges.
///
/// Keeping the two apart gives logarithms and quotients where the product underflows.
#[derive(Clone, Copy, Debug)]
pub(in crate::stats) struct Part {
    /// Whether the product is the other tail, `1 - I_x(a, b)`.
    pub upper: bool,
    /// ln of `x^a y^b / B(a, b)`.
    pub ln_density: f64,
    /// The continued fraction by its first parameter.
    pub ratio: f64,
}

impl Part {
    /// I_x(a, b) for `y = 1 - x`, which the caller may know to more digits. Both must be non-negative.
    pub fn of(a: f64, b: f64, x: f64, y: f64) -> Option<Part> {
        let inside = |p: f64| p > 0.0 && p <= TOP;
        if !(inside(a) && inside(b) && x >= 0.0 && y >= 0.0) {
            return None;
        }
        let upper = x > (a + 1.0) / (a + b + 2.0);
        if x == 0.0 || y == 0.0 {
            return Some(Part { upper, ln_density: f64::NEG_INFINITY, ratio: 1.0 });
        }
        let ratio = if upper { fraction(b, a, y)? / b } else { fraction(a, b, x)? / a };
        Some(Part { upper, ln_density: ln_density(a, b, x, y)?, ratio })
    }

    /// The tail this part stands for.
    fn tail(self) -> f64 {
        (libm::exp(self.ln_density) * self.ratio).min(1.0)
    }

    /// I_x(a, b).
    pub fn value(self) -> f64 {
        if self.upper { 1.0 - self.tail() } else { self.tail() }
    }

    /// ln I_x(a, b), also where that underflows.
    pub fn log_value(self) -> f64 {
        if self.upper { libm::log1p(-self.tail()) } else { (self.ln_density + libm::log(self.ratio)).min(0.0) }
    }
}

/// ln of `x^a y^b / B(a, b)` for positive `x + y = 1`.
fn ln_density(a: f64, b: f64, x: f64, y: f64) -> Option<f64> {
    if a >= LARGE && b >= LARGE {
        // Against the value at the mean a / (a + b): there both logarithms vanish, so nothing large cancels.
        let distance = x * b - y * a;
        let correction = stirling(a) + stirling(b) - stirling(a + b);
        let height = 0.5 * libm::log(a / (a + b) * b) - LN_SQRT_TWO_PI - correction;
        return Some(a * ln_near(distance / a, x, a, a + b) + b * ln_near(-distance / b, y, b, a + b) + height);
    }
    let ln = |part: f64, rest: f64| if part < 0.5 { libm::log(part) } else { libm::log1p(-rest) };
    Some(a * ln(x, y) + b * ln(y, x) - ln_beta(a, b)?)
}

/// ln of `part * total / share`, which is one more than `excess`.
fn ln_near(excess: f64, part: f64, share: f64, total: f64) -> f64 {
    if excess.abs() < 0.5 { libm::log1p(excess) } else { libm::log(part / share * total) }
}

/// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's method.
///
/// It converges fast for `x < (a + 1) / (a + b + 2)`.
fn fraction(a: f64, b: f64, x: f64) -> Option<f64> {
    let keep = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut d = 1.0 / keep(1.0 - (a + b) * x / (a + 1.0));
    let (mut c, mut value) = (1.0, d);
    for step in 1..=STEPS {
        let m = f64::from(step);
        let even = a + 2.0 * m;
        let terms = [m * (b - m) * x / ((even - 1.0) * even), -(a + m) * (a + b + m) * x / (even * (even + 1.0))];
        let mut change = 1.0;
        for term in terms {
            d = 1.0 / keep(1.0 + term * d);
            c = keep(1.0 + term / c);
            change = c * d;
            value *= change;
        }
        if (change - 1.0).abs() <= 2.0 * f64::EPSILON {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(actual: Option<f64>, expected: f64, bound: f64, what: &str) {
        let actual = actual.expect("inside");
        assert!((actual - expected).abs() <= bound * expected.abs(), "{what}: {actual:e} is not {expected:e}");
    }

    /// From 40-digit arithmetic.
    const LN_BETA: [(f64, f64, f64); 9] = [
        (0.5, 0.5, 1.1447298858494002),
        (2.5, 3.5, -3.301835269962053),
        (9.5, 0.25, 0.7351510054445833),
        (0.5, 50.0, -1.3811466014510412),
        (5.0, 1000.0, -31.370707597807833),
        (10.0, 10.0, -13.736229227036555),
        (12.5, 300.0, -52.79938460048641),
        (1e5, 2e5, -190958.88527911686),
        (1e-3, 1e3, 6.900271629687955),
    ];

    const INC_BETA: [(f64, f64, f64, f64); 13] = [
        (0.5, 0.5, 0.25, 0.3333333333333333),
        (2.0, 3.0, 0.5, 0.6875),
        (5.0, 1.5, 0.9, 0.7761721343162157),
        (9.0, 13.0, 0.2, 0.014413961672754468),
        (11.0, 11.0, 0.2, 0.0009696964382629566),
        (50.5, 0.5, 0.99, 0.3148847614508194),
        (12.0, 300.0, 0.02, 0.0242350809981803),
        (300.0, 12.0, 0.97, 0.7725312235637006),
        (1000.0, 1200.0, 0.4, 1.0697860500631464e-7),
        (500.5, 0.5, 0.75, 1.4774658280732631e-64),
        (0.01, 20.0, 0.001, 0.966700327596117),
        (30.0, 70.0, 0.3, 0.5116251045586091),
        (1e5, 1e5, 0.501, 0.8144532554424433),
    ];

    #[test]
    fn the_logarithm_of_beta_is_right() {
        for (a, b, expected) in LN_BETA {
            close(ln_beta(a, b), expected, 5e-15, &format!("ln B({a}, {b})"));
            assert_eq!(ln_beta(a, b), ln_beta(b, a));
        }
        assert_eq!(ln_beta(1.0, 1.0), Some(0.0));
        for (a, b) in [(0.0, 1.0), (1.0, -1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
            assert_eq!(ln_beta(a, b), None);
        }
    }

    #[test]
    fn the_incomplete_beta_function_is_right() {
        for (a, b, x, expected) in INC_BETA {
            close(inc_beta(a, b, x), expected, 1e-13, &format!("I_{x}({a}, {b})"));
            let part = Part::of(a, b, x, 1.0 - x).expect("inside");
            assert!((part.log_value() - libm::log(expected)).abs() < 2e-13, "ln I_{x}({a}, {b})");
        }
        assert_eq!((inc_beta(2.0, 3.0, 0.0), inc_beta(2.0, 3.0, 1.0)), (Some(0.0), Some(1.0)));
        for (a, b, x) in [(0.0, 1.0, 0.5), (1.0, f64::NAN, 0.5), (1.0, 1.0, 1.5), (1.0, 1.0, f64::NAN), (2e9, 1.0, 0.5)]
        {
            assert_eq!(inc_beta(a, b, x), None);
        }
    }

    #[test]
    fn the_largest_parameters_still_converge() {
        close(inc_beta(TOP, TOP, 0.5), 0.5, 1e-9, "the middle");
        for (a, b) in [(TOP, 0.5), (0.5, TOP), (TOP, 1e-6), (TOP, 1.0), (1e-6, 1e-6), (TOP, 1e5)] {
            for x in [1e-300, 1e-9, 0.5, a / (a + b), 1.0 - 1e-9] {
                let value = inc_beta(a, b, x).expect("converges");
                assert!((0.0..=1.0).contains(&value), "I_{x}({a}, {b}) = {value}");
            }
        }
    }

    #[test]
    fn logarithms_go_on_below_the_smallest_double() {
        // I_x(a, 1) = x^a.
        let ln = Part::of(1e4, 1.0, 0.25, 0.75).expect("inside").log_value();
        assert!((ln - 1e4 * libm::log(0.25)).abs() < 1e-10, "{ln}");
    }

    proptest! {
        #[test]
        fn both_tails_sum_to_one(a in 0.01..2000.0_f64, b in 0.01..2000.0_f64, x in 0.0..1.0_f64) {
            let (lower, upper) = (inc_beta(a, b, x).expect("inside"), inc_beta(b, a, 1.0 - x).expect("inside"));
            prop_assert!((lower + upper - 1.0).abs() < 1e-12, "{} {}", lower, upper);
        }

        #[test]
        fn it_grows_with_x(a in 0.01..500.0_f64, b in 0.01..500.0_f64, x in 0.0..1.0_f64, y in 0.0..1.0_f64) {
            let (low, high) = (inc_beta(a, b, x.min(y)).expect("inside"), inc_beta(a, b, x.max(y)).expect("inside"));
            prop_assert!(low <= high + 1e-13 * high);
        }

        /// I_x(a, b) = I_x(a + 1, b) + x^a y^b / (a B(a, b)), which is exact.
        #[test]
        fn the_recurrence_holds(a in 0.1..300.0_f64, b in 0.1..300.0_f64, x in 0.01..0.99_f64) {
            let step = libm::exp(ln_density(a, b, x, 1.0 - x).expect("inside")) / a;
            let (here, next) = (inc_beta(a, b, x).expect("inside"), inc_beta(a + 1.0, b, x).expect("inside"));
            prop_assert!((here - next - step).abs() < 1e-12 * here.max(1e-200), "{} {} {}", here, next, step);
        }
    }
}
