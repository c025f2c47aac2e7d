use serde::de::IgnoredAny;

use crate::event::judge;
use crate::event::line::{Line, Malformed, Reason};
use crate::event::record::Record;
use crate::event::visit::{self, Refused};

/// How deep a line may nest, its top-level object counted as 1.
pub const DEPTH_MAX: usize = 64;

/// One line, without its `\n`, as a [`Line`] or a [`Malformed`]; a `\r` at its end is part of the line ending.
///
/// It is the last word on what a line means: serde_json reads the recognised fields and skips the rest, and the rules
/// that JSON does not have are judged afterwards. A line with several faults is counted under the first of: oversize, utf8,
/// json, not_object, depth, duplicate_key, version, then the fields in the order of the table, then missing.
pub fn decode(bytes: &[u8], line_bytes_max: usize) -> Result<Line<'static>, Malformed> {
    if bytes.len() > line_bytes_max {
        let detail = format!("{} bytes; want at most {line_bytes_max}", bytes.len());
        return Err(Malformed { reason: Reason::Oversize, detail });
    }
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, &error))?;
    let record = parse(text)?;
    if brackets(bytes) > DEPTH_MAX && depth(bytes) > DEPTH_MAX {
        let detail = format!("nested {} deep; want at most {DEPTH_MAX}", depth(bytes));
        return Err(Malformed { reason: Reason::Depth, detail });
    }
    if let Some(key) = record.duplicate() {
        let detail = format!("key {} is given twice; want each key once", judge::quoted(&key));
        return Err(Malformed { reason: Reason::DuplicateKey, detail });
    }
    judge::judge(record)
}

/// The recognised fields of a text that is one JSON object.
fn parse(text: &str) -> Result<Record<'_>, Malformed> {
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        check_syntax(text)?;
        let detail = format!("{} is not an object; want {{...}}", judge::shortened(text.trim()));
        return Err(Malformed { reason: Reason::NotObject, detail });
    }
    // Keys are read as bytes, where serde_json lets raw control characters pass.
    if has_control(text.as_bytes()) {
        check_syntax(text)?;
    }
    let mut refused = Refused::default();
    // Each attempt but the last adds a field to `refused`, so there are no more than there are fields.
    loop {
        match visit::read(text, &mut refused) {
            Ok(record) => return Ok(record),
            Err((error, retry)) => {
                check_syntax(text)?;
                if !retry {
                    return Err(not_json(text, &error));
                }
            }
        }
    }
}

fn check_syntax(text: &str) -> Result<(), Malformed> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| not_json(text, &error))
}

fn not_json(text: &str, error: &serde_json::Error) -> Malformed {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    // Columns count bytes from 1. A line holds no `\n` unless the caller passed one; then the column is of its row.
    let mut detail = format!("{message} at column {} of {}", error.column(), text.len());
    if text.starts_with('\u{feff}') {
        detail.push_str("; the line begins with a byte order mark");
    }
    Malformed { reason: Reason::Json, detail }
}

fn not_utf8(bytes: &[u8], error: &std::str::Utf8Error) -> Malformed {
    let at = error.valid_up_to();
    let byte = bytes.get(at).copied().unwrap_or_default();
    let detail = format!("byte 0x{byte:02x} at column {} of {} is not UTF-8", at + 1, bytes.len());
    Malformed { reason: Reason::Utf8, detail }
}

fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |any, &byte| any | (byte < b' '))
}

/// How many opening brackets there are, also inside strings: a bound of the depth without looking at strings.
fn brackets(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte | 0x20 == b'{').count()
}

/// The deepest nesting of a JSON text.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
