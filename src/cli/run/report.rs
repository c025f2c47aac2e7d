use serde_json::{Map, Value, json};

use super::record::Identity;
use crate::{
    event::{
        self, Kind, Line, Reason,
        control::{self, derived_id},
        fields::{self, Id, Scope},
    },
    policy::Limits,
};

/// Lines of one run that are looked at.
const LINES_MAX: usize = 10_000;
/// Their bytes in total: with the run's own line they fit into one request.
const BYTES_MAX: usize = 4 << 20;
/// Refusals that are told one by one.
const TOLD_MAX: usize = 10;

/// What came on the report descriptor, in lines.
#[derive(Debug, Default)]
pub struct Lines {
    whole: Vec<Vec<u8>>,
    partial: Vec<u8>,
    bytes: usize,
    /// Lines that were not kept.
    over: usize,
}

impl Lines {
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            self.extend(&bytes[..at]);
            self.end();
            bytes = &bytes[at + 1..];
        }
        self.extend(bytes);
    }

    /// One byte more than allowed is enough to refuse a line.
    fn extend(&mut self, bytes: &[u8]) {
        let room = (Limits::default().line_bytes + 1).saturating_sub(self.partial.len());
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.partial);
        if line.trim_ascii().is_empty() {
            return;
        }
        self.bytes += line.len();
        if self.whole.len() < LINES_MAX && self.bytes <= BYTES_MAX {
            self.whole.push(line);
        } else {
            self.over += 1;
        }
    }
}

/// What a command reported of its run.
#[derive(Debug, Default)]
pub struct Reported {
    /// Fields of the run's line.
    pub fields: Map<String, Value>,
    /// Lines of their own: signals and profits.
    pub lines: Vec<String>,
    /// How many were refused.
    pub refused: u64,
    /// What is said about those, and about what was left out.
    pub told: Vec<String>,
}

impl Reported {
    /// Judges what came on the descriptor, and the result on standard output if one is wanted: what the result says
    /// stands for what was reported before.
    pub fn judge(identity: &Identity, mut lines: Lines, result: Option<Option<Vec<u8>>>) -> Reported {
        lines.end();
        let mut reported = Reported::default();
        for (index, line) in lines.whole.iter().enumerate() {
            reported.take(identity, &format!("report line {}", index + 1), line, false);
        }
        if lines.over > 0 {
            reported.refused += lines.over as u64 - 1;
            let why = format!("{} lines more than {LINES_MAX}, or than {BYTES_MAX} bytes", lines.over);
            reported.refuse(&format!("report after line {}", lines.whole.len()), &why);
        }
        match result {
            Some(Some(line)) => reported.take(identity, "result line", &line, true),
            Some(None) => {
                let within = super::pump::TAIL_MAX;
                reported
                    .refuse("result line", &format!("no line {{...}} in the last {within} bytes of standard output"));
            }
            None => {}
        }
        reported
    }

    fn refuse(&mut self, place: &str, why: &str) {
        self.refused += 1;
        self.tell(format!("{place}: refused: {why}"));
    }

    fn tell(&mut self, text: String) {
        match self.told.len() {
            n if n < TOLD_MAX => self.told.push(text),
            TOLD_MAX => self.told.push("and more of this kind".to_owned()),
            _ => {}
        }
    }

    fn take(&mut self, identity: &Identity, place: &str, line: &[u8], replaces: bool) {
        match judged(identity, place, line) {
            Ok((Kind::Run, object)) => self.merge(place, &object, replaces),
            Ok((_, object)) => self.lines.push(Value::Object(object).to_string()),
            Err(why) => self.refuse(place, &why),
        }
    }

    /// Counts and costs of several reports add up, of other fields the last one stands.
    fn merge(&mut self, place: &str, object: &Map<String, Value>, replaces: bool) {
        let text = Value::Object(object.clone()).to_string();
        let Ok(line) = event::decode(text.as_bytes(), usize::MAX) else { return };
        for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            let known = fields::lookup(name.as_bytes());
            let field = known.map(Id::field).filter(|field| field.is_kept_on(Some(Kind::Run)));
            match field {
                Some(field) if matches!(field.scope, Scope::Shared) => {}
                Some(field) if field.id != Id::LatencyMs => {
                    let value = amount(field.id, &line).unwrap_or_else(|| value.clone());
                    let before = self.fields.get(name).filter(|_| !replaces);
                    let sum = before.filter(|_| amount(field.id, &line).is_some()).and_then(|old| sum(old, &value));
                    self.fields.insert(name.clone(), sum.unwrap_or(value));
                }
                _ => self.tell(format!("{place}: field {name:?} left out: `runtape schema run` lists what a run has")),
            }
        }
    }
}

/// A field that adds up, as the decoder read it.
fn amount(id: Id, line: &Line) -> Option<Value> {
    match id {
        Id::TokensIn => line.count(Id::TokensIn).map(Value::from),
        Id::TokensOut => line.count(Id::TokensOut).map(Value::from),
        Id::CachedTokens => line.count(Id::CachedTokens).map(Value::from),
        Id::Errors => line.count(Id::Errors).map(Value::from),
        Id::CostUsd => line.number(Id::CostUsd).map(Value::from),
        _ => None,
    }
}

fn sum(one: &Value, other: &Value) -> Option<Value> {
    match (one.as_u64(), other.as_u64()) {
        (Some(one), Some(other)) => Some(one.saturating_add(other).into()),
        _ => Some((one.as_f64()? + other.as_f64()?).into()),
    }
}

/// What a line says, completed: its kind, and the line.
fn judged(identity: &Identity, place: &str, bytes: &[u8]) -> Result<(Kind, Map<String, Value>), String> {
    let limit = Limits::default().line_bytes;
    let fault = |why: event::Malformed| format!("{} ({})", why.detail, why.reason.name());
    // What is missing is what we know: whose run it is.
    if let Err(why) = event::decode(bytes, limit)
        && why.reason != Reason::Missing
    {
        return Err(fault(why));
    }
    let mut object: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    object.retain(|_, value| !value.is_null());
    let own = [("run_id", Some(identity.run_id)), ("agent", Some(identity.agent)), ("strategy", identity.strategy)];
    for (name, own) in own {
        let Some(own) = own else { continue };
        if let Some(other) = object.insert(name.to_owned(), own.into()).filter(|other| other != own) {
            return Err(format!("{name} {other} is not that of this run ({own}); append it with `runtape append`"));
        }
    }
    let names_kind = object.contains_key("kind");
    let text = Value::Object(object.clone()).to_string();
    let kind = event::decode(text.as_bytes(), limit).map_err(fault)?.kind;
    match kind {
        Some(kind @ (Kind::Alpha | Kind::Pnl)) => {
            let id = || derived_id(&identity.event_id(), place).into();
            object.entry("event_id").or_insert_with(id);
            object.entry("ts").or_insert_with(|| control::stamp(identity.ended).into());
            let text = Value::Object(object.clone()).to_string();
            event::decode(text.as_bytes(), limit).map_err(fault)?;
            Ok((kind, object))
        }
        Some(Kind::Run) => Ok((Kind::Run, object)),
        None if !names_kind => {
            // Fields such as `model` tell no kind; said of a run, they are judged as those of one.
            object.insert("kind".to_owned(), json!("run"));
            let text = Value::Object(object.clone()).to_string();
            event::decode(text.as_bytes(), limit).map_err(fault)?;
            Ok((Kind::Run, object))
        }
        other => {
            let kind = other.map_or("line of this kind", Kind::name);
            Err(format!("a {kind} is no part of a run; want run, alpha or pnl"))
        }
    }
}
