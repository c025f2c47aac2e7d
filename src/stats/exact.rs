//! Sums of `f64` without rounding, canonical in memory and on the wire.

use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{AddAssign, Neg, SubAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::fixed::Wide;
use super::number::{Number, UNIT, WIDENING, units};
use super::plain;
use super::scaled::{SMALLEST, admit};

/// An exact real number: any sum and difference of up to 2^32 admitted `f64`.
///
/// One value has one representation, so equality and the bytes on the wire are those of the value, whatever additions
/// led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact(Value);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// In units of 2^-80. Used whenever the number is such a multiple and fits.
    Narrow(i128),
    /// In units of 2^-1074. Rare, so its 152 bytes are kept elsewhere.
    Wide(Box<Wide>),
}

impl Exact {
    pub const ZERO: Exact = Exact(Value::Narrow(0));

    /// The nearest `f64`, ties to even.
    #[inline]
    pub fn to_f64(&self) -> f64 {
        match &self.0 {
            Value::Narrow(units) => units.to_f64(),
            Value::Wide(wide) => wide.to_f64(),
        }
    }

    /// The quotient by a count, rounded once; zero for a count of zero.
    pub fn divided_by(&self, count: u64) -> f64 {
        match (&self.0, count) {
            (_, 0) => 0.0,
            (Value::Narrow(units), _) => units.quotient(count),
            (Value::Wide(wide), _) => wide.quotient(count),
        }
    }

    pub fn is_zero(&self) -> bool {
        self.0 == Value::Narrow(0)
    }

    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Value::Narrow(units) => *units < 0,
            Value::Wide(wide) => wide.is_negative(),
        }
    }

    /// The number in units of 2^-80, if that is how it is kept.
    pub(super) fn narrow(&self) -> Option<i128> {
        match self.0 {
            Value::Narrow(units) => Some(units),
            Value::Wide(_) => None,
        }
    }

    pub(super) fn widened(&self) -> Wide {
        match &self.0 {
            Value::Narrow(units) => units.widened(),
            Value::Wide(wide) => wide.as_ref().clone(),
        }
    }

    /// Of any `f64`; few are not plain.
    #[cold]
    fn unusual(x: f64) -> Exact {
        let x = admit(x);
        match units(x) {
            Some(units) => Exact(Value::Narrow(units)),
            None => Exact(Value::Wide(Box::new(Wide::of(x).expect("every admitted value is wide enough")))),
        }
    }

    fn from_wide(wide: Wide) -> Exact {
        // Taken apart and put together again: equal only if no bit was below the unit or above 128.
        let units = wide.bits_from(WIDENING) as i128;
        if units.widened() == wide { Exact(Value::Narrow(units)) } else { Exact(Value::Wide(Box::new(wide))) }
    }

    /// Applies a narrow operation if it can be done, else the wide one.
    #[inline]
    fn combine(&mut self, other: &Exact, narrow: fn(i128, i128) -> Option<i128>, wide: fn(&mut Wide, &Wide)) {
        if let (Value::Narrow(a), Value::Narrow(b)) = (&mut self.0, &other.0)
            && let Some(units) = narrow(*a, *b)
        {
            *a = units;
            return;
        }
        self.combine_wide(other, wide);
    }

    #[cold]
    fn combine_wide(&mut self, other: &Exact, wide: fn(&mut Wide, &Wide)) {
        let mut result = self.widened();
        wide(&mut result, &other.widened());
        *self = Exact::from_wide(result);
    }
}

impl Default for Exact {
    fn default() -> Exact {
        Exact::ZERO
    }
}

impl From<f64> for Exact {
    /// The admitted value, exactly.
    #[inline]
    fn from(x: f64) -> Exact {
        plain::units(x).map_or_else(|| Exact::unusual(x), |units| Exact(Value::Narrow(units)))
    }
}

impl AddAssign<&Exact> for Exact {
    #[inline]
    fn add_assign(&mut self, other: &Exact) {
        self.combine(other, i128::checked_add, |a, b| *a += b);
    }
}

impl SubAssign<&Exact> for Exact {
    #[inline]
    fn sub_assign(&mut self, other: &Exact) {
        self.combine(other, i128::checked_sub, |a, b| *a -= b);
    }
}

impl AddAssign<f64> for Exact {
    #[inline]
    fn add_assign(&mut self, x: f64) {
        *self += &Exact::from(x);
    }
}

impl SubAssign<f64> for Exact {
    #[inline]
    fn sub_assign(&mut self, x: f64) {
        *self -= &Exact::from(x);
    }
}

impl Neg for Exact {
    type Output = Exact;

    fn neg(self) -> Exact {
        let mut out = Exact::ZERO;
        out -= &self;
        out
    }
}

impl Sum<f64> for Exact {
    fn sum<I: Iterator<Item = f64>>(values: I) -> Exact {
        values.fold(Exact::ZERO, |mut sum, x| {
            sum += x;
            sum
        })
    }
}

impl Sum<Exact> for Exact {
    fn sum<I: Iterator<Item = Exact>>(values: I) -> Exact {
        values.fold(Exact::ZERO, |mut sum, x| {
            sum += &x;
            sum
        })
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Exact) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Narrow(a), Value::Narrow(b)) => a.cmp(b),
            _ => self.widened().cmp(&other.widened()),
        }
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Exact) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The wire form: an odd significand and a power of two, or zero and zero. Typical values take ten bytes of postcard.
#[derive(Serialize, Deserialize)]
enum Form {
    /// Whenever the significand fits.
    Short { exponent: i16, significand: i128 },
    /// The limbs of the significand's magnitude, lowest first, without zeros at the top.
    Long { exponent: i16, negative: bool, magnitude: Vec<u64> },
}

impl Form {
    fn of(number: &Exact) -> Form {
        match &number.0 {
            Value::Narrow(0) => Form::Short { exponent: 0, significand: 0 },
            Value::Narrow(units) => {
                let zeros = units.trailing_zeros();
                Form::Short { exponent: (UNIT + zeros as i32) as i16, significand: units >> zeros }
            }
            Value::Wide(wide) => Form::of_wide(wide),
        }
    }

    fn of_wide(wide: &Wide) -> Form {
        let zeros = wide.trailing_zeros();
        let exponent = (SMALLEST + zeros as i32) as i16;
        let significand = wide.bits_from(zeros) as i128;
        if place(significand < 0, significand.unsigned_abs(), zeros).as_ref() == Some(wide) {
            return Form::Short { exponent, significand };
        }
        let limbs = wide.magnitude();
        let length = (0..).map(|i| 64 * i).take_while(|start| start + zeros < 64 * limbs.len());
        let odd = |start: usize| shifted_limb(&limbs, start + zeros);
        let mut magnitude: Vec<u64> = length.map(odd).collect();
        while magnitude.last() == Some(&0) {
            magnitude.pop();
        }
        Form::Long { exponent, negative: wide.is_negative(), magnitude }
    }

    /// The number, unless the form is not the one that [`Form::of`] gives.
    fn number(&self) -> Option<Exact> {
        let shift = |exponent: i16| usize::try_from(i32::from(exponent) - SMALLEST).ok();
        match self {
            Form::Short { exponent: 0, significand: 0 } => Some(Exact::ZERO),
            Form::Short { significand, .. } if significand & 1 == 0 => None,
            Form::Short { exponent, significand } => {
                let up = u32::try_from(i32::from(*exponent) - UNIT).ok();
                let units = up.filter(|up| *up < 127).map(|up| (significand << up, up));
                match units {
                    Some((units, up)) if units >> up == *significand => Some(Exact(Value::Narrow(units))),
                    _ => place(*significand < 0, significand.unsigned_abs(), shift(*exponent)?).map(Exact::from_wide),
                }
            }
            Form::Long { exponent, negative, magnitude } => {
                let odd = magnitude.first().is_some_and(|low| low & 1 == 1);
                let long = magnitude.len() > 2 || magnitude.get(1).is_some_and(|high| high >> 63 == 1);
                if !odd || !long || magnitude.last() == Some(&0) {
                    return None;
                }
                let wide = Wide::from_magnitude(magnitude, shift(*exponent)?)?;
                Some(Exact::from_wide(if *negative { -wide } else { wide }))
            }
        }
    }
}

/// `±magnitude * 2^shift` in wide units, if it fits.
fn place(negative: bool, magnitude: u128, shift: usize) -> Option<Wide> {
    let wide = Wide::from_magnitude(&[magnitude as u64, (magnitude >> 64) as u64], shift)?;
    Some(if negative { -wide } else { wide })
}

/// 64 bits of a magnitude from bit `start`.
fn shifted_limb(limbs: &[u64], start: usize) -> u64 {
    let limb = |i: usize| u128::from(limbs.get(i).copied().unwrap_or(0));
    ((limb(start / 64) | limb(start / 64 + 1) << 64) >> (start % 64)) as u64
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Form::of(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Exact, D::Error> {
        let form = Form::deserialize(deserializer)?;
        form.number().ok_or_else(|| D::Error::custom("an exact number that is not in its canonical form"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::LIMIT;

    fn sum(values: &[f64]) -> Exact {
        values.iter().copied().sum()
    }

    fn bytes(number: &Exact) -> Vec<u8> {
        postcard::to_allocvec(number).expect("memory")
    }

    #[test]
    fn sums_are_exact_and_rounded_once() {
        assert_eq!(sum(&[0.1, 0.2, -0.3]).to_f64(), 2.0_f64.powi(-55));
        assert_eq!(sum(&[1e15, 1e-300, -1e15]).to_f64(), 1e-300);
        assert_eq!(sum(&[LIMIT, 5e-324, 1.0]).to_f64(), LIMIT + 2.0, "just above a tie");
        assert_eq!(sum(&[LIMIT, -5e-324, 1.0]).to_f64(), LIMIT, "just below it");
        assert_eq!(sum(&[1.0, 1.0, 0.0]).divided_by(3), 2.0 / 3.0);
        assert_eq!(sum(&[]).divided_by(0), 0.0);
    }

    #[test]
    fn one_value_has_one_representation() {
        let detour = sum(&[1.5, 1e-300, 9e15, -9e15, -1e-300]);
        assert_eq!(detour, sum(&[1.5]));
        assert_eq!(detour.narrow(), Some(3 << 79));
        let large = sum(&[2.0_f64.powi(45); 6]);
        assert!(large.narrow().is_none());
        assert_eq!(sum(&[2.0_f64.powi(46), 2.0_f64.powi(47)]), large);
        assert!((-large.clone()).is_negative() && !large.is_zero());
        let mut back = large;
        back -= 2.0_f64.powi(47);
        assert_eq!(back.narrow(), Some(1 << 126));
    }

    #[test]
    fn order_is_by_value() {
        let mut numbers = [9e15, -9e15, 5e-324, -5e-324, 0.0, 1.0, -1.0, 1e-30].map(Exact::from);
        numbers.sort();
        assert_eq!(numbers.map(|x| x.to_f64()), [-9e15, -1.0, -5e-324, 0.0, 5e-324, 1e-30, 1.0, 9e15]);
    }

    #[test]
    fn the_wire_form_comes_back_and_is_short() {
        let ends = [-(2.0_f64.powi(46)), -(2.0_f64.powi(46))];
        let cases = [
            sum(&[]),
            sum(&[0.1]),
            sum(&[-12.5]),
            sum(&[1e-300]),
            sum(&[-9e15, 1e-10]),
            sum(&[LIMIT, 1e-300]),
            sum(&[-LIMIT, 5e-324]),
            sum(&[9e15; 40]),
            sum(&ends),
        ];
        for number in &cases {
            let written = bytes(number);
            let read: Exact = postcard::from_bytes(&written).expect("own bytes");
            assert_eq!(&read, number);
            assert_eq!(bytes(&read), written);
        }
        assert_eq!(cases[8].narrow(), Some(i128::MIN));
        assert_eq!((bytes(&cases[0]).len(), bytes(&cases[2]).len()), (3, 3));
        assert!(bytes(&cases[1]).len() <= 10 && bytes(&cases[3]).len() <= 12);
    }

    #[test]
    fn other_forms_are_refused() {
        let short = |exponent, significand| Form::Short { exponent, significand };
        let long = |exponent, magnitude| Form::Long { exponent, negative: false, magnitude };
        let refused = [
            short(0, 2),
            short(1, 0),
            short(-1075, 1),
            short(i16::MAX, 1),
            long(0, vec![]),
            long(0, vec![1, 1]),
            long(0, vec![2, 1, 1]),
            long(0, vec![1, 1, 0]),
            long(-1074, vec![1; 20]),
            long(i16::MIN, vec![1; 3]),
        ];
        for form in refused {
            let written = postcard::to_allocvec(&form).expect("memory");
            assert!(postcard::from_bytes::<Exact>(&written).is_err(), "{written:?}");
        }
    }
}
