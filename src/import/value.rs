use serde_json::{Number, Value};

use crate::event::{fields::Shape, time::Stamp};

/// The value, unless it says nothing: null, or an empty text, which databases write for null.
pub fn present(value: Value) -> Option<Value> {
    let empty = matches!(&value, Value::Null) || matches!(&value, Value::String(text) if text.trim().is_empty());
    (!empty).then_some(value)
}

/// The object or array that a text holds as JSON.
pub fn embedded(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// A value in the shape of a field, where it is clear what is meant: numbers and flags written as text (CSV knows only
/// texts), ids that are numbers, times as PostgreSQL writes them. Anything else is left as it is, for the decoder to
/// refuse with its reason.
pub fn shaped(shape: Shape, value: Value) -> Value {
    match shape {
        Shape::Name | Shape::Text | Shape::Direction => match value {
            Value::Number(number) => Value::String(number.to_string()),
            Value::Bool(flag) => Value::String(flag.to_string()),
            other => other,
        },
        Shape::Number | Shape::Amount | Shape::Count | Shape::Version => numeric(value),
        Shape::CountOrBool | Shape::Flag => flag(&value).map_or_else(|| numeric(value), Value::Bool),
        Shape::Stamp => match numeric(value) {
            Value::String(text) => Value::String(rfc3339(&text)),
            other => other,
        },
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A text that is a JSON number, as that number.
fn numeric(value: Value) -> Value {
    let number = value.as_str().and_then(|text| serde_json::from_str::<Number>(text.trim()).ok());
    number.map_or(value, Value::Number)
}

/// The number of a value, also where it is written as text.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => serde_json::from_str::<f64>(text.trim()).ok(),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// The text of a value that is one, or a number.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether a value says yes, in the words of JSON, Python and SQL.
pub fn is_true(value: &Value) -> bool {
    flag(value) == Some(true) || matches!(value, Value::String(text) if text.trim().eq_ignore_ascii_case("t"))
}

/// The time of a value, if it is a usable one.
pub fn time(value: &Value) -> Stamp {
    match shaped(Shape::Stamp, value.clone()) {
        Value::Null => Stamp::Absent,
        Value::String(text) => Stamp::of_text(&text),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Stamp::of_int(whole),
            None => number.as_f64().map_or(Stamp::Unusable, Stamp::of_float),
        },
        _ => Stamp::Unusable,
    }
}

/// `+00` and ` UTC` at the end of a time, which PostgreSQL and Python write, as RFC 3339 has them.
fn rfc3339(text: &str) -> String {
    let text = text.trim();
    if let Some(rest) = text.strip_suffix(" UTC") {
        return format!("{rest}Z");
    }
    let short = text.len() > 19 && text.is_char_boundary(text.len() - 3);
    let tail = if short { text.split_at(text.len() - 3).1 } else { "" };
    match tail.as_bytes() {
        [b'+' | b'-', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit() => format!("{text}:00"),
        _ => text.to_owned(),
    }
}

/// A number times a factor. A power of ten moves the decimal point, so that 0.0123 of anything is 123 basis points to the
/// last bit.
pub fn times(number: f64, factor: f64) -> f64 {
    let power = (-9..=9).find(|power| format!("1e{power}").parse() == Ok(factor));
    let moved = power.and_then(|power: i32| {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e')?;
        format!("{digits}e{}", exponent.parse::<i32>().ok()? + power).parse().ok()
    });
    moved.unwrap_or(number * factor)
}

/// A number as JSON: a whole one without a fraction, as counts must be.
pub fn of_number(number: f64) -> Value {
    const EXACT: f64 = (1u64 << 53) as f64;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// JSON whose keys are sorted, so that the same record gives the same bytes whoever wrote it.
pub fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in fields {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_take_the_shape_of_their_field() {
        for (shape, value, want) in [
            (Shape::Name, json!(17), json!("17")),
            (Shape::Count, json!("42"), json!(42)),
            (Shape::Count, json!("4,2"), json!("4,2")),
            (Shape::Amount, json!(" 0.5 "), json!(0.5)),
            (Shape::CountOrBool, json!("True"), json!(true)),
            (Shape::CountOrBool, json!("3"), json!(3)),
            (Shape::Stamp, json!("1772373600"), json!(1_772_373_600)),
            (Shape::Stamp, json!("2026-03-01 14:00:00.25+00"), json!("2026-03-01 14:00:00.25+00:00")),
            (Shape::Stamp, json!("2026-03-01 14:00:00 UTC"), json!("2026-03-01 14:00:00Z")),
            (Shape::Stamp, json!("2026-03-01"), json!("2026-03-01")),
        ] {
            assert_eq!(shaped(shape, value.clone()), want, "{shape:?} {value}");
        }
    }

    #[test]
    fn powers_of_ten_are_exact() {
        assert_eq!(times(0.03990025, 1e4), 399.0025);
        assert_eq!(times(1.234, 1000.0), 1234.0);
        assert_eq!(times(-5.0, 0.001), -0.005);
        assert_eq!(times(3.0, 60.0), 180.0);
        assert_eq!(times(0.0, 1000.0), 0.0);
        assert_eq!(of_number(1234.0), json!(1234));
        assert_eq!(of_number(0.5), json!(0.5));
    }

    #[test]
    fn the_order_of_keys_is_no_difference() {
        let canonical = |value: Value| {
            let mut out = String::new();
            super::canonical(&value, &mut out);
            out
        };
        assert_eq!(
            canonical(json!({"a": 1, "b": [{"c": 1, "d": 2}]})),
            canonical(json!({"b": [{"d": 2, "c": 1}], "a": 1}))
        );
        assert_ne!(canonical(json!({"a": "1"})), canonical(json!({"a": 1})));
    }
}
