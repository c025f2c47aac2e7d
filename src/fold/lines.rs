use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Kind, Reason};

/// What became of a line; each line has exactly one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Kind(Kind),
    Unknown,
    Malformed,
    Duplicate,
    /// A control line outside the control stream.
    RefusedControl,
}

impl Outcome {
    pub const COUNT: usize = Kind::ALL.len() + 4;

    pub fn all() -> impl Iterator<Item = Outcome> {
        let rest = [Outcome::Unknown, Outcome::Malformed, Outcome::Duplicate, Outcome::RefusedControl];
        Kind::ALL.into_iter().map(Outcome::Kind).chain(rest)
    }

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Kind(kind) => kind.name(),
            Outcome::Unknown => "unknown",
            Outcome::Malformed => "malformed",
            Outcome::Duplicate => "duplicate",
            Outcome::RefusedControl => "refused_control",
        }
    }

    fn index(self) -> usize {
        match self {
            Outcome::Kind(kind) => kind as usize,
            Outcome::Unknown => Kind::ALL.len(),
            Outcome::Malformed => Kind::ALL.len() + 1,
            Outcome::Duplicate => Kind::ALL.len() + 2,
            Outcome::RefusedControl => Kind::ALL.len() + 3,
        }
    }
}

/// Counts beside the outcomes: what was odd about lines that have one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// A run or alpha that names no agent: counted in its kind, not folded.
    WithoutAgent,
    /// A `ts` more than an hour past its round's sealing time.
    Skewed,
    /// A `ts` that is no time between 2000 and 2099.
    TsUnusable,
    /// A line of an agent beyond the limit of agents: counted in its kind, not folded.
    AgentsOverflow,
}

impl Oddity {
    pub const ALL: [Oddity; 4] = [Oddity::WithoutAgent, Oddity::Skewed, Oddity::TsUnusable, Oddity::AgentsOverflow];

    pub fn name(self) -> &'static str {
        match self {
            Oddity::WithoutAgent => "without_agent",
            Oddity::Skewed => "skewed",
            Oddity::TsUnusable => "ts_unusable",
            Oddity::AgentsOverflow => "agents_overflow",
        }
    }
}

/// What intake counted, by stream, outcome, oddity and reason.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Lines {
    /// Streams by name.
    streams: Vec<(Arc<str>, [u64; Outcome::COUNT])>,
    /// The stream of the last line, which is mostly that of the next.
    #[serde(skip)]
    last: usize,
    oddities: [u64; Oddity::ALL.len()],
    malformed: [u64; Reason::ALL.len()],
}

impl Lines {
    pub(super) fn count(&mut self, stream: &Arc<str>, outcome: Outcome) {
        // Mostly the very same name, not only an equal one.
        let same = |name: &Arc<str>| Arc::ptr_eq(name, stream) || name == stream;
        if !self.streams.get(self.last).is_some_and(|(name, _)| same(name)) {
            self.last = self.streams.binary_search_by(|(name, _)| name.cmp(stream)).unwrap_or_else(|place| {
                self.streams.insert(place, (stream.clone(), [0; Outcome::COUNT]));
                place
            });
        }
        self.streams[self.last].1[outcome.index()] += 1;
    }

    pub(super) fn odd(&mut self, oddity: Oddity) {
        self.oddities[oddity as usize] += 1;
    }

    pub(super) fn malformed(&mut self, reason: Reason) {
        self.malformed[reason as usize] += 1;
    }

    /// Lines of one outcome over all streams.
    pub fn total(&self, outcome: Outcome) -> u64 {
        self.streams.iter().map(|(_, counts)| counts[outcome.index()]).sum()
    }

    /// Lines by stream and outcome, streams by name.
    pub fn by_stream(&self) -> impl Iterator<Item = (&Arc<str>, Outcome, u64)> {
        self.streams.iter().flat_map(|(stream, counts)| Outcome::all().map(move |o| (stream, o, counts[o.index()])))
    }

    pub fn oddity(&self, oddity: Oddity) -> u64 {
        self.oddities[oddity as usize]
    }

    pub fn by_reason(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason, self.malformed[reason as usize]))
    }
}
