use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
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

#[derive(Clone, Debug)]
enum Change {
    Set(PathBuf, Entry),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Entry),
}

impl Change {
    /// The directory whose sync makes it durable.
    fn dir(&self) -> Option<&Path> {
        match self {
            Change::Set(path, _) | Change::Remove(path) | Change::Rename(_, path, _) => path.parent(),
        }
    }

    /// The names that are other ones afterwards.
    fn names(&self) -> impl Iterator<Item = &Path> {
        let (first, second) = match self {
            Change::Set(path, _) | Change::Remove(path) => (path, None),
            Change::Rename(from, to, _) => (from, Some(to)),
        };
        std::iter::once(first).chain(second).map(PathBuf::as_path)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
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
    pub seen: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    unsynced: Vec<Change>,
}

impl Names {
    pub fn set(&mut self, path: &Path, entry: Entry) {
        self.change(Change::Set(path.to_owned(), entry));
    }

    pub fn remove(&mut self, path: &Path) {
        self.change(Change::Remove(path.to_owned()));
    }

    pub fn rename(&mut self, from: &Path, to: &Path, entry: Entry) {
        self.change(Change::Rename(from.to_owned(), to.to_owned(), entry));
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

    pub fn in_dir<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        let below = self.seen.range::<Path, _>((std::ops::Bound::Excluded(dir), std::ops::Bound::Unbounded));
        below.map(|(path, _)| path).take_while(move |path| path.starts_with(dir)).filter(|p| p.parent() == Some(dir))
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
        let mut lost: BTreeSet<&Path> = BTreeSet::new();
        for (nth, change) in self.unsynced.iter().enumerate() {
            let reached = if ordered { nth < kept } else { chance.one_in(2) };
            if reached && !change.names().any(|name| lost.contains(name)) {
                change.apply(&mut names);
            } else {
                tally.add(Kind::LostNames);
                lost.extend(change.names());
            }
        }
        let there = |path: &Path| path.parent().is_none_or(|dir| names.get(dir) == Some(&Entry::Directory));
        let orphans: Vec<PathBuf> =
            names.keys().filter(|path| path.ancestors().any(|path| !there(path))).cloned().collect();
        orphans.iter().for_each(|path| _ = names.remove(path));
        Names { seen: names.clone(), durable: names, unsynced: Vec::new() }
    }
}
