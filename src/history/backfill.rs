use std::{path::PathBuf, sync::Arc};

use super::{
    HistoryError,
    schema::{self, Column},
    table::Table,
};
use crate::{
    consumers::REGISTRY,
    files::Files,
    fold::{Batch, Emitted, Engine, lines::Lines},
    forensics::Recorder,
    policy::InForce,
    replay::{Companion, Gap, Walk},
    tape::Directory,
};

/// What to make of a history, and where.
pub struct Plan {
    pub files: Files,
    /// Tables lie below.
    pub out: PathBuf,
    /// In the place of every policy of the history.
    pub policy: Option<Arc<InForce>>,
    /// Runs that may still get lines at once; as many as intake joins, when nothing is said.
    pub open_runs: Option<usize>,
}

/// What was made.
#[derive(Debug)]
pub struct Report {
    /// Lines of the history.
    pub position: u64,
    /// What became of them.
    pub lines: Lines,
    /// Rows of the table of runs.
    pub runs: u64,
    /// Parts, by their paths below `out`.
    pub parts: Vec<String>,
    pub gaps: Vec<Gap>,
}

/// Folds a history, and writes what it says as tables. `progress` hears of every line.
///
/// # Errors
/// The tape cannot be read, or a table cannot be written.
pub fn backfill(directory: &Directory, plan: &Plan, progress: &mut dyn FnMut(u64)) -> Result<Report, HistoryError> {
    let mut walk = Walk::begin(directory, REGISTRY)?;
    if let Some(policy) = &plan.policy {
        walk.intake.fix(policy.clone());
    }
    let columns: Vec<Column> = schema::runs();
    let mut filling = Filling {
        recorder: Recorder::of_every_record(&walk.engine, &walk.intake),
        runs: Table::new(plan.files.clone(), plan.out.join(RUNS), columns, 0),
        open_runs: plan.open_runs,
        progress,
        failed: None,
    };
    walk.with(None, &mut filling)?;
    filling.close(0);
    if let Some(error) = filling.failed {
        return Err(error);
    }
    let mut runs = filling.runs;
    runs.finish()?;
    let parts = runs.finished.iter().map(|part| format!("{RUNS}/{part}")).collect();
    let lines = walk.intake.lines().clone();
    Ok(Report { position: walk.intake.position(), lines, runs: runs.rows(), parts, gaps: walk.gaps })
}

/// The folder of the table of runs.
pub const RUNS: &str = "runs";

/// Tables that fill while a walk goes on.
struct Filling<'a> {
    recorder: Recorder,
    runs: Table,
    open_runs: Option<usize>,
    progress: &'a mut dyn FnMut(u64),
    /// Why no more can be written.
    failed: Option<HistoryError>,
}

impl Filling<'_> {
    /// Writes the oldest runs beyond so many.
    fn close(&mut self, keep: usize) {
        if self.failed.is_some() {
            return;
        }
        let Filling { recorder, runs: table, .. } = self;
        let closed = recorder.close(keep, |runs, run| schema::row(runs, run, |fields| table.push(run.time, fields)));
        self.failed = closed.err();
    }
}

impl Companion for Filling<'_> {
    fn before(&mut self, _: &Engine, _: &Batch) {}

    fn after(&mut self, _: &Engine, batch: &Batch, emitted: Vec<Emitted>) -> bool {
        self.recorder.step(batch, &emitted);
        (self.progress)(batch.next - batch.first);
        let joined = batch.policy_at(batch.next).policy.limits.join_runs;
        self.close(self.open_runs.unwrap_or(joined).max(1));
        self.failed.is_none()
    }
}
