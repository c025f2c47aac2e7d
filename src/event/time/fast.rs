use super::{Nanos, SECOND, offset, two_digits};

/// Days from 1970-01-01 to 2000-01-01.
const DAYS_TO_2000: u32 = 10_957;

/// Days of a year before each month, and before the next year; February has 28.
const DAYS_BEFORE: [u32; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// Nanoseconds of a time of the years 2000 to 2099 as programs write it, with `T` and up to nine digits of fraction;
/// `None` for every other text, which the plain reader may yet know.
pub fn rfc3339(text: &[u8]) -> Option<Nanos> {
    let (clock, rest) = text.split_first_chunk::<19>()?;
    let [b'2', b'0', y0, y1, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1] = *clock else {
        return None;
    };
    let (year, month, day) = (two_digits(y0, y1)?, two_digits(m0, m1)?, two_digits(d0, d1)?);
    let (hour, minute, second) = (two_digits(h0, h1)?, two_digits(n0, n1)?, two_digits(s0, s1)?);
    let month_index = month.checked_sub(1)? as usize;
    // From 2000 to 2099 every fourth year is a leap year.
    let leap = u32::from(year % 4 == 0);
    let length = DAYS_BEFORE.get(month_index + 1)? - DAYS_BEFORE[month_index] + if month == 2 { leap } else { 0 };
    if day == 0 || day > length || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = DAYS_TO_2000 + year * 365 + year.div_ceil(4) + DAYS_BEFORE[month_index] + day - 1;
    let days = days + if month > 2 { leap } else { 0 };
    let (fraction, rest) = fraction(rest)?;
    let seconds = Nanos::from(days) * 86_400 + Nanos::from(hour * 3600 + minute * 60 + second);
    Some((seconds - Nanos::from(offset(rest)?)) * SECOND + fraction)
}

/// Nanoseconds of a `.` and up to nine digits, if there is one, and what follows.
fn fraction(text: &[u8]) -> Option<(Nanos, &[u8])> {
    const POWERS: [Nanos; 10] = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, text)) };
    let (mut value, mut length) = (0, 0);
    while let Some(digit) = digits.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        value = value * 10 + Nanos::from(digit);
        length += 1;
        if length > 9 {
            return None;
        }
    }
    (length > 0).then(|| (value * POWERS[length], &digits[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str) {
        let fast = rfc3339(text.as_bytes());
        assert!(fast.is_none() || fast.map(i128::from) == super::super::rfc3339(text.as_bytes()), "{text}: {fast:?}");
    }

    #[test]
    fn every_day_of_the_century_is_the_same() {
        for year in 2000..2100 {
            for month in 0..=13 {
                for day in 0..=32 {
                    let text = format!("{year}-{month:02}-{day:02}T23:59:58.5Z");
                    let fast = rfc3339(text.as_bytes()).map(i128::from);
                    assert_eq!(fast, super::super::rfc3339(text.as_bytes()), "{text}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn of_any_text_like_a_time(
            text in "20[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,11})?(Z|z|[+-][0-2][0-9]:[0-6][0-9]|)"
        ) {
            check(&text);
        }

        #[test]
        fn of_any_time(nanos in 946_684_800_000_000_000..4_102_444_800_000_000_000_i64) {
            let text = super::super::format(nanos);
            prop_assert_eq!(rfc3339(text.as_bytes()), Some(nanos));
        }
    }
}
