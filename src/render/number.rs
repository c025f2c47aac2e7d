//! Numbers as metric pages spell them, written straight into the page: a page has hundreds of thousands of them.

use std::fmt;
use std::io::Write;

/// Up to here a whole number in an f64 is exact, so that digits without a point say what is stored.
const EXACT: u64 = 1 << 53;

pub(super) fn write_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A sample value: whole numbers as integers, others in their shortest form that reads back as the same number, with an
/// exponent where the digits would otherwise be mostly zeros.
pub(super) fn write_f64(out: &mut Vec<u8>, value: f64) {
    let whole = value as i64;
    if whole as f64 == value && whole.unsigned_abs() <= EXACT {
        if whole < 0 {
            out.push(b'-');
        }
        write_u64(out, whole.unsigned_abs());
    } else if !value.is_finite() {
        out.extend_from_slice(not_finite(value));
    } else if (1e-5..1e16).contains(&value.abs()) {
        let mut digits = zmij::Buffer::new();
        let digits = digits.format_finite(value);
        out.extend_from_slice(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
    } else {
        write_fmt(out, format_args!("{value:e}"));
    }
}

/// The bound of a bucket. It is a label, so its spelling is part of the series' name: the canonical one of OpenMetrics
/// (Go's `%g` and at least one decimal: `5.0`, `0.001`, `1e+06`), which Prometheus 3 also makes of every other spelling.
/// One spelling in both formats keeps a series the same when a scraper changes format.
pub(super) fn write_le(out: &mut Vec<u8>, le: f64) {
    if !le.is_finite() {
        return out.extend_from_slice(not_finite(le));
    }
    let scientific = format!("{le:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        // Debug keeps the `.0` of a whole number; in this range it uses no exponent.
        write_fmt(out, format_args!("{le:?}"));
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write_fmt(out, format_args!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()));
    }
}

fn not_finite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"+Inf"
    } else {
        b"-Inf"
    }
}

fn write_fmt(out: &mut Vec<u8>, text: fmt::Arguments) {
    // A Vec takes every write.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check_value(value: f64, expect: &str) {
        let text = spell(|out| write_f64(out, value));
        assert_eq!(text, expect);
        if value.is_finite() {
            assert_eq!(text.parse::<f64>().unwrap(), value, "reads back");
        }
    }

    #[track_caller]
    fn check_le(le: f64, expect: &str) {
        assert_eq!(spell(|out| write_le(out, le)), expect);
    }

    #[test]
    fn integers() {
        for value in [0, 7, 10, 99, 100, 1_234_567_890, EXACT, u64::MAX] {
            assert_eq!(spell(|out| write_u64(out, value)), value.to_string());
        }
    }

    #[test]
    fn values_are_whole_or_shortest() {
        check_value(0.0, "0");
        check_value(-0.0, "0");
        check_value(3.0, "3");
        check_value(-12.0, "-12");
        check_value(0.1, "0.1");
        check_value(-2.5, "-2.5");
        check_value(0.1 + 0.2, "0.30000000000000004");
        check_value(1_785_542_400.125, "1785542400.125");
        check_value(9_007_199_254_740_992.0, "9007199254740992");
        check_value(1e15, "1000000000000000");
        check_value(1e16, "1e16");
        check_value(-1e300, "-1e300");
        check_value(1.25e-7, "1.25e-7");
        check_value(f64::MAX, "1.7976931348623157e308");
        check_value(f64::MIN_POSITIVE, "2.2250738585072014e-308");
        check_value(f64::NAN, "NaN");
        check_value(f64::INFINITY, "+Inf");
        check_value(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn bucket_bounds_are_canonical() {
        check_le(5.0, "5.0");
        check_le(0.0, "0.0");
        check_le(-10.0, "-10.0");
        check_le(-0.5, "-0.5");
        check_le(0.0001, "0.0001");
        check_le(0.00005, "5e-05");
        check_le(1e-10, "1e-10");
        check_le(300_000.0, "300000.0");
        check_le(1e6, "1e+06");
        check_le(2_500_000.0, "2.5e+06");
        check_le(1e100, "1e+100");
        check_le(f64::INFINITY, "+Inf");
    }
}
