use std::{borrow::Cow, fmt, ops::Deref};

use serde::{Deserialize, Serialize};

use super::{Action, Key, Kind, Stamp, judge::quoted};

/// A name borrowed from its line, or owned when the line escaped it.
pub type Name<'a> = Option<Cow<'a, str>>;

/// One decoded line: every recognised field, absent when missing or null. Which of them a line may carry follows
/// from its kind; the unknown rest stays on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line<'a> {
    /// `None`: a well-formed object of a kind this program does not know.
    pub kind: Option<Kind>,
    pub ts: Stamp,

    pub run_id: Option<RunId<'a>>,
    pub agent: Name<'a>,
    pub strategy: Name<'a>,
    pub event_id: Name<'a>,
    pub symbol: Name<'a>,

    pub latency_ms: Option<f64>,
    pub tokens_in: Option<u64>,
    pub tokens_out: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub cost_usd: Option<f64>,
    /// A count; `true` is 1.
    pub errors: Option<u64>,
    pub reward: Option<f64>,
    pub capital_usd: Option<f64>,
    pub max_loss_usd: Option<f64>,
    pub fill_prob: Option<f64>,
    pub error_type: Name<'a>,
    pub model: Name<'a>,
    pub session_id: Name<'a>,
    pub phase: Name<'a>,
    pub outcome: Name<'a>,

    pub direction: Option<Direction>,
    pub score_final: Option<f64>,
    pub regime: Name<'a>,
    pub notional_usd: Option<f64>,
    pub expected_edge_bps: Option<f64>,

    pub realized_pnl_bps: Option<f64>,
    pub entry_price: Option<f64>,
    pub exit_price: Option<f64>,
    pub price: Option<f64>,

    pub action: Name<'a>,
    pub fleet: bool,
    pub actor: Name<'a>,
    pub reason: Name<'a>,
    pub policy: Name<'a>,
    pub amount_usd: Option<f64>,
    pub spread_bps: Option<f64>,
    pub slippage_bps: Option<f64>,
    pub data_age_sec: Option<f64>,
    pub paper: bool,
    pub reduce: bool,
}

/// The name of a run, with the key that stands for it.
#[derive(Clone, PartialEq)]
pub struct RunId<'a> {
    name: Cow<'a, str>,
    key: Key,
}

impl<'a> RunId<'a> {
    /// Of a name of any kind.
    pub fn of(name: Cow<'a, str>) -> Self {
        RunId { key: Key::of(&name), name }
    }

    /// Of a name that is a key itself.
    pub(super) fn of_key(name: &'a str, key: Key) -> Self {
        RunId { name: Cow::Borrowed(name), key }
    }

    pub fn key(&self) -> Key {
        self.key
    }
}

impl Deref for RunId<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for RunId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl Line<'_> {
    /// Why the line is malformed in the control stream, where control lines must be whole. Elsewhere they are refused
    /// whatever they hold, so the decoder, which does not know the stream, does not ask.
    pub fn control_fault(&self) -> Option<Malformed> {
        let kind = self.kind.filter(|kind| kind.is_control())?;
        let required: &[(&str, bool)] = match kind {
            Kind::Command => &[("action", self.action.is_some()), ("actor", self.actor.is_some())],
            Kind::Policy => &[("policy", self.policy.is_some()), ("actor", self.actor.is_some())],
            Kind::Check => &[("agent", self.agent.is_some())],
            Kind::Reserve => &[
                ("agent", self.agent.is_some()),
                ("run_id", self.run_id.is_some()),
                ("amount_usd", self.amount_usd.is_some()),
            ],
            _ => &[("run_id", self.run_id.is_some())],
        };
        let event_id = ("event_id", self.event_id.is_some());
        if let Some((name, _)) = [event_id].iter().chain(required).find(|(_, given)| !given) {
            let detail = format!("{} without {name}", kind.name());
            return Some(Malformed { reason: Reason::Missing, detail });
        }
        if kind == Kind::Command { self.command_fault() } else { None }
    }

    fn command_fault(&self) -> Option<Malformed> {
        let subjects = [self.agent.is_some(), self.strategy.is_some(), self.fleet];
        if subjects.into_iter().filter(|given| *given).count() != 1 {
            let detail = "command without one subject; want agent, strategy or fleet: true".to_owned();
            return Some(Malformed { reason: Reason::Missing, detail });
        }
        let action = self.action.as_deref().unwrap_or_default();
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
