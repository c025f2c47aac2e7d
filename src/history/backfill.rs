use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    HistoryError,
    checkpoint::{self, Loaded, Task},
    filling::Filling,
};
use crate::{
    consumers::REGISTRY,
    event::Nanos,
    files::Files,
    fold::lines::Lines,
    policy::InForce,
    replay::{Gap, Walk},
    store::atomic,
    tape::{Directory, Until},
};

/// What to make of a history, and where.
pub struct Plan {
    pub files: Files,
    /// Tables lie below.
    pub out: PathBuf,
    /// What tells the history from any other, and from itself before it changed.
    pub history: String,
    /// In the place of every policy of the history.
    pub policy: Option<Arc<InForce>>,
    /// Runs that may still get lines at once; as many as intake joins, when nothing is said.
    pub open_runs: Option<usize>,
    /// Series too, and how far apart their samples are, in nanoseconds.
    pub step: Option<Nanos>,
    /// Labels of the series beside their own.
    pub labels: Vec<(&'static str, String)>,
    /// Lines between two checkpoints, instead of a time.
    pub every: Option<u64>,
}

impl Plan {
    fn task(&self) -> Task {
        Task {
            history: self.history.clone(),
            policy: self.policy.as_ref().map(|policy| policy.hash.to_string()),
            open_runs: self.open_runs,
            step: self.step,
            labels: self.labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }
}

/// What was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Lines of the history.
    pub position: u64,
    /// What became of them.
    pub lines: Lines,
    /// Where an earlier call had come to.
    pub went_on_from: Option<u64>,
    /// Rows of the table of runs, and of the table of series.
    pub runs: u64,
    pub series: u64,
    /// Samples of the series with timestamps.
    pub samples: u64,
    /// What lies below `out` now.
    pub parts: Vec<String>,
    pub gaps: Vec<Gap>,
}

/// A backfill of files that is finished: they end where they end.
#[derive(Serialize, Deserialize)]
struct Done {
    task: Task,
    report: Report,
}

/// The folders of the tables, and of the series with timestamps.
pub const RUNS: &str = "runs";
pub const SERIES: &str = "series";
pub const OPENMETRICS: &str = "openmetrics";

/// Folds a history, and writes what it says as tables. Where an earlier call was broken off it goes on, and where one was
/// finished it takes in what the tape got since. `progress` hears of every line.
///
/// # Errors
/// The tape cannot be read, a table cannot be written, or another backfill lies in its place.
pub fn backfill(directory: &Directory, plan: &Plan, progress: &mut dyn FnMut(u64)) -> Result<Report, HistoryError> {
    let (task, files) = (plan.task(), &plan.files);
    let path = checkpoint::path(&plan.out).with_file_name("done.json");
    if let Ok(bytes) = files.read(&path)
        && let Ok(Done { task: done, report }) = serde_json::from_slice(&bytes)
    {
        return match checkpoint::difference(&done, &task) {
            Some(what) => Err(HistoryError::Other { out: plan.out.clone(), what: format!("it is of {what}") }),
            None => Ok(Report { went_on_from: Some(report.position), ..report }),
        };
    }
    let (mut walk, mut filling) = start(directory, plan, task, progress)?;
    let went_on_from = Some(walk.intake.position()).filter(|position| *position > directory.first_position());
    walk.with((Until::End, plan.step), &mut filling)?;
    filling.end(&mut walk.engine)?;
    let report = report(&walk, &filling, went_on_from);
    if directory.head.is_none() {
        let done = Done { task: filling.task, report: report.clone() };
        let written = serde_json::to_vec(&done).map_err(Into::into);
        let written = written.and_then(|bytes| atomic::replace(files, &path, &bytes));
        let removed = written.and_then(|()| files.remove(&checkpoint::path(&plan.out)));
        removed.map_err(|source| HistoryError::Write { path, source })?;
    }
    Ok(report)
}

/// Stands where an earlier call had come to, or at the begin.
fn start<'a>(
    directory: &'a Directory,
    plan: &'a Plan,
    task: Task,
    progress: &'a mut dyn FnMut(u64),
) -> Result<(Walk<'a>, Filling<'a>), HistoryError> {
    let mut walk = Walk::begin(directory, REGISTRY)?;
    let kept = checkpoint::path(&plan.out);
    let loaded = checkpoint::read(&plan.files, &kept, &task).map_err(|unusable| unusable.error(&kept, &plan.out))?;
    if loaded.is_none() && plan.files.about(&plan.out.join(RUNS)).is_ok() {
        let what = "there are tables, and no checkpoint of them".to_owned();
        return Err(HistoryError::Other { out: plan.out.clone(), what });
    }
    let filling = Filling::begin(plan, task, directory, &walk, progress);
    let mut filling = match loaded {
        Some(Loaded { mark, engine, intake, recorder }) => {
            walk = Walk::from(directory, engine, intake, (mark.round, mark.first), mark.gaps.clone());
            filling.resume(mark, recorder)?
        }
        None => filling,
    };
    if let Some(policy) = &plan.policy {
        walk.intake.fix(policy.clone());
    }
    // What is written before the first checkpoint is known as ours by this one.
    if walk.intake.position() == directory.first_position() {
        filling.keep(&walk.moment())?;
    }
    Ok((walk, filling))
}

fn report(walk: &Walk, filling: &Filling, went_on_from: Option<u64>) -> Report {
    let Filling { runs, past, .. } = filling;
    let mut parts: Vec<String> = runs.finished.iter().map(|part| format!("{RUNS}/{part}")).collect();
    let (mut series, mut samples) = (0, 0);
    if let Some(past) = past {
        (series, samples) = (past.table.rows(), past.page.samples());
        parts.extend(past.table.finished.iter().map(|part| format!("{SERIES}/{part}")));
        parts.extend(past.page.finished.iter().map(|part| format!("{OPENMETRICS}/{part}")));
    }
    Report {
        position: walk.intake.position(),
        lines: walk.intake.lines().clone(),
        went_on_from,
        runs: runs.rows(),
        series,
        samples,
        parts,
        gaps: walk.gaps.clone(),
    }
}
