use std::{collections::BTreeMap, io, path::PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{ReplayError, begin};
use crate::{
    decision::DecisionLine,
    files::{Files, How},
    fold::{Emitted, Engine, Registration},
    store::{Snapshots, journal::Mark},
    tape::{Directory, Until, journal::Rounds, read_round, verify::Finding},
};

/// The lines of a decisions file, one ahead.
mod written;

use written::{Line, Written};

/// Findings named of one file; the rest is counted.
const NAMED_MAX: u64 = 20;

/// Every decision on disk held byte for byte against what the tape gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Decisions that are what the tape gives.
    pub same: u64,
    /// Decisions of another version of a consumer, which this program cannot make again.
    pub unjudged: Vec<Unjudged>,
    /// Decisions that are not on disk, and that the next start writes.
    pub due: u64,
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

/// Decisions that name another version of their consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unjudged {
    pub consumer: &'static str,
    pub version: u64,
    /// The version of this program.
    pub ours: u32,
    pub decisions: u64,
}

/// Folds the sealed history from where it begins and compares every decision with the line of it that was written live. The
/// history must be intact. Decisions about lines that were pruned are passed over. Writes nothing.
///
/// # Errors
/// The history or a decisions file cannot be read.
pub fn audit(directory: &Directory, registry: &[Registration]) -> Result<Audit, AuditError> {
    let layout = directory.layout();
    let (mut engine, mut intake) = begin(directory, registry).map_err(ReplayError::from)?;
    let saved = saved_at(&Snapshots::new(layout.files.clone(), layout.snapshots()), &engine)?;
    let mut files: Vec<Comparison> = Vec::new();
    for (slot, saved) in engine.slots().iter().zip(saved) {
        let path = layout.decisions(slot.name());
        let mut file = Comparison::new(&layout.files, slot.name(), slot.version(), saved, path)?;
        file.pass(directory.first_position())?;
        files.push(file);
    }
    for round in Rounds::open(&layout.files, &layout.tape()).map_err(ReplayError::from)? {
        let round = round.map_err(ReplayError::from)?;
        let (mut emitted, source) = (Vec::new(), directory.source(&round));
        read_round(&source, &mut intake, Until::End, &mut |batch| emitted.append(&mut engine.step(&batch)))
            .map_err(ReplayError::from)?;
        for emitted in &emitted {
            if let Some(file) = files.iter_mut().find(|file| file.consumer == emitted.decision.consumer) {
                file.expect(emitted, &round.digest)?;
            }
        }
    }
    let mut audit = Audit::default();
    for file in files {
        file.finish(&mut audit)?;
    }
    Ok(audit)
}

/// Decisions cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
}

/// Where the newest usable snapshot of each consumer stands: the decisions before are on disk, or were lost there.
fn saved_at(snapshots: &Snapshots, engine: &Engine) -> Result<Vec<u64>, AuditError> {
    let headers =
        snapshots.headers().map_err(|source| AuditError::Read { path: snapshots.dir().to_owned(), source })?;
    let of = |name: &str, version: u32| {
        let usable = headers.iter().filter_map(|(_, header)| header.as_ref().ok());
        let usable = usable.filter(|header| header.of == name && header.version == version);
        usable.map(|header| header.position).max().unwrap_or(0)
    };
    Ok(engine.slots().iter().map(|slot| of(slot.name(), slot.version())).collect())
}

/// One decisions file on its way along the tape.
struct Comparison {
    consumer: &'static str,
    version: u32,
    saved: u64,
    path: PathBuf,
    written: Written,
    same: u64,
    unjudged: BTreeMap<u64, u64>,
    /// The newest version seen so far.
    reached: u64,
    due: u64,
    named: Vec<Finding>,
    unnamed: u64,
}

impl Comparison {
    fn new(
        files: &Files,
        consumer: &'static str,
        version: u32,
        saved: u64,
        path: PathBuf,
    ) -> Result<Comparison, AuditError> {
        let file = match files.open(&path, How::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(|source| AuditError::Read { path: path.clone(), source })?),
        };
        let written = Written::new(file).map_err(|source| AuditError::Read { path: path.clone(), source })?;
        Ok(Comparison {
            consumer,
            version,
            saved,
            path,
            written,
            same: 0,
            unjudged: BTreeMap::new(),
            reached: 1,
            due: 0,
            named: Vec::new(),
            unnamed: 0,
        })
    }

    /// What was decided about lines before a position is not looked at.
    fn pass(&mut self, begin: u64) -> Result<(), AuditError> {
        while self.written.head().and_then(|head| head.mark).is_some_and(|mark| mark.cause < begin) {
            self.advance()?;
        }
        Ok(())
    }

    /// The tape gives this decision next.
    fn expect(&mut self, emitted: &Emitted, tape: &str) -> Result<(), AuditError> {
        let due = Mark::of(&emitted.decision);
        loop {
            let Some(head) = self.written.head() else {
                self.absent(due, emitted);
                return Ok(());
            };
            let (mark, next) = (head.mark, self.written.next_mark());
            // A line out of order stands where this decision belongs; one in order was added, or this one is missing.
            match mark {
                Some(mark) if mark < due && next.is_some_and(|next| next <= due) => {
                    self.extra();
                    self.advance()?;
                }
                Some(mark) if mark > due && next.is_none_or(|next| next > mark) => {
                    self.missing(due, emitted);
                    return Ok(());
                }
                _ => {
                    self.compare(emitted, tape);
                    return self.advance();
                }
            }
        }
    }

    fn compare(&mut self, emitted: &Emitted, tape: &str) {
        let Some(head) = self.written.head() else { return };
        let line = emitted.line();
        let want = line.written(tape);
        if head.text == want.as_bytes() {
            self.same += 1;
            self.reached = u64::from(self.version);
            return;
        }
        if let Some(version) = self.other_version(head) {
            return self.set_aside(version);
        }
        let (number, position) = (head.number, emitted.decision.cause);
        let what = difference(&head.text, &want);
        self.found(format!("line {number}, the decision at position {position} {}: {what}", of_whom(&line)));
    }

    /// An older version of the consumer than this program's, where versions have only ascended so far.
    fn other_version(&self, line: &Line) -> Option<u64> {
        line.version.filter(|version| (self.reached..u64::from(self.version)).contains(version))
    }

    fn set_aside(&mut self, version: u64) {
        self.reached = version;
        *self.unjudged.entry(version).or_default() += 1;
    }

    /// The line it stands on is no decision that the tape gives.
    fn extra(&mut self) {
        let Some(head) = self.written.head() else { return };
        if let Some(version) = self.other_version(head) {
            return self.set_aside(version);
        }
        let (number, mark) = (head.number, head.mark);
        let place = mark.map_or(String::new(), |mark| format!(", a decision at position {}", mark.cause));
        self.found(format!("line {number}{place}: the tape gives no such decision"));
    }

    fn missing(&mut self, due: Mark, emitted: &Emitted) {
        let Some(head) = self.written.head() else { return };
        // What an older version decided there is its own affair.
        if self.other_version(head).is_none() {
            let (number, whom) = (head.number, of_whom(&emitted.line()));
            self.found(format!("before line {number}: the decision at position {} {whom} is missing", due.cause));
        }
    }

    /// The file has ended. What no snapshot stands past is made again by the next start.
    fn absent(&mut self, due: Mark, emitted: &Emitted) {
        if due.cause >= self.saved {
            self.due += 1;
            return;
        }
        let whom = of_whom(&emitted.line());
        self.found(format!("after its last line: the decision at position {} {whom} is missing", due.cause));
    }

    fn found(&mut self, what: String) {
        if self.named.len() as u64 == NAMED_MAX {
            self.unnamed += 1;
            return;
        }
        self.named.push(Finding::in_file(self.path.clone(), what));
    }

    fn advance(&mut self) -> Result<(), AuditError> {
        self.written.advance().map_err(|source| AuditError::Read { path: self.path.clone(), source })
    }

    /// The tape gives no more.
    fn finish(mut self, audit: &mut Audit) -> Result<(), AuditError> {
        while self.written.head().is_some() {
            self.extra();
            self.advance()?;
        }
        if self.unnamed > 0 {
            let what = format!("and {} more lines differ", self.unnamed);
            self.named.push(Finding::in_file(self.path.clone(), what));
        }
        audit.same += self.same;
        audit.due += self.due;
        audit.findings.append(&mut self.named);
        let (consumer, ours) = (self.consumer, self.version);
        let unjudged = self.unjudged.into_iter();
        audit.unjudged.extend(unjudged.map(|(version, decisions)| Unjudged { consumer, version, ours, decisions }));
        Ok(())
    }
}

fn of_whom(line: &DecisionLine) -> String {
    let DecisionLine { subject_kind, subject, verdict, .. } = line;
    if subject.is_empty() { format!("({subject_kind}, {verdict})") } else { format!("({subject}, {verdict})") }
}

/// The first field in which a line differs from what the tape gives.
fn difference(written: &[u8], want: &str) -> String {
    let Ok(want) = serde_json::from_str::<Value>(want) else { return "it differs".to_owned() };
    match serde_json::from_slice::<Value>(written) {
        Ok(written) => first_difference("", &written, &want)
            .unwrap_or_else(|| "its bytes differ, though they say the same".to_owned()),
        Err(error) => format!("not a decision: {error}"),
    }
}

fn first_difference(at: &str, written: &Value, want: &Value) -> Option<String> {
    if let (Value::Object(written), Value::Object(want)) = (written, want) {
        let name = |key: &String| if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        let absent = want.iter().find_map(|(key, want)| match written.get(key) {
            Some(written) => first_difference(&name(key), written, want),
            None => Some(format!("`{}` is not there, the tape gives {want}", name(key))),
        });
        let added = || written.keys().find(|key| !want.contains_key(*key));
        return absent.or_else(|| added().map(|key| format!("the tape gives no `{}`", name(key))));
    }
    (written != want).then(|| format!("`{at}` is {written}, the tape gives {want}"))
}
