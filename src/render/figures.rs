//! Figures of a state or an answer as text, short; a dash where there is none.

use std::borrow::Cow;

use serde_json::Value;

use super::human;
use crate::event::time;

/// Names in a sentence before the rest is only counted.
const NAMES_MAX: usize = 5;

/// A figure to three significant digits; `-` where there is none.
pub fn short(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), three)
}

/// Three significant digits.
pub fn three(value: f64) -> String {
    human::number(format!("{value:.2e}").parse().unwrap_or(value))
}

/// A count with its thousands set apart; `-` where there is none.
pub fn count(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), human::count)
}

/// Dollars; `-` where there are none.
pub fn usd(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), human::usd)
}

/// A text, safe to print; `-` where there is none.
pub fn text(value: &Value) -> Cow<'_, str> {
    human::visible(value.as_str().unwrap_or("-"))
}

/// The texts of a list, one after the other; `-` where there are none.
pub fn list(value: &Value) -> String {
    let texts: Vec<Cow<str>> = value.as_array().into_iter().flatten().map(text).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(", ") }
}

/// A time given in Unix seconds, to the second.
pub fn moment(value: &Value) -> String {
    let seconds = value.as_f64().filter(|seconds| (0.0..1e11).contains(seconds));
    seconds.map_or("-".to_owned(), |seconds| time::format(seconds.trunc() as i64 * time::SECOND))
}

/// The first few names, and how many more there are.
pub fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<Cow<str>> = names.into_iter().map(human::visible).collect();
    let shown = all[..all.len().min(NAMES_MAX)].join(", ");
    if all.len() > NAMES_MAX { format!("{shown} and {} more", all.len() - NAMES_MAX) } else { shown }
}

/// `1 agent`, `2 agents`.
pub fn some(count: usize, what: &str) -> String {
    format!("{} {what}{}", human::count(count as u64), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_short_and_absent_ones_are_a_dash() {
        assert_eq!(short(&json!(0.000443659)), "0.000444");
        assert_eq!(short(&json!(-12.3456)), "-12.3");
        assert_eq!((short(&json!(null)), count(&json!(null)), usd(&json!("x"))), ("-".into(), "-".into(), "-".into()));
        assert_eq!((short(&json!(123_456.0)), count(&json!(1204))), ("123000".into(), "1,204".into()));
        assert_eq!(text(&json!("a\u{1b}")), "a\\u{1b}");
        assert_eq!((list(&json!(["a", "b"])), list(&json!([]))), ("a, b".to_owned(), "-".to_owned()));
        assert_eq!(names(["a", "b"]), "a, b");
        assert_eq!(names(["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
        assert_eq!((some(1, "agent"), some(1200, "agent")), ("1 agent".into(), "1,200 agents".into()));
        assert_eq!(moment(&json!(1_772_375_400.25)), "2026-03-01T14:30:00Z");
    }
}
