//! Many policies on one history: lines are read and decoded once, and folded under each.

use std::{sync::Arc, thread};

use super::{Gap, ReplayError, begin};
use crate::{
    consumers::REGISTRY,
    event::Decoded,
    fold::{Batch, Emitted, Engine, Intake, Place, Registration},
    forensics::{
        Recorder, Run, Runs,
        trial::{COMPARED, ORDERED, Outcome, Trial},
    },
    policy::InForce,
    tape::{Directory, RoundSource, each_line},
};

/// Lines folded together: the threads meet after each batch.
const BATCH: u64 = 8192;

/// What came of every policy.
pub struct Trials {
    pub runs: Runs,
    /// What was in force, with the policy at the end.
    pub in_force: (Arc<InForce>, Outcome),
    /// In the order in which they were given.
    pub outcomes: Vec<Outcome>,
    pub position: u64,
    pub gaps: Vec<Gap>,
}

/// Folds a directory under the policies of its tape, and beside that under each of these.
///
/// # Errors
/// The tape cannot be read.
pub fn trials(
    directory: &Directory,
    policies: &[Arc<InForce>],
    threads: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<Trials, ReplayError> {
    let mut fold = Fold::begin(directory, policies, threads)?;
    let mut gaps = Vec::new();
    for source in directory.rounds(directory.first_round())? {
        let source = source?;
        let first = fold.base.intake.position();
        let read = fold.round(&source, progress);
        if let Err(what) = read {
            let from = fold.base.intake.position();
            let to = source.count.map_or(from, |count| (first + count).max(from));
            gaps.push(Gap { from, to, what });
            fold.pass(to);
        }
    }
    Ok(fold.finish(policies, gaps))
}

/// Policies under which intake says the same: they share its events.
struct Group {
    intake: Intake,
    batch: Batch,
    members: Vec<Member>,
}

struct Member {
    /// Its place among the policies that were given.
    nth: usize,
    policy: Arc<InForce>,
    engine: Engine,
    trial: Trial,
}

/// What was in force.
struct Base {
    intake: Intake,
    batch: Batch,
    engine: Engine,
    recorder: Recorder,
    trial: Trial,
}

struct Fold {
    base: Base,
    groups: Vec<Group>,
    threads: usize,
}

/// The consumers of a list.
fn only(names: &[&str]) -> Vec<Registration> {
    REGISTRY.iter().filter(|consumer| names.contains(&consumer.name)).copied().collect()
}

impl Fold {
    fn begin(directory: &Directory, policies: &[Arc<InForce>], threads: usize) -> Result<Fold, ReplayError> {
        let (engine, intake) = begin(directory, REGISTRY)?;
        let (recorder, trial) = (Recorder::begin(&engine, &intake), Trial::begin(&engine, &intake));
        let base = Base { batch: intake.begin(), intake, engine, recorder, trial };
        let mut groups: Vec<(Arc<InForce>, Group)> = Vec::new();
        for (nth, policy) in policies.iter().enumerate() {
            let (engine, mut intake) = begin(directory, &only(&COMPARED))?;
            let trial = Trial::begin(&base.engine, &intake);
            let member = Member { nth, policy: policy.clone(), engine, trial };
            match groups.iter_mut().find(|(other, _)| same_events(other, policy)) {
                Some((_, group)) => group.members.push(member),
                None => {
                    intake.fix(policy.clone());
                    let group = Group { batch: intake.begin(), intake, members: vec![member] };
                    groups.push((policy.clone(), group));
                }
            }
        }
        Ok(Fold { base, groups: groups.into_iter().map(|(_, group)| group).collect(), threads: threads.max(1) })
    }

    fn round(&mut self, source: &RoundSource, progress: &mut dyn FnMut(u64)) -> Result<(), String> {
        let line_bytes_max = self.base.intake.policy().policy.limits.line_bytes;
        let read = each_line(source, line_bytes_max, &mut |line, place, _| {
            self.line(line, place, source);
            let lines = self.base.batch.next - self.base.batch.first;
            if lines >= BATCH {
                progress(lines);
                self.flush();
            }
            true
        });
        progress(self.base.batch.next - self.base.batch.first);
        self.flush();
        read.map(drop).map_err(|error| error.to_string())
    }

    fn line(&mut self, line: Decoded, place: &Place, source: &RoundSource) {
        self.base.intake.line(line, place, source.at, &mut self.base.batch);
        for group in &mut self.groups {
            group.intake.line(line, place, source.at, &mut group.batch);
        }
    }

    /// Lets everybody fold what was taken in.
    fn flush(&mut self) {
        let Base { intake, batch, engine, recorder, trial } = &mut self.base;
        let full = std::mem::replace(batch, intake.begin());
        if full.next == full.first {
            return;
        }
        let said = engine.step(&full);
        let before = recorder.runs().all.len();
        recorder.step(&full, &said);
        let began = &recorder.runs().all[before..];
        trial.step(began, &said, &said);
        let ordered: Vec<Emitted> = said.into_iter().filter(|emitted| emitted.decision.consumer == ORDERED).collect();
        for group in &mut self.groups {
            let full = std::mem::replace(&mut group.batch, group.intake.begin());
            group.fold(full, began, &ordered, self.threads);
        }
    }

    /// Goes on behind lines that cannot be read.
    fn pass(&mut self, to: u64) {
        self.base.batch = self.base.intake.pass(to);
        for group in &mut self.groups {
            group.batch = group.intake.pass(to);
        }
        self.flush();
    }

    fn finish(self, policies: &[Arc<InForce>], gaps: Vec<Gap>) -> Trials {
        let Base { intake, recorder, trial, .. } = self.base;
        let runs = recorder.finish();
        let none = trial.outcome(&runs, &trial);
        let mut outcomes = vec![none.clone(); policies.len()];
        for member in self.groups.iter().flat_map(|group| &group.members) {
            outcomes[member.nth] = member.trial.outcome(&runs, &trial);
        }
        let position = intake.position();
        Trials { runs, in_force: (intake.policy().clone(), none), outcomes, position, gaps }
    }
}

impl Group {
    fn fold(&mut self, batch: Batch, began: &[Run], ordered: &[Emitted], threads: usize) {
        let share = self.members.len().div_ceil(threads).max(1);
        let fold = |members: &mut [Member], mut batch: Batch| {
            for member in members {
                batch.policies = vec![(batch.first, member.policy.clone())];
                let said = member.engine.step(&batch);
                member.trial.step(began, &said, ordered);
            }
        };
        if share >= self.members.len() {
            return fold(&mut self.members, batch);
        }
        thread::scope(|scope| {
            for members in self.members.chunks_mut(share) {
                let batch = batch.clone();
                scope.spawn(|| fold(members, batch));
            }
        });
    }
}

/// Whether lines become the same events under two policies.
fn same_events(a: &InForce, b: &InForce) -> bool {
    let of =
        |policy: &InForce| (policy.policy.prices.clone(), policy.policy.capital.clone(), policy.policy.limits.clone());
    of(a) == of(b)
}
