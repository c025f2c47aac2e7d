use std::path::PathBuf;

use super::finding::Finding;
use crate::{
    cli::figures,
    event::Nanos,
    files::How,
    layout::Layout,
    render::human,
    store::{DurableMark, Snapshots},
    streams::scan,
    tape::{Directory, OpenError, verify},
};

/// Rounds at the end of the tape whose bytes are held against their digests; `runtape verify` does it for all.
const LAST_ROUNDS: u64 = 16;

/// Looks at streams, tape and snapshots. Returns what was written last, and when.
pub fn look(layout: &Layout, now: Nanos, held: bool, findings: &mut Vec<Finding>) -> Option<(PathBuf, Nanos)> {
    // Read before the tape: a server that runs only moves both on.
    let durable = DurableMark::read(&layout.files, &layout.durable());
    let mut newest = newest_file(layout);
    match Directory::open(layout.clone(), Some(now)) {
        Ok(directory) => {
            streams(&directory, findings);
            let last = tape(&directory, held, findings);
            newest = newest.into_iter().chain(last).max_by_key(|(_, at)| *at);
            mark(&directory, durable, held, findings);
        }
        Err(error) => findings.push(unreadable(&error)),
    }
    snapshots(layout, findings);
    newest
}

fn newest_file(layout: &Layout) -> Option<(PathBuf, Nanos)> {
    let (found, _) = scan::scan(&layout.files, &layout.dir).ok()?;
    found.into_iter().map(|file| (file.path, file.modified)).max_by_key(|(_, at)| *at)
}

fn unreadable(error: &OpenError) -> Finding {
    let way_out = match error {
        OpenError::Tape(_) => {
            "keep a copy of the directory, then restore .runtape/tape.jsonl from a backup; `runtape verify` names all that differs"
        }
        _ => "repair what is said, then ask again",
    };
    Finding::fail("tape", error.to_string(), way_out)
}

fn streams(directory: &Directory, findings: &mut Vec<Finding>) {
    const CHECK: &str = "streams";
    let before = findings.len();
    if let Some(problem) = directory.problems.first() {
        let (path, more) = (problem.path.display(), more(directory.problems.len()));
        let what = format!("cannot follow {path}: {}{more}", problem.what);
        findings.push(Finding::fail(CHECK, what, "put a regular file there that this user may read"));
    }
    if let Some(reset) = directory.resets.first() {
        let (reason, more) = (reset.reason.name(), more(directory.resets.len()));
        let what = format!("{} was {reason} below offset {}, which was sealed{more}", reset.stream, reset.sealed);
        let way_out =
            "rotate by renaming, never by copytruncate; if nobody did that, `runtape verify` says what is missing";
        findings.push(Finding::fail(CHECK, what, way_out));
    }
    if findings.len() == before {
        findings.push(Finding::ok(CHECK, "all can be followed, and none was emptied or rewritten"));
    }
}

fn more(count: usize) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}

/// Whether the end of the tape is what was sealed; its path, and when it was.
fn tape(directory: &Directory, held: bool, findings: &mut Vec<Finding>) -> Option<(PathBuf, Nanos)> {
    const CHECK: &str = "tape";
    let path = directory.layout().tape();
    let mut last = None;
    let rounds = match directory.rounds(directory.rounds.saturating_sub(LAST_ROUNDS)) {
        Ok(rounds) => rounds,
        Err(error) => {
            findings.push(unreadable(&error.into()));
            return None;
        }
    };
    for source in rounds.filter_map(Result::ok).filter(|source| source.round.is_some()) {
        last = source.at.or(last);
        let wrong = source.extents.iter().find_map(|extent| verify::wrong(&source.files, extent).err());
        if let (Some(wrong), Some(round)) = (wrong, source.round) {
            let way_out = "`runtape verify` names all that differs; restore those files from a backup";
            findings.push(Finding::fail(CHECK, format!("round {round}: {wrong}"), way_out));
            return last.map(|at| (path, at));
        }
    }
    findings.push(if directory.rounds == 0 {
        Finding::ok(CHECK, "there is none yet; `runtape serve` makes it")
    } else if !held && !ends_with_a_line(directory.layout()) {
        Finding::warn(CHECK, "its last line is torn", "`runtape serve` mends it at its start; nothing stood on it")
    } else {
        let (rounds, lines) = (human::count(directory.rounds), human::count(directory.sealed_to));
        let checked = directory.rounds.min(LAST_ROUNDS);
        Finding::ok(
            CHECK,
            format!("{lines} lines in {rounds} rounds; the chain holds, and the last {checked} to the byte"),
        )
    });
    last.map(|at| (path, at))
}

fn ends_with_a_line(layout: &Layout) -> bool {
    let mut byte = [0];
    let read = layout.files.open(&layout.tape(), How::Read).and_then(|file| {
        let len = file.about()?.len;
        if len == 0 { Ok(0) } else { file.read_at(&mut byte, len - 1) }
    });
    read.is_ok_and(|read| read == 0 || byte == *b"\n")
}

/// Whether all is there that was known to be durable.
fn mark(directory: &Directory, durable: std::io::Result<u64>, held: bool, findings: &mut Vec<Finding>) {
    const CHECK: &str = "durable";
    let sealed = directory.sealed_to;
    findings.push(match durable {
        Err(error) => Finding::warn(
            CHECK,
            format!("how far the tape is durable cannot be read: {error}"),
            "let this user read .runtape/durable",
        ),
        Ok(durable) if durable > sealed => Finding::fail(
            CHECK,
            format!("positions before {durable} were durable, the tape ends at {sealed}: its end was cut off"),
            "restore .runtape/tape.jsonl from a backup; a start would seal what is left anew, at other positions",
        ),
        Ok(durable) if durable < sealed && !held => {
            let lines = figures::some((sealed - durable) as usize, "line");
            Finding::ok(CHECK, format!("to position {durable}; the next start looks at the {lines} behind it"))
        }
        Ok(durable) => Finding::ok(CHECK, format!("to position {durable}")),
    });
}

fn snapshots(layout: &Layout, findings: &mut Vec<Finding>) {
    const CHECK: &str = "snapshots";
    let headers = match Snapshots::new(layout.files.clone(), layout.snapshots()).headers() {
        Ok(headers) => headers,
        Err(error) => {
            let what = format!("{} cannot be read: {error}", layout.snapshots().display());
            findings.push(Finding::fail(CHECK, what, "let this user read and write it"));
            return;
        }
    };
    let bad: Vec<_> = headers.iter().filter_map(|(path, header)| Some((path, header.as_ref().err()?))).collect();
    if let Some((path, why)) = bad.first() {
        let what = format!("{}: {why}{}", path.display(), more(bad.len()));
        let way_out = "remove it: an older one, or the tape, takes its place at the next start";
        findings.push(Finding::warn(CHECK, what, way_out));
        return;
    }
    let newest = headers.iter().filter_map(|(_, header)| Some(header.as_ref().ok()?.position)).max();
    findings.push(Finding::ok(
        CHECK,
        match newest {
            Some(newest) => format!("{} can be read, the newest of position {newest}", headers.len()),
            None => "there are none: a start folds the whole tape".to_owned(),
        },
    ));
}
