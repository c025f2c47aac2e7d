//! A decision in a line.

use std::fmt::Write as _;

use serde_json::Value;

use super::{figures, human};

/// A decision in one line: cause, consumer, subject, verdict, and the numbers behind it.
pub fn line(decision: &Value) -> String {
    let mut text = format!(
        "{:>9}  {:<12} {:<24} {:<12}",
        decision["cause"].as_u64().unwrap_or(0),
        figures::text(&decision["consumer"]),
        figures::text(&decision["subject"]),
        figures::text(&decision["verdict"]),
    );
    for (key, value) in decision["reason"].as_object().into_iter().flatten() {
        let _ = write!(text, " {}={}", human::visible(key), human::visible(&value.to_string()));
    }
    text
}

/// A decision about whoever it stands below, in one line, with the numbers to three digits.
pub fn brief(decision: &Value) -> String {
    format!(
        "{:>9}  {:<12} {:<12}{}",
        decision["cause"].as_u64().unwrap_or(0),
        figures::text(&decision["consumer"]),
        figures::text(&decision["verdict"]),
        numbers(decision),
    )
}

/// The numbers behind a decision, to three digits, each after a blank.
pub fn numbers(decision: &Value) -> String {
    let mut text = String::new();
    for (key, value) in decision["reason"].as_object().into_iter().flatten() {
        let shown = match value {
            Value::Number(_) => figures::short(value),
            Value::String(word) => human::visible(word).into_owned(),
            other => human::visible(&other.to_string()).into_owned(),
        };
        let _ = match key.as_str() {
            "rule" => write!(text, " {shown}"),
            _ => write!(text, " {}={shown}", human::visible(key)),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_is_one_line() {
        let decision = json!({
            "cause": 12, "ordinal": 0, "consumer": "gates", "subject_kind": "agent", "subject": "a\nb",
            "verdict": "killed", "reason": { "rule": "error rate", "error_rate": 0.25, "by": "\u{202e}x" },
        });
        let want = "       12  gates        a\\nb                     killed       rule=\"error rate\" error_rate=0.25 \
                    by=\"\\u{202e}x\"";
        assert_eq!(line(&decision), want);
        assert_eq!(brief(&decision), "       12  gates        killed       error rate error_rate=0.25 by=\\u{202e}x");
    }
}
