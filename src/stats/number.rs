//! The two number types that windows compute with.
//!
//! Nearly every value that a program prints is a multiple of 2^-80 of moderate size: all doubles from 2^-28 up are,
//! and short binary fractions below. Those are `i128` counts of that unit. Everything else is a [`Wide`] number.

use std::ops::{AddAssign, Neg, SubAssign};

use super::fixed::{Fixed, Wide, WideSquare};
use super::plain;
use super::scaled::{SMALLEST, Scaled, signed, split};

/// Exponent of the unit of narrow numbers.
pub(super) const UNIT: i32 = -80;

/// Left shift from narrow units to wide ones.
pub(super) const WIDENING: usize = (UNIT - SMALLEST) as usize;

/// Most values in one narrow computation, so that sums of absolute values stay below 2^127 and `n * S2` below 2^254.
pub(super) const MOST: usize = 1_000_000;

/// Narrow values of a window stay below this many units: 2^27 in value.
pub(super) const NARROW: u128 = 1 << 107;

/// An admitted `f64` as a count of 2^-80, if it is a multiple of it and below 2^46.
#[inline]
pub(super) fn units(x: f64) -> Option<i128> {
    plain::units(x).or_else(|| unusual_units(x))
}

/// The same by any way, for what is very small or very large.
#[cold]
fn unusual_units(x: f64) -> Option<i128> {
    let (significand, exponent) = split(x);
    let shift = exponent - UNIT;
    let magnitude = if shift >= 0 {
        if shift > 73 {
            return None;
        }
        i128::from(significand) << shift
    } else if significand.trailing_zeros() as i32 >= -shift {
        i128::from(significand >> -shift)
    } else if significand == 0 {
        0
    } else {
        return None;
    };
    Some(if x < 0.0 { -magnitude } else { magnitude })
}

/// An exact signed number with the operations that statistics of a window need.
pub(super) trait Number:
    Clone + Default + Ord + Neg<Output = Self> + for<'a> AddAssign<&'a Self> + for<'a> SubAssign<&'a Self>
{
    /// Wide enough for `n * S2`.
    type Square: Clone + Default + for<'a> AddAssign<&'a Self::Square> + for<'a> SubAssign<&'a Self::Square>;

    /// The admitted value, if this type holds [`MOST`] of its size.
    fn of(x: f64) -> Option<Self>;
    fn square(&self) -> Self::Square;
    fn is_negative(&self) -> bool;
    /// The absolute value.
    fn scaled(&self) -> Scaled;
    /// A sum of squares.
    fn scaled_square(square: &Self::Square) -> Scaled;
    /// `n * S2 - S1^2`, which is n(n-1) times the sample variance; exact, so never negative.
    fn spread(sum: &Self, squares: &Self::Square, n: u64) -> Scaled;
    fn widened(&self) -> Wide;

    fn to_f64(&self) -> f64 {
        signed(self.is_negative(), self.scaled().to_f64())
    }

    /// The quotient by a positive integer, rounded once.
    fn quotient(&self, divisor: u64) -> f64 {
        signed(self.is_negative(), self.scaled().divided_by(divisor).to_f64())
    }
}

/// The two limbs of a narrow magnitude.
fn limbs(x: i128) -> [u64; 2] {
    let magnitude = x.unsigned_abs();
    [magnitude as u64, (magnitude >> 64) as u64]
}

fn spread_of<const L: usize>(squares: &Fixed<L>, square_of_sum: &Fixed<L>, n: u64, unit: i32) -> Scaled {
    let mut spread = squares.clone().times(n);
    spread -= square_of_sum;
    spread.scaled(2 * unit)
}

impl Number for i128 {
    type Square = Fixed<4>;

    #[inline]
    fn of(x: f64) -> Option<i128> {
        units(x).filter(|units| units.unsigned_abs() < NARROW)
    }

    #[inline]
    fn square(&self) -> Fixed<4> {
        Fixed::of_limbs(plain::square(*self))
    }

    fn is_negative(&self) -> bool {
        *self < 0
    }

    fn scaled(&self) -> Scaled {
        Scaled { significand: self.unsigned_abs(), sticky: false, exponent: UNIT }
    }

    fn scaled_square(square: &Fixed<4>) -> Scaled {
        square.scaled(2 * UNIT)
    }

    fn spread(sum: &i128, squares: &Fixed<4>, n: u64) -> Scaled {
        spread_of(squares, &sum.square(), n, UNIT)
    }

    fn widened(&self) -> Wide {
        let magnitude = Wide::from_magnitude(&limbs(*self), WIDENING).expect("994 + 128 bits fit into 1216");
        if *self < 0 { -magnitude } else { magnitude }
    }

    #[inline]
    fn to_f64(&self) -> f64 {
        plain::to_f64(*self)
    }
}

impl Number for Wide {
    type Square = WideSquare;

    fn of(x: f64) -> Option<Wide> {
        let (significand, exponent) = split(x);
        let magnitude = Wide::from_magnitude(&[significand], (exponent - SMALLEST) as usize)?;
        Some(if x < 0.0 { -magnitude } else { magnitude })
    }

    fn square(&self) -> WideSquare {
        Fixed::square_of(&self.magnitude())
    }

    fn is_negative(&self) -> bool {
        Fixed::is_negative(self)
    }

    fn scaled(&self) -> Scaled {
        Fixed::scaled(self, SMALLEST)
    }

    fn scaled_square(square: &WideSquare) -> Scaled {
        square.scaled(2 * SMALLEST)
    }

    fn spread(sum: &Wide, squares: &WideSquare, n: u64) -> Scaled {
        spread_of(squares, &sum.square(), n, SMALLEST)
    }

    fn widened(&self) -> Wide {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::scaled::power_of_two;
    use super::*;

    #[test]
    fn narrow_values_are_multiples_of_the_unit_of_moderate_size() {
        assert_eq!(units(0.0), Some(0));
        assert_eq!(units(-1.5), Some(-(3 << 79)));
        assert_eq!(units(power_of_two(-80)), Some(1));
        assert_eq!(units(power_of_two(-81)), None);
        assert_eq!(units(power_of_two(-28) * (1.0 + f64::EPSILON)), Some((1 << 52) + 1));
        assert_eq!(units(power_of_two(-29) * (1.0 + f64::EPSILON)), None);
        assert_eq!(units(5e-324), None);
        assert_eq!(units(power_of_two(45)), Some(1 << 125));
        assert_eq!(units(power_of_two(46)), None);
        assert_eq!(i128::of(134_217_727.999), units(134_217_727.999));
        assert_eq!(i128::of(134_217_728.0), None);
    }

    #[test]
    fn both_types_give_the_same_answers() {
        for x in [0.0, 0.1, -0.1, 1234.5678, -99_999_999.25, power_of_two(-80)] {
            let (narrow, wide) = (i128::of(x).expect("narrow"), Wide::of(x).expect("finite"));
            assert_eq!(narrow.widened(), wide);
            assert_eq!((narrow.to_f64(), wide.to_f64()), (x, x));
            assert_eq!(narrow.quotient(7).to_bits(), wide.quotient(7).to_bits());
            let roots = (i128::scaled_square(&narrow.square()).sqrt(), Wide::scaled_square(&wide.square()).sqrt());
            assert_eq!(roots, (x.abs(), x.abs()));
        }
    }
}
