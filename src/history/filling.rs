use std::time::Duration;

use super::{
    HistoryError,
    backfill::{OPENMETRICS, Plan, RUNS, SERIES},
    checkpoint::{self, Mark, Task},
    openmetrics::OpenMetrics,
    schema,
    series::{self, Sampler},
    table::Table,
};
use crate::{
    clock::Stopwatch,
    event::Nanos,
    fold::{Batch, Emitted, Engine},
    forensics::Recorder,
    replay::{Companion, Moment, Walk},
    tape::Directory,
};

/// Time between two checkpoints, and how much longer it is than what one takes.
const BETWEEN: Duration = Duration::from_secs(30);
const BETWEEN_BY_COST: u32 = 20;

/// Tables that fill while a walk goes on.
pub struct Filling<'a> {
    plan: &'a Plan,
    pub task: Task,
    /// One past the last sealed position of a tape: what lies past it may come in another order the next time.
    sealed_to: Option<u64>,
    recorder: Recorder,
    pub runs: Table,
    pub past: Option<Past>,
    progress: &'a mut dyn FnMut(u64),
    kept: Kept,
    /// Why no more can be written.
    failed: Option<HistoryError>,
}

/// The last checkpoint.
struct Kept {
    position: u64,
    since: Stopwatch,
    took: Duration,
}

/// The series of the past, as a table and as pages.
pub struct Past {
    sampler: Sampler,
    pub table: Table,
    pub page: OpenMetrics,
}

impl<'a> Filling<'a> {
    /// With nothing, where a walk begins.
    pub fn begin(
        plan: &'a Plan,
        task: Task,
        directory: &Directory,
        walk: &Walk,
        progress: &'a mut dyn FnMut(u64),
    ) -> Filling<'a> {
        Filling {
            plan,
            task,
            sealed_to: directory.head.is_some().then_some(directory.sealed_to),
            recorder: Recorder::of_every_record(&walk.engine, &walk.intake),
            runs: Table::new(plan.files.clone(), plan.out.join(RUNS), schema::runs()),
            past: plan.step.map(|step| Past::new(plan, step, &walk.engine)),
            progress,
            kept: Kept { position: walk.intake.position(), since: Stopwatch::start(), took: Duration::ZERO },
            failed: None,
        }
    }

    /// From what was kept.
    ///
    /// # Errors
    /// What was written after it cannot be removed.
    pub fn resume(self, mark: Mark, recorder: Recorder) -> Result<Filling<'a>, HistoryError> {
        let runs = self.runs.resume(mark.runs)?;
        let past = match (self.past, mark.series, mark.page) {
            (Some(past), Some(series), Some(page)) => Some(Past {
                sampler: past.sampler.at(mark.now, mark.of_fleet),
                table: past.table.resume(series)?,
                page: past.page.resume(page)?,
            }),
            (past, ..) => past,
        };
        (self.progress)(mark.position);
        Ok(Filling { runs, past, recorder, ..self })
    }

    /// Writes the oldest runs beyond so many.
    fn close(&mut self, keep: usize) -> Result<(), HistoryError> {
        close(&mut self.recorder, keep, &mut self.runs)
    }

    /// Behind the last line: what is still open is written.
    ///
    /// # Errors
    /// It cannot be written, or something could not before.
    pub fn end(&mut self, engine: &mut Engine) -> Result<(), HistoryError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if let Some(past) = &mut self.past {
            past.end(engine)?;
        }
        self.close(0)?;
        self.runs.finish()
    }

    fn take(&mut self, moment: &Moment, batch: &Batch, emitted: &[Emitted]) -> Result<(), HistoryError> {
        self.recorder.step(batch, emitted);
        (self.progress)(batch.next - batch.first);
        let joined = batch.policy_at(batch.next).policy.limits.join_runs;
        self.close(self.plan.open_runs.unwrap_or(joined).max(1))?;
        if self.is_due(batch.next) { self.keep(moment) } else { Ok(()) }
    }

    fn is_due(&self, position: u64) -> bool {
        let Kept { position: kept, since, took } = &self.kept;
        if self.sealed_to.is_some_and(|end| position >= end) {
            return self.sealed_to == Some(position) && *kept < position;
        }
        match self.plan.every {
            Some(lines) => position - kept >= lines,
            None => since.elapsed() > BETWEEN.max(*took * BETWEEN_BY_COST),
        }
    }

    /// Keeps how far everything is.
    ///
    /// # Errors
    /// It cannot be written; what was kept before stands.
    pub fn keep(&mut self, moment: &Moment) -> Result<(), HistoryError> {
        let since = Stopwatch::start();
        let mut mark = Mark::new(&self.task, moment, self.runs.mark()?);
        if let Some(past) = &mut self.past {
            mark.series = Some(past.table.mark()?);
            mark.page = Some(past.page.mark()?);
            mark.now = past.sampler.now();
            mark.of_fleet = past.sampler.of_fleet();
        }
        checkpoint::write(&self.plan.files, &checkpoint::path(&self.plan.out), &mark, moment, &self.recorder)?;
        self.kept = Kept { position: mark.position, took: since.elapsed(), since: Stopwatch::start() };
        Ok(())
    }
}

/// Lets go of the oldest runs beyond so many, into a table.
///
/// # Errors
/// The table cannot be written.
pub fn close(recorder: &mut Recorder, keep: usize, table: &mut Table) -> Result<(), HistoryError> {
    recorder.close(keep, |runs, run| schema::row(runs, run, |fields| table.push(run.time, fields)))?;
    Ok(())
}

impl Companion for Filling<'_> {
    fn before(&mut self, engine: &mut Engine, batch: &Batch) {
        let written = self.past.as_mut().map(|past| past.before(engine, batch));
        self.failed = self.failed.take().or(written.and_then(Result::err));
    }

    fn after(&mut self, moment: &Moment, batch: &Batch, emitted: Vec<Emitted>) -> bool {
        if self.failed.is_none() {
            self.failed = self.take(moment, batch, &emitted).err();
        }
        self.failed.is_none()
    }
}

impl Past {
    fn new(plan: &Plan, step: Nanos, engine: &Engine) -> Past {
        let labels: Vec<(&str, &str)> = plan.labels.iter().map(|(name, value)| (*name, &**value)).collect();
        Past {
            sampler: Sampler::new(step),
            table: Table::new(plan.files.clone(), plan.out.join(SERIES), series::columns(engine)),
            page: OpenMetrics::new(plan.files.clone(), plan.out.join(OPENMETRICS), &labels),
        }
    }

    /// The state at every step up to a batch.
    fn before(&mut self, engine: &mut Engine, batch: &Batch) -> Result<(), HistoryError> {
        let Some(steps) = self.sampler.due(batch) else { return Ok(()) };
        self.sampler.look(engine);
        for step in steps {
            self.add(engine, step)?;
        }
        Ok(())
    }

    fn add(&mut self, engine: &Engine, step: i64) -> Result<(), HistoryError> {
        let Past { sampler, table, page } = self;
        let at = sampler.time(step);
        page.add(&sampler.shown(engine), at)?;
        series::rows(sampler, engine, at, |fields| table.push(Some(at), fields))
    }

    fn end(&mut self, engine: &mut Engine) -> Result<(), HistoryError> {
        if let Some(step) = self.sampler.last() {
            self.sampler.look(engine);
            self.add(engine, step)?;
        }
        self.table.finish()?;
        self.page.finish()
    }
}
