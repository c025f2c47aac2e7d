use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};

use super::{Kind, Nanos};

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Pause,
    Resume,
    Quarantine,
    Clear,
    Kill,
    Revive,
    Promote,
    Demote,
    Retire,
}

impl Action {
    pub const ALL: [Action; 9] = [
        Action::Pause,
        Action::Resume,
        Action::Quarantine,
        Action::Clear,
        Action::Kill,
        Action::Revive,
        Action::Promote,
        Action::Demote,
        Action::Retire,
    ];

    /// The action as it stands on the line and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Quarantine => "quarantine",
            Action::Clear => "clear",
            Action::Kill => "kill",
            Action::Revive => "revive",
            Action::Promote => "promote",
            Action::Demote => "demote",
            Action::Retire => "retire",
        }
    }

    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Whose decision answers it.
    pub const fn consumer(self) -> &'static str {
        match self {
            Action::Pause | Action::Resume | Action::Retire => "desk",
            Action::Quarantine | Action::Clear => "quarantine",
            Action::Kill | Action::Revive | Action::Promote | Action::Demote => "gates",
        }
    }
}

/// Whom a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<'a> {
    Agent(&'a str),
    Strategy(&'a str),
    Fleet,
}

/// What tells one line from every other: its id, and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Mint<'a> {
    pub event_id: &'a str,
    pub ts: Nanos,
}

/// The line of a command.
pub fn command(mint: Mint, action: Action, about: About, actor: &str, reason: Option<&str>) -> String {
    let mut line = begin(Kind::Command, mint);
    put(&mut line, "action", action.name());
    match about {
        About::Agent(name) => put(&mut line, "agent", name),
        About::Strategy(name) => put(&mut line, "strategy", name),
        About::Fleet => put(&mut line, "fleet", true),
    }
    put(&mut line, "actor", actor);
    maybe(&mut line, "reason", reason);
    end(line)
}

/// The line of a policy, given as TOML.
pub fn policy(mint: Mint, toml: &str, actor: &str, reason: Option<&str>) -> String {
    let mut line = begin(Kind::Policy, mint);
    put(&mut line, "policy", toml);
    put(&mut line, "actor", actor);
    maybe(&mut line, "reason", reason);
    end(line)
}

/// The line of a check; `order` holds its other fields (`agent`, `symbol`, `notional_usd`, ...).
pub fn check(mint: Mint, order: Map<String, Value>) -> String {
    let mut line = begin(Kind::Check, mint);
    line.extend(order);
    end(line)
}

/// The line that asks for a part of the budget.
pub fn reserve(mint: Mint, agent: &str, run_id: &str, amount_usd: f64) -> String {
    let mut line = begin(Kind::Reserve, mint);
    put(&mut line, "agent", agent);
    put(&mut line, "run_id", run_id);
    put(&mut line, "amount_usd", amount_usd);
    end(line)
}

/// The line that gives a reservation back.
pub fn release(mint: Mint, agent: Option<&str>, run_id: &str) -> String {
    let mut line = begin(Kind::Release, mint);
    maybe(&mut line, "agent", agent);
    put(&mut line, "run_id", run_id);
    end(line)
}

/// The id of one line among many that one request makes: the same for the same request and name, so that a request sent
/// again makes no second line.
pub fn derived_id(request: &str, name: &str) -> String {
    const DOMAIN: &str = "runtape control 1: request and name";
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    hasher.update(&(request.len() as u64).to_le_bytes()).update(request.as_bytes()).update(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().hyphenated().to_string()
}

/// RFC 3339 in UTC, always to the nanosecond, so that stamps of one stream sort as text.
pub fn stamp(ts: Nanos) -> String {
    DateTime::from_timestamp_nanos(ts).to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn begin(kind: Kind, mint: Mint) -> Map<String, Value> {
    let mut line = Map::new();
    put(&mut line, "kind", kind.name());
    put(&mut line, "event_id", mint.event_id);
    put(&mut line, "ts", stamp(mint.ts));
    line
}

fn put(line: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    line.insert(key.to_owned(), value.into());
}

fn maybe(line: &mut Map<String, Value>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        put(line, key, value);
    }
}

fn end(line: Map<String, Value>) -> String {
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::decode;

    const MINT: Mint = Mint { event_id: "e1", ts: 1_772_372_096_250_000_000 };

    /// The line is what is wanted, and the decoder takes it for a control line of that kind.
    #[track_caller]
    fn check_line(line: &str, kind: Kind, want: &str) {
        let head =
            format!("{{\"kind\":\"{}\",\"event_id\":\"e1\",\"ts\":\"2026-03-01T13:34:56.250000000Z\"", kind.name());
        assert_eq!(line, format!("{head}{want}}}"));
        let decoded = decode(line.as_bytes(), 1 << 20).expect("a line of ours");
        assert_eq!((decoded.kind, decoded.ts.at()), (Some(kind), Some(MINT.ts)));
        assert_eq!(decoded.control_fault(), None);
    }

    #[test]
    fn lines_are_as_the_control_stream_wants_them() {
        let line = command(MINT, Action::Kill, About::Agent("a\"1"), "ops", Some("too\nmuch"));
        check_line(&line, Kind::Command, r#","action":"kill","agent":"a\"1","actor":"ops","reason":"too\nmuch""#);
        let line = command(MINT, Action::Pause, About::Strategy("s"), "ops", None);
        check_line(&line, Kind::Command, r#","action":"pause","strategy":"s","actor":"ops""#);
        let line = command(MINT, Action::Resume, About::Fleet, "ops", None);
        check_line(&line, Kind::Command, r#","action":"resume","fleet":true,"actor":"ops""#);
        let line = policy(MINT, "profile = \"desk\"\n", "ops", None);
        check_line(&line, Kind::Policy, r#","policy":"profile = \"desk\"\n","actor":"ops""#);
        let Value::Object(order) = json!({ "agent": "a", "paper": true }) else { panic!("an object") };
        check_line(&super::check(MINT, order), Kind::Check, r#","agent":"a","paper":true"#);
        let line = reserve(MINT, "a", "r1", 0.1);
        check_line(&line, Kind::Reserve, r#","agent":"a","run_id":"r1","amount_usd":0.1"#);
        check_line(&release(MINT, None, "r1"), Kind::Release, r#","run_id":"r1""#);
    }

    #[test]
    fn derived_ids_are_stable_and_apart() {
        let id = derived_id("request", "agent");
        assert_eq!(id, derived_id("request", "agent"));
        assert_ne!(id, derived_id("request", "agent2"));
        assert_ne!(derived_id("ab", "c"), derived_id("a", "bc"));
        assert_eq!(id.len(), 36);
    }

    #[test]
    fn actions_keep_their_names() {
        for action in Action::ALL {
            assert_eq!(Action::from_name(action.name()), Some(action));
        }
        assert_eq!(Action::from_name("Kill"), None);
    }
}
