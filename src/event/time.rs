use chrono::{DateTime, NaiveDate, SecondsFormat};

use super::{decimal::Decimal, words::Padded};

/// Times as programs write them, in one pass.
mod fast;

pub(super) use fast::LastDay;

/// Unix time in nanoseconds, UTC. i64 reaches from 1677 to 2262.
pub type Nanos = i64;

/// A second.
pub const SECOND: Nanos = 1_000_000_000;
/// A day of UTC.
pub const DAY: Nanos = 86_400 * SECOND;

/// 2000-01-01, the first usable instant, and 2100-01-01, the first that is not: a time beyond them is a mistake.
const FROM: Nanos = 946_684_800 * SECOND;
const UNTIL: Nanos = 4_102_444_800 * SECOND;

/// The time of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamp {
    /// No `ts`, or null.
    #[default]
    Absent,
    /// Neither RFC 3339 nor a number, or outside the years 2000 to 2099: as if absent, and counted.
    Unusable,
    At(Nanos),
}

impl Stamp {
    /// The time, when there is a usable one.
    pub fn at(self) -> Option<Nanos> {
        match self {
            Stamp::At(nanos) => Some(nanos),
            Stamp::Absent | Stamp::Unusable => None,
        }
    }

    /// Of an RFC 3339 text.
    pub fn of_text(text: &str) -> Stamp {
        rfc3339(text.as_bytes()).map_or(Stamp::Unusable, Stamp::usable)
    }

    /// The same of a text within a line, and where the quotation mark behind it stands; `None` unless it is as most
    /// programs write it. The sooner when it is of the day of the one before.
    pub(super) fn of_text_within(line: &Padded, at: usize, last: &mut LastDay) -> Option<(Stamp, usize)> {
        let (nanos, end) = fast::rfc3339(line, at, last)?;
        (FROM..UNTIL).contains(&nanos).then_some((Stamp::At(nanos), end))
    }

    /// Of an integer: Unix seconds; above 1e11 milliseconds, above 1e14 microseconds, above 1e17 nanoseconds. Exact.
    pub fn of_int(number: i64) -> Stamp {
        let power = power(|threshold| number > threshold);
        Stamp::usable(i128::from(number) * 10i128.pow(power.unsigned_abs()))
    }

    /// Of any other number, in the same units: its shortest decimal, rounded half to even to the nanosecond.
    pub fn of_float(number: f64) -> Stamp {
        if !number.is_finite() {
            return Stamp::Unusable;
        }
        let power = power(|threshold| number > threshold as f64);
        Stamp::usable(Decimal::shortest(number).scaled(power))
    }

    fn usable(nanos: i128) -> Stamp {
        match Nanos::try_from(nanos) {
            Ok(nanos) if (FROM..UNTIL).contains(&nanos) => Stamp::At(nanos),
            _ => Stamp::Unusable,
        }
    }
}

/// The power of ten from the unit of a numeric `ts` to the nanosecond, given what it is above.
fn power(is_above: impl Fn(i64) -> bool) -> i32 {
    if is_above(100_000_000_000_000_000) {
        0
    } else if is_above(100_000_000_000_000) {
        3
    } else if is_above(100_000_000_000) {
        6
    } else {
        9
    }
}

/// A time as people type it: RFC 3339 as on a line, or a date alone for its midnight UTC. `None` for anything else,
/// and outside the years 2000 to 2099.
pub fn parse_text(text: &str) -> Option<Nanos> {
    match text.len() {
        10 => Stamp::of_text(&format!("{text}T00:00:00Z")).at(),
        _ => Stamp::of_text(text).at(),
    }
}

/// RFC 3339 in UTC with 0, 3, 6 or 9 digits of fraction, as many as the time needs.
pub fn format(nanos: Nanos) -> String {
    DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Nanoseconds of `YYYY-MM-DDTHH:MM:SS[.fraction][Z|±HH:MM]`; `t` or a space for `T`; `z` or nothing for `Z`. Digits
/// beyond the nanosecond are cut off. There is no second 60 and no hour 24.
fn rfc3339(text: &[u8]) -> Option<i128> {
    let (date, rest) = text.split_at_checked(10)?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *date else { return None };
    let year = two_digits(y0, y1)? * 100 + two_digits(y2, y3)?;
    // chrono counts a year 0, RFC 3339 texts of it are none that anyone means; both are long before 2000.
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, two_digits(m0, m1)?, two_digits(d0, d1)?)?;
    let (clock, rest) = rest.split_at_checked(9)?;
    let [b'T' | b't' | b' ', h0, h1, b':', m0, m1, b':', s0, s1] = *clock else { return None };
    let (hour, minute, second) = (two_digits(h0, h1)?, two_digits(m0, m1)?, two_digits(s0, s1)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = fraction(rest)?;
    let local = i128::from(date.signed_duration_since(NaiveDate::default()).num_seconds())
        + i128::from(hour * 3600 + minute * 60 + second);
    Some((local - i128::from(offset(rest)?)) * i128::from(SECOND) + i128::from(fraction))
}

/// Nanoseconds of a `.` and digits, if there is one, and what follows.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = digits.split_at(length);
    let nanos = (0..9).fold(0, |nanos, i| nanos * 10 + u32::from(digits.get(i).map_or(0, |digit| digit - b'0')));
    (length > 0).then_some((nanos, rest))
}

/// Seconds east of UTC.
fn offset(text: &[u8]) -> Option<i32> {
    let (sign, h0, h1, m0, m1) = match *text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', h0, h1, b':', m0, m1] => (1, h0, h1, m0, m1),
        [b'-', h0, h1, b':', m0, m1] => (-1, h0, h1, m0, m1),
        _ => return None,
    };
    let (hours, minutes) = (two_digits(h0, h1)?, two_digits(m0, m1)?);
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    (hours <= 23 && minutes <= 59).then_some(sign * seconds)
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

/// Unix seconds, for output: the nearest f64.
pub fn unix_seconds(nanos: Nanos) -> f64 {
    nanos as f64 / SECOND as f64
}

/// The UTC day, `YYYY-MM-DD`.
pub fn day_text(nanos: Nanos) -> String {
    format(nanos.div_euclid(DAY) * DAY).chars().take(10).collect()
}

#[cfg(test)]
mod tests;
