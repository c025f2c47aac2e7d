use std::str;

use crate::event::{
    fields::NUMBER_MAX,
    words::{self, Padded},
};

/// A number as serde_json reads it: an integer literal, or anything else as the nearest `f64`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
}

/// Up to here a count of digits fits an `i64`, and one more a `u64`.
const INT_DIGITS: usize = 18;

/// Every integer up to here is an `f64`.
const EXACT: u64 = 1 << 53;

/// The powers of ten that are `f64`s.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A number within ±2^53, minus zero as zero, and where it ends: 0 where there is none such.
#[inline]
pub fn float(text: &Padded, begin: usize) -> (f64, usize) {
    let negative = text.byte(begin) == b'-';
    let start = begin + usize::from(negative);
    let signed = |size: f64| if negative { 0.0 - size } else { size };
    let first = text.word(start);
    let (whole, count) = words::digits_of(first);
    if count == 0 || count == 8 || (count > 1 && first as u8 == b'0') {
        return any_float(text, begin);
    }
    let end = start + count;
    match (first >> (8 * count)) as u8 {
        b'.' => {}
        b'e' | b'E' => return any_float(text, begin),
        _ => return (signed(whole as i64 as f64), end),
    }
    let second = text.word(end + 1);
    let (mut digits, mut places) = words::digits_of(second);
    let mut next = (second >> (8 * places % 64)) as u8;
    digits += whole * words::POWERS[places];
    if places == 8 {
        let third = text.word(end + 9);
        let (more, count) = words::digits_of(third);
        digits = digits.wrapping_mul(words::POWERS[count]).wrapping_add(more);
        places += count;
        next = match count {
            8 => text.byte(end + 17),
            _ => (third >> (8 * count)) as u8,
        };
    }
    let long = count + places > INT_DIGITS + 1;
    if places == 0 || long || matches!(next, b'e' | b'E' | b'0'..=b'9') {
        return any_float(text, begin);
    }
    (signed(decimal(digits, places)), end + 1 + places)
}

/// Up to 19 digits, so many of them behind the point.
#[inline]
fn decimal(digits: u64, places: usize) -> f64 {
    if digits <= EXACT { digits as i64 as f64 / POWERS[places] } else { quotient(digits, 10_u64.pow(places as u32)) }
}

/// The same of any length and form.
#[inline(never)]
fn any_float(text: &Padded, begin: usize) -> (f64, usize) {
    match parse(text, begin) {
        Some((Number::Int(int), end)) if int.unsigned_abs() <= NUMBER_MAX => (int as f64, end),
        Some((Number::Float(float), end)) if float.abs() <= NUMBER_MAX as f64 => (float + 0.0, end),
        _ => (0.0, 0),
    }
}

/// A whole number from 0 to 2^53, and where it ends: 0 where there is none such.
#[inline]
pub fn count(text: &Padded, begin: usize) -> (u64, usize) {
    let first = text.word(begin);
    let (count, length) = words::digits_of(first);
    let plain = (1..8).contains(&length) && (length == 1 || first as u8 != b'0');
    if plain && !matches!((first >> (8 * length)) as u8, b'.' | b'e' | b'E') {
        return (count, begin + length);
    }
    match any_float(text, begin) {
        (number, end) if number >= 0.0 && number.fract() == 0.0 => (number as u64, end),
        _ => (0, 0),
    }
}

/// The number that a text begins with at a place, and where it ends; `None` where it is none, or none that is finite, or
/// an integer of more than 18 digits.
///
/// With at most 2^53 as its digits and a power of ten that is an `f64`, one multiplication or division of two exact
/// numbers rounds once and so is right (Clinger 1990). Longer ones are divided as integers, or parsed by std.
pub fn parse(text: &Padded, begin: usize) -> Option<(Number, usize)> {
    let negative = text.byte(begin) == b'-';
    let start = begin + usize::from(negative);
    let (mut digits, mut end) = words::digits(text, start, 0);
    let mut count = end - start;
    if count == 0 || (count > 1 && text.byte(start) == b'0') {
        return None;
    }
    let (mut exponent, mut whole) = (0, true);
    if text.byte(end) == b'.' {
        let point = end + 1;
        (digits, end) = words::digits(text, point, digits);
        if end == point {
            return None;
        }
        (exponent, whole) = (-((end - point) as i32), false);
        count += end - point;
    }
    if let b'e' | b'E' = text.byte(end) {
        let (power, after) = power(text, end + 1)?;
        (exponent, whole, end) = (exponent + power, false, after);
    }
    if whole && !(negative && digits == 0) {
        if count > INT_DIGITS {
            return None;
        }
        let int = digits as i64;
        return Some((Number::Int(if negative { -int } else { int }), end));
    }
    let size = match exponent {
        _ if count > INT_DIGITS + 1 => None,
        -19..=0 => Some(decimal(digits, exponent.unsigned_abs() as usize)),
        1..=22 if digits <= EXACT => Some(digits as f64 * POWERS[exponent as usize]),
        _ => None,
    };
    let float = match size {
        Some(size) => {
            if negative {
                -size
            } else {
                size
            }
        }
        None => str::from_utf8(text.between(begin, end)).ok()?.parse().ok()?,
    };
    float.is_finite().then_some((Number::Float(float), end))
}

/// The nearest `f64` to a quotient of numbers from 1, ties to even.
#[inline(never)]
fn quotient(dividend: u64, divisor: u64) -> f64 {
    // At least 56 bits of quotient, and at most 64.
    let shift = (56 + divisor.ilog2()).saturating_sub(dividend.ilog2());
    let (dividend, divisor) = (u128::from(dividend) << shift, u128::from(divisor));
    let bits = dividend / divisor;
    // At least two bits are rounded off: whatever is below them counts as something.
    let bits = bits as u64 | u64::from(bits * divisor != dividend);
    bits as f64 * f64::from_bits((1023 - u64::from(shift)) << 52)
}

/// The power of ten behind an `e`, and where it ends; `None` beyond what an `f64` can need.
fn power(text: &Padded, at: usize) -> Option<(i32, usize)> {
    let negative = text.byte(at) == b'-';
    let start = at + usize::from(negative || text.byte(at) == b'+');
    let (value, end) = words::digits(text, start, 0);
    if end == start || end - start > 4 {
        return None;
    }
    Some((if negative { -(value as i32) } else { value as i32 }, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What serde_json makes of a text that is one number.
    fn reference(text: &str) -> Option<Number> {
        let number: serde_json::Number = serde_json::from_str(text).ok()?;
        number.as_i64().map(Number::Int).or_else(|| number.as_f64().map(Number::Float))
    }

    fn parse(text: &str) -> Option<(Number, usize)> {
        let mut padded = Padded::default();
        assert!(padded.hold(text.as_bytes()));
        super::parse(&padded, 0)
    }

    #[track_caller]
    fn check(text: &str, refused: bool) {
        let want = if refused { None } else { reference(text) };
        let got = parse(text);
        let bits = |number| match number {
            Number::Int(int) => (int, 0),
            Number::Float(float) => (0, f64::to_bits(float)),
        };
        assert_eq!(got.map(|(number, _)| bits(number)), want.map(bits), "{text}");
        assert!(got.is_none_or(|(_, length)| length == text.len()), "{text}");
    }

    #[test]
    fn numbers_are_those_of_serde_json() {
        for text in [
            "0",
            "-0",
            "7",
            "-7",
            "0.0",
            "-0.0",
            "1e0",
            "1E+2",
            "1e-2",
            "0.5953885464771751",
            "17.95388546477175123",
            "9007199254740993.0",
            "123456789012345678",
            "5e-324",
            "1.7976931348623157e308",
            "2.5e-400",
            "0.1e1",
            "1234567.12345678",
            "1234567.1234567812345678",
            "3.00000000",
            "3.00000001",
        ] {
            check(text, false);
        }
        for text in [
            "",
            "-",
            "01",
            "-01",
            "1.",
            "1.e5",
            ".5",
            "1e",
            "1e+",
            "+1",
            "1e400",
            "1e99999",
            "1234567890123456789",
            "-9223372036854775808",
        ] {
            check(text, true);
        }
    }

    proptest! {
        #[test]
        fn of_any_number(text in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?") {
            let want = reference(&text);
            prop_assert_eq!(parse(&text).map(|(number, _)| number), want, "{}", text);
        }

        #[test]
        fn of_any_printed_float(bits: u64) {
            let x = f64::from_bits(bits);
            prop_assume!(x.is_finite());
            for text in [format!("{x:?}"), format!("{x:e}")] {
                prop_assume!(text.contains(['.', 'e']));
                prop_assert_eq!(parse(&text), Some((Number::Float(x), text.len())));
            }
        }
    }
}
