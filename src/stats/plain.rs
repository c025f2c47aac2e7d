//! Plain `f64` to counts of 2^-80 and back, by shifts alone: what nearly every value of a window takes.

use super::number::UNIT;
use super::scaled::{PRECISION, power_of_two, signed};

/// The biased exponent of the smallest numbers that are whole counts whatever their significand: 2^-28.
const FIRST: u64 = (UNIT + 1023 + PRECISION - 1) as u64;
/// Bits a significand may be shifted up by: plain numbers are below 2^46.
const SHIFT_MAX: u64 = 73;

const FRACTION: u64 = (1 << (PRECISION - 1)) - 1;

/// Zero, or a number from 2^-28 up and below 2^46, of either sign, as a count of 2^-80. All others have none here: that
/// it is neither infinite nor NaN is seen by the same comparison.
#[inline]
pub(super) fn units(x: f64) -> Option<i128> {
    let bits = x.to_bits();
    let shift = (bits >> (PRECISION - 1) & 0x7ff).wrapping_sub(FIRST);
    if shift > SHIFT_MAX {
        return (x == 0.0).then_some(0);
    }
    let magnitude = i128::from(bits & FRACTION | (FRACTION + 1)) << shift;
    let sign = -i128::from(bits >> 63);
    Some((magnitude ^ sign) - sign)
}

/// The nearest `f64` of a count of 2^-80, ties to even. The conversion of the language gives the same by a call.
#[inline]
pub(super) fn to_f64(units: i128) -> f64 {
    const CUT: u128 = (1 << 65) - 1;
    let magnitude = units.unsigned_abs();
    let zeros = magnitude.leading_zeros();
    let top = magnitude << (zeros % 128);
    // 63 bits, of which the lowest stands for all below it as well: ten more than are kept, so nothing else can decide.
    let leading = (top >> 65) as i64 | i64::from(top & CUT != 0);
    signed(units < 0, leading as f64 * power_of_two(65 - zeros as i32 + UNIT))
}

/// The limbs of a square, lowest first.
#[inline]
pub(super) fn square(x: i128) -> [u64; 4] {
    let magnitude = x.unsigned_abs();
    let (low, high) = (u128::from(magnitude as u64), magnitude >> 64);
    let (lowest, across) = (low * low, low * high);
    // `high` is at most 2^63, so twice the product and a limb more still fit.
    let middle = (lowest >> 64) + (across << 1);
    let upper = high * high + (middle >> 64);
    [lowest as u64, middle as u64, upper as u64, (upper >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{fixed::Fixed, scaled::split};
    use super::*;

    /// A count of any size, and those at the ends.
    fn count() -> impl Strategy<Value = i128> {
        let ends = prop::sample::select(vec![0, 1, -1, i128::MAX, i128::MIN, (1 << 54) + 1, (1 << 64) - 1, -(1 << 64)]);
        prop_oneof![ends, (any::<i128>(), 0..128_u32).prop_map(|(x, shift)| x >> shift)]
    }

    proptest! {
        #[test]
        fn a_plain_number_is_its_significand_shifted(bits: u64, exponent in 990..1075_u64) {
            for bits in [bits, bits & !(0x7ff << 52) | exponent << 52] {
                let x = f64::from_bits(bits);
                let (significand, exponent) = split(x);
                let shift = exponent - UNIT;
                let plain = (0..=73).contains(&shift) || x == 0.0;
                let shift = shift.max(0);
                let want = plain.then(|| (i128::from(significand) << shift) * if x < 0.0 { -1 } else { 1 });
                prop_assert_eq!(units(x), want);
            }
        }

        #[test]
        fn a_count_is_rounded_as_the_language_does(x in count()) {
            prop_assert_eq!(to_f64(x).to_bits(), (x as f64 * power_of_two(UNIT)).to_bits());
        }

        #[test]
        fn a_square_is_the_one_of_all_limbs(x in count()) {
            let magnitude = x.unsigned_abs();
            let limbs = [magnitude as u64, (magnitude >> 64) as u64];
            prop_assert_eq!(Fixed::<4>::of_limbs(square(x)), Fixed::square_of(&limbs));
        }
    }

    #[test]
    fn what_is_not_plain_has_no_count_here() {
        assert_eq!((units(0.0), units(-0.0)), (Some(0), Some(0)));
        for x in [f64::NAN, f64::INFINITY, 5e-324, power_of_two(46), power_of_two(-28).next_down()] {
            assert_eq!((units(x), units(-x)), (None, None), "{x}");
        }
        assert_eq!(units(-power_of_two(-28)), Some(-(1 << 52)));
        assert_eq!(units(power_of_two(46).next_down()), Some(((1 << 53) - 1) << 73));
    }
}
