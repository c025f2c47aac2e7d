//! Numbers and names as a person reads them. Programs read JSON, which is exact.

use std::borrow::Cow;

/// Six significant digits without trailing zeros; whole digits are never rounded away. An exponent only far from 1.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let scientific = format!("{value:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(digits) if (-5..15).contains(&digits) => {
            let decimals = usize::try_from(5 - digits).unwrap_or(0);
            without_zeros(&format!("{value:.decimals$}"), 0).to_owned()
        }
        _ => format!("{}e{exponent}", without_zeros(mantissa, 0)),
    }
}

/// Dollars: cents from a dollar on, down to a hundredth of a cent below it.
pub fn usd(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    let amount = value.abs();
    let text = if amount == 0.0 || (1.0..1e15).contains(&amount) {
        let text = format!("{amount:.2}");
        let (whole, cents) = text.split_at(text.len() - 3);
        grouped(whole) + cents
    } else if (0.0001..1.0).contains(&amount) {
        without_zeros(&format!("{amount:.4}"), 2).to_owned()
    } else {
        number(amount)
    };
    format!("{sign}${text}")
}

/// A size in powers of 1024.
pub fn bytes(size: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut value = size as f64 / 1024.0;
    let mut unit = 0;
    // From here on one decimal would round up to 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with its thousands set apart.
pub fn count(value: u64) -> String {
    grouped(&value.to_string())
}

/// A name that stays where it is printed: what would move the cursor, start an escape sequence, turn the direction of
/// writing or not be seen at all is spelled out.
pub fn visible(name: &str) -> Cow<'_, str> {
    if !name.contains(disturbs) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len() + 8);
    for character in name.chars() {
        if disturbs(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    Cow::Owned(text)
}

fn disturbs(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The digits of a whole number in groups of three.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A decimal without the zeros at its end, down to so many decimals.
fn without_zeros(text: &str, least: usize) -> &str {
    let Some(point) = text.find('.') else { return text };
    let kept = text.trim_end_matches('0').len();
    let least = if least == 0 { point } else { point + 1 + least };
    // A point with nothing behind it goes too.
    let kept = if kept == point + 1 { point } else { kept };
    &text[..kept.max(least)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_six_digits() {
        #[track_caller]
        fn check(value: f64, expect: &str) {
            assert_eq!(number(value), expect);
        }
        check(0.0, "0");
        check(-0.0, "0");
        check(1.0, "1");
        check(100.0, "100");
        check(-2.5, "-2.5");
        check(1.0 / 3.0, "0.333333");
        check(200.0 / 3.0, "66.6667");
        check(0.999_999_9, "1");
        check(123_456.789, "123457");
        check(123_456_789.0, "123456789");
        check(0.000_012_345_678, "0.0000123457");
        check(0.000_001, "1e-6");
        check(1.5e20, "1.5e20");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "Inf");
        check(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn dollars_show_cents_or_what_is_below_them() {
        #[track_caller]
        fn check(value: f64, expect: &str) {
            assert_eq!(usd(value), expect);
        }
        check(0.0, "$0.00");
        check(1.0, "$1.00");
        check(1234.5, "$1,234.50");
        check(-3.2, "-$3.20");
        check(1_000_000.0, "$1,000,000.00");
        check(0.5, "$0.50");
        check(0.0042, "$0.0042");
        check(0.99999, "$1.00");
        check(0.000_012, "$0.000012");
        check(-1e18, "-$1e18");
        check(f64::NAN, "$NaN");
    }

    #[test]
    fn sizes_and_counts() {
        let sizes = [0, 1023, 1024, 1536, 1_048_575, 1 << 20, 5 << 30, u64::MAX];
        let expect = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "5.0 GiB", "16.0 EiB"];
        assert_eq!(sizes.map(bytes), expect);
        let counts = [0, 999, 1000, 12_345, 123_456, 1_234_567, u64::MAX];
        let expect = ["0", "999", "1,000", "12,345", "123,456", "1,234,567", "18,446,744,073,709,551,615"];
        assert_eq!(counts.map(count), expect);
    }

    #[test]
    fn a_hostile_name_cannot_disturb_the_terminal() {
        #[track_caller]
        fn check(name: &str, expect: &str) {
            assert_eq!(visible(name), expect);
            assert_eq!(visible(expect), expect, "twice is once");
        }
        check("momentum-7 交易 🦀", "momentum-7 交易 🦀");
        check("a\u{1b}[2Jb", "a\\u{1b}[2Jb");
        check("a\r\nb\tc", "a\\r\\nb\\tc");
        check("\u{9b}31m", "\\u{9b}31m");
        check("\u{202e}evil", "\\u{202e}evil");
        check("bot\u{200b}", "bot\\u{200b}");
        check("\u{7f}\0", "\\u{7f}\\u{0}");
    }
}
