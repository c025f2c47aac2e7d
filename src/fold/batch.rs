use std::{num::NonZeroU32, sync::Arc};

use serde::{Deserialize, Serialize};

use super::lines::Outcome;
use crate::{
    event::{Action, Direction, Key, Malformed, Nanos},
    policy::InForce,
    subject::Subject,
};

/// A string of an event: a span of its batch's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    start: u32,
    /// Its length and one, so that an absent one takes no more room.
    behind: NonZeroU32,
}

/// An event: a line after intake, with ids in place of names. Plain data; strings are spans of the batch's text.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The position of the line itself. Equal to the position it is applied at, but for PnL that waited for its run.
    pub origin: u64,
    /// When it happened: the line's `ts`, or the tape time when that is missing or skewed; absent before any is known.
    pub time: Option<Nanos>,
    pub agent: Option<u32>,
    pub strategy: Option<u32>,
    pub run: Option<Key>,
    pub run_id: Option<Text>,
    pub body: Body,
}

impl Event {
    /// Those it is of: an agent, a strategy, both or nobody.
    #[inline]
    pub fn each_subject(&self, mut see: impl FnMut(Subject)) {
        if let Some(agent) = self.agent {
            see(Subject::Agent(agent));
        }
        if let Some(strategy) = self.strategy {
            see(Subject::Strategy(strategy));
        }
    }
}

/// What an event says, by kind. Money is in nano-USD, the rest in the units of its field.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Run(Run),
    Alpha(Alpha),
    Pnl(Pnl),
    Price(Price),
    Command(Command),
    /// Another policy is in force from here on.
    Policy,
    Check(Check),
    Reserve(Reserve),
    Release(Release),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub latency_ms: Option<f64>,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// What the run cost, nano-USD: given, or tokens at the price in force.
    pub cost: i128,
    /// Whether the line says anything about cost: a cost, or tokens.
    pub cost_known: bool,
    /// Its tokens were priced at the default price, for want of a cost and of a price of its model.
    pub default_priced: bool,
    /// One failure, however many errors.
    pub failed: bool,
    pub error_type: Option<Text>,
    pub reward: Option<f64>,
    /// The capital-weighted reward, where the line or the policy gives its three numbers.
    pub capital_reward: Option<f64>,
    pub model: Option<Text>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Alpha {
    pub symbol: Option<Text>,
    pub direction: Option<Direction>,
    pub score_final: Option<f64>,
    pub regime: Option<Text>,
    pub notional_usd: Option<f64>,
    pub expected_edge_bps: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pnl {
    pub realized_pnl_bps: f64,
    pub symbol: Option<Text>,
    pub entry_price: Option<f64>,
    pub exit_price: Option<f64>,
    pub notional_usd: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    pub symbol: Option<Text>,
    pub price: f64,
}

/// Whom a command or a request names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Named {
    Known(Subject),
    /// Of this kind; nobody of that name was met yet.
    Stranger(Subject, Text),
}

impl Named {
    pub fn subject(self) -> Subject {
        match self {
            Named::Known(subject) | Named::Stranger(subject, _) => subject,
        }
    }
}

/// An operator's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub action: Action,
    pub subject: Named,
    pub actor: Text,
    pub reason: Option<Text>,
}

/// A question before an order is placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub agent: Named,
    pub symbol: Option<Text>,
    pub notional_usd: Option<f64>,
    pub expected_edge_bps: Option<f64>,
    pub spread_bps: Option<f64>,
    pub slippage_bps: Option<f64>,
    pub data_age_sec: Option<f64>,
    pub paper: bool,
    pub reduce: bool,
}

/// Budget asked for a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Reserve {
    pub agent: Named,
    /// The agent's name.
    pub name: Text,
    /// Nano-USD.
    pub amount: i128,
}

/// A reservation given back.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Whose it must be, when given: the subject and its name.
    pub agent: Option<(Named, Text)>,
}

/// An event and where it is applied. Several entries may share a position: a claiming line and the PnL it releases.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub position: u64,
    /// The tape time at this position.
    pub tape_time: Option<Nanos>,
    /// The same, but never past the sealing of the round.
    pub now: Option<Nanos>,
    pub event: Event,
}

/// Where a line lies on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub stream: Arc<str>,
    /// Generation id of the file.
    pub file: Arc<str>,
    /// Offset of its first byte.
    pub offset: u64,
}

/// A malformed line: where and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    pub position: u64,
    pub place: Place,
    pub why: Malformed,
}

/// Where a line of a tracked stream came to stand, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub position: u64,
    pub stream: Arc<str>,
    /// Offset of its first byte.
    pub offset: u64,
    pub outcome: Outcome,
}

/// Consecutive positions, as every consumer folds them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// First position covered.
    pub first: u64,
    /// One past the last position covered. Positions without an entry were counted by intake and concern nobody else.
    pub next: u64,
    pub entries: Vec<Entry>,
    pub text: String,
    /// The policy in force at its first position, and those that came into force within it.
    pub policies: Vec<(u64, Arc<InForce>)>,
    /// Agents and strategies named for the first time, continuing the ids.
    pub new_agents: Vec<Arc<str>>,
    pub new_strategies: Vec<Arc<str>>,
    /// Ids already given before this batch.
    pub agents_before: usize,
    pub strategies_before: usize,
    pub rejects: Vec<Reject>,
    /// Lines of the streams that intake was told to track.
    pub placed: Vec<Placed>,
}

impl Batch {
    /// The policy in force at one of its positions.
    #[inline]
    pub fn policy_at(&self, position: u64) -> &Arc<InForce> {
        if let [(_, only)] = &self.policies[..] {
            return only;
        }
        let later = self.policies.iter().skip(1).take_while(|(from, _)| *from <= position);
        &later.last().unwrap_or(&self.policies[0]).1
    }

    pub fn text(&self, text: Text) -> &str {
        let start = text.start as usize;
        self.text.get(start..start + text.behind.get() as usize - 1).unwrap_or("")
    }

    /// Copies a string in; returns its span.
    pub(super) fn keep(&mut self, text: &str) -> Text {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Text { start, behind: NonZeroU32::MIN.saturating_add(text.len() as u32) }
    }
}
