use std::borrow::Cow;

use super::{Kind, Stamp};

/// A name borrowed from its line, or owned when the line escaped it.
pub type Name<'a> = Option<Cow<'a, str>>;

/// One decoded line: every recognised field, absent when missing or null. Which of them a line may carry follows
/// from its kind; the unknown rest stays on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line<'a> {
    /// `None`: a well-formed object of a kind this program does not know.
    pub kind: Option<Kind>,
    pub ts: Stamp,

    pub run_id: Name<'a>,
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
}

impl Line<'_> {
    /// Why the line is malformed in the control stream, where control kinds require `event_id`. Elsewhere a control
    /// line is refused whatever it holds, so the decoder, which does not know the stream, does not ask.
    pub fn control_fault(&self) -> Option<Malformed> {
        let kind = self.kind.filter(|kind| kind.is_control() && self.event_id.is_none())?;
        Some(Malformed { reason: Reason::Missing, detail: format!("{} without event_id", kind.name()) })
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Long,
    Short,
    Flat,
}

/// A line that could not be decoded: why, and where in the line.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    pub reason: Reason,
    /// For a person: the field, its value (shortened), what is allowed.
    pub detail: String,
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
