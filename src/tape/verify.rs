use std::{
    fmt,
    io::{BufRead, BufReader},
    path::PathBuf,
};

use serde::Serialize;

use super::{
    directory::{self, OpenError},
    horizon::Horizon,
    journal::{Rounds, TapeError},
    known::{self, Known},
    measure::measure,
    read::RoundSource,
    round::Round,
};
use crate::{
    files::{Files, How, Reading},
    layout::Layout,
    store::Snapshots,
    streams::Follower,
};

/// Something about the history that is not as it was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// What a verification looked at, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub rounds: u64,
    pub lines: u64,
    pub extents: u64,
    pub bytes: u64,
    pub decisions: u64,
    pub snapshots: u64,
    /// What was pruned by command, and is no damage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Pruned>,
    pub findings: Vec<Finding>,
}

/// History that is not there any more, and what was kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// History begins here.
    pub position: u64,
    pub rounds: u64,
    /// When it was pruned, RFC 3339.
    pub at: String,
    /// Decisions about positions before, which stand on rounds that are gone.
    pub decisions: u64,
    /// States kept in the place of the history that made them.
    pub states: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(round) = self.round {
            write!(f, "round {round}: ")?;
        }
        if let (Some(stream), Some(file), Some(from), Some(to)) = (&self.stream, &self.file, self.from, self.to) {
            write!(f, "stream {stream} (file {file}), bytes {from} to {to}: ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        f.write_str(&self.what)
    }
}

/// Reads everything that was sealed and holds it against the tape: the chain, every extent's digest and line count, and
/// the digests that decisions and snapshots stand on. `progress` is told the bytes read. Writes nothing.
///
/// # Errors
/// The directory or the tape cannot be read at all; damage is a finding, not an error.
pub fn verify(layout: &Layout, mut progress: impl FnMut(u64)) -> Result<Report, OpenError> {
    directory::check_dir(layout)?;
    let mut report = Report::default();
    let mut tape = match Rounds::open(&layout.files, &layout.tape()) {
        Err(TapeError::Damaged { path, line, round, what }) => {
            let what = format!("line {line} of the tape: {what}");
            report.findings.push(Finding { round: Some(round), path: Some(path), ..Finding::of(what) });
            return Ok(report);
        }
        tape => tape?,
    };
    let horizon = tape.horizon().cloned();
    let (mut known, mut rounds) = (Known::of(horizon.as_deref()), Vec::new());
    for round in tape.by_ref() {
        match round {
            Ok(round) => {
                known.add(&round);
                rounds.push(round);
            }
            Err(TapeError::Damaged { path, line, round, what }) => {
                let what = format!("line {line} of the tape: {what}");
                report.findings.push(Finding { round: Some(round), path: Some(path), ..Finding::of(what) });
            }
            Err(error) => return Err(error.into()),
        }
    }
    let tape_is_whole = report.findings.is_empty();
    let mut follower = Follower::new(layout.files.clone(), layout.dir.clone(), None, known.generations(layout));
    let _ = follower.recover(&|file| known::extents_of(layout, file)); // What stays lost is found below.
    for round in &rounds {
        verify_round(&directory::source(&follower, round), round, &mut report, &mut progress);
    }
    if let Some(horizon) = &horizon {
        verify_horizon(layout, horizon, &mut report);
    }
    let begin = horizon.as_ref().map_or(0, |horizon| horizon.position);
    // What stands past the damage of a tape cannot be told from what stands past a cut.
    if tape_is_whole {
        verify_decisions(layout, &rounds, begin, &mut report)?;
        verify_snapshots(layout, &rounds, horizon.as_deref(), &mut report)?;
    }
    Ok(report)
}

impl Finding {
    pub fn in_file(path: PathBuf, what: impl Into<String>) -> Finding {
        Finding { path: Some(path), ..Finding::of(what) }
    }

    /// One that names no place.
    pub fn of(what: impl Into<String>) -> Finding {
        Finding { what: what.into(), round: None, stream: None, file: None, from: None, to: None, path: None }
    }
}

fn verify_round(source: &RoundSource, round: &Round, report: &mut Report, progress: &mut impl FnMut(u64)) {
    let (mut lines, mut whole) = (0, true);
    for extent in &source.extents {
        let what = match measure(&source.files, extent) {
            Ok(measure) => {
                lines += measure.lines;
                let same = extent.data.as_deref() == Some(measure.digest.to_hex().as_str());
                (!same).then(|| "the bytes are not those that were sealed".to_owned())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(what) = what {
            whole = false;
            report.findings.push(Finding {
                round: Some(round.round),
                stream: Some(extent.stream.to_string()),
                file: Some(extent.file.to_string()),
                from: Some(extent.from),
                to: Some(extent.to),
                ..Finding::of(what)
            });
        }
        report.extents += 1;
        report.bytes += extent.to - extent.from;
        progress(extent.to - extent.from);
    }
    if whole && lines != round.count {
        let what = format!("it holds {lines} lines, {} were sealed", round.count);
        report.findings.push(Finding { round: Some(round.round), ..Finding::of(what) });
    }
    report.rounds += 1;
    report.lines += lines;
}

/// Holds the bytes of an extent against its digest.
///
/// # Errors
/// What is wrong with them.
pub fn wrong(files: &Files, extent: &super::read::ExtentSource) -> Result<(), String> {
    let measured = measure(files, extent).map_err(|error| error.to_string())?;
    let same = extent.data.as_deref() == Some(measured.digest.to_hex().as_str());
    let place = format!("stream {}, bytes {} to {}", extent.stream, extent.from, extent.to);
    if same { Ok(()) } else { Err(format!("{place}: the bytes are not those that were sealed")) }
}

/// The states that stand for what was pruned: without them nothing can be folded.
fn verify_horizon(layout: &Layout, horizon: &Horizon, report: &mut Report) {
    let (position, rounds, at) = (horizon.position, horizon.round, horizon.at.clone());
    report.pruned = Some(Pruned { position, rounds, at, decisions: 0, states: horizon.states.len() as u64 });
    for (path, what) in horizon.damage(layout) {
        let what = format!("the state at position {}, where history begins: {what}", horizon.position);
        report.findings.push(Finding { path: Some(path), ..Finding::of(what) });
    }
}

/// Every decision names the digest of the round it stands on; one that the tape does not hold means the tape was cut.
fn verify_decisions(layout: &Layout, rounds: &[Round], begin: u64, report: &mut Report) -> Result<(), OpenError> {
    let dir = layout.own().join("decisions");
    let Ok(mut paths) = layout.files.list(&dir) else { return Ok(()) };
    paths.sort();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "jsonl")) {
        let file = layout.files.open(&path, How::Read);
        let file = file.map_err(|error| OpenError::File { path: path.clone(), what: error.to_string() })?;
        for (number, line) in BufReader::new(Reading::new(file)).split(b'\n').enumerate() {
            let line = line.map_err(|error| OpenError::File { path: path.clone(), what: error.to_string() })?;
            report.decisions += 1;
            let standing = serde_json::from_slice::<Standing>(&line);
            if let (Ok(Standing { cause, .. }), Some(pruned)) = (&standing, &mut report.pruned)
                && *cause < begin
            {
                pruned.decisions += 1;
                continue;
            }
            if let Some(what) = stands_on(standing, rounds) {
                let what = format!("line {}: {what}", number + 1);
                report.findings.push(Finding { path: Some(path.clone()), ..Finding::of(what) });
                break;
            }
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Standing {
    cause: u64,
    tape: String,
}

fn stands_on(standing: serde_json::Result<Standing>, rounds: &[Round]) -> Option<String> {
    let standing = match standing {
        Ok(standing) => standing,
        Err(error) => return Some(format!("not a decision: {error}")),
    };
    let index = rounds.partition_point(|round| round.end() <= standing.cause);
    match rounds.get(index) {
        None => {
            Some(format!("a decision at position {} stands past the end of the tape: the tape was cut", standing.cause))
        }
        Some(round) if round.digest != standing.tape => {
            Some(format!("a decision at position {} stands on another round {}", standing.cause, round.round))
        }
        Some(_) => None,
    }
}

fn verify_snapshots(
    layout: &Layout,
    rounds: &[Round],
    horizon: Option<&Horizon>,
    report: &mut Report,
) -> Result<(), OpenError> {
    let pruned = horizon.map_or(0, |horizon| horizon.round);
    let dir = layout.snapshots();
    let headers = Snapshots::new(layout.files.clone(), dir.clone())
        .headers()
        .map_err(|error| OpenError::File { path: dir, what: error.to_string() })?;
    for (path, header) in headers {
        report.snapshots += 1;
        let what = match header {
            Err(why) => Some(why),
            // Of a round that was pruned: nobody goes back to it, and the next one takes its place.
            Ok(header) if header.round < pruned => None,
            Ok(header) => match rounds.get((header.round - pruned) as usize) {
                None => {
                    Some(format!("it stands on round {}, past the end of the tape: the tape was cut", header.round))
                }
                Some(round) if round.digest != header.tape || round.end() != header.position => {
                    Some(format!("it stands on another round {}", header.round))
                }
                Some(_) => None,
            },
        };
        if let Some(what) = what {
            report.findings.push(Finding { path: Some(path), ..Finding::of(what) });
        }
    }
    Ok(())
}
