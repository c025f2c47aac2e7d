use std::{ops::Range, sync::Arc};

use super::{
    Batch, Entry,
    consumer::{At, Consumer, Decisions},
    heard::Heard,
};
use serde_json::Value;

use crate::{
    decision::{Decision, DecisionLine},
    event::Nanos,
    policy::{InForce, Limits},
    subject::{Subject, Subjects},
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
    out: Decisions,
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
        self.out.begin(C::NAME, C::VERSION);
        // After a load, names may come from before the slot's position, and what it knows of them is to be shown.
        self.out.touched.extend(agents.map(Subject::Agent).chain(strategies.map(Subject::Strategy)));
        let skip = batch.entries.partition_point(|entry| entry.position < self.position);
        let heard = Heard::of(heard, &(self.position..batch.next));
        self.fold(batch, &batch.entries[skip..], heard);
        self.position = self.position.max(batch.next);
        self.emitted(batch)
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
        self.out.touched.extend(self.subjects.all());
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        let hidden = out.hidden;
        self.consumer.samples(subject, out);
        debug_assert!(C::HIDES || out.hidden == hidden, "{} hides {subject:?} and does not say that it may", C::NAME);
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
        let touched = self.out.touched.take();
        if !std::mem::take(&mut self.out.everyone) {
            return touched;
        }
        let fleet = touched.contains(&Subject::Fleet).then_some(Subject::Fleet);
        self.subjects.all().chain(fleet).collect()
    }
}

/// Events whose states are fetched together: enough for memory to be kept busy, few enough that all is still near.
const AHEAD: usize = 16;

impl<C: Consumer> Held<C> {
    /// Folds events one by one, and after the last one of a position what is heard at it. Whatever stands here is done
    /// for every event by every consumer.
    fn fold(&mut self, batch: &Batch, entries: &[Entry], mut heard: Heard) {
        let Held { consumer, subjects, out, position } = self;
        let in_force = batch.policy_at(*position);
        let mut at = At { position: Heard::NOBODY, tape_time: None, now: None, batch, in_force, subjects };
        for next in entries.chunks(AHEAD) {
            for Entry { event, .. } in next {
                event.each_subject(|subject| consumer.fetch(subject, event));
            }
            for Entry { event, .. } in next {
                event.each_subject(|subject| consumer.fetch_behind(subject, event));
            }
            for Entry { position, tape_time, now, event } in next {
                if heard.next() < *position {
                    hear_before(*position, consumer, &mut heard, &mut at, out);
                }
                at.go_on(*position, *tape_time, *now);
                consumer.apply(&at, event, out);
                out.place(&at);
                event.each_subject(|subject| out.touch(subject));
            }
        }
        hear_before(Heard::NOBODY, consumer, &mut heard, &mut at, out);
    }

    /// The decisions of a batch, with what their written form needs.
    fn emitted(&mut self, batch: &Batch) -> Vec<Emitted> {
        let subjects = &self.subjects;
        let emitted = self.out.take().map(|decision| {
            let stranger = decision.stranger.as_deref().map(Arc::from);
            let subject = stranger.unwrap_or_else(|| subjects.shared(decision.subject));
            let policy = batch.policy_at(decision.cause).clone();
            Emitted::new(decision, subject, policy)
        });
        emitted.collect()
    }
}

/// Lets a consumer hear all that was said before a position. Where it stands, the times are those of its last event; at
/// a position without one, those of what is heard.
#[inline(never)]
fn hear_before<C: Consumer>(end: u64, consumer: &mut C, heard: &mut Heard, at: &mut At, out: &mut Decisions) {
    while heard.next() < end {
        if heard.next() != at.position {
            at.go_on(heard.next(), heard.tape_time(), heard.tape_time());
        }
        heard.take(|decision| consumer.hear(at, decision, out));
        out.place(at);
    }
}

/// Appends the names of a batch that are not known yet; returns their ids.
fn learn(known: &mut Vec<Arc<str>>, before: usize, new: &[Arc<str>]) -> Range<u32> {
    let first = known.len();
    known.extend(new.iter().skip(first.saturating_sub(before)).cloned());
    first as u32..known.len() as u32
}
