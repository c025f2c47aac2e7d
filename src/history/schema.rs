use crate::{
    event::{Direction, Nanos},
    forensics::{Run, Runs, Word},
};

/// What a column holds. Every column may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Float,
    Bool,
    Text,
    /// Microseconds since 1970, UTC.
    Time,
}

impl Kind {
    /// As Parquet and the documentation call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Int => "INT64",
            Kind::Float => "DOUBLE",
            Kind::Bool => "BOOLEAN",
            Kind::Text => "STRING",
            Kind::Time => "TIMESTAMP_MICROS",
        }
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

/// A field of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(&'a str),
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Value<'a> {
        text.map_or(Value::Null, Value::Text)
    }

    fn float(number: Option<f64>) -> Value<'a> {
        number.map_or(Value::Null, Value::Float)
    }

    fn int(number: impl Into<Option<u64>>) -> Value<'a> {
        number.into().and_then(|number| i64::try_from(number).ok()).map_or(Value::Null, Value::Int)
    }

    /// A time to the microsecond.
    pub fn time(nanos: Option<Nanos>) -> Value<'a> {
        nanos.map_or(Value::Null, |nanos| Value::Int(nanos.div_euclid(1000)))
    }
}

/// How a field is taken from a run.
type Of = for<'a> fn(&'a Runs, &'a Run) -> Value<'a>;

/// The columns of the table of runs, each with where it comes from.
pub const RUNS: &[(&str, Kind, Of)] = &[
    ("position", Kind::Int, |_, run| Value::int(run.position)),
    ("ts", Kind::Time, |_, run| Value::time(run.time)),
    ("run_id", Kind::Text, |_, run| Value::text(run.id.as_deref())),
    ("agent", Kind::Text, |runs, run| Value::Text(runs.agent(run))),
    ("strategy", Kind::Text, |runs, run| Value::text(runs.strategy(run))),
    ("runs", Kind::Int, |_, run| Value::int(u64::from(run.runs))),
    ("failures", Kind::Int, |_, run| Value::int(u64::from(run.failures))),
    ("signals", Kind::Int, |_, run| Value::int(u64::from(run.signals))),
    ("records", Kind::Int, |_, run| Value::int(u64::from(run.records))),
    ("run_number", Kind::Int, |_, run| Value::int(run.ran)),
    ("pnl_number", Kind::Int, |_, run| Value::int(run.earned)),
    ("model", Kind::Text, |runs, run| word(runs, run.model)),
    ("latency_ms", Kind::Float, |_, run| Value::float(run.latency_ms)),
    ("tokens_in", Kind::Int, |_, run| Value::int(run.tokens_in)),
    ("tokens_out", Kind::Int, |_, run| Value::int(run.tokens_out)),
    ("cost_usd", Kind::Float, |_, run| Value::float(run.cost_usd)),
    ("reward", Kind::Float, |_, run| Value::float(run.reward)),
    ("symbol", Kind::Text, |runs, run| word(runs, run.symbol)),
    ("direction", Kind::Text, |_, run| Value::text(run.direction.map(Direction::name))),
    ("score", Kind::Float, |_, run| Value::float(run.score)),
    ("regime", Kind::Text, |runs, run| word(runs, run.regime)),
    ("pnl_bps", Kind::Float, |_, run| Value::float(run.pnl_bps)),
    ("entry_price", Kind::Float, |_, run| Value::float(run.entry_price)),
    ("exit_price", Kind::Float, |_, run| Value::float(run.exit_price)),
    ("confidence", Kind::Float, |_, run| Value::Float(run.held.own.confidence)),
    ("drawdown", Kind::Float, |_, run| Value::Float(run.held.drawdown)),
    ("quarantined", Kind::Bool, |_, run| Value::Bool(run.held.own.quarantined)),
    ("gate", Kind::Text, |_, run| Value::Text(run.held.own.gate())),
    ("verdict", Kind::Text, |_, run| Value::Text(if run.held.reasons().is_empty() { "allow" } else { "deny" })),
    // The last field is made of several words: see `row`.
    ("reasons", Kind::Text, |_, _| Value::Null),
];

fn word(runs: &Runs, word: Option<Word>) -> Value<'_> {
    Value::text(word.map(|word| runs.words.text(word)))
}

/// The columns of the table of runs.
pub fn runs() -> Vec<Column> {
    RUNS.iter().map(|(name, kind, _)| Column { name: (*name).to_owned(), kind: *kind }).collect()
}

/// Hands on a run as a row of [`RUNS`].
pub fn row<T>(runs: &Runs, run: &Run, take: impl FnOnce(&[Value]) -> T) -> T {
    let reasons = run.held.reasons().join(",");
    let mut fields: Vec<Value> = RUNS.iter().map(|(_, _, of)| of(runs, run)).collect();
    if let Some(last) = fields.last_mut().filter(|_| !reasons.is_empty()) {
        *last = Value::Text(&reasons);
    }
    take(&fields)
}
