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

/// The number that a text begins with, and its length; `None` where it is none, or none that is finite, or an integer
/// of more than 18 digits.
///
/// With at most 2^53 as its digits and a power of ten that is an `f64`, one multiplication or division of two exact
/// numbers rounds once and so is right (Clinger 1990). Anything longer is parsed by std, which is right too.
pub fn parse(text: &str) -> Option<(Number, usize)> {
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let (mut digits, mut end) = digits(bytes, start, 0);
    let mut count = end - start;
    if count == 0 || (count > 1 && bytes[start] == b'0') {
        return None;
    }
    let (mut exponent, mut whole) = (0, true);
    if bytes.get(end) == Some(&b'.') {
        let point = end + 1;
        (digits, end) = many_digits(bytes, point, digits);
        if end == point {
            return None;
        }
        (exponent, whole) = (-((end - point) as i32), false);
        count += end - point;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let (power, after) = power(bytes, end + 1)?;
        (exponent, whole, end) = (exponent + power, false, after);
    }
    if whole && !(negative && digits == 0) {
        let int = digits as i64;
        return (count <= INT_DIGITS).then_some((Number::Int(if negative { -int } else { int }), end));
    }
    let short = count <= INT_DIGITS + 1 && digits <= EXACT;
    let float = match POWERS.get(exponent.unsigned_abs() as usize).filter(|_| short) {
        Some(power) => {
            let size = if exponent < 0 { digits as f64 / power } else { digits as f64 * power };
            if negative { -size } else { size }
        }
        None => text.get(..end)?.parse().ok()?,
    };
    float.is_finite().then_some((Number::Float(float), end))
}

/// The digits from a place on, appended to others, and where they end. More than 19 in all are not to be used.
fn digits(bytes: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (value, at)
}

/// The same, eight at a time as long as there are so many.
fn many_digits(bytes: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()).and_then(|eight| eight_digits(*eight)) {
        value = value.wrapping_mul(100_000_000).wrapping_add(eight);
        at += 8;
    }
    digits(bytes, at, value)
}

/// The number that eight bytes are, if all are digits: pairs, then fours, then all, each in one multiplication.
fn eight_digits(bytes: [u8; 8]) -> Option<u64> {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let word = u64::from_le_bytes(bytes);
    // Bytes 0x30 to 0x39 stay in their row when 6 is added; the others of that row leave it.
    if (word & HIGH) | ((word.wrapping_add(0x0606_0606_0606_0606) & HIGH) >> 4) != ZEROS | ZEROS >> 4 {
        return None;
    }
    let word = word - ZEROS;
    let pairs = (word * 10 + (word >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

/// The power of ten behind an `e`, and where it ends; `None` beyond what an `f64` can need.
fn power(bytes: &[u8], at: usize) -> Option<(i32, usize)> {
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative || bytes.get(at) == Some(&b'+'));
    let (value, end) = digits(bytes, start, 0);
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
        for text in
            ["", "-", "01", "-01", "1.", "1.e5", ".5", "1e", "1e+", "+1", "1e400", "1e99999", "1234567890123456789"]
        {
            check(text, true);
        }
    }

    #[test]
    fn eight_bytes_are_digits_or_not() {
        assert_eq!(eight_digits(*b"12345678"), Some(12_345_678));
        assert_eq!(eight_digits(*b"00000000"), Some(0));
        assert_eq!(eight_digits(*b"99999999"), Some(99_999_999));
        for place in 0..8 {
            for byte in (0..=255).filter(|byte: &u8| !byte.is_ascii_digit()) {
                let mut bytes = *b"40719365";
                bytes[place] = byte;
                assert_eq!(eight_digits(bytes), None, "{bytes:?}");
            }
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
