use std::{ops::Range, sync::Arc};

use super::{
    Batch, Entry,
    consumer::{At, Consumer, Decisions, Stamp},
};
use serde_json::Value;

use crate::{
    decision::{Decision, DecisionLine},
    event::Nanos,
    policy::{InForce, Limits},
    subject::{Subject, SubjectSet, Subjects},
    view::{Family, Load, Row, Samples},
};

/// A decision on its way out: with what its written form needs, which few will ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    pub decision: Decision,
    subject: Arc<str>,
    policy: Arc<InForce>,
}

impl Emitted {
    /// `subject` is the name of the decision's subject, `policy` the one it was made under.
    pub fn new(decision: Decision, subject: Arc<str>, policy: Arc<InForce>) -> Emitted {
        Emitted { decision, subject, policy }
    }

    /// The name of whom it is about.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The written form.
    pub fn line(&self) -> DecisionLine {
        self.decision.line(&self.subject, &self.policy.hash)
    }
}

/// Why a saved state cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the saved state of `{consumer}` does not decode: {source}")]
pub struct LoadError {
    consumer: &'static str,
    source: postcard::Error,
}

/// One consumer with its position: what the shells hold, whatever the consumer's type.
pub trait Slot: Send {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    fn hears(&self) -> &'static [&'static str];
    fn families(&self) -> &'static [Family];
    /// The next position to fold.
    fn position(&self) -> u64;
    fn subjects(&self) -> &Subjects;

    /// Folds the part of a batch that lies at or past the slot's position, merged with the decisions heard in it (each
    /// list sorted by position; those of other positions are left alone). Names in the batch are learnt in any case.
    ///
    /// # Panics
    /// When the batch begins past the slot's position: a gap would be silently skipped history.
    fn step(&mut self, batch: &Batch, heard: &[&[Emitted]]) -> Vec<Emitted>;

    /// The state in its canonical bytes.
    fn save(&self) -> Vec<u8>;

    /// Replaces the state by saved bytes that stand for the fold up to `position`.
    ///
    /// # Errors
    /// The bytes do not decode; the slot is unchanged.
    fn load(&mut self, position: u64, bytes: &[u8]) -> Result<(), LoadError>;

    /// Goes on at a position with nothing: the history before it is gone.
    fn begin(&mut self, position: u64);

    /// Learns the names given before its position, after a load.
    fn learn(&mut self, subjects: &Subjects);

    fn samples(&self, subject: Subject, out: &mut Samples);
    fn row(&self, subject: Subject, out: &mut Row);
    /// The newest entries of its windows for a subject, oldest first.
    fn recent(&self, subject: Subject, count: usize, out: &mut Row);
    /// The JSON fields of the fleet that name its members.
    fn fleet(&self, out: &mut Row);
    fn loads(&self, limits: &Limits) -> Vec<Load>;
    fn summary(&self, now: Option<Nanos>) -> Option<(&'static str, Value)>;

    /// The subjects that changed since the last call, in order.
    fn take_touched(&mut self) -> Vec<Subject>;
}

/// The slot of a consumer of type `C`.
#[derive(Default)]
pub struct Held<C> {
    consumer: C,
    position: u64,
    subjects: Subjects,
    touched: SubjectSet,
    /// All of them changed.
    everyone: bool,
    scratch: Decisions,
}

impl<C: Consumer> Slot for Held<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn version(&self) -> u32 {
        C::VERSION
    }

    fn hears(&self) -> &'static [&'static str] {
        C::HEARS
    }

    fn families(&self) -> &'static [Family] {
        C::FAMILIES
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    fn step(&mut self, batch: &Batch, heard: &[&[Emitted]]) -> Vec<Emitted> {
        assert!(
            batch.first <= self.position,
            "{} stands at position {} and was handed positions from {}",
            C::NAME,
            self.position,
            batch.first
        );
        let agents = learn(&mut self.subjects.agents, batch.agents_before, &batch.new_agents);
        let strategies = learn(&mut self.subjects.strategies, batch.strategies_before, &batch.new_strategies);
        // After a load, names may come from before the slot's position, and what it knows of them is to be shown.
        self.touched.extend(agents.map(Subject::Agent).chain(strategies.map(Subject::Strategy)));
        let mut emitted = Vec::new();
        let skip = batch.entries.partition_point(|entry| entry.position < self.position);
        let mut entries = &batch.entries[skip..];
        let due = self.position..batch.next;
        let mut voices: Vec<&[Emitted]> = heard.iter().map(|list| within(list, &due)).collect();
        let mut heard_next = first_heard(&voices);
        while let Some(position) = earlier(entries.first().map(|entry| entry.position), heard_next) {
            let here = entries.iter().take_while(|entry| entry.position == position).count();
            let (now, later) = entries.split_at(here);
            entries = later;
            if heard_next == Some(position) {
                self.fold_position(batch, position, now, &mut voices, &mut emitted);
                heard_next = first_heard(&voices);
            } else {
                self.fold_position(batch, position, now, &mut [], &mut emitted);
            }
        }
        self.position = self.position.max(batch.next);
        emitted
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(&self.consumer).expect("state in memory always serialises")
    }

    fn load(&mut self, position: u64, bytes: &[u8]) -> Result<(), LoadError> {
        self.consumer = postcard::from_bytes(bytes).map_err(|source| LoadError { consumer: C::NAME, source })?;
        self.position = position;
        Ok(())
    }

    fn begin(&mut self, position: u64) {
        (self.consumer, self.position) = (C::default(), position);
    }

    fn learn(&mut self, subjects: &Subjects) {
        learn(&mut self.subjects.agents, 0, &subjects.agents);
        learn(&mut self.subjects.strategies, 0, &subjects.strategies);
        self.touched.extend(self.subjects.all());
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        self.consumer.samples(subject, out);
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        self.consumer.row(subject, out);
    }

    fn recent(&self, subject: Subject, count: usize, out: &mut Row) {
        self.consumer.recent(subject, count, out);
    }

    fn fleet(&self, out: &mut Row) {
        self.consumer.fleet(&self.subjects, out);
    }

    fn loads(&self, limits: &Limits) -> Vec<Load> {
        self.consumer.loads(limits)
    }

    fn summary(&self, now: Option<Nanos>) -> Option<(&'static str, Value)> {
        self.consumer.summary(now)
    }

    fn take_touched(&mut self) -> Vec<Subject> {
        let touched = self.touched.take();
        if !std::mem::take(&mut self.everyone) {
            return touched;
        }
        let fleet = touched.contains(&Subject::Fleet).then_some(Subject::Fleet);
        self.subjects.all().chain(fleet).collect()
    }
}

impl<C: Consumer> Held<C> {
    /// All events of one position, then all decisions heard at it.
    fn fold_position(
        &mut self,
        batch: &Batch,
        position: u64,
        entries: &[Entry],
        voices: &mut [&[Emitted]],
        emitted: &mut Vec<Emitted>,
    ) {
        let tape_time = entries.last().map_or_else(|| heard_time(voices, position), |entry| entry.tape_time);
        let out = &mut self.scratch;
        out.stamp = Stamp { cause: position, ordinal: 0, tape_time, consumer: C::NAME, version: C::VERSION };
        let in_force = batch.policy_at(position);
        let now = entries.last().map_or(tape_time, |entry| entry.now);
        let at = At { position, tape_time, now, batch, in_force, subjects: &self.subjects };
        for entry in entries {
            self.consumer.apply(&at, &entry.event, out);
            self.touched.extend(entry.event.agent.map(Subject::Agent));
            self.touched.extend(entry.event.strategy.map(Subject::Strategy));
        }
        for voice in voices.iter_mut() {
            while let Some((first, rest)) = voice.split_first().filter(|(e, _)| e.decision.cause == position) {
                self.consumer.hear(&at, &first.decision, out);
                *voice = rest;
            }
        }
        self.everyone |= std::mem::take(&mut out.everyone);
        // Most events touch nobody else and lead to no decision.
        if !out.touched.is_empty() {
            self.touched.extend(out.touched.drain(..));
        }
        if out.list.is_empty() {
            return;
        }
        emitted.extend(out.list.drain(..).map(|decision| {
            let stranger = decision.stranger.as_deref().map(Arc::from);
            let subject = stranger.unwrap_or_else(|| self.subjects.shared(decision.subject));
            Emitted::new(decision, subject, in_force.clone())
        }));
    }
}

fn heard_time(voices: &[&[Emitted]], position: u64) -> Option<Nanos> {
    let first = voices.iter().filter_map(|voice| voice.first()).find(|e| e.decision.cause == position)?;
    first.decision.tape_time
}

/// Decisions of some positions: whoever is heard may be ahead, or say again what was heard before.
fn within<'a>(list: &'a [Emitted], positions: &Range<u64>) -> &'a [Emitted] {
    let from = list.partition_point(|emitted| emitted.decision.cause < positions.start);
    let rest = &list[from..];
    &rest[..rest.partition_point(|emitted| emitted.decision.cause < positions.end)]
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The position of the first decision that is still to be heard.
fn first_heard(voices: &[&[Emitted]]) -> Option<u64> {
    voices.iter().filter_map(|voice| voice.first()).map(|emitted| emitted.decision.cause).min()
}

/// Appends the names of a batch that are not known yet; returns their ids.
fn learn(known: &mut Vec<Arc<str>>, before: usize, new: &[Arc<str>]) -> Range<u32> {
    let first = known.len();
    known.extend(new.iter().skip(first.saturating_sub(before)).cloned());
    first as u32..known.len() as u32
}
