use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{
    KeepError, failed,
    holdings::{History, Holding},
};
use crate::{
    event::{Nanos, time},
    files::How,
    fold::{Intake, Registration},
    layout::Layout,
    replay::{Replayed, replay_through},
    store::{Lock, Snapshot, Snapshots},
    streams::{
        Compression, links,
        name::{self, Age},
        source,
    },
    tape::{
        Directory, Horizon, Known, Round, Until,
        horizon::{HORIZON_FORMAT, KeptState, PrunedFile, Range},
        journal::{Rounds, Seam},
    },
};

/// How much of the history is dropped: whole rounds before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Position(u64),
    /// Rounds sealed before, Unix nanoseconds.
    Time(Nanos),
}

/// What a pruning drops and keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// History begins here.
    pub position: u64,
    /// When the last dropped round was sealed, RFC 3339.
    pub sealed: String,
    /// What is dropped now.
    pub rounds: u64,
    pub lines: u64,
    pub files: Vec<Lying>,
    pub bytes: u64,
    /// Files that keep lines from before, and why.
    pub kept: Vec<Lying>,
}

/// A file with lines from before the horizon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lying {
    pub file: Arc<str>,
    pub names: Vec<String>,
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A place on the tape to cut at, and what its sides hold.
struct Cut {
    seam: Seam,
    /// When the last round before it was sealed.
    sealed: String,
    /// The files known there.
    known: Known,
    /// Extents before it that were not pruned yet.
    pruned: HashMap<Arc<str>, Vec<Range>>,
    /// Files with extents behind it.
    after: HashSet<Arc<str>>,
}

/// Drops history before a round: a horizon record takes its place on the tape, the states there are kept, and files that
/// held nothing else are removed. Whatever is broken off leaves the old history or the new one.
///
/// # Errors
/// A server holds the directory, its history is damaged, or something cannot be written.
pub fn prune(
    layout: &Layout,
    registry: &[Registration],
    before: Before,
    now: Nanos,
    dry_run: bool,
) -> Result<Report, KeepError> {
    crate::tape::directory::check_dir(layout)?;
    let lock = Lock::take(&layout.files, &layout.lock())?;
    let history = History::of(layout, |_, _| ())?;
    let horizon = history.horizon.clone();
    if let (false, Some(horizon)) = (dry_run, &horizon) {
        finish(layout, horizon)?;
    }
    let Some(cut) = cut(layout, before)? else {
        let position = history.start.next_position;
        return Ok(Report { position, ..Report::default() });
    };
    let (going, kept) = sides(layout, &history, &cut);
    let report = Report {
        position: cut.seam.next_position,
        sealed: cut.sealed.clone(),
        rounds: cut.seam.next_round - history.start.next_round,
        lines: cut.seam.next_position - history.start.next_position,
        bytes: going.iter().map(|holding| holding.len).sum(),
        files: going.iter().map(|holding| Lying::of(holding, None)).collect(),
        kept,
    };
    if dry_run {
        return Ok(report);
    }
    // The record will say what is sealed of these, and outlives a power cut: so must they.
    for holding in history.holdings.iter().filter(|held| !going.iter().any(|gone| std::ptr::eq(*gone, *held))) {
        let file = layout.files.open(&holding.path, How::Read).map_err(failed("read", &holding.path))?;
        file.sync_data().map_err(failed("sync", &holding.path))?;
    }
    let replayed = folded(layout, registry, &cut.seam)?;
    let states = keep(layout, &replayed, &cut.seam)?;
    let dropped: HashSet<Arc<str>> = going.iter().flat_map(|holding| holding.files.iter().cloned()).collect();
    let record = Horizon {
        v: HORIZON_FORMAT,
        position: cut.seam.next_position,
        round: cut.seam.next_round,
        at: time::format(now),
        sealed: cut.sealed.clone(),
        decisions: replayed.decisions,
        files: files(layout, horizon.as_deref(), &history.holdings, &cut, &dropped)?,
        states,
        before: horizon.map(|horizon| horizon.digest.clone()),
        prev: cut.seam.prev.clone(),
        digest: String::new(),
    };
    let record = record.seal();
    begin_with(layout, &record, cut.seam.bytes)?;
    finish(layout, &record)?;
    drop(lock);
    Ok(report)
}

/// Lets consumers begin with nothing where history begins, because what was kept of them is of another version.
///
/// # Errors
/// Nothing was pruned, there is no such consumer, or the tape cannot be written.
pub fn begin_anew(
    layout: &Layout,
    registry: &[Registration],
    consumers: &[String],
    now: Nanos,
) -> Result<u64, KeepError> {
    crate::tape::directory::check_dir(layout)?;
    let _lock = Lock::take(&layout.files, &layout.lock())?;
    let rounds = Rounds::open(&layout.files, &layout.tape())?;
    let Some(horizon) = rounds.horizon() else {
        let what = "nothing was pruned: every consumer is folded again from the begin by itself";
        return Err(KeepError::Refused(what.to_owned()));
    };
    let mut record = Horizon::clone(horizon);
    for consumer in consumers {
        let Some(registration) = registry.iter().find(|registration| registration.name == *consumer) else {
            let names: Vec<&str> = registry.iter().map(|registration| registration.name).collect();
            return Err(KeepError::Refused(format!(
                "there is no consumer {consumer:?} that could begin anew: there are {}",
                names.join(", ")
            )));
        };
        let version = (registration.new)().version();
        record.states.retain(|state| state.of != *consumer);
        record.states.push(KeptState { of: consumer.clone(), version, data: None });
    }
    record.before = Some(std::mem::take(&mut record.digest));
    record.at = time::format(now);
    let record = record.seal();
    begin_with(layout, &record, rounds.seam().bytes)?;
    Ok(record.position)
}

/// The last place between two rounds that is not past what was asked for; none when nothing lies before it.
fn cut(layout: &Layout, before: Before) -> Result<Option<Cut>, KeepError> {
    let mut rounds = Rounds::open(&layout.files, &layout.tape())?;
    let mut known = Known::of(rounds.horizon().map(|horizon| &**horizon));
    let mut pruned: HashMap<Arc<str>, Vec<Range>> = HashMap::new();
    let (mut after, mut last, mut passed) = (HashSet::new(), None, false);
    while let Some(round) = rounds.next() {
        let round = round?;
        passed |= !match before {
            Before::Position(position) => round.end() <= position,
            Before::Time(time) => round.sealed_at().is_some_and(|at| at < time),
        };
        if passed {
            after.extend(touched(&round));
            continue;
        }
        known.add(&round);
        for extent in &round.extents {
            pruned.entry(extent.file.clone()).or_default().push(Range::of(extent));
        }
        last = Some((rounds.seam(), round.at));
    }
    Ok(last.map(|(seam, sealed)| Cut { seam, sealed, known, pruned, after }))
}

fn touched(round: &Round) -> impl Iterator<Item = Arc<str>> + '_ {
    let met = round.files.iter().map(|record| record.file.clone());
    met.chain(round.extents.iter().map(|extent| extent.file.clone()))
}

/// Files that hold nothing but what is dropped, and those that keep some of it.
fn sides<'a>(layout: &Layout, history: &'a History, cut: &Cut) -> (Vec<&'a Holding>, Vec<Lying>) {
    let (mut going, mut kept) = (Vec::new(), Vec::new());
    for holding in &history.holdings {
        let why = if holding.files.iter().any(|file| cut.after.contains(file)) {
            format!("it holds lines from position {} on as well", cut.seam.next_position)
        } else if holding.is_appended_to() {
            "producers append to it; rotate it, and prune again".to_owned()
        } else if !is_all_sealed(layout, holding) {
            "not all of its lines are sealed".to_owned()
        } else {
            going.push(holding);
            continue;
        };
        let before = holding.files.iter().any(|file| cut.pruned.contains_key(file));
        kept.extend(before.then(|| Lying::of(holding, Some(why))));
    }
    (going, kept)
}

impl Lying {
    fn of(holding: &Holding, why: Option<String>) -> Lying {
        let file = holding.files.first().cloned().unwrap_or_default();
        Lying { file, names: holding.names.clone(), bytes: holding.len, why }
    }
}

impl Holding {
    /// Whether it has the name under which producers append to a stream.
    pub fn is_appended_to(&self) -> bool {
        let live = |name: &String| name::parse(name).is_some_and(|name| name.age == Age::Live);
        self.compression == Compression::None && self.names.iter().any(live)
    }
}

/// Whether there is nothing behind what was sealed of a file.
pub fn is_all_sealed(layout: &Layout, holding: &Holding) -> bool {
    if holding.compression == Compression::None {
        return holding.len == holding.sealed;
    }
    let measured = source::measure(&layout.files, &holding.path, holding.compression, holding.sealed);
    measured.is_ok_and(|(total, _)| total == holding.sealed)
}

/// The fold up to a place, every byte on the way held against its digest.
fn folded(layout: &Layout, registry: &[Registration], to: &Seam) -> Result<Replayed, KeepError> {
    let directory = Directory::open(layout.clone(), None)?;
    let until = Until::Position(to.next_position);
    let replayed = replay_through(&directory, registry, |_| (), until, 1, |_, _| ())?;
    let reached = replayed.intake.position();
    if reached != to.next_position {
        let what = format!("a replay ends at position {reached}, before {}; run `runtape verify`", to.next_position);
        return Err(KeepError::Damaged { path: layout.tape(), what });
    }
    Ok(replayed)
}

/// Writes the states that stand for what is dropped.
fn keep(layout: &Layout, replayed: &Replayed, at: &Seam) -> Result<Vec<KeptState>, KeepError> {
    let dir = layout.horizon();
    let snapshots = Snapshots::new(layout.files.clone(), dir.clone());
    let tape = (at.next_round.saturating_sub(1), at.prev.as_str());
    let policy = replayed.intake.base().hash.as_str();
    let slots = replayed.engine.slots().iter().map(|slot| (slot.name(), slot.version(), slot.save()));
    let all = std::iter::once(("intake", Intake::VERSION, replayed.intake.save())).chain(slots);
    let mut kept = Vec::new();
    for (of, version, state) in all {
        let snapshot = Snapshot::new(of, version, at.next_position, tape, policy, state);
        snapshots.keep(&snapshot).map_err(failed("write", &dir))?;
        kept.push(KeptState { of: of.to_owned(), version, data: Some(snapshot.header.data) });
    }
    layout.files.sync_dir(&layout.own()).map_err(failed("sync", &layout.own()))?;
    Ok(kept)
}

/// What is known of every file at the cut, with the digests of what is dropped of it.
fn files(
    layout: &Layout,
    before: Option<&Horizon>,
    holdings: &[Holding],
    cut: &Cut,
    dropped: &HashSet<Arc<str>>,
) -> Result<Vec<PrunedFile>, KeepError> {
    let mut files = Vec::new();
    for (record, last, was_dropped) in cut.known.files() {
        let old = before.and_then(|before| before.files.iter().find(|old| old.record.file == record.file));
        let mut pruned = old.map_or_else(Vec::new, |old| old.pruned.clone());
        let holding = holdings.iter().find(|holding| holding.files.contains(&record.file));
        if let (Some(holding), Some(extents)) = (holding, cut.pruned.get(&record.file)) {
            pruned.extend(joined(layout, holding, extents)?);
        }
        let dropped = was_dropped || dropped.contains(&record.file);
        files.push(PrunedFile { record: record.clone(), pruned, last: last.cloned(), dropped });
    }
    Ok(files)
}

/// Extents as few ranges, each with the digest of all its bytes.
fn joined(layout: &Layout, holding: &Holding, extents: &[Range]) -> Result<Vec<Range>, KeepError> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for extent in extents {
        match runs.last_mut() {
            Some(run) if run.1 == extent.from => run.1 = extent.to,
            _ => runs.push((extent.from, extent.to)),
        }
    }
    let digest = |(from, to): (u64, u64)| {
        let mut hasher = blake3::Hasher::new();
        let bytes = source::open(&layout.files, &holding.path, holding.compression, from)?;
        io::copy(&mut bytes.take(to - from), &mut hasher)?;
        Ok(Range { from, to, data: hasher.finalize().to_hex().to_string() })
    };
    runs.into_iter().map(digest).collect::<io::Result<_>>().map_err(failed("read", &holding.path))
}

/// Puts a record in the place of everything before an offset of the tape, at once.
fn begin_with(layout: &Layout, record: &Horizon, from: u64) -> Result<(), KeepError> {
    let (tape, beside) = (layout.tape(), layout.own().join(".tape.jsonl.tmp"));
    let files = &layout.files;
    let out = files.open(&beside, How::Anew).map_err(failed("write", &beside))?;
    out.append(format!("{}\n", record.line()).as_bytes()).map_err(failed("write", &beside))?;
    let mut rest = source::open(files, &tape, Compression::None, from).map_err(failed("read", &tape))?;
    let mut block = Vec::new();
    loop {
        block.clear();
        rest.by_ref().take(1 << 20).read_to_end(&mut block).map_err(failed("read", &tape))?;
        if block.is_empty() {
            break;
        }
        out.append(&block).map_err(failed("write", &beside))?;
    }
    out.sync_all().map_err(failed("sync", &beside))?;
    files.rename(&beside, &tape).map_err(failed("replace", &tape))?;
    files.sync_dir(&layout.own()).map_err(failed("sync", &layout.own()))
}

/// Removes what the horizon record says is gone; what a broken off pruning left, too. Names before links: as long as our
/// link is there it tells which names are meant.
pub fn finish(layout: &Layout, horizon: &Horizon) -> Result<(), KeepError> {
    let files = &layout.files;
    let mut names: HashMap<_, Vec<PathBuf>> = HashMap::new();
    for path in files.list(&layout.dir).map_err(failed("read", &layout.dir))? {
        let parsed = path.file_name().and_then(|name| name.to_str()).and_then(name::parse);
        if parsed.is_some_and(|name| name.age != Age::Live || name.compression != Compression::None)
            && let Ok((id, _)) = source::identify(files, &path)
        {
            names.entry(id.inode()).or_default().push(path);
        }
    }
    for file in horizon.files.iter().filter(|file| file.dropped) {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let link = links::path(&layout.links(), &file.record.file, compression);
            let Ok((id, _)) = source::identify(files, &link) else { continue };
            for name in names.remove(&id.inode()).unwrap_or_default() {
                files.remove(&name).map_err(failed("remove", &name))?;
            }
            files.sync_dir(&layout.dir).map_err(failed("sync", &layout.dir))?;
            files.remove(&link).map_err(failed("remove", &link))?;
        }
    }
    remove_stale(layout, &layout.snapshots(), |position| position < horizon.position)?;
    remove_stale(layout, &layout.horizon(), |position| position != horizon.position)
}

/// Removes snapshots by their position.
fn remove_stale(layout: &Layout, dir: &Path, is_stale: impl Fn(u64) -> bool) -> Result<(), KeepError> {
    for path in layout.files.list(dir).unwrap_or_default() {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let position = stem.and_then(|stem| stem.rsplit_once('-')?.1.parse().ok());
        if position.is_some_and(&is_stale) {
            layout.files.remove(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}
