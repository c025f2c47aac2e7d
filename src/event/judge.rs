use std::borrow::Cow;

use super::fields::{Field, Id, NAME_BYTES_MAX, NUMBER_MAX, Shape};
use super::line::{Direction, Line, Malformed, Reason, RunId};
use super::record::{Record, Value};
use super::{Kind, Stamp, upcast};

/// A line of the fields of one JSON object: brought to the current version, its kind recognised, every field that
/// the kind has checked, the required ones demanded.
pub fn judge(mut record: Record<'_>) -> Result<Line<'_>, Malformed> {
    let version = version(record.take(Id::V))?;
    upcast::bring(&mut record, version);
    let mut line = Line { kind: kind_of(&mut record)?, ..Line::default() };
    while let Some(id) = record.first() {
        let (field, value) = (id.field(), record.take(id));
        if field.is_kept_on(line.kind) {
            fill(&mut line, field, value)?;
        } else if field.is_checked_on(line.kind) {
            fill(&mut Line::default(), field, value)?;
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
        let kind = name(Id::Kind.field(), record.take(Id::Kind))?;
        return Ok(Kind::from_name(&kind));
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
    if kind == Kind::Pnl && line.realized_pnl_bps.is_none() {
        Some("pnl without realized_pnl_bps".to_owned())
    } else if kind == Kind::Pnl && line.agent.is_none() && line.run_id.is_none() {
        Some("pnl without agent and run_id; want one of them".to_owned())
    } else {
        None
    }
}

fn fill<'a>(line: &mut Line<'a>, field: &Field, value: Value<'a>) -> Result<(), Malformed> {
    match field.id {
        // Taken before; and an alias that stood beside its canonical field, which wins.
        Id::Kind | Id::V => {}
        Id::EnsembleScoreFinal => drop(number(field, &value)?),
        Id::Ts => line.ts = stamp(field, &value)?,
        Id::RunId => line.run_id = Some(RunId::of(name(field, value)?)),
        Id::Agent => line.agent = Some(name(field, value)?),
        Id::Strategy => line.strategy = Some(name(field, value)?),
        Id::EventId => line.event_id = Some(name(field, value)?),
        Id::Symbol => line.symbol = Some(name(field, value)?),
        Id::LatencyMs => line.latency_ms = Some(number(field, &value)?),
        Id::TokensIn => line.tokens_in = Some(count(field, &value)?),
        Id::TokensOut => line.tokens_out = Some(count(field, &value)?),
        Id::CostUsd => line.cost_usd = Some(number(field, &value)?),
        Id::Errors => line.errors = Some(count(field, &value)?),
        Id::Reward => line.reward = Some(number(field, &value)?),
        Id::RealizedPnlBps => line.realized_pnl_bps = Some(number(field, &value)?),
        Id::ScoreFinal => line.score_final = Some(number(field, &value)?),
        Id::Direction => line.direction = Some(direction(field, &value)?),
        Id::Price => line.price = Some(number(field, &value)?),
        Id::CachedTokens => line.cached_tokens = Some(count(field, &value)?),
        Id::ErrorType => line.error_type = text(field, value)?,
        Id::Model => line.model = text(field, value)?,
        Id::SessionId => line.session_id = text(field, value)?,
        Id::Phase => line.phase = text(field, value)?,
        Id::Outcome => line.outcome = text(field, value)?,
        Id::CapitalUsd => line.capital_usd = Some(number(field, &value)?),
        Id::MaxLossUsd => line.max_loss_usd = Some(number(field, &value)?),
        Id::FillProb => line.fill_prob = Some(number(field, &value)?),
        Id::Regime => line.regime = text(field, value)?,
        Id::ExpectedEdgeBps => line.expected_edge_bps = Some(number(field, &value)?),
        Id::NotionalUsd => line.notional_usd = Some(number(field, &value)?),
        Id::EntryPrice => line.entry_price = Some(number(field, &value)?),
        Id::ExitPrice => line.exit_price = Some(number(field, &value)?),
        _ => return fill_control(line, field, value),
    }
    Ok(())
}

/// The fields of control lines.
fn fill_control<'a>(line: &mut Line<'a>, field: &Field, value: Value<'a>) -> Result<(), Malformed> {
    match field.id {
        Id::Action => line.action = Some(name(field, value)?),
        Id::Fleet => line.fleet = flag(field, &value)?,
        Id::Actor => line.actor = Some(name(field, value)?),
        Id::Reason => line.reason = text(field, value)?,
        Id::Policy => line.policy = text(field, value)?,
        Id::AmountUsd => line.amount_usd = Some(number(field, &value)?),
        Id::SpreadBps => line.spread_bps = Some(number(field, &value)?),
        Id::SlippageBps => line.slippage_bps = Some(number(field, &value)?),
        Id::DataAgeSec => line.data_age_sec = Some(number(field, &value)?),
        Id::Paper => line.paper = flag(field, &value)?,
        Id::Reduce => line.reduce = flag(field, &value)?,
        _ => {}
    }
    Ok(())
}

fn flag(field: &Field, value: &Value<'_>) -> Result<bool, Malformed> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        _ => Err(wrong_type(field, value)),
    }
}

fn name<'a>(field: &Field, value: Value<'a>) -> Result<Cow<'a, str>, Malformed> {
    let fault = match &value {
        Value::Str(name) if name.is_empty() => Some("is empty".to_owned()),
        Value::Str(name) if name.len() > NAME_BYTES_MAX => Some(format!("has {} bytes", name.len())),
        Value::Str(name) if name.chars().any(char::is_control) => Some("holds a control character".to_owned()),
        _ => None,
    };
    match fault {
        Some(fault) => Err(complaint(Reason::Name, field, &value, &fault)),
        None => string(field, value),
    }
}

/// A descriptive text; an empty one is absence.
fn text<'a>(field: &Field, value: Value<'a>) -> Result<Option<Cow<'a, str>>, Malformed> {
    string(field, value).map(|text| Some(text).filter(|text| !text.is_empty()))
}

fn string<'a>(field: &Field, value: Value<'a>) -> Result<Cow<'a, str>, Malformed> {
    match value {
        Value::Str(text) => Ok(text),
        Value::Surrogate => Err(complaint(Reason::Name, field, &value, "holds an unpaired surrogate")),
        other => Err(wrong_type(field, &other)),
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
