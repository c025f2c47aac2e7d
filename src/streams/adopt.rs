use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};

use super::{
    copies,
    follow::Follower,
    generation::State,
    links,
    name::{Age, Compression},
    poll::{ExtentsOf, Poll},
    scan::{FileId, Found, Inode, Problem},
    source,
};

/// Where a copy was seen.
pub(super) struct Copy {
    pub path: PathBuf,
    pub inode: Inode,
    pub compression: Compression,
}

impl Copy {
    pub fn of(file: &Found) -> Copy {
        Copy { path: file.path.clone(), inode: file.id.inode(), compression: file.name.compression }
    }
}

impl Follower {
    /// History that only a copy still holds is read from the copy. One that holds only a part is better than nothing,
    /// and gives way to a whole one. False when the copy was renamed since it was seen, or could not be made durable: it
    /// is to be met again.
    pub(super) fn adopt(&mut self, of: usize, copy: &Copy, whole: bool) -> bool {
        let old = &self.generations[of];
        if old.state == State::Dropped {
            return true;
        }
        // One that lies in the directory and was emptied just now is reset first, by the next look.
        if self.is_followed(of) && (old.is_intact(&self.files) || self.present.contains(&old.inode())) {
            return true;
        }
        let from_copy = source::identify(&self.files, &old.path).is_ok_and(|(id, _)| id.inode() != old.inode());
        if !whole && from_copy {
            return true;
        }
        let (original, file) = (old.path.clone(), old.file().clone());
        if !self.secure(&original, &copy.path) {
            self.keep_unread(copy);
            return false;
        }
        let linked = self.link_copy(&file, copy);
        let still_there = || source::identify(&self.files, &copy.path).is_ok_and(|(id, _)| id.inode() == copy.inode);
        self.unlinked.remove(&of);
        let path = match linked {
            Some(Ok(link)) => link,
            _ if still_there() => {
                self.unlinked.insert(of, copy.inode);
                copy.path.clone()
            }
            _ => return false,
        };
        self.place(of, path);
        let old = &mut self.generations[of];
        old.record.compression = copy.compression;
        old.state = State::Ended;
        let inode = old.inode();
        if self.by_inode.get(&inode) == Some(&of) {
            self.by_inode.remove(&inode);
        }
        true
    }

    /// The same of a copy that holds only a part: it does not stand in for what still has as much of what was sealed.
    pub(super) fn adopt_part(&mut self, of: usize, copy: &Copy, extents_of: &ExtentsOf) -> bool {
        let old = &self.generations[of];
        if old.state == State::Ended {
            let extents = extents_of(old.file()).unwrap_or_default();
            let held = |path, compression| copies::held(&self.files, path, compression, &extents);
            if held(&old.path, old.record.compression) >= held(&copy.path, copy.compression) {
                return true;
            }
        }
        self.adopt(of, copy, false)
    }

    /// A power cut tore what was not sealed yet of a file, and it was removed, so that only our link still has it: the
    /// copy that was made before goes on in its place, and nothing torn is read from `from` on. False when the copy is to
    /// be met again.
    pub(super) fn prefer(&mut self, of: usize, copy: &Copy, from: u64, poll: &mut Poll) -> bool {
        let torn = &mut self.generations[of];
        if self.present.contains(&torn.inode()) {
            // Whoever made the copy has not decided yet which of the two stays.
            return true;
        }
        torn.state = State::Ended;
        let adopted = self.adopt(of, copy, true);
        let torn = &mut self.generations[of];
        if !adopted {
            (torn.state, torn.dirty) = (State::Open, true);
        }
        poll.pending.retain_mut(|range| {
            if range.generation == of {
                range.to = if adopted { from } else { range.from };
                range.bytes = None;
            }
            range.to > range.from
        });
        adopted
    }

    /// The links of copies that could not be linked when they were adopted: their names are all that keeps the history
    /// until then.
    pub(super) fn link_adopted(&mut self, found: &[Found], poll: &mut Poll) {
        if self.links.is_none() {
            return;
        }
        for (of, inode) in self.unlinked.clone() {
            let Some(copy) = found.iter().find(|file| file.id.inode() == inode).map(Copy::of) else { continue };
            let file = self.generations[of].file().clone();
            match self.link_copy(&file, &copy) {
                Some(Ok(link)) => {
                    self.place(of, link);
                    self.unlinked.remove(&of);
                }
                Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                    self.place(of, copy.path.clone());
                    let what = format!("holds history of {file} and cannot be hard-linked: {error}; leave it there");
                    poll.problems.push(Problem { path: copy.path, what });
                }
                // Renamed since it was seen: linked when the next full look finds it.
                Some(Err(_)) | None => {}
            }
        }
    }

    fn link_copy(&mut self, file: &str, copy: &Copy) -> Option<io::Result<PathBuf>> {
        let links = self.links.as_ref()?;
        let made = links::make(&self.files, links, file, copy.compression, &copy.path, copy.inode);
        self.relinked |= made.is_ok();
        Some(made)
    }

    /// A file that cannot be read, or not be made durable, just now may be all that still holds some history. Whoever
    /// removes it does not ask: a link of ours, to be found at the next start, keeps it until it was met.
    pub(super) fn keep_unread(&mut self, copy: &Copy) {
        let Some(links) = self.links.clone().filter(|links| copy.path.parent() != Some(links)) else { return };
        if self.unread.contains_key(&copy.inode) {
            return;
        }
        let id = self.next_file_id();
        if links::make(&self.files, &links, &id, copy.compression, &copy.path, copy.inode).is_ok() {
            self.relinked = true;
            self.unread.insert(copy.inode, id);
        }
    }

    /// Takes the link back of a file that was met, and of which no generation was made; unless nothing else keeps it.
    pub(super) fn forget_unread(&mut self, file: &Found) {
        let inode = file.id.inode();
        if self.unlinked.values().any(|unlinked| *unlinked == inode) {
            return;
        }
        if let (Some(links), Some(id)) = (self.links.as_deref(), self.unread.remove(&inode)) {
            // Should it stay, it takes room, and is found to hold nothing new.
            let _ = links::remove(&self.files, &links::path(links, &id, file.name.compression));
        }
    }

    /// Whoever made the copy need not have synced it, nor its name, and what was sealed is in no other file any more; and
    /// a power cut must not bring the lines back that the original had. In this order: until the copy is sure to be found,
    /// nothing is done for the original to be empty. False when it cannot be done.
    fn secure(&mut self, original: &Path, copy: &Path) -> bool {
        let Some(links) = self.links.clone() else { return true };
        let copied = self.sync_file(copy) == Some(true);
        let names = [&links, &self.dir.clone()].into_iter().all(|dir| self.synced(self.files.sync_dir(dir)));
        copied && names && self.sync_file(original) != Some(false)
    }

    /// A rotated file that nobody knew may be a copy of one that was emptied before it was ever met: a power cut must not
    /// bring back what the copy has.
    pub(super) fn settle_original(&mut self, copy: &Found) {
        let original = self.dir.join(format!("{}.jsonl", copy.name.stream));
        let met = |(id, _): (FileId, u64)| self.by_inode.contains_key(&id.inode());
        if self.links.is_some()
            && copy.name.age != Age::Live
            && !source::identify(&self.files, &original).is_ok_and(met)
        {
            self.sync_file(&original);
        }
    }

    /// None where there is no such file.
    fn sync_file(&mut self, path: &Path) -> Option<bool> {
        match source::open_file(&self.files, path) {
            Ok(file) => Some(self.synced(file.sync_data())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(false),
        }
    }

    fn synced(&mut self, done: io::Result<()>) -> bool {
        let synced = done.is_ok();
        if let Err(error) = done {
            self.failed_sync.get_or_insert(error);
        }
        synced
    }

    /// Files that only our links still name, and that the tape does not know: copies of which nothing was sealed, removed
    /// since by whoever made them.
    pub(super) fn unknown_links(&self) -> Vec<PathBuf> {
        let known: HashSet<&Path> = self.generations.iter().map(|generation| &*generation.path).collect();
        // A reader makes no links, and finds those of others where what it reads lies.
        let elsewhere = || known.iter().filter_map(|path| path.parent()).find(|dir| *dir != self.dir);
        let Some(links) = self.links.as_deref().or_else(elsewhere) else { return Vec::new() };
        let paths = self.files.list(links).unwrap_or_default().into_iter();
        paths.filter(|path| !known.contains(&**path)).collect()
    }
}

#[cfg(test)]
mod tests;
