use serde_json::{Map, Value, json};

use super::errors::ApiError;
use crate::{
    event::fields::{NAME_BYTES_MAX, NUMBER_MAX},
    serve::tokens::nearest,
};

/// What a value must be: checked on requests and shown in the OpenAPI document, from the same table.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// 1 to [`NAME_BYTES_MAX`] bytes without control characters.
    Name,
    /// 1 to so many bytes of text.
    Text(usize),
    /// A number within ±2^53.
    Number,
    /// A number from 0 to 2^53.
    Amount,
    /// A whole number of a range.
    Whole(u64, u64),
    Flag,
    OneOf(&'static [&'static str]),
    /// Where a decision stands, as `12.gates.0`.
    Cursor,
    Object(&'static [Field]),
}

/// One parameter, or one field of a body.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    pub doc: &'static str,
}

impl Field {
    pub const fn must(name: &'static str, shape: Shape, doc: &'static str) -> Field {
        Field { name, shape, required: true, doc }
    }

    pub const fn may(name: &'static str, shape: Shape, doc: &'static str) -> Field {
        Field { name, shape, required: false, doc }
    }
}

/// Positions and counts end where integers are exact everywhere.
pub const WHOLE_MAX: u64 = NUMBER_MAX;

/// The fields of a body, each of its shape, without those that are null: null is absence, as on lines.
///
/// # Errors
/// Names the first field that is unknown, missing or not what it must be.
pub fn body(fields: &'static [Field], body: Value) -> Result<Map<String, Value>, ApiError> {
    object(fields, body, "")
}

fn object(fields: &'static [Field], value: Value, within: &str) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(mut object) = value else {
        let what = if within.is_empty() { "the body" } else { within.trim_end_matches('.') };
        return Err(ApiError::new(400, "invalid_field", format!("{what} is no object"), "send {...}"));
    };
    if let Some(key) = object.keys().find(|key| fields.iter().all(|field| field.name != **key)) {
        return Err(unknown("unknown_field", "field", within, key, fields));
    }
    object.retain(|_, value| !value.is_null());
    for field in fields {
        let path = format!("{within}{}", field.name);
        match object.get_mut(field.name) {
            None if field.required => {
                let want = format!("give it: {}; {}", want(field.shape), field.doc);
                return Err(ApiError::new(400, "missing_field", format!("{path} is missing"), want));
            }
            None => {}
            Some(value) => {
                if let Shape::Object(inner) = field.shape {
                    *value = self::object(inner, value.take(), &format!("{path}."))?.into();
                } else if !fits(field.shape, value) {
                    let message = format!("{path} = {} is not allowed", shortened(&value.to_string()));
                    return Err(ApiError::new(400, "invalid_field", message, format!("want {}", want(field.shape))));
                }
            }
        }
    }
    Ok(object)
}

/// The parameters of a query as values of their shape.
///
/// # Errors
/// Names the first parameter that is unknown, repeated or not what it must be.
pub fn query(fields: &'static [Field], pairs: Vec<(String, String)>) -> Result<Map<String, Value>, ApiError> {
    let mut found = Map::new();
    for (name, text) in pairs {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            return Err(unknown("unknown_parameter", "parameter", "", &name, fields));
        };
        let Some(value) = parse(field.shape, &text) else {
            let message = format!("{name} = {} is not allowed", shortened(&text));
            return Err(ApiError::new(400, "invalid_parameter", message, format!("want {}", want(field.shape))));
        };
        if found.insert(name, value).is_some() {
            let message = format!("{} is given twice", field.name);
            return Err(ApiError::new(400, "invalid_parameter", message, "give it once"));
        }
    }
    Ok(found)
}

/// The value a text stands for, if it is of the shape.
pub fn parse(shape: Shape, text: &str) -> Option<Value> {
    let value = match shape {
        // Only digits: no sign, no blank, and no other spelling of the same number.
        Shape::Whole(..) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u64>().ok()?.into(),
        Shape::Whole(..) => return None,
        Shape::Flag => text.parse::<bool>().ok()?.into(),
        _ => Value::from(text),
    };
    fits(shape, &value).then_some(value)
}

fn fits(shape: Shape, value: &Value) -> bool {
    let text = |max: usize| value.as_str().filter(|text| (1..=max).contains(&text.len()));
    // An integer just beyond the bound would round to it.
    let beyond =
        value.as_u64().is_some_and(|n| n > NUMBER_MAX) || value.as_i64().is_some_and(|n| n.unsigned_abs() > NUMBER_MAX);
    let number = |min: f64| !beyond && value.as_f64().is_some_and(|n| (min..=NUMBER_MAX as f64).contains(&n));
    match shape {
        Shape::Name => text(NAME_BYTES_MAX).is_some_and(|text| !text.chars().any(char::is_control)),
        Shape::Text(max) => text(max).is_some(),
        Shape::Number => number(-(NUMBER_MAX as f64)),
        Shape::Amount => number(0.0),
        Shape::Whole(min, max) => value.as_u64().is_some_and(|n| (min..=max).contains(&n)),
        Shape::Flag => value.is_boolean(),
        Shape::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Shape::Cursor => value.as_str().is_some_and(is_cursor),
        Shape::Object(_) => value.is_object(),
    }
}

fn is_cursor(text: &str) -> bool {
    let digits =
        |text: &str, max: usize| (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split('.');
    let (cause, consumer, ordinal, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    cause.is_some_and(|text| digits(text, 16))
        && consumer.is_some_and(|text| {
            (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        && ordinal.is_some_and(|text| digits(text, 9))
        && rest.is_none()
}

fn want(shape: Shape) -> String {
    match shape {
        Shape::Name => format!("a text of 1 to {NAME_BYTES_MAX} bytes without control characters"),
        Shape::Text(max) => format!("a text of 1 to {max} bytes"),
        Shape::Number => "a number from -2^53 to 2^53".to_owned(),
        Shape::Amount => "a number from 0 to 2^53".to_owned(),
        Shape::Whole(min, max) => format!("a whole number from {min} to {max}"),
        Shape::Flag => "true or false".to_owned(),
        Shape::OneOf(words) => format!("one of {}", words.join(", ")),
        Shape::Cursor => "a cursor from an earlier answer, as 12.gates.0".to_owned(),
        Shape::Object(_) => "an object".to_owned(),
    }
}

fn unknown(code: &'static str, what: &str, within: &str, key: &str, fields: &[Field]) -> ApiError {
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    let way_out = match nearest(key, &names) {
        Some(near) => format!("did you mean {within}{near}?"),
        None if names.is_empty() => format!("leave it out: there is no {what} here"),
        None => format!("there are {}", names.join(", ")),
    };
    ApiError::new(400, code, format!("there is no {what} {within}{}", shortened(key)), way_out)
}

/// The head of a text, for a message.
pub fn shortened(text: &str) -> String {
    const CHARS: usize = 60;
    let mut short: String = text.chars().take(CHARS).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

/// JSON Schema of a value in a query or a path, or of a required field.
pub fn schema(shape: Shape) -> Value {
    let max = NUMBER_MAX;
    match shape {
        Shape::Name => json!({
            "type": "string", "minLength": 1, "maxLength": NAME_BYTES_MAX, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        }),
        Shape::Text(max) => json!({ "type": "string", "minLength": 1, "maxLength": max }),
        Shape::Number => json!({ "type": "number", "minimum": -(max as i64), "maximum": max }),
        Shape::Amount => json!({ "type": "number", "minimum": 0, "maximum": max }),
        Shape::Whole(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::OneOf(words) => json!({ "type": "string", "enum": words }),
        Shape::Cursor => json!({ "type": "string", "pattern": "^[0-9]{1,16}\\.[a-z_]{1,32}\\.[0-9]{1,9}$" }),
        Shape::Object(fields) => object_schema(fields),
    }
}

/// JSON Schema of a body. Nothing but its fields may be in it.
pub fn object_schema(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = schema(field.shape);
        if let Some(schema) = schema.as_object_mut() {
            if !field.required {
                let kind = schema.get("type").cloned().unwrap_or_default();
                schema.insert("type".to_owned(), json!([kind, "null"]));
                if let Some(Value::Array(words)) = schema.get_mut("enum") {
                    words.push(Value::Null);
                }
            }
            schema.insert("description".to_owned(), field.doc.into());
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let (false, Some(object)) = (required.is_empty(), object.as_object_mut()) {
        object.insert("required".to_owned(), json!(required));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: &[Field] = &[Field::may("gate", Shape::Name, "A gate.")];
    const FIELDS: &[Field] = &[
        Field::must("agent", Shape::Name, "The agent."),
        Field::may("amount", Shape::Amount, "An amount."),
        Field::may("edge", Shape::Number, "An edge."),
        Field::may("paper", Shape::Flag, "On paper."),
        Field::may("action", Shape::OneOf(&["kill", "pause"]), "What."),
        Field::may("where", Shape::Object(INNER), "Which."),
        Field::may("limit", Shape::Whole(1, 1000), "How many."),
        Field::may("after", Shape::Cursor, "Where from."),
    ];

    #[test]
    fn bodies() {
        let check = |text: &str, want: &str| {
            let got = match body(FIELDS, serde_json::from_str(text).expect("JSON")) {
                Ok(map) => Value::Object(map).to_string(),
                Err(error) => format!("{}: {}; {}", error.code, error.message, error.way_out),
            };
            assert!(got.contains(want), "{text}\n want {want}\n got  {got}");
        };
        check(r#"{"agent":"a","amount":null}"#, r#"{"agent":"a"}"#);
        check(
            r#"{"agent":"a","amount":0.5,"edge":-3,"paper":true,"action":"kill","where":{"gate":"killed"}}"#,
            "killed",
        );
        check("[]", "invalid_field: the body is no object");
        check("{}", "missing_field: agent is missing; give it: a text of 1 to 128 bytes");
        check(r#"{"agent":null}"#, "missing_field");
        check(r#"{"agnet":"a"}"#, "unknown_field: there is no field agnet; did you mean agent?");
        check(r#"{"zzzzzzz":"a"}"#, "there are agent, amount, edge");
        check(r#"{"agent":""}"#, "invalid_field: agent = \"\"");
        check(r#"{"agent":"a\nb"}"#, "invalid_field");
        check(&format!("{{\"agent\":\"{}\"}}", "é".repeat(65)), "invalid_field");
        check(&format!("{{\"agent\":\"{}\"}}", "é".repeat(64)), "é");
        check(r#"{"agent":"a","amount":-1}"#, "amount = -1 is not allowed; want a number from 0 to 2^53");
        check(r#"{"agent":"a","edge":9007199254740992}"#, "edge");
        check(r#"{"agent":"a","edge":9007199254740993}"#, "invalid_field");
        check(r#"{"agent":"a","edge":-9007199254740993}"#, "invalid_field");
        check(r#"{"agent":"a","paper":"yes"}"#, "want true or false");
        check(r#"{"agent":"a","action":"Kill"}"#, "want one of kill, pause");
        check(r#"{"agent":"a","where":{"gaet":"x"}}"#, "there is no field where.gaet; did you mean where.gate?");
        check(r#"{"agent":"a","where":3}"#, "where is no object");
        check(r#"{"agent":"a","limit":1.5}"#, "want a whole number from 1 to 1000");
    }

    #[test]
    fn queries() {
        let check = |pairs: &[(&str, &str)], want: &str| {
            let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let got = match query(FIELDS, pairs) {
                Ok(map) => Value::Object(map).to_string(),
                Err(error) => format!("{}: {}; {}", error.code, error.message, error.way_out),
            };
            assert!(got.contains(want), "want {want}\n got  {got}");
        };
        check(&[("limit", "12"), ("paper", "true")], r#"{"limit":12,"paper":true}"#);
        check(&[("limit", "0")], "invalid_parameter: limit = 0");
        check(&[("limit", "+3")], "invalid_parameter");
        check(&[("limit", "99999999999999999999")], "invalid_parameter");
        check(&[("limit", "")], "invalid_parameter");
        check(&[("limit", "1"), ("limit", "2")], "limit is given twice");
        check(&[("limt", "1")], "unknown_parameter: there is no parameter limt; did you mean limit?");
        check(&[("after", "12.gates.0")], "12.gates.0");
        for bad in ["12.gates", "12.gates.0.1", "x.gates.0", "12..0", "-1.gates.0", "12.Gates.0"] {
            check(&[("after", bad)], "want a cursor");
        }
    }
}
