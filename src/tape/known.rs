use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    horizon::{Horizon, Range},
    journal::Rounds,
    round::{Extent, Round},
};
use crate::{
    files::{FileId, Files, Inode},
    layout::Layout,
    streams::{
        Compression, Generation,
        copies::{self, SealedExtent},
        generation::{GenerationRecord, State},
        links, source,
    },
};

/// What the rounds of a tape say of the files they sealed.
#[derive(Clone, Debug, Default)]
pub struct Known {
    records: Vec<GenerationRecord>,
    /// The last extent of each file.
    last: HashMap<Arc<str>, Range>,
    /// Files of which pruning left nothing.
    dropped: HashSet<Arc<str>>,
}

impl Known {
    /// What is known before the first round.
    pub fn of(horizon: Option<&Horizon>) -> Known {
        let mut known = Known::default();
        for file in horizon.into_iter().flat_map(|horizon| &horizon.files) {
            let id = &file.record.file;
            known.records.push(file.record.clone());
            if let Some(last) = &file.last {
                known.last.insert(id.clone(), last.clone());
            }
            if file.dropped {
                known.dropped.insert(id.clone());
            }
        }
        known
    }

    /// Takes in the next round.
    pub fn add(&mut self, round: &Round) {
        self.records.extend(round.files.iter().cloned());
        for extent in &round.extents {
            self.last.insert(extent.file.clone(), Range::of(extent));
        }
    }

    /// The records of all files, and the last extent of each.
    pub fn files(&self) -> impl Iterator<Item = (&GenerationRecord, Option<&Range>, bool)> {
        self.records.iter().map(|record| (record, self.last.get(&record.file), self.dropped.contains(&record.file)))
    }

    /// The generations as a follower continues them. What was sealed last of each is held against its file.
    pub fn generations(self, layout: &Layout) -> Vec<Generation> {
        self.listed(layout, false)
    }

    /// The same, where files are taken on trust.
    pub fn trusted(self, layout: &Layout) -> Vec<Generation> {
        self.listed(layout, true)
    }

    fn listed(self, layout: &Layout, trust: bool) -> Vec<Generation> {
        let mut unlinked = Unlinked { layout, names: None };
        let places: Vec<Place> = self
            .files()
            .map(|(record, last, dropped)| match dropped {
                true => Place { path: layout.links().join(&*record.file), compression: record.compression, id: None },
                false => Place::of(layout, record, last, &mut unlinked),
            })
            .collect();
        // Of several generations of one inode the last one goes on.
        let mut latest: HashMap<Inode, usize> = HashMap::new();
        for (index, (record, place)) in self.records.iter().zip(&places).enumerate() {
            latest.insert(place.id.unwrap_or(record.id).inode(), index);
        }
        let mut list = Vec::with_capacity(self.records.len());
        for (index, (record, place)) in self.records.into_iter().zip(places).enumerate() {
            let Place { path, compression, id } = place;
            let last = self.last.get(&record.file);
            let goes_on = id.filter(|id| latest.get(&id.inode()) == Some(&index));
            let state = match goes_on {
                _ if self.dropped.contains(&record.file) => State::Dropped,
                Some(_) => State::Open,
                None => State::Ended,
            };
            let origin = record.id;
            let record = GenerationRecord { compression, id: goes_on.unwrap_or(record.id), ..record };
            let mut generation =
                Generation::new(&layout.files, record, path, last.map_or(0, |extent| extent.to), state);
            (generation.on_tape, generation.origin) = (true, origin);
            let holds = |last: &Range| still_holds(&layout.files, &generation.path, compression, last) != Some(false);
            generation.replaced = !trust && state != State::Dropped && !last.is_none_or(holds);
            list.push(generation);
        }
        list
    }
}

/// Where a generation's bytes are, and the file as the system calls it now, if it is still the one that was sealed.
struct Place {
    path: PathBuf,
    compression: Compression,
    id: Option<FileId>,
}

impl Place {
    fn of(layout: &Layout, record: &GenerationRecord, last: Option<&Range>, unlinked: &mut Unlinked) -> Place {
        let (path, compression, linked) = locate(layout, record, unlinked);
        let found = source::identify(&layout.files, &path).ok();
        if linked
            && found.is_none_or(|(id, _)| id.inode() != record.id.inode())
            && let Some(path) = unlinked.own(record, last)
        {
            return Place { path, compression: record.compression, id: Some(record.id) };
        }
        let id = found.and_then(|(id, len)| {
            let same = id.inode() == record.id.inode() && !(linked && id.is_reborn(record.id));
            // In a restored directory our links are other files with the same bytes, and producers append to them.
            let moved = || {
                linked
                    && compression == Compression::None
                    && last.is_some_and(|last| {
                        len >= last.to && still_holds(&layout.files, &path, compression, last) == Some(true)
                    })
            };
            // Any other link to another inode is history that only a copy still holds: the file was emptied since.
            if same { Some(record.id) } else { moved().then_some(id) }
        });
        Place { path, compression, id }
    }
}

/// Whether a file still ends its sealed part as it did. None of one that is packed, too short, or cannot be read, which
/// says so itself when it is read.
fn still_holds(files: &Files, path: &Path, compression: Compression, extent: &Range) -> Option<bool> {
    if compression != Compression::None {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    let bytes = source::open(files, path, compression, extent.from).ok()?;
    hasher.update_reader(bytes.take(extent.to - extent.from)).ok()?;
    (hasher.count() == extent.to - extent.from).then(|| hasher.finalize().to_hex().as_str() == extent.data)
}

/// Where a generation's bytes are: our link, packed or not, else the directory, under whatever name; and whether it is
/// our link.
fn locate(layout: &Layout, record: &GenerationRecord, unlinked: &mut Unlinked) -> (PathBuf, Compression, bool) {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let link = links::path(&layout.links(), &record.file, compression);
        if layout.files.about_name(&link).is_ok() {
            return (link, compression, true);
        }
    }
    let found = unlinked.find(record.id.inode());
    (found.unwrap_or_else(|| layout.dir.join(&record.name)), record.compression, false)
}

/// The directory's files by inode, read when the first file without a link is looked for.
struct Unlinked<'a> {
    layout: &'a Layout,
    names: Option<HashMap<Inode, PathBuf>>,
}

impl Unlinked<'_> {
    /// The very file that was sealed, still as it was: a power cut may leave an older link of ours under its id, to a file
    /// that begins alike. It may also bring back the end alone of what was emptied, behind what was written since.
    fn own(&mut self, record: &GenerationRecord, last: Option<&Range>) -> Option<PathBuf> {
        let path = self.find(record.id.inode())?;
        let (files, last) = (&self.layout.files, last?);
        let (id, _) = source::identify(files, &path).ok()?;
        let same = id.inode() == record.id.inode() && !id.is_reborn(record.id);
        if !same || still_holds(files, &path, record.compression, last) != Some(true) {
            return None;
        }
        let extents = extents_of(self.layout, &record.file).unwrap_or_default();
        let held = copies::held(files, &path, record.compression, &extents);
        (extents.is_empty() || held >= last.to).then_some(path)
    }

    fn find(&mut self, inode: Inode) -> Option<PathBuf> {
        let names = self.names.get_or_insert_with(|| {
            let (files, dir) = (&self.layout.files, &self.layout.dir);
            let paths = files.list(dir).unwrap_or_default().into_iter();
            paths.filter_map(|path| Some((source::identify(files, &path).ok()?.0.inode(), path))).collect()
        });
        names.get(&inode).cloned()
    }
}

/// The sealed extents of one file, in order.
///
/// # Errors
/// The tape cannot be read.
pub fn extents_of(layout: &Layout, file: &str) -> io::Result<Vec<SealedExtent>> {
    let mut rounds = Rounds::open(&layout.files, &layout.tape()).map_err(io::Error::other)?;
    let pruned = rounds.horizon().cloned();
    let pruned = pruned.iter().flat_map(|horizon| horizon.extents()).filter(|(of, _)| ***of == *file);
    let mut extents: Vec<SealedExtent> = pruned.map(|(_, extent)| extent).collect();
    for round in rounds.by_ref() {
        let round = round.map_err(io::Error::other)?;
        extents.extend(round.extents.iter().filter(|extent| *extent.file == *file).filter_map(Extent::sealed));
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        streams::{Follower, Scope},
        tape::{Journal, seal},
    };

    #[test]
    fn a_file_that_was_emptied_and_outgrew_its_history_does_not_hold_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::on(Files::machine(), dir.path());
        let (old, new) = (b"{\"run_id\":\"r1\"}\n", b"{\"run_id\":\"r2\"}\n".repeat(9));
        std::fs::write(dir.path().join("runs.jsonl"), &new).expect("a writable file");
        let id = source::identify(&layout.files, &dir.path().join("runs.jsonl")).expect("a file").0;
        let record = |file: &str| GenerationRecord {
            file: file.into(),
            stream: "runs".into(),
            name: "runs.jsonl".to_owned(),
            id,
            compression: Compression::None,
        };
        let range = |bytes: &[u8]| {
            let data = blake3::hash(bytes).to_hex().to_string();
            Range { from: 0, to: bytes.len() as u64, data }
        };
        let known = Known {
            records: vec![record("f1"), record("f2")],
            last: HashMap::from([("f1".into(), range(old)), ("f2".into(), range(&new))]),
            dropped: HashSet::new(),
        };
        let states: Vec<_> = known.generations(&layout).iter().map(|g| (g.state, g.replaced)).collect();
        assert_eq!(states, [(State::Ended, true), (State::Open, false)]);
    }

    #[test]
    fn a_file_is_read_where_it_lies_when_our_link_is_of_another_one() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::on(Files::machine(), dir.path());
        let (own, copy) = (dir.path().join("runs.jsonl"), dir.path().join("runs.jsonl-1"));
        let bytes = b"{\"run_id\":\"r1\"}\n";
        std::fs::create_dir_all(layout.links()).expect("a folder");
        [&own, &copy].into_iter().for_each(|path| std::fs::write(path, bytes).expect("a writable file"));
        let link = links::path(&layout.links(), "f1", Compression::None);
        std::fs::hard_link(&copy, &link).expect("a link");
        let check = |want: &Path| {
            let record = GenerationRecord {
                file: "f1".into(),
                stream: "runs".into(),
                name: "runs.jsonl".to_owned(),
                id: source::identify(&layout.files, &own).expect("a file").0,
                compression: Compression::None,
            };
            let data = blake3::hash(bytes).to_hex().to_string();
            let last = HashMap::from([("f1".into(), Range { from: 0, to: bytes.len() as u64, data })]);
            let known = Known { records: vec![record], last, dropped: HashSet::new() };
            assert_eq!(known.generations(&layout)[0].path, want);
        };
        check(&own);
        std::fs::write(&own, b"").expect("a writable file");
        check(&link);
    }

    #[test]
    fn a_file_of_which_only_the_end_came_back_does_not_stand_before_its_copy() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::on(Files::machine(), dir.path());
        std::fs::create_dir_all(layout.links()).expect("a folder");
        let own = dir.path().join("runs.jsonl");
        let mut journal = Journal::open(&layout.files, &layout.tape(), |_| {}).expect("a tape");
        let mut follower = Follower::new(layout.files.clone(), dir.path().to_owned(), Some(layout.links()), Vec::new());
        for lines in [1, 2] {
            std::fs::write(&own, b"{\"run_id\":\"r1\"}\n".repeat(lines)).expect("a writable file");
            let found = follower.poll(&Scope::All, &|_| Ok(Vec::new())).expect("a look").pending;
            let round = seal::seal(&journal, &follower, &found, 0).expect("a round").round;
            journal.append(&round).expect("a tape that can be written");
            found.iter().for_each(|range| follower.sealed(range));
        }
        let (copy, link) = (dir.path().join("runs.jsonl-1"), links::path(&layout.links(), "f1", Compression::None));
        std::fs::copy(&own, &copy).expect("a copy");
        std::fs::remove_file(&link).expect("the link");
        std::fs::hard_link(&copy, &link).expect("a link");
        let check = |want: &Path| {
            let mut known = Known::of(None);
            let rounds = Rounds::open(&layout.files, &layout.tape()).expect("a tape");
            rounds.for_each(|round| known.add(&round.expect("a round")));
            assert_eq!(known.generations(&layout)[0].path, want);
        };
        check(&own);
        std::fs::write(&own, b"{\"run_id\":\"r2\"}\n{\"run_id\":\"r1\"}\n").expect("a writable file");
        check(&link);
    }
}
