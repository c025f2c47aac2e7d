//! Two's-complement integers of a fixed number of 64-bit limbs, lowest limb first.
//!
//! Width is chosen so that nothing can overflow; see [`Wide`] and [`WideSquare`]. Arithmetic wraps and never panics.

use std::cmp::Ordering;
use std::ops::{AddAssign, Neg, SubAssign};

use super::scaled::Scaled;

/// Sums of `f64` in units of 2^-1074. One input needs 1127 bits and a sign, so 2^88 of them fit into 1216 bits.
pub(super) type Wide = Fixed<19>;

/// Sums of squares of [`Wide`] numbers, in units of 2^-2148.
pub(super) type WideSquare = Fixed<38>;

/// A signed integer of `L` limbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed<const L: usize>([u64; L]);

impl<const L: usize> Fixed<L> {
    /// The number of these limbs.
    pub fn of_limbs(limbs: [u64; L]) -> Self {
        Fixed(limbs)
    }

    /// `magnitude * 2^shift` for a magnitude given by its limbs; `None` when it does not fit beside a sign.
    pub fn from_magnitude(magnitude: &[u64], shift: usize) -> Option<Self> {
        let mut limbs = [0; L];
        let (first, offset) = (shift / 64, shift % 64);
        let mut carried = 0;
        for (i, &limb) in magnitude.iter().chain([&0]).enumerate() {
            let value = limb << offset | carried;
            // Shifted in two steps, because a shift by 64 (offset 0) is not defined.
            carried = limb >> 1 >> (63 - offset);
            match limbs.get_mut(first + i) {
                Some(slot) => *slot = value,
                None if value == 0 => {}
                None => return None,
            }
        }
        let number = Fixed(limbs);
        (!number.is_negative()).then_some(number)
    }

    /// The square of a magnitude given by its limbs, which must fit.
    pub fn square_of(magnitude: &[u64]) -> Self {
        let mut out = [0; L];
        for (i, &a) in magnitude.iter().enumerate() {
            // Most limbs of a wide number are zero: an f64 touches two of them.
            if a == 0 {
                continue;
            }
            let mut carry = 0;
            for (slot, &b) in out.iter_mut().skip(i).zip(magnitude.iter().chain([&0])) {
                let t = u128::from(a) * u128::from(b) + u128::from(*slot) + carry;
                *slot = t as u64;
                carry = t >> 64;
            }
        }
        Fixed(out)
    }

    /// The product with a small factor, which must fit.
    pub fn times(mut self, factor: u64) -> Self {
        let mut carry = 0;
        for limb in &mut self.0 {
            let t = u128::from(*limb) * u128::from(factor) + carry;
            *limb = t as u64;
            carry = t >> 64;
        }
        self
    }

    pub fn is_negative(&self) -> bool {
        self.0[L - 1] >> 63 == 1
    }

    /// The limbs of the absolute value.
    pub fn magnitude(&self) -> [u64; L] {
        if self.is_negative() { (-self.clone()).0 } else { self.0 }
    }

    /// 128 bits of the two's-complement pattern from bit `shift` upwards; bits past the end repeat the sign.
    pub fn bits_from(&self, shift: usize) -> u128 {
        let sign = if self.is_negative() { u64::MAX } else { 0 };
        let limb = |i: usize| self.0.get(shift / 64 + i).copied().unwrap_or(sign);
        let (low, middle, high) = (limb(0), limb(1), limb(2));
        let offset = shift % 64;
        let pair = (u128::from(low) | u128::from(middle) << 64) >> offset;
        pair | u128::from(high) << 1 << (127 - offset)
    }

    /// Bits below the lowest one of the magnitude; zero for zero.
    pub fn trailing_zeros(&self) -> usize {
        let first = self.0.iter().position(|&limb| limb != 0).unwrap_or(0);
        if self.0[first] == 0 { 0 } else { 64 * first + self.0[first].trailing_zeros() as usize }
    }

    /// The absolute value in units of 2^`unit`: its leading 128 bits and whether any other is set.
    pub fn scaled(&self, unit: i32) -> Scaled {
        let limbs = self.magnitude();
        let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else {
            return Scaled { significand: 0, sticky: false, exponent: unit };
        };
        let below = |i: usize| if i <= top { limbs[top - i] } else { 0 };
        let shift = limbs[top].leading_zeros();
        let pair = u128::from(below(0)) << 64 | u128::from(below(1));
        let third = u128::from(below(2)) << shift;
        let cut = third as u64 != 0 || limbs.iter().take(top.saturating_sub(2)).any(|&limb| limb != 0);
        let exponent = unit + 64 * (top as i32 - 1) - shift as i32;
        Scaled { significand: pair << shift | third >> 64, sticky: cut, exponent }
    }
}

impl<const L: usize> Default for Fixed<L> {
    fn default() -> Self {
        Fixed([0; L])
    }
}

/// Sum of two limbs and a carry, and the next carry.
fn add(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(u64::from(carry));
    (sum, first | second)
}

/// Difference of two limbs and a borrow, and the next borrow.
fn sub(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let (difference, first) = a.overflowing_sub(b);
    let (difference, second) = difference.overflowing_sub(u64::from(borrow));
    (difference, first | second)
}

impl<const L: usize> AddAssign<&Fixed<L>> for Fixed<L> {
    fn add_assign(&mut self, other: &Fixed<L>) {
        let mut carry = false;
        for (a, &b) in self.0.iter_mut().zip(&other.0) {
            (*a, carry) = add(*a, b, carry);
        }
    }
}

impl<const L: usize> SubAssign<&Fixed<L>> for Fixed<L> {
    fn sub_assign(&mut self, other: &Fixed<L>) {
        let mut borrow = false;
        for (a, &b) in self.0.iter_mut().zip(&other.0) {
            (*a, borrow) = sub(*a, b, borrow);
        }
    }
}

impl<const L: usize> Neg for Fixed<L> {
    type Output = Self;

    fn neg(self) -> Self {
        let mut out = Fixed::default();
        out -= &self;
        out
    }
}

impl<const L: usize> Ord for Fixed<L> {
    /// By value: the sign bits first, then the patterns as unsigned numbers, which is right within one sign.
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = other.is_negative().cmp(&self.is_negative());
        signs.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl<const L: usize> PartialOrd for Fixed<L> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A three-limb number from an `i128`, by sign and magnitude.
    fn fixed(x: i128) -> Fixed<3> {
        let m = x.unsigned_abs();
        let positive = Fixed::from_magnitude(&[m as u64, (m >> 64) as u64], 0).expect("128 bits fit into 192");
        if x < 0 { -positive } else { positive }
    }

    const SAMPLES: [i128; 9] = [0, 1, -1, 7, -(1 << 64), 1 << 100, -(1 << 100) - 5, i128::MAX / 4, i128::MIN / 4];

    #[test]
    fn agrees_with_i128() {
        for a in SAMPLES {
            for b in SAMPLES {
                let (mut sum, mut difference) = (fixed(a), fixed(a));
                sum += &fixed(b);
                difference -= &fixed(b);
                assert_eq!(sum, fixed(a + b));
                assert_eq!(difference, fixed(a - b));
                assert_eq!(fixed(a).cmp(&fixed(b)), a.cmp(&b));
            }
            assert_eq!(fixed(a).bits_from(0) as i128, a);
            assert_eq!(fixed(a).bits_from(100) as i128, a >> 100);
            assert_eq!(fixed(a).scaled(0).to_f64(), a.unsigned_abs() as f64);
        }
    }

    #[test]
    fn placing_checks_the_width() {
        assert!(Fixed::<2>::from_magnitude(&[1], 126).is_some());
        assert!(Fixed::<2>::from_magnitude(&[1], 127).is_none(), "the sign bit");
        assert!(Fixed::<2>::from_magnitude(&[1], 128).is_none());
        assert!(Fixed::<2>::from_magnitude(&[0, 0, 0], 640).is_some(), "zero fits anywhere");
        let high = Fixed::<3>::from_magnitude(&[u64::MAX], 100).expect("164 bits");
        assert_eq!((high.trailing_zeros(), high.bits_from(100)), (100, u64::MAX.into()));
    }

    #[test]
    fn squares_and_products() {
        let square = Fixed::<4>::square_of(&[u64::MAX, u64::MAX]); // (2^128 - 1)^2 = 2^256 - 2^129 + 1
        assert_eq!(square.0, [1, 0, u64::MAX - 1, u64::MAX]);
        assert_eq!(fixed(1 << 70).times(3), fixed(3 << 70));
        assert_eq!(Fixed::<6>::square_of(&[0, 5, 0]).0, [0, 0, 25, 0, 0, 0]);
    }

    #[test]
    fn bits_below_the_leading_128_are_noticed() {
        let mut x = Fixed::<4>::from_magnitude(&[1], 200).expect("fits");
        assert!(!x.scaled(0).sticky);
        x += &Fixed::from_magnitude(&[1], 0).expect("fits");
        assert!(x.scaled(0).sticky);
        assert_eq!(x.scaled(-200).to_f64(), 1.0);
    }
}
