use runtape::event::{Id, Line, Malformed, Reason, decode, decode::reference};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

const LIMIT: usize = 4096;

/// The decoder against the reference, and both against what JSON says by itself: a line that is taken says what the JSON says, one that is refused has
/// the fault it is refused for.
pub fn judge(bytes: &[u8]) {
    let decoded = decode(bytes, LIMIT);
    assert_eq!(decoded, reference::decode(bytes, LIMIT), "the reference says otherwise");
    let with_return = [bytes, b"\r"].concat();
    if !bytes.ends_with(b"\r") && with_return.len() <= LIMIT {
        assert_eq!(decode(&with_return, LIMIT), decoded, "a carriage return belongs to the line's end");
    }
    match &decoded {
        Ok(line) => taken(bytes, line),
        Err(malformed) => refused(bytes, malformed),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes.strip_suffix(b"\r").unwrap_or(bytes)).expect("what is not UTF-8 is refused as such")
}

fn taken(bytes: &[u8], line: &Line<'_>) {
    assert!(bytes.len() <= LIMIT);
    let text = text(bytes);
    assert!(is_json(text), "it was taken and is no JSON");
    // Numbers beyond f64 and unpaired surrogates in fields that are not looked at are none of the line's fault.
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else { return };
    assert!(depth(&Value::Object(object.clone())) <= 64, "deeper than is allowed");
    for (name, got) in [
        ("run_id", line.text(Id::RunId)),
        ("agent", line.text(Id::Agent)),
        ("strategy", line.text(Id::Strategy)),
        ("event_id", line.text(Id::EventId)),
        ("symbol", line.text(Id::Symbol)),
    ] {
        if let Some(got) = got {
            assert_eq!(object.get(name).and_then(Value::as_str), Some(got), "{name}");
        }
    }
    for (name, got) in [
        ("latency_ms", line.number(Id::LatencyMs)),
        ("cost_usd", line.number(Id::CostUsd)),
        ("reward", line.number(Id::Reward)),
    ] {
        if let Some(got) = got {
            assert!(got.is_finite(), "{name}");
            assert_eq!(object.get(name).and_then(Value::as_f64), Some(got), "{name}");
        }
    }
    let other_spelling = serde_json::to_string(&object).expect("JSON");
    if other_spelling.len() <= LIMIT {
        let again = decode(other_spelling.as_bytes(), LIMIT);
        assert_eq!(again.as_ref(), Ok(line), "the same JSON in other letters: {other_spelling}");
    }
}

fn refused(bytes: &[u8], Malformed { reason, detail }: &Malformed) {
    match reason {
        Reason::Oversize => assert!(bytes.len() > LIMIT, "{detail}"),
        Reason::Utf8 => assert!(std::str::from_utf8(bytes).is_err(), "{detail}"),
        Reason::Json => assert!(!is_json(text(bytes)), "{detail}"),
        Reason::NotObject => assert!(is_json(text(bytes)) && !is_object(text(bytes)), "{detail}"),
        Reason::Missing => {
            assert!(is_object(text(bytes)), "{detail}");
            // A number beyond f64 in a field that is not looked at cannot be read here: then there is a field.
            let empty = serde_json::from_str::<Map<String, Value>>(text(bytes)).is_ok_and(|object| object.is_empty());
            assert!(!empty || detail.contains("without"), "{detail}");
        }
        Reason::Depth | Reason::DuplicateKey | Reason::Type | Reason::Range | Reason::Name | Reason::Version => {
            assert!(is_object(text(bytes)), "{detail}")
        }
    }
    assert!(detail.len() < 1024, "a complaint stays short: {} bytes", detail.len());
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn is_object(text: &str) -> bool {
    is_json(text) && text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{')
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
