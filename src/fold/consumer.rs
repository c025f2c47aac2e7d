use std::{sync::Arc, vec::Drain};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Batch, Event, Text, batch::Named};
use crate::{
    decision::{Decision, DecisionLine, Numbers},
    event::Nanos,
    policy::{InForce, Limits, Policy},
    subject::{Subject, SubjectSet, Subjects},
    view::{Family, Load, Row, Samples},
};

/// Where the fold stands when an event is applied.
pub struct At<'a> {
    pub position: u64,
    /// The largest usable `ts` so far, Unix nanoseconds.
    pub tape_time: Option<Nanos>,
    /// The tape time, but never past the sealing of the round: a line may be dated a little ahead, and must not begin
    /// the next day for everybody.
    pub now: Option<Nanos>,
    pub(super) batch: &'a Batch,
    pub(super) in_force: &'a Arc<InForce>,
    pub(super) subjects: &'a Subjects,
}

impl<'a> At<'a> {
    /// Goes on to a position of its batch.
    #[inline]
    pub(super) fn go_on(&mut self, position: u64, tape_time: Option<Nanos>, now: Option<Nanos>) {
        (self.position, self.tape_time, self.now) = (position, tape_time, now);
        if self.batch.policies.len() > 1 {
            self.in_force = self.batch.policy_at(position);
        }
    }

    /// The policy in force at this position.
    pub fn policy(&self) -> &'a Policy {
        &self.in_force.policy
    }

    /// The hash of that policy.
    pub fn policy_hash(&self) -> &'a str {
        &self.in_force.hash
    }

    /// The name of a subject known at this position.
    pub fn name(&self, subject: Subject) -> &'a str {
        self.subjects.name(subject)
    }

    /// The same, to be kept.
    pub fn shared_name(&self, subject: Subject) -> Arc<str> {
        self.subjects.shared(subject)
    }

    /// A string of the event.
    pub fn text(&self, text: Text) -> &'a str {
        self.batch.text(text)
    }
}

/// The policy that somebody follows. As long as it stays the same one, that is seen by its address and no table of it
/// is compared. It is no state: after a load the first policy is another one.
#[derive(Debug, Default)]
pub struct Followed(Option<Arc<InForce>>);

impl Followed {
    /// Whether another policy is in force than at the last call.
    #[inline]
    pub fn is_another(&mut self, at: &At) -> bool {
        let same = self.0.as_ref().is_some_and(|policy| Arc::ptr_eq(policy, at.in_force));
        if !same {
            self.0 = Some(at.in_force.clone());
        }
        !same
    }
}

/// What a consumer concludes of a batch: decisions, and the subjects that changed.
#[derive(Debug, Default)]
pub struct Decisions {
    list: Vec<Decision>,
    /// Kept until somebody asks who changed.
    pub(super) touched: SubjectSet,
    /// All agents and strategies changed.
    pub(super) everyone: bool,
    /// Whose they are.
    consumer: &'static str,
    version: u32,
    /// How many of the list know where they were made.
    placed: usize,
}

impl Decisions {
    /// From here on they are those of a consumer.
    pub(super) fn begin(&mut self, consumer: &'static str, version: u32) {
        (self.consumer, self.version) = (consumer, version);
    }

    /// Says of the decisions made since the last call that they were made here. Most events lead to none.
    #[inline]
    pub(super) fn place(&mut self, at: &At) {
        if self.placed < self.list.len() {
            self.place_new(at);
        }
    }

    #[inline(never)]
    fn place_new(&mut self, at: &At) {
        let (before, new) = self.list.split_at_mut(self.placed);
        let here = before.last().filter(|last| last.cause == at.position);
        let first = here.map_or(0, |last| last.ordinal + 1);
        for (decision, ordinal) in new.iter_mut().zip(first..) {
            (decision.cause, decision.ordinal, decision.tape_time) = (at.position, ordinal, at.tape_time);
        }
        self.placed = self.list.len();
    }

    /// Takes out all decisions.
    pub(super) fn take(&mut self) -> Drain<'_, Decision> {
        self.placed = 0;
        self.list.drain(..)
    }

    /// Emits a decision about a subject: the verdict, the rule that decided and its numbers.
    pub fn emit(&mut self, subject: Subject, verdict: &'static str, rule: &'static str, numbers: Numbers) {
        self.push(subject, None, verdict, rule, numbers);
        self.touched.insert(subject);
    }

    /// Emits a decision about whom a command or a request names, known or not.
    pub fn answer(&mut self, at: &At, named: Named, verdict: &'static str, rule: &'static str, numbers: Numbers) {
        match named {
            Named::Known(subject) => self.emit(subject, verdict, rule, numbers),
            Named::Stranger(subject, name) => self.emit_named(subject, at.text(name), verdict, rule, numbers),
        }
    }

    /// Emits a decision about a subject that may have been unknown when it was named.
    pub fn emit_named(
        &mut self,
        subject: Subject,
        name: &str,
        verdict: &'static str,
        rule: &'static str,
        numbers: Numbers,
    ) {
        match subject {
            Subject::UnknownAgent | Subject::UnknownStrategy => {
                self.push(subject, Some(name.into()), verdict, rule, numbers);
            }
            known => self.emit(known, verdict, rule, numbers),
        }
    }

    fn push(
        &mut self,
        subject: Subject,
        stranger: Option<Box<str>>,
        verdict: &'static str,
        rule: &'static str,
        numbers: Numbers,
    ) {
        let (consumer, version) = (self.consumer, self.version);
        // Where it was made is said when the event is folded.
        let (cause, ordinal, tape_time) = (0, 0, None);
        let decision =
            Decision { cause, ordinal, tape_time, consumer, version, subject, stranger, verdict, rule, numbers };
        self.list.push(decision);
    }

    /// Marks a subject as changed, so that its samples are rendered anew.
    pub fn touch(&mut self, subject: Subject) {
        self.touched.insert(subject);
    }

    /// Marks all agents and strategies as changed, in constant time.
    pub fn touch_everyone(&mut self) {
        self.everyone = true;
    }
}

/// A pure left fold over the tape: events in; state, decisions and views out.
///
/// No clock, no randomness, no I/O, no hash-map order, no panic on any input. State and position are saved together, so
/// `Serialize` must be canonical: equal states give equal bytes.
pub trait Consumer: Default + Serialize + DeserializeOwned + Send + 'static {
    /// Snapshot file, decisions file, metric label, word on the command line. Never reused.
    const NAME: &'static str;
    /// Raised when the state changes in shape or meaning: older snapshots are then refolded from the tape.
    const VERSION: u32;
    /// Consumers whose decisions it needs; they stand earlier in the list.
    const HEARS: &'static [&'static str] = &[];
    /// The metric families it serves.
    const FAMILIES: &'static [Family] = &[];
    /// Whether it may say of a subject that nobody is to show anything of it any more.
    const HIDES: bool = false;

    /// The stream that its decisions become lines of, if they do: its own, where nobody else writes.
    const STREAM: Option<&'static str> = None;

    /// Folds one event.
    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions);

    /// Fetches into the cache what of a subject's state an event will be folded into, where there is much of it. Asked for
    /// several events before any of them is folded, so that memory is waited for once and not at each. Changes nothing.
    #[inline]
    fn fetch(&self, _subject: Subject, _event: &Event) {}

    /// Once that has come, the same for what lies behind it elsewhere.
    #[inline]
    fn fetch_behind(&self, _subject: Subject, _event: &Event) {}

    /// Folds a decision of a consumer it hears, after the events of the same position.
    fn hear(&mut self, _at: &At, _decision: &Decision, _out: &mut Decisions) {}

    /// The samples of a subject, indexes into [`Self::FAMILIES`]. Looked at only when somebody scrapes.
    fn samples(&self, _subject: Subject, _out: &mut Samples) {}

    /// The JSON fields of a subject.
    fn row(&self, _subject: Subject, _out: &mut Row) {}

    /// The newest entries of its windows for a subject, so many at most, oldest first: what a small chart draws.
    fn recent(&self, _subject: Subject, _count: usize, _out: &mut Row) {}

    /// The JSON fields of the fleet that name its members; further ones may come from [`Self::row`].
    fn fleet(&self, _subjects: &Subjects, _out: &mut Row) {}

    /// The line of its stream that a decision becomes. It has the decision's `cause` and `ordinal`, by which it is written
    /// once.
    fn line(_decision: &DecisionLine) -> Option<String> {
        None
    }

    /// How far it uses the limits on what it keeps.
    fn loads(&self, _limits: &Limits) -> Vec<Load> {
        Vec::new()
    }

    /// What it says of the whole, under a name of its own, at a time ([`At::now`]).
    fn summary(&self, _now: Option<Nanos>) -> Option<(&'static str, Value)> {
        None
    }
}
