use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    chance::Chance,
    tally::{Kind, Tally},
};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Directory,
    /// A file, by its inode.
    File(u64),
}

/// A whole path, as it was given. Compared as bytes: paths are many times slower, and a directory stands before what is
/// in it either way.
type Name = Arc<OsStr>;

fn name(path: &Path) -> Name {
    path.as_os_str().into()
}

/// Names, shared by every image of a disk.
#[derive(Clone, Debug, Default)]
pub struct Table(BTreeMap<Name, Entry>);

impl Table {
    pub fn get(&self, path: &Path) -> Option<Entry> {
        self.0.get(path.as_os_str()).copied()
    }

    pub fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path.as_os_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Path, Entry)> {
        self.0.iter().map(|(name, entry)| (Path::new(name), *entry))
    }

    /// What stands for nothing, since a directory above it is not there, is dropped.
    fn drop_orphans(&mut self) {
        let mut dirs = BTreeSet::new();
        self.0.retain(|name, entry| {
            let there = Path::new(name).parent().is_none_or(|dir| dirs.contains(dir.as_os_str()));
            if there && *entry == Entry::Directory {
                dirs.insert(name.clone());
            }
            there
        });
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(Name, Entry),
    Remove(Name),
    Rename(Name, Name, Entry),
}

impl Change {
    /// The directory whose sync makes it durable.
    fn dir(&self) -> Option<&Path> {
        match self {
            Change::Set(path, _) | Change::Remove(path) | Change::Rename(_, path, _) => Path::new(path).parent(),
        }
    }

    /// The names that are other ones afterwards.
    fn names(&self) -> impl Iterator<Item = &Name> {
        let (first, second) = match self {
            Change::Set(path, _) | Change::Remove(path) => (path, None),
            Change::Rename(from, to, _) => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    fn apply(&self, Table(names): &mut Table) {
        match self {
            Change::Set(path, entry) => _ = names.insert(path.clone(), *entry),
            Change::Remove(path) => _ = names.remove(path),
            Change::Rename(from, to, entry) => {
                names.remove(from);
                names.insert(to.clone(), *entry);
            }
        }
    }
}

/// All names of a disk: as programs see them, and as the platter has them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub seen: Table,
    durable: Table,
    unsynced: Vec<Change>,
}

impl Names {
    pub fn set(&mut self, path: &Path, entry: Entry) {
        self.change(Change::Set(name(path), entry));
    }

    pub fn remove(&mut self, path: &Path) {
        self.change(Change::Remove(name(path)));
    }

    pub fn rename(&mut self, from: &Path, to: &Path, entry: Entry) {
        self.change(Change::Rename(name(from), name(to), entry));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.unsynced.push(change);
    }

    pub fn sync_dir(&mut self, dir: &Path) {
        let durable = &mut self.durable;
        self.unsynced.retain(|change| {
            let here = change.dir() == Some(dir);
            if here {
                change.apply(durable);
            }
            !here
        });
    }

    /// Names without a directory above them.
    pub fn sync_root(&mut self) {
        let durable = &mut self.durable;
        self.unsynced.drain(..).for_each(|change| change.apply(durable));
    }

    pub fn in_dir(&self, dir: &Path) -> Vec<PathBuf> {
        let dir = dir.as_os_str();
        let below = self.seen.0.range::<OsStr, _>((Bound::Excluded(dir), Bound::Unbounded));
        let dir = dir.as_encoded_bytes();
        // Beside those in a directory, names that go on after its own stand there: `runs.jsonl-1` after `runs`.
        let below = below.map(|(name, _)| name).take_while(|name| name.as_encoded_bytes().starts_with(dir));
        let inside = |name: &&Name| match &name.as_encoded_bytes()[dir.len()..] {
            [b'/', rest @ ..] => !rest.contains(&b'/'),
            _ => false,
        };
        below.filter(inside).map(PathBuf::from).collect()
    }

    pub fn is_durable(&self, path: &Path) -> bool {
        self.durable.get(path).is_some_and(|entry| self.seen.get(path) == Some(entry))
    }

    /// The names after a power cut: those that were synced, and of later changes the first ones, or any. Changes of the
    /// same name are in order: a name is not taken anew before it was given up, and what gave it up is whole.
    pub fn settle(&self, chance: &mut Chance, tally: &mut Tally) -> Names {
        let mut names = self.durable.clone();
        let ordered = chance.one_in(2);
        let kept = chance.below(self.unsynced.len() as u64 + 1) as usize;
        let mut lost: BTreeSet<&Name> = BTreeSet::new();
        for (nth, change) in self.unsynced.iter().enumerate() {
            let reached = if ordered { nth < kept } else { chance.one_in(2) };
            if reached && !change.names().any(|name| lost.contains(name)) {
                change.apply(&mut names);
            } else {
                tally.add(Kind::LostNames);
                lost.extend(change.names());
            }
        }
        names.drop_orphans();
        Names { seen: names.clone(), durable: names, unsynced: Vec::new() }
    }
}
