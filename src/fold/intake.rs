/// What runs, signals and profits say.
mod bodies;
/// Commands, policies and requests, of the one stream in which they count.
mod control;
/// Names to ids.
mod names;
/// Over lines that cannot be read.
mod passing;

use std::sync::Arc;

use foldhash::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    batch::{Batch, Body, Entry, Event, Place, Placed, Price, Reject},
    dedupe::Dedupe,
    join::{Join, Owner, Waiting},
    lines::{Lines, Oddity, Outcome},
};
use crate::{
    event::{Decoded, Id, Key, Kind, Line, Malformed, Nanos, Reason, Stamp},
    policy::{InForce, Policy, PolicyError},
    subject::Subjects,
    view::Load,
};

pub use control::CONTROL_STREAM;

/// How far past its round's sealing time a line's `ts` may lie and still move the tape time.
const SKEW_MAX: Nanos = 3_600_000_000_000;

/// Lines to events, before any consumer and shared by all: dedupe, tape time, join, names to ids.
///
/// Its state is part of the fold: the same prefix of the tape gives the same events.
#[derive(Debug)]
pub struct Intake {
    state: State,
    agent_ids: HashMap<Arc<str>, u32>,
    strategy_ids: HashMap<Arc<str>, u32>,
    /// In force at the next position.
    policy: Arc<InForce>,
    /// In force before any policy line.
    base: Arc<InForce>,
    /// Policy lines change nothing.
    fixed: bool,
    /// Streams whose lines somebody waits for; not part of the state.
    tracked: Vec<&'static str>,
    /// Lines whose strategy is beyond the limit, since the program began; not part of the state.
    strategies_beyond: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    position: u64,
    tape_time: Option<Nanos>,
    /// The same, but never past the sealing of the round.
    now: Option<Nanos>,
    subjects: Subjects,
    dedupe: Dedupe,
    join: Join,
    lines: Lines,
    /// The text of the last policy line.
    policy: Option<String>,
}

/// Why a saved intake cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the saved state of intake does not decode: {0}")]
    Bytes(#[from] postcard::Error),
    #[error("the saved state of intake: {0}")]
    Policy(#[from] PolicyError),
}

impl Intake {
    /// Version of the saved state; raised when it changes in shape or meaning.
    pub const VERSION: u32 = 1;

    /// An intake at the tape's begin, under `base` until a policy line.
    pub fn new(base: Arc<InForce>) -> Intake {
        Intake {
            state: State::default(),
            agent_ids: HashMap::default(),
            strategy_ids: HashMap::default(),
            policy: base.clone(),
            base,
            fixed: false,
            tracked: Vec::new(),
            strategies_beyond: 0,
        }
    }

    /// From here on under one policy, whatever policy lines say or said.
    pub fn fix(&mut self, policy: Arc<InForce>) {
        (self.policy, self.base, self.fixed) = (policy.clone(), policy, true);
    }

    /// From here on batches say where each line of these streams came to stand.
    pub fn track(&mut self, streams: &[&'static str]) {
        self.tracked = streams.to_vec();
    }

    /// The next position.
    pub fn position(&self) -> u64 {
        self.state.position
    }

    /// The largest usable `ts` so far.
    pub fn tape_time(&self) -> Option<Nanos> {
        self.state.tape_time
    }

    /// The tape time, but never past the sealing of the last round.
    pub fn now(&self) -> Option<Nanos> {
        self.state.now
    }

    pub fn lines(&self) -> &Lines {
        &self.state.lines
    }

    pub fn subjects(&self) -> &Subjects {
        &self.state.subjects
    }

    /// PnL lines that wait for their run.
    pub fn waiting(&self) -> usize {
        self.state.join.waiting()
    }

    /// PnL lines dropped because too many waited.
    pub fn waiting_dropped(&self) -> u64 {
        self.state.join.dropped()
    }

    /// How far the limits of intake are used.
    pub fn loads(&self) -> Vec<Load> {
        let (limits, state) = (&self.policy.policy.limits, &self.state);
        let oversize = state.lines.by_reason().find(|(reason, _)| *reason == Reason::Oversize).map_or(0, |(_, n)| n);
        let (agents, strategies) = (state.subjects.agents.len(), state.subjects.strategies.len());
        vec![
            Load::of_each("line_bytes", limits.line_bytes, oversize),
            Load::new("agents", limits.agents, agents, state.lines.oddity(Oddity::AgentsOverflow)),
            Load::new("strategies", limits.agents, strategies, self.strategies_beyond),
            Load::new("dedupe_ids", limits.dedupe_ids, state.dedupe.len(), state.dedupe.forgotten()),
            Load::new("join_runs", limits.join_runs, state.join.runs(), state.join.forgotten()),
            Load::new("waiting_pnl", limits.waiting_pnl, state.join.waiting(), state.join.dropped()),
        ]
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<InForce> {
        &self.policy
    }

    /// The canonical bytes of the state.
    pub fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.state).expect("state in memory always serialises")
    }

    /// The policy in force before any policy line.
    pub fn base(&self) -> &Arc<InForce> {
        &self.base
    }

    /// An intake that stands where `bytes` were saved, on the same base.
    ///
    /// # Errors
    /// The bytes do not decode.
    pub fn load(base: Arc<InForce>, bytes: &[u8]) -> Result<Intake, LoadError> {
        let state: State = postcard::from_bytes(bytes)?;
        let policy = match &state.policy {
            Some(text) => Arc::new(InForce::new(Policy::from_toml(text)?)),
            None => base.clone(),
        };
        let ids = |names: &[Arc<str>]| names.iter().cloned().zip(0..).collect();
        Ok(Intake {
            agent_ids: ids(&state.subjects.agents),
            strategy_ids: ids(&state.subjects.strategies),
            state,
            policy,
            ..Intake::new(base)
        })
    }

    /// A line that names a run is about to come: what is known of the run is fetched while it is decoded.
    pub fn hear_of(&self, run: Key) {
        self.state.join.fetch(run);
    }

    /// An empty batch that begins at the current position.
    pub fn begin(&self) -> Batch {
        Batch {
            first: self.state.position,
            next: self.state.position,
            entries: Vec::new(),
            text: String::new(),
            policies: vec![(self.state.position, self.policy.clone())],
            new_agents: Vec::new(),
            new_strategies: Vec::new(),
            agents_before: self.state.subjects.agents.len(),
            strategies_before: self.state.subjects.strategies.len(),
            rejects: Vec::new(),
            placed: Vec::new(),
        }
    }

    /// Takes in the next line of the tape. `sealed_at` is the sealing time of its round, absent for streams without a
    /// tape, where nothing is skewed.
    pub fn line(&mut self, line: Decoded, place: &Place, sealed_at: Option<Nanos>, batch: &mut Batch) {
        let position = self.state.position;
        self.state.position += 1;
        batch.next = self.state.position;
        let outcome = self.fold(line, place, sealed_at, position, batch);
        self.state.lines.count(&place.stream, outcome);
        if self.tracked.contains(&&*place.stream) {
            let (stream, offset) = (place.stream.clone(), place.offset);
            batch.placed.push(Placed { position, stream, offset, outcome });
        }
    }

    /// What becomes of a line.
    fn fold(
        &mut self,
        line: Decoded,
        place: &Place,
        sealed_at: Option<Nanos>,
        position: u64,
        batch: &mut Batch,
    ) -> Outcome {
        let line = match line {
            Ok(line) => line,
            Err(why) => return self.reject(why.clone(), place, position, batch),
        };
        let policy = match control::fault_or_policy(line, &place.stream) {
            Ok(policy) => policy,
            Err(why) => return self.reject(why, place, position, batch),
        };
        let outcome = self.outcome(line, &place.stream);
        if outcome == Outcome::Duplicate {
            return outcome;
        }
        let time = self.time(line, sealed_at);
        let tape_time = self.state.tape_time;
        self.state.now = tape_time.map(|time| sealed_at.map_or(time, |sealed| time.min(sealed)));
        match outcome {
            Outcome::Kind(Kind::Run | Kind::Alpha) => self.owned_line(line, position, time, batch),
            Outcome::Kind(Kind::Pnl) => self.pnl_line(line, position, time, batch),
            Outcome::Kind(Kind::Price) => self.price_line(line, position, time, batch),
            Outcome::Kind(_) => self.control_line(line, policy, position, time, batch),
            _ => {}
        }
        outcome
    }

    fn reject(&mut self, why: Malformed, place: &Place, position: u64, batch: &mut Batch) -> Outcome {
        self.state.lines.malformed(why.reason);
        batch.rejects.push(Reject { position, place: place.clone(), why });
        Outcome::Malformed
    }

    fn outcome(&mut self, line: &Line, stream: &str) -> Outcome {
        let Some(kind) = line.kind else { return Outcome::Unknown };
        let outcome =
            if kind.is_control() && stream != CONTROL_STREAM { Outcome::RefusedControl } else { Outcome::Kind(kind) };
        if let Some(id) = line.text(Id::EventId) {
            let key = Key::of_parts(outcome.name(), id);
            if !self.state.dedupe.first(key, self.policy.policy.limits.dedupe_ids) {
                return Outcome::Duplicate;
            }
        }
        outcome
    }

    /// Moves the tape time; a time more than an hour past the sealing stays on its line and moves nothing.
    fn time(&mut self, line: &Line, sealed_at: Option<Nanos>) -> Option<Nanos> {
        let now = &mut self.state.tape_time;
        match line.ts {
            Stamp::Absent => *now,
            Stamp::Unusable => {
                self.state.lines.odd(Oddity::TsUnusable);
                *now
            }
            Stamp::At(ts) if sealed_at.is_some_and(|at| ts > at.saturating_add(SKEW_MAX)) => {
                self.state.lines.odd(Oddity::Skewed);
                *now
            }
            Stamp::At(ts) => {
                *now = Some(now.map_or(ts, |now| now.max(ts)));
                Some(ts)
            }
        }
    }

    /// A run or an alpha: folded when it names its agent; claims its run, and releases the PnL that waited for it.
    fn owned_line(&mut self, line: &Line, position: u64, time: Option<Nanos>, batch: &mut Batch) {
        let Some(name) = line.text(Id::Agent) else { return self.state.lines.odd(Oddity::WithoutAgent) };
        let Some(agent) = self.agent_id(name, batch) else {
            return self.state.lines.odd(Oddity::AgentsOverflow);
        };
        let run = line.run();
        let named = line.text(Id::Strategy).and_then(|name| self.strategy_id(name, batch));
        let owner = Owner { agent, strategy: named };
        let horizon = self.policy.policy.limits.join_runs;
        let claim = run.map(|run| (run, self.state.join.claim(run, owner, horizon)));
        let strategy = named.or_else(|| claim?.1?.strategy);
        let body = match line.kind {
            Some(Kind::Run) => Body::Run(bodies::run(line, &self.policy.policy, time, batch)),
            _ => Body::Alpha(bodies::alpha(line, batch)),
        };
        let run_id = line.text(Id::RunId).map(|id| batch.keep(id));
        let event = Event { origin: position, time, agent: Some(agent), strategy, run, run_id, body };
        self.push(event, position, batch);
        if let Some((run, None)) = claim {
            for pnl in self.state.join.release(run) {
                self.released_pnl(pnl, owner, position, batch);
            }
        }
    }

    /// A PnL line: its own agent wins, else its run's; without either it waits.
    fn pnl_line(&mut self, line: &Line, position: u64, time: Option<Nanos>, batch: &mut Batch) {
        let run = line.run();
        let owner = run.and_then(|run| self.state.join.owner(run));
        let agent = match line.text(Id::Agent) {
            Some(name) => match self.agent_id(name, batch) {
                Some(agent) => agent,
                None => return self.state.lines.odd(Oddity::AgentsOverflow),
            },
            None => match (owner, run) {
                (Some(owner), _) => owner.agent,
                (None, Some(run)) => {
                    let limit = self.policy.policy.limits.waiting_pnl;
                    return self.state.join.wait(bodies::waiting(line, run, position, time), limit);
                }
                (None, None) => return,
            },
        };
        let named = line.text(Id::Strategy).and_then(|name| self.strategy_id(name, batch));
        let strategy = named.or_else(|| owner.and_then(|owner| owner.strategy));
        let run_id = line.text(Id::RunId).map(|id| batch.keep(id));
        let body = Body::Pnl(bodies::pnl(line, batch));
        let event = Event { origin: position, time, agent: Some(agent), strategy, run, run_id, body };
        self.push(event, position, batch);
    }

    fn released_pnl(&mut self, pnl: Waiting, owner: Owner, position: u64, batch: &mut Batch) {
        let named = pnl.strategy.as_deref().and_then(|name| self.strategy_id(name, batch));
        let body = Body::Pnl(bodies::released(&pnl, batch));
        let event = Event {
            origin: pnl.origin,
            time: pnl.time,
            agent: Some(owner.agent),
            strategy: named.or(owner.strategy),
            run: Some(pnl.run),
            run_id: Some(batch.keep(&pnl.run_id)),
            body,
        };
        self.push(event, position, batch);
    }

    fn price_line(&mut self, line: &Line, position: u64, time: Option<Nanos>, batch: &mut Batch) {
        let Some(price) = line.number(Id::Price) else { return };
        let symbol = line.text(Id::Symbol).map(|symbol| batch.keep(symbol));
        let body = Body::Price(Price { symbol, price });
        let event = Event { origin: position, time, agent: None, strategy: None, run: None, run_id: None, body };
        self.push(event, position, batch);
    }

    #[inline(always)]
    fn push(&self, event: Event, position: u64, batch: &mut Batch) {
        batch.entries.push(Entry { position, tape_time: self.state.tape_time, now: self.state.now, event });
    }
}
