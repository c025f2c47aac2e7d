use super::fields::{Field, Id, NAME_BYTES_MAX, NUMBER_MAX, Shape};
use super::line::{Direction, Line, Malformed, Reason};
use super::record::{Record, Value};
use super::{Kind, Stamp, upcast};

/// A line of the fields of one JSON object: brought to the current version, its kind recognised, every field that
/// the kind has checked, the required ones demanded.
pub fn judge(mut record: Record) -> Result<Line<'static>, Malformed> {
    let version = version(record.take(Id::V))?;
    upcast::bring(&mut record, version);
    let mut line = Line::default();
    line.row.to_mut().kind = kind_of(&mut record)?;
    while let Some(id) = record.first() {
        let (field, value) = (id.field(), record.take(id));
        if field.is_kept_on(line.kind) {
            fill(&mut line, field, &value)?;
        } else if field.is_checked_on(line.kind) {
            fill(&mut Line::default(), field, &value)?;
        }
    }
    match missing(&line) {
        Some(detail) => Err(Malformed { reason: Reason::Missing, detail }),
        None => Ok(line),
    }
}

/// The schema version: 1 when absent. One beyond [`upcast::CURRENT`] is refused before anything else is looked at,
/// since fields may have changed their meaning.
fn version(value: Value<'_>) -> Result<u64, Malformed> {
    let field = Id::V.field();
    if value == Value::Null {
        return Ok(1);
    }
    match count(field, &value)? {
        0 => Err(complaint(Reason::Range, field, &value, "is too low")),
        version if version <= upcast::CURRENT => Ok(version),
        version => {
            let detail = format!("v: {version} is newer than this program knows; want at most {}", upcast::CURRENT);
            Err(Malformed { reason: Reason::Version, detail })
        }
    }
}

/// The kind by the field `kind`, else by the first group of fields that is there.
fn kind_of(record: &mut Record<'_>) -> Result<Option<Kind>, Malformed> {
    if record.has(Id::Kind) {
        let kind = record.take(Id::Kind);
        return Ok(Kind::from_name(name(Id::Kind.field(), &kind)?));
    }
    let any = |ids: &[Id]| ids.iter().any(|&id| record.has(id));
    Ok(if any(&[Id::RealizedPnlBps]) {
        Some(Kind::Pnl)
    } else if any(&[Id::ScoreFinal, Id::EnsembleScoreFinal, Id::Direction]) {
        Some(Kind::Alpha)
    } else if any(&[Id::LatencyMs, Id::TokensIn, Id::TokensOut, Id::CostUsd, Id::Errors, Id::Reward]) {
        Some(Kind::Run)
    } else if record.has(Id::Price) && record.has(Id::Symbol) {
        Some(Kind::Price)
    } else {
        None
    })
}

fn missing(line: &Line<'_>) -> Option<String> {
    let kind = line.kind?;
    if kind == Kind::Pnl && !line.has(Id::RealizedPnlBps) {
        Some("pnl without realized_pnl_bps".to_owned())
    } else if kind == Kind::Pnl && !line.has(Id::Agent) && !line.has(Id::RunId) {
        Some("pnl without agent and run_id; want one of them".to_owned())
    } else {
        None
    }
}

/// Puts a value where it belongs.
fn fill(line: &mut Line, field: &Field, value: &Value) -> Result<(), Malformed> {
    let id = field.id;
    match field.shape {
        // Taken before; and an alias that stood beside its canonical field, which wins.
        _ if matches!(id, Id::Kind | Id::V) => return Ok(()),
        _ if id == Id::EnsembleScoreFinal => return number(field, value).map(drop),
        Shape::Stamp | Shape::Version => line.row.to_mut().ts = stamp(field, value)?,
        Shape::Name => line.tell(id, name(field, value)?),
        Shape::Text => match string(field, value)? {
            // It says nothing.
            "" => return Ok(()),
            text => line.tell(id, text),
        },
        Shape::Number | Shape::Amount => line.row.to_mut().put_number(id, number(field, value)?),
        Shape::Count | Shape::CountOrBool => line.row.to_mut().put_number(id, count(field, value)? as f64),
        Shape::Flag => line.row.to_mut().put_number(id, f64::from(u8::from(flag(field, value)?))),
        Shape::Direction => line.row.to_mut().put_direction(direction(field, value)?),
    }
    let given = line.given | 1 << id as u64;
    line.row.to_mut().give(given);
    Ok(())
}

fn flag(field: &Field, value: &Value<'_>) -> Result<bool, Malformed> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        _ => Err(wrong_type(field, value)),
    }
}

fn name<'a>(field: &Field, value: &'a Value) -> Result<&'a str, Malformed> {
    let fault = match value {
        Value::Str(name) if name.is_empty() => Some("is empty".to_owned()),
        Value::Str(name) if name.len() > NAME_BYTES_MAX => Some(format!("has {} bytes", name.len())),
        Value::Str(name) if name.chars().any(char::is_control) => Some("holds a control character".to_owned()),
        _ => None,
    };
    match fault {
        Some(fault) => Err(complaint(Reason::Name, field, value, &fault)),
        None => string(field, value),
    }
}

fn string<'a>(field: &Field, value: &'a Value) -> Result<&'a str, Malformed> {
    match value {
        Value::Str(text) => Ok(text),
        Value::Surrogate => Err(complaint(Reason::Name, field, value, "holds an unpaired surrogate")),
        other => Err(wrong_type(field, other)),
    }
}

/// A number in the range of the field's shape. Minus zero is zero.
fn number(field: &Field, value: &Value<'_>) -> Result<f64, Malformed> {
    let (number, within) = match *value {
        Value::Int(n) => (n as f64, n.unsigned_abs() <= NUMBER_MAX),
        Value::Float(x) => (x, x.abs() <= NUMBER_MAX as f64),
        Value::Overflow => (f64::INFINITY, false),
        _ => return Err(wrong_type(field, value)),
    };
    if !within {
        return Err(complaint(Reason::Range, field, value, "is out of range"));
    }
    if number < 0.0 && field.shape != Shape::Number {
        return Err(complaint(Reason::Range, field, value, "is negative"));
    }
    Ok(number + 0.0)
}

fn count(field: &Field, value: &Value<'_>) -> Result<u64, Malformed> {
    if let (Shape::CountOrBool, Value::Bool(flag)) = (field.shape, value) {
        return Ok(u64::from(*flag));
    }
    let number = number(field, value)?;
    if number.fract() != 0.0 {
        return Err(complaint(Reason::Range, field, value, "is not whole"));
    }
    Ok(number as u64)
}

fn direction(field: &Field, value: &Value<'_>) -> Result<Direction, Malformed> {
    match value {
        Value::Str(text) => Direction::ALL
            .into_iter()
            .find(|direction| direction.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| complaint(Reason::Range, field, value, "is no direction")),
        Value::Surrogate => Err(complaint(Reason::Range, field, value, "is no direction")),
        _ => Err(wrong_type(field, value)),
    }
}

fn stamp(field: &Field, value: &Value<'_>) -> Result<Stamp, Malformed> {
    match *value {
        Value::Str(ref text) => Ok(Stamp::of_text(text)),
        Value::Int(number) => Ok(Stamp::of_int(number)),
        Value::Float(number) => Ok(Stamp::of_float(number)),
        Value::Overflow => Err(complaint(Reason::Range, field, value, "is out of range")),
        _ => Ok(Stamp::Unusable),
    }
}

fn wrong_type(field: &Field, value: &Value<'_>) -> Malformed {
    let fault = match value {
        Value::Null => "is null",
        Value::Bool(_) => "is a boolean",
        Value::Int(_) | Value::Float(_) | Value::Overflow => "is a number",
        Value::Str(_) | Value::Surrogate => "is a string",
        Value::List => "is a list",
        Value::Object => "is an object",
    };
    complaint(Reason::Type, field, value, fault)
}

fn complaint(reason: Reason, field: &Field, value: &Value<'_>, fault: &str) -> Malformed {
    let value = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => shortened(&number.to_string()),
        Value::Overflow => "a number beyond 1.8e308".to_owned(),
        Value::Str(text) => quoted(text),
        Value::Surrogate => "\"...\"".to_owned(),
        Value::List => "[...]".to_owned(),
        Value::Object => "{...}".to_owned(),
    };
    let detail = format!("{}: {value} {fault}; want {}", field.name, field.shape.want());
    Malformed { reason, detail }
}

const SHOWN_CHARS: usize = 60;

/// At most the first 60 characters.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The same in quotation marks, with escapes for what does not print.
pub fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}
