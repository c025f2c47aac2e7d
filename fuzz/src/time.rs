use chrono::DateTime;
use runtape::event::time::{Stamp, format, parse_text};

/// A time as a text, an integer and a float: against chrono, and there and back.
pub fn judge(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        text_is_judged_as_chrono_does(text);
        let numbers = (text.parse::<i64>(), text.parse::<f64>());
        if let (Ok(int), Ok(float)) = numbers
            && int.unsigned_abs() < 1 << 53
        {
            assert_eq!(Stamp::of_int(int), Stamp::of_float(float), "{text}");
        }
    }
    if let Some(Ok(number)) = bytes.get(..8).map(<[u8; 8]>::try_from) {
        there_and_back(Stamp::of_int(i64::from_le_bytes(number)));
        there_and_back(Stamp::of_float(f64::from_le_bytes(number)));
    }
}

fn there_and_back(stamp: Stamp) {
    if let Stamp::At(nanos) = stamp {
        assert_eq!(Stamp::of_text(&format(nanos)), stamp);
        assert_eq!(Stamp::of_int(nanos), stamp, "nanoseconds are taken as such");
    }
}

fn text_is_judged_as_chrono_does(text: &str) {
    let stamp = Stamp::of_text(text);
    there_and_back(stamp);
    assert!(text.len() == 10 || parse_text(text) == stamp.at());
    let chronos = DateTime::parse_from_rfc3339(text).ok();
    // chrono knows a second 60, which is no time here.
    if let Some(time) = chrono_time(chronos.as_ref(), text) {
        assert_eq!(stamp.at(), Some(time), "{text}");
    }
    if let (Stamp::At(nanos), Some(time)) = (stamp, chronos) {
        assert_eq!(time.timestamp_nanos_opt(), Some(nanos), "{text}");
    }
}

fn chrono_time<T: chrono::TimeZone>(time: Option<&DateTime<T>>, text: &str) -> Option<i64> {
    let time = time?;
    let years = (946_684_800..4_102_444_800).contains(&time.timestamp());
    let leaps = text.get(17..19) == Some("60");
    (years && !leaps).then(|| time.timestamp_nanos_opt()).flatten()
}
