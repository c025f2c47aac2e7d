use std::{
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{HistoryError, openmetrics::PageMark, table::TableMark};
use crate::{
    consumers::REGISTRY,
    event::Nanos,
    files::{File, Files, How, Reading},
    fold::{Engine, Intake},
    forensics::Recorder,
    replay::{Gap, Moment},
};

/// Version of the form; raised when it changes.
const FORMAT: u32 = 1;

/// Bytes that are written together.
const WRITTEN_AT_ONCE: usize = 1 << 20;

/// A record is never longer.
const RECORD_MAX: u64 = 1 << 32;

/// What a backfill is of. Only the same is gone on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The logs, by what tells them apart from others.
    pub history: String,
    /// The hash of the policy that replaces all others.
    pub policy: Option<String>,
    pub open_runs: Option<usize>,
    pub step: Option<Nanos>,
    pub labels: Vec<(String, String)>,
}

/// How far everything is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mark {
    format: u32,
    /// Consumers with their versions.
    consumers: Vec<(String, u32)>,
    pub task: Task,
    pub position: u64,
    pub round: u64,
    pub first: u64,
    /// Digest of the round before, where that was looked at.
    #[serde(default)]
    pub prev: Option<String>,
    pub gaps: Vec<Gap>,
    pub runs: TableMark,
    pub series: Option<TableMark>,
    pub page: Option<PageMark>,
    /// The time of the last line, for the series.
    pub now: Option<Nanos>,
    /// The consumers that showed something of the fleet, by number.
    pub of_fleet: Vec<bool>,
}

/// A backfill as it stood.
pub struct Loaded {
    pub mark: Mark,
    pub engine: Engine,
    pub intake: Intake,
    pub recorder: Recorder,
}

/// Where the state is kept.
pub fn path(out: &Path) -> PathBuf {
    out.join(".backfill").join("checkpoint")
}

fn consumers(engine: &Engine) -> Vec<(String, u32)> {
    engine.slots().iter().map(|slot| (slot.name().to_owned(), slot.version())).collect()
}

impl Mark {
    pub fn new(task: &Task, moment: &Moment, runs: TableMark) -> Mark {
        Mark {
            format: FORMAT,
            consumers: consumers(moment.engine),
            task: task.clone(),
            position: moment.intake.position(),
            round: moment.round,
            first: moment.first,
            prev: None,
            gaps: moment.gaps.to_vec(),
            runs,
            series: None,
            page: None,
            now: None,
            of_fleet: Vec::new(),
        }
    }
}

/// Replaces what is kept: the mark, intake, every consumer, the runs that are open.
///
/// # Errors
/// It cannot be written; what was kept before stands.
pub fn write(
    files: &Files,
    path: &Path,
    mark: &Mark,
    moment: &Moment,
    recorder: &Recorder,
) -> Result<(), HistoryError> {
    let beside = path.with_extension("part");
    let written = || -> io::Result<()> {
        let dir = path.parent().unwrap_or(path);
        files.make_dirs(dir)?;
        let mut writer = Writer::new(files.open(&beside, How::Anew)?);
        writer.record(&serde_json::to_vec(mark)?)?;
        writer.record(&moment.intake.save())?;
        for slot in moment.engine.slots() {
            writer.record(&slot.save())?;
        }
        recorder.save(|record| writer.record(record))?;
        writer.finish()?;
        files.rename(&beside, path)?;
        files.sync_dir(dir)
    };
    written().map_err(|source| HistoryError::Write { path: beside.clone(), source })
}

/// Why what was kept cannot be gone on with.
pub enum Unusable {
    Unread(io::Error),
    /// Another runtape wrote it.
    Foreign,
    Damaged,
    /// It is of something else.
    Differs(&'static str),
}

impl Unusable {
    /// As an error of the backfill that lies in `out`.
    pub fn error(self, path: &Path, out: &Path) -> HistoryError {
        let what = match self {
            Unusable::Unread(source) => return HistoryError::Read { path: path.to_owned(), source },
            Unusable::Foreign => "it was begun by another runtape".to_owned(),
            Unusable::Damaged => "its checkpoint is damaged".to_owned(),
            Unusable::Differs(what) => format!("it is of {what}"),
        };
        HistoryError::Other { out: out.to_owned(), what }
    }
}

/// What was kept, if there is anything.
///
/// # Errors
/// It is of another task, or of another runtape, or damaged.
pub fn read(files: &Files, path: &Path, task: &Task) -> Result<Option<Loaded>, Unusable> {
    let file = match files.open(path, How::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Unusable::Unread(source)),
    };
    let damaged = || Unusable::Damaged;
    let mut reader = Reader { inner: BufReader::new(Reading::new(file)), hasher: blake3::Hasher::new() };
    let mark = reader.record().ok_or_else(damaged)?;
    let mark: Mark = serde_json::from_slice(&mark).map_err(|_| damaged())?;
    let mut engine = Engine::new(REGISTRY);
    if mark.format != FORMAT || mark.consumers != consumers(&engine) {
        return Err(Unusable::Foreign);
    }
    if let Some(what) = difference(&mark.task, task) {
        return Err(Unusable::Differs(what));
    }
    let intake = reader.record().and_then(|bytes| Intake::load(Default::default(), &bytes).ok()).ok_or_else(damaged)?;
    for slot in engine.slots_mut() {
        let bytes = reader.record().ok_or_else(damaged)?;
        slot.load(mark.position, &bytes).map_err(|_| damaged())?;
        slot.learn(intake.subjects());
    }
    let recorder = Recorder::load(|| reader.record()).ok_or_else(damaged)?;
    if !reader.is_whole() {
        return Err(Unusable::Damaged);
    }
    Ok(Some(Loaded { mark, engine, intake, recorder }))
}

/// What two backfills differ in first.
pub fn difference(a: &Task, b: &Task) -> Option<&'static str> {
    [
        (a.history != b.history, "other logs, or of logs that have changed since"),
        (a.policy != b.policy, "another --policy"),
        (a.open_runs != b.open_runs, "another --open-runs"),
        (a.step != b.step, "another --step"),
        (a.labels != b.labels, "another --job or --instance"),
    ]
    .into_iter()
    .find_map(|(differs, what)| differs.then_some(what))
}

/// Records, each with its length before it, and the digest of them all.
struct Writer {
    file: File,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
}

impl Writer {
    fn new(file: File) -> Writer {
        Writer { file, buffer: Vec::new(), hasher: blake3::Hasher::new() }
    }

    fn record(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < WRITTEN_AT_ONCE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.file.append(self.hasher.finalize().as_bytes())?;
        self.file.sync_all()
    }
}

struct Reader {
    inner: BufReader<Reading>,
    hasher: blake3::Hasher,
}

impl Reader {
    /// The next record; none when it is not whole.
    fn record(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 8];
        self.inner.read_exact(&mut length).ok()?;
        let count = Some(u64::from_le_bytes(length)).filter(|length| *length < RECORD_MAX)?;
        let mut bytes = Vec::new();
        self.inner.by_ref().take(count).read_to_end(&mut bytes).ok()?;
        self.hasher.update(&length);
        self.hasher.update(&bytes);
        (bytes.len() as u64 == count).then_some(bytes)
    }

    /// Whether the digest of all records is the one that stands at the end.
    fn is_whole(&mut self) -> bool {
        let mut end = Vec::new();
        self.inner.read_to_end(&mut end).is_ok() && end == self.hasher.finalize().as_bytes()
    }
}
