//! From exact integers and quotients to the nearest `f64`.
//!
//! Exact results leave this floor through [`Scaled`]: a 128-bit significand, a power of two and one bit that says
//! whether anything was cut off below. That is enough to round to nearest, ties to even, exactly once.

/// The largest magnitude of an input, 2^53.
pub const LIMIT: f64 = 9_007_199_254_740_992.0;

/// Exponent of the smallest subnormal `f64`: every finite `f64` is a multiple of 2^-1074.
pub(super) const SMALLEST: i32 = -1074;

/// Bits of an `f64` significand, the hidden one included.
pub(super) const PRECISION: i32 = 53;

/// Brings any `f64` into the inputs of this floor: clamped to ±2^53, NaN and the negative zero become zero.
///
/// The decoder lets nothing else in; this keeps the floor total, and equal values equal in their bits.
#[inline]
pub fn admit(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { x.clamp(-LIMIT, LIMIT) + 0.0 }
}

/// A finite `f64` as `(significand, exponent)` with `|x| = significand * 2^exponent`; the sign is left to the caller.
pub(super) fn split(x: f64) -> (u64, i32) {
    let bits = x.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    if biased == 0 { (fraction, SMALLEST) } else { (fraction | 1 << 52, biased - 1075) }
}

/// 2^exponent for an exponent of a normal `f64` (-1022 to 1023).
#[inline]
pub(super) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Gives a magnitude its sign; a zero stays the positive zero.
#[inline]
pub(super) fn signed(negative: bool, magnitude: f64) -> f64 {
    if negative { 0.0 - magnitude } else { magnitude }
}

/// The non-negative number `significand * 2^exponent`, plus something below one unit of the significand if `sticky`.
///
/// Invariant: where `sticky` is set the significand has at least 56 bits, so what was cut off never decides more than
/// a tie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaled {
    pub significand: u128,
    pub sticky: bool,
    pub exponent: i32,
}

impl Scaled {
    /// Shifts the leading one to bit 127. The significand must not be zero.
    fn normalised(self) -> Scaled {
        let shift = self.significand.leading_zeros();
        Scaled { significand: self.significand << shift, exponent: self.exponent - shift as i32, ..self }
    }

    /// The quotient by a positive integer, with at least 64 significant bits and the remainder as `sticky`.
    ///
    /// What lies below the significand is less than one, so it cannot change the integer quotient.
    pub fn divided_by(self, divisor: u64) -> Scaled {
        if self.significand == 0 || divisor == 1 {
            return self;
        }
        let top = self.normalised();
        let quotient = top.significand / u128::from(divisor);
        let exact = quotient * u128::from(divisor) == top.significand;
        Scaled { significand: quotient, sticky: top.sticky || !exact, exponent: top.exponent }
    }

    /// Rounds to 53 bits, half to even, but never below the unit 2^`lowest`: `(m, e)` with the value `m * 2^e`.
    fn rounded(self, lowest: i32) -> (u64, i32) {
        if self.significand == 0 {
            return (0, lowest);
        }
        let top = self.normalised();
        let unit = (top.exponent + 128 - PRECISION).max(lowest);
        let drop = unit - top.exponent;
        if drop > 128 {
            return (0, unit);
        }
        // `drop` is at least 75, so the kept part has at most 53 bits; `rest` is the cut part moved to the left edge.
        let (kept, rest) = match drop {
            128 => (0, top.significand),
            _ => (top.significand >> drop, top.significand << (128 - drop)),
        };
        let half = 1 << 127;
        let up = rest > half || (rest == half && (top.sticky || kept & 1 == 1));
        (kept as u64 + u64::from(up), unit)
    }

    /// The nearest `f64`, ties to even, subnormals included. Values here stay far below the largest `f64`.
    pub fn to_f64(self) -> f64 {
        let (m, unit) = self.rounded(SMALLEST);
        if m == 0 {
            return 0.0;
        }
        // The hidden bit, and the carry of m = 2^53, move into the exponent field by themselves.
        f64::from_bits((((unit - SMALLEST) as u64) << 52) + m)
    }

    /// Square root of the value rounded to 53 bits: equal to `self.to_f64().sqrt()`, but right where the square would
    /// leave the range of `f64`.
    pub fn sqrt(self) -> f64 {
        let (m, unit) = self.rounded(i32::MIN);
        if m == 0 {
            return 0.0;
        }
        let odd = unit & 1;
        let root = ((m << odd) as f64).sqrt();
        let half = (unit - odd) / 2;
        // In two steps, because 2^half alone may be below the smallest f64.
        root * power_of_two(half / 2) * power_of_two(half - half / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(significand: u128, sticky: bool, exponent: i32) -> Scaled {
        Scaled { significand, sticky, exponent }
    }

    #[test]
    fn small_integers_and_powers_are_exact() {
        for x in [1.0, 3.0, 0.1, 1e300, 5e-324, 2.2250738585072014e-308, LIMIT] {
            let (m, e) = split(x);
            assert_eq!(scaled(m.into(), false, e).to_f64().to_bits(), x.to_bits());
        }
    }

    #[test]
    fn ties_go_to_even_and_sticky_breaks_them() {
        let odd_tie = (1_u128 << 54) + 6; // 2^54 + 4 + half a unit of 4
        assert_eq!(scaled(odd_tie, false, 0).to_f64(), 18_014_398_509_481_992.0);
        let even_tie = (1_u128 << 54) + 2;
        assert_eq!(scaled(even_tie, false, 0).to_f64(), 18_014_398_509_481_984.0);
        let above = ((1_u128 << 54) + 2) << 60;
        assert_eq!(scaled(above, true, -60).to_f64(), 18_014_398_509_481_988.0);
    }

    #[test]
    fn carry_reaches_the_exponent() {
        assert_eq!(scaled((1 << 60) - 1, false, 0).to_f64(), (1_u64 << 60) as f64);
    }

    #[test]
    fn half_of_the_smallest_number_rounds_to_even() {
        assert_eq!(scaled(1, false, -1075).to_f64().to_bits(), 0);
        assert_eq!(scaled(3, false, -1075).to_f64().to_bits(), 2);
        assert_eq!(scaled(3, false, -1076).to_f64().to_bits(), 1);
        assert_eq!(scaled(1, false, -1076).to_f64().to_bits(), 0);
        assert_eq!(scaled(1 << 127, true, -1075 - 127).to_f64().to_bits(), 1);
    }

    #[test]
    fn quotients_are_rounded_once() {
        assert_eq!(scaled(1, false, 0).divided_by(3).to_f64(), 1.0 / 3.0);
        assert_eq!(scaled(10, false, 0).divided_by(7).to_f64(), 10.0 / 7.0);
        assert_eq!(scaled(1, false, SMALLEST).divided_by(2).to_f64(), 0.0);
    }

    #[test]
    fn roots_survive_squares_out_of_range() {
        assert_eq!(scaled(9, false, 0).sqrt(), 3.0);
        assert_eq!(scaled(2, false, 0).sqrt(), 2.0_f64.sqrt());
        assert_eq!(scaled(1, false, 2 * SMALLEST).sqrt().to_bits(), 1);
        assert_eq!(scaled(0, false, 0).sqrt(), 0.0);
    }

    #[test]
    fn every_input_is_brought_into_range() {
        assert_eq!(admit(f64::NAN).to_bits(), 0);
        assert_eq!(admit(-0.0).to_bits(), 0);
        assert_eq!(admit(f64::NEG_INFINITY), -LIMIT);
        assert_eq!(admit(1e300), LIMIT);
        assert_eq!(admit(-5e-324), -5e-324);
    }
}
