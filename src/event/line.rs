use std::{borrow::Cow, fmt, ops::Deref};

use serde::{Deserialize, Serialize};

use super::{
    Action, Key, Kind,
    fields::{Field, Id, Shape, TABLE},
    judge::quoted,
    row::Row,
    time::{self, Stamp},
};

/// One decoded line: every recognised field, absent when missing or null. Which of them a line may carry follows
/// from its kind; the unknown rest stays on disk.
#[derive(Clone)]
pub struct Line<'a> {
    pub(super) row: Cow<'a, Row>,
    /// What the row's texts are spans of: the line itself, or its texts alone where they had to be brought to another form.
    pub(super) text: Cow<'a, str>,
}

impl Default for Line<'_> {
    /// A line that says nothing.
    #[inline(always)]
    fn default() -> Self {
        const NOTHING: &Row = &Row::NOTHING;
        Line { row: Cow::Borrowed(NOTHING), text: Cow::Borrowed("") }
    }
}

impl Deref for Line<'_> {
    type Target = Row;

    #[inline(always)]
    fn deref(&self) -> &Row {
        &self.row
    }
}

impl Line<'_> {
    /// A name or a text.
    #[inline(always)]
    pub fn text(&self, id: Id) -> Option<&str> {
        let (from, to) = self.row.span(id)?;
        self.text.get(from as usize..to as usize)
    }

    /// Sets a name or a text, which the line keeps a copy of.
    pub(super) fn tell(&mut self, id: Id, text: &str) {
        let (from, all) = (self.text.len() as u32, self.text.to_mut());
        all.push_str(text);
        let span = (from, all.len() as u32);
        match id {
            Id::RunId => self.row.to_mut().put_run(span, Key::of(text)),
            _ => self.row.to_mut().put_text(id, span),
        }
    }

    /// The fields with a value, in the order of the table, as they are shown.
    fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        TABLE.iter().filter_map(|field| Some((field.name, self.shown(field)?)))
    }

    fn shown(&self, field: &Field) -> Option<String> {
        let id = field.id;
        match field.shape {
            // They are those of every line.
            _ if matches!(id, Id::Kind | Id::V | Id::Ts) => None,
            Shape::Name | Shape::Text => self.text(id).map(|text| format!("{text:?}")),
            Shape::Count | Shape::CountOrBool => self.count(id).map(|count| count.to_string()),
            Shape::Direction => self.direction().map(|direction| direction.name().to_owned()),
            Shape::Flag => self.flag(id).then(|| "true".to_owned()),
            Shape::Number | Shape::Amount => self.number(id).map(|number| format!("{number:?}")),
            Shape::Stamp | Shape::Version => None,
        }
    }
}

impl PartialEq for Line<'_> {
    fn eq(&self, other: &Self) -> bool {
        let bits = |line: &Self, id: Id| line.number(id).map(f64::to_bits);
        let same =
            |id: Id| if id.is_text() { self.text(id) == other.text(id) } else { bits(self, id) == bits(other, id) };
        let of = |line: &Self| (line.kind, line.ts, line.given, line.run());
        of(self) == of(other) && TABLE.iter().all(|field| same(field.id))
    }
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.map_or("unknown", Kind::name))?;
        match self.ts {
            Stamp::Absent => {}
            Stamp::Unusable => f.write_str(" ts=unusable")?,
            Stamp::At(nanos) => write!(f, " ts={}", time::format(nanos))?,
        }
        self.fields().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl Line<'_> {
    /// Why the line is malformed in the control stream, where control lines must be whole. Elsewhere they are refused
    /// whatever they hold, so the decoder, which does not know the stream, does not ask.
    pub fn control_fault(&self) -> Option<Malformed> {
        let kind = self.kind.filter(|kind| kind.is_control())?;
        let required: &[Id] = match kind {
            Kind::Command => &[Id::EventId, Id::Action, Id::Actor],
            Kind::Policy => &[Id::EventId, Id::Policy, Id::Actor],
            Kind::Check => &[Id::EventId, Id::Agent],
            Kind::Reserve => &[Id::EventId, Id::Agent, Id::RunId, Id::AmountUsd],
            _ => &[Id::EventId, Id::RunId],
        };
        if let Some(id) = required.iter().find(|id| !self.has(**id)) {
            let detail = format!("{} without {}", kind.name(), id.field().name);
            return Some(Malformed { reason: Reason::Missing, detail });
        }
        if kind == Kind::Command { self.command_fault() } else { None }
    }

    fn command_fault(&self) -> Option<Malformed> {
        let subjects = [self.has(Id::Agent), self.has(Id::Strategy), self.flag(Id::Fleet)];
        if subjects.into_iter().filter(|given| *given).count() != 1 {
            let detail = "command without one subject; want agent, strategy or fleet: true".to_owned();
            return Some(Malformed { reason: Reason::Missing, detail });
        }
        let action = self.text(Id::Action).unwrap_or_default();
        if Action::from_name(action).is_some() {
            return None;
        }
        let detail = format!("action: {} is no action; want one of {}", quoted(action), Action::words());
        Some(Malformed { reason: Reason::Range, detail })
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    Long,
    Short,
    Flat,
}

impl Direction {
    pub const ALL: [Direction; 3] = [Direction::Long, Direction::Short, Direction::Flat];

    /// As lines spell it.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Long => "LONG",
            Direction::Short => "SHORT",
            Direction::Flat => "FLAT",
        }
    }
}

/// A line that could not be decoded: why, and where in the line.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    pub reason: Reason,
    /// For a person: the field, its value (shortened), what is allowed.
    pub detail: String,
}

/// A line, or why it is none.
pub type Decoded<'a, 'l> = Result<&'a Line<'l>, &'a Malformed>;

impl Malformed {
    /// Of a line that was skipped for its length.
    pub fn oversize(length: u64, line_bytes_max: usize) -> Malformed {
        let detail = format!("the line is {length} bytes long; want at most {line_bytes_max}");
        Malformed { reason: Reason::Oversize, detail }
    }
}

/// The reasons a line is malformed; each line is counted under exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Longer than the limit.
    Oversize,
    /// Not UTF-8.
    Utf8,
    /// Not JSON.
    Json,
    /// JSON, but not one object.
    NotObject,
    /// Nested deeper than 64.
    Depth,
    /// A top-level key given twice.
    DuplicateKey,
    /// A recognised field of the wrong type.
    Type,
    /// A recognised field out of its range.
    Range,
    /// A name that is empty, too long, or holds control characters or unpaired surrogates.
    Name,
    /// A required field is missing.
    Missing,
    /// A schema version this program does not know.
    Version,
}

impl Reason {
    pub const ALL: [Reason; 11] = [
        Reason::Oversize,
        Reason::Utf8,
        Reason::Json,
        Reason::NotObject,
        Reason::Depth,
        Reason::DuplicateKey,
        Reason::Type,
        Reason::Range,
        Reason::Name,
        Reason::Missing,
        Reason::Version,
    ];

    /// The reason as a metric label and in `rejects.jsonl`.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Oversize => "oversize",
            Reason::Utf8 => "utf8",
            Reason::Json => "json",
            Reason::NotObject => "not_object",
            Reason::Depth => "depth",
            Reason::DuplicateKey => "duplicate_key",
            Reason::Type => "type",
            Reason::Range => "range",
            Reason::Name => "name",
            Reason::Missing => "missing",
            Reason::Version => "version",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Kind, decode, fields};

    /// A control line by its kind and the rest of it; its fault, or none.
    #[track_caller]
    fn check(kind: &str, rest: &str, want: &str) {
        let line = format!(r#"{{"kind":"{kind}"{rest}}}"#);
        let fault = decode(line.as_bytes(), 1 << 20).expect("well-formed").control_fault();
        assert_eq!(fault.map_or(String::new(), |fault| fault.detail), want, "{line}");
    }

    #[test]
    fn control_lines_must_be_whole_where_they_count() {
        for kind in ["command", "policy", "check", "reserve", "release"] {
            check(kind, "", &format!("{kind} without event_id"));
        }
        check("command", r#","event_id":"e","agent":"a","actor":"x""#, "command without action");
        check("command", r#","event_id":"e","agent":"a","action":"kill""#, "command without actor");
        let subject = "command without one subject; want agent, strategy or fleet: true";
        let order = r#","event_id":"e","actor":"x","action":"pause""#;
        check("command", order, subject);
        check("command", &format!(r#"{order},"fleet":false"#), subject);
        check("command", &format!(r#"{order},"fleet":true,"agent":"a""#), subject);
        check("command", &format!(r#"{order},"fleet":true"#), "");
        check("command", &format!(r#"{order},"strategy":"s""#), "");
        let words = "pause, resume, quarantine, clear, kill, revive, promote, demote, retire";
        check(
            "command",
            r#","event_id":"e","actor":"x","action":"Fly","agent":"a""#,
            &format!("action: \"Fly\" is no action; want one of {words}"),
        );
        check("policy", r#","event_id":"e","actor":"x""#, "policy without policy");
        check("policy", r#","event_id":"e","actor":"x","policy":"[desk]""#, "");
        check("check", r#","event_id":"e","paper":true"#, "check without agent");
        check("check", r#","event_id":"e","agent":"a""#, "");
        check("reserve", r#","event_id":"e","agent":"a","run_id":"r""#, "reserve without amount_usd");
        check("release", r#","event_id":"e","agent":"a""#, "release without run_id");
        check("release", r#","event_id":"e","run_id":"r""#, "");
    }

    #[test]
    fn every_field_of_a_kind_finds_its_place_in_the_line() {
        let values = ["true", "1", "\"LONG\"", "\"x\""];
        for (kind, field) in Kind::ALL.into_iter().flat_map(|kind| fields::TABLE.iter().map(move |field| (kind, field)))
        {
            if !field.is_kept_on(Some(kind)) || ["kind", "v", "ensemble_score_final"].contains(&field.name) {
                continue;
            }
            let rest = if kind == Kind::Pnl { r#","realized_pnl_bps":0,"agent":"a""# } else { "" };
            let rest = if rest.contains(field.name) { r#","realized_pnl_bps":0,"run_id":"a""# } else { rest };
            let rest = if field.name == "realized_pnl_bps" { r#","agent":"a""# } else { rest };
            let decoded = |more: &str| {
                let line = format!(r#"{{"kind":"{}"{rest}{more}}}"#, kind.name());
                decode(line.as_bytes(), 1 << 20).map(|line| format!("{line:?}"))
            };
            let plain = decoded("");
            let found = values.iter().any(|value| {
                decoded(&format!(r#","{}":{value}"#, field.name)).is_ok_and(|line| Ok(&line) != plain.as_ref())
            });
            assert!(found, "{} of {}", field.name, kind.name());
        }
    }
}
