use super::{DAY, Nanos, SECOND, offset, two_digits};
use crate::event::words::{self, Padded};

/// Days from 1970-01-01 to 2000-01-01.
const DAYS_TO_2000: u32 = 10_957;

/// Days of a year before each month, and before the next year; February has 28.
const DAYS_BEFORE: [u32; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// The day of the last time that was read: most lines are of the day of the line before.
#[derive(Debug)]
pub struct LastDay {
    /// As the text begins, `T` included: its first and its last eight bytes.
    text: [u64; 2],
    midnight: Nanos,
}

impl Default for LastDay {
    fn default() -> Self {
        let text = [*b"1970-01-", *b"0-01-01T"].map(u64::from_le_bytes);
        LastDay { text, midnight: 0 }
    }
}

/// Bytes of `YYYY-MM-DDT`.
const DATE: usize = 11;

/// Nanoseconds of a time of the years 2000 to 2099 as programs write it, with `T` and up to nine digits of fraction, a
/// quotation mark behind it, and where that stands. `None` for every other text, which the plain reader may yet know.
#[inline]
pub fn rfc3339(text: &Padded, at: usize, last: &mut LastDay) -> Option<(Nanos, usize)> {
    let date = [text.word(at), text.word(at + DATE - 8)];
    if date != last.text {
        *last = LastDay { midnight: midnight(text.between(at, at + DATE))?, text: date };
    }
    let clock = clock(text.word(at + DATE))?;
    let (fraction, end) = fraction(text, at + DATE + CLOCK)?;
    let (east, end) = match text.word(end) {
        zone if zone & 0xffff == u64::from(u16::from_le_bytes(*b"Z\"")) => (0, end + 1),
        zone if zone << 8 == u64::from_le_bytes(*b"\0+00:00\"") => (0, end + 6),
        _ if text.byte(end + 6) != b'"' => return None,
        _ => (Nanos::from(offset(text.between(end, end + 6))?), end + 6),
    };
    Some((last.midnight + (clock - east) * SECOND + fraction, end))
}

/// Nanoseconds to the begin of a day.
fn midnight(date: &[u8]) -> Option<Nanos> {
    let [b'2', b'0', y0, y1, b'-', m0, m1, b'-', d0, d1, b'T'] = *date else { return None };
    let (year, month, day) = (two_digits(y0, y1)?, two_digits(m0, m1)?, two_digits(d0, d1)?);
    let month_index = month.checked_sub(1)? as usize;
    // From 2000 to 2099 every fourth year is a leap year.
    let leap = u32::from(year % 4 == 0);
    let length = DAYS_BEFORE.get(month_index + 1)? - DAYS_BEFORE[month_index] + if month == 2 { leap } else { 0 };
    if day == 0 || day > length {
        return None;
    }
    let days = DAYS_TO_2000 + year * 365 + year.div_ceil(4) + DAYS_BEFORE[month_index] + day - 1;
    Some(Nanos::from(days + if month > 2 { leap } else { 0 }) * DAY)
}

/// Bytes of `HH:MM:SS`.
const CLOCK: usize = 8;

/// Seconds since midnight of `HH:MM:SS`, all eight bytes at once.
#[inline]
fn clock(text: u64) -> Option<Nanos> {
    const TENS: u64 = u64::from_le_bytes([0xff, 0, 0, 0xff, 0, 0, 0xff, 0]);
    // No digit is larger than these, and no colon is anything else.
    const MOST: u64 = u64::from_le_bytes([2, 9, 0, 5, 9, 0, 5, 9]);
    const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);
    // Digits become their values, and colons zero.
    let values = text ^ u64::from_le_bytes(*b"00:00:00");
    // Where a byte is not above the most, nothing is borrowed from the high bit that was put there.
    let small = ((MOST | HIGH_BITS).wrapping_sub(values & !HIGH_BITS) & HIGH_BITS) == HIGH_BITS;
    if !small || values & HIGH_BITS != 0 {
        return None;
    }
    // The tens of a pair are the byte before its ones.
    let pairs = (values & TENS) * 10 + ((values >> 8) & TENS);
    let [hours, _, _, minutes, _, _, seconds, _] = pairs.to_le_bytes();
    (hours < 24).then_some(Nanos::from(hours) * 3600 + Nanos::from(minutes) * 60 + Nanos::from(seconds))
}

/// Nanoseconds of a `.` and up to nine digits, if there is one, and where it ends.
#[inline]
fn fraction(text: &Padded, at: usize) -> Option<(Nanos, usize)> {
    const POWERS: [Nanos; 10] = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    if text.byte(at) != b'.' {
        return Some((0, at));
    }
    let (value, end) = words::digits(text, at + 1, 0);
    let length = end - at - 1;
    (length > 0).then_some((value as Nanos * POWERS.get(length)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rfc3339(text: &[u8], last: &mut LastDay) -> Option<Nanos> {
        let mut padded = Padded::default();
        assert!(padded.hold(&[b"\"", text, b"\","].concat()));
        let (nanos, end) = super::rfc3339(&padded, 1, last)?;
        assert_eq!(end, text.len() + 1, "{}", String::from_utf8_lossy(text));
        Some(nanos)
    }

    #[track_caller]
    fn check(text: &str) {
        let fast = rfc3339(text.as_bytes(), &mut LastDay::default());
        assert!(fast.is_none() || fast.map(i128::from) == super::super::rfc3339(text.as_bytes()), "{text}: {fast:?}");
    }

    #[test]
    fn every_day_of_the_century_is_the_same() {
        let mut last = LastDay::default();
        for year in 2000..2100 {
            for month in 0..=13 {
                for day in 0..=32 {
                    let text = format!("{year}-{month:02}-{day:02}T23:59:58.5Z");
                    let fast = rfc3339(text.as_bytes(), &mut last).map(i128::from);
                    assert_eq!(fast, super::super::rfc3339(text.as_bytes()), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_clock_is_known_by_every_byte() {
        for place in 0..CLOCK {
            for byte in 0..=u8::MAX {
                let mut text = *b"2026-03-01T11:38:47Z";
                text[DATE + place] = byte;
                let fast = rfc3339(&text, &mut LastDay::default()).map(i128::from);
                assert_eq!(fast, super::super::rfc3339(&text), "{}", String::from_utf8_lossy(&text));
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
            let mut last = LastDay::default();
            // Again by the day of the time before.
            for _ in 0..2 {
                prop_assert_eq!(rfc3339(text.as_bytes(), &mut last), Some(nanos));
            }
        }
    }
}
