use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};

use super::{
    follow::Follower,
    generation::State,
    links,
    name::{Age, Compression},
    poll::Poll,
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
mod tests {
    use super::*;
    use crate::{
        files::{
            Disk as _, Files, How,
            simulated::{Chance, Kind, Simulated, Tally, Trouble},
        },
        streams::{Scope, copies::SealedExtent, name, poll::ResetReason, scan},
    };

    const DIR: &str = "/events";

    /// Lines that a follower knows to be sealed, and a disk to do things on.
    struct Bench {
        disk: Simulated,
        follower: Follower,
        sealed: Vec<u8>,
    }

    impl Bench {
        fn new() -> Bench {
            let disk = Simulated::new(Path::new(DIR));
            let (files, links) = (Files::of(disk.clone()), Path::new(DIR).join("links"));
            files.make_dirs(&links).expect("our folder");
            let sealed = b"{\"run_id\":\"r1\",\"latency_ms\":1}\n".repeat(20);
            let follower = Follower::new(files, DIR.into(), Some(links), Vec::new());
            let mut bench = Bench { disk, follower, sealed };
            bench.write("runs.jsonl", &bench.sealed);
            bench.poll();
            bench
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            let file = self.disk.open(&Path::new(DIR).join(name), How::AppendOrMake).expect("a file");
            file.append(bytes).expect("a write");
        }

        fn empty(&self, name: &str) {
            self.disk.open(&Path::new(DIR).join(name), How::Append).and_then(|f| f.set_len(0)).expect("a file");
        }

        fn extents(&self) -> Vec<SealedExtent> {
            vec![SealedExtent { from: 0, to: self.sealed.len() as u64, data: blake3::hash(&self.sealed) }]
        }

        /// A full look; everything it finds counts as sealed: the ids of the files, and their ranges.
        fn poll(&mut self) -> Vec<(String, u64, u64)> {
            let extents = self.extents();
            let poll = self.follower.poll(&Scope::All, &|_| Ok(extents.clone())).expect("a look");
            poll.pending.iter().for_each(|range| self.follower.sealed(range));
            let id = |index: usize| self.follower.generation(index).file().to_string();
            poll.pending.iter().map(|range| (id(range.generation), range.from, range.to)).collect()
        }

        fn history(&self) -> Vec<u8> {
            self.follower.files().read(&self.follower.generation(0).path).expect("a file")
        }
    }

    #[test]
    fn history_is_found_in_a_copy_where_the_original_has_outgrown_it() {
        for ended in [false, true] {
            let mut bench = Bench::new();
            bench.write("runs.jsonl.1", &bench.sealed);
            bench.empty("runs.jsonl");
            bench.write("runs.jsonl", &b"{\"run_id\":\"r2\"}\n".repeat(60));
            if ended {
                bench.follower.generations[0].state = State::Ended;
            }
            let extents = bench.extents();
            bench.follower.recover(&|_| Ok(extents.clone())).expect("a readable directory");
            assert!(bench.history() == bench.sealed, "ended before: {ended}");
        }
    }

    #[test]
    fn a_copy_that_could_not_be_linked_is_linked_as_soon_as_it_can_be() {
        let mut bench = Bench::new();
        bench.write("runs.jsonl.1", &bench.sealed);
        bench.empty("runs.jsonl");
        bench.disk.trouble(Some(Trouble { chance: Chance::new(1), one_in: 1, only: Some(Kind::FailedNames) }));
        bench.poll();
        assert_eq!(bench.follower.generation(0).path, Path::new(DIR).join("runs.jsonl.1"));
        bench.disk.trouble(None);
        bench.poll();
        bench.follower.files().remove(&Path::new(DIR).join("runs.jsonl.1")).expect("the copy");
        assert!(bench.history() == bench.sealed);
    }

    #[test]
    fn a_copy_that_could_not_be_read_or_synced_yet_outlives_its_removal() {
        for kind in [Kind::FailedReads, Kind::FailedSyncs] {
            let mut bench = Bench::new();
            bench.write("runs.jsonl.1", &bench.sealed);
            bench.empty("runs.jsonl");
            let (dir, extents) = (Path::new(DIR), bench.extents());
            let found = scan::look(
                bench.follower.files(),
                &dir.join("runs.jsonl.1"),
                name::parse("runs.jsonl.1").expect("a name"),
            );
            let found = found.expect("a file").expect("it is there");
            bench.follower.reset(0, ResetReason::Truncated, &mut Poll::default());
            bench.disk.trouble(Some(Trouble { chance: Chance::new(1), one_in: 1, only: Some(kind) }));
            bench.follower.meet(&found, &|_| Ok(extents.clone()), &mut Poll::default());
            bench.disk.trouble(None);
            bench.follower.files().remove(&found.path).expect("the copy");
            assert!(bench.history() != bench.sealed, "{kind:?}");
            bench.follower.recover(&|_| Ok(extents.clone())).expect("a readable directory");
            assert!(bench.history() == bench.sealed, "{kind:?}");
        }
    }

    #[test]
    fn a_copy_that_could_be_read_after_all_leaves_no_link_behind_but_its_own() {
        let mut bench = Bench::new();
        bench.write("runs.jsonl.1", &bench.sealed);
        bench.disk.trouble(Some(Trouble { chance: Chance::new(1), one_in: 2, only: Some(Kind::FailedReads) }));
        for _ in 0..200 {
            let extents = bench.extents();
            let _ = bench.follower.poll(&Scope::All, &|_| Ok(extents.clone()));
        }
        bench.disk.trouble(None);
        (0..70).for_each(|_| _ = bench.poll());
        assert_eq!(bench.follower.generations().len(), 2);
        let links = bench.follower.files().list(&Path::new(DIR).join("links")).expect("our folder");
        assert_eq!(links.len(), 2, "{links:?}");
    }

    #[test]
    fn a_copy_takes_the_place_of_a_removed_file_that_a_power_cut_tore_behind_its_sealed_end() {
        let (one, two) = (b"{\"run_id\":\"r2\"}\n", b"{\"run_id\":\"r3\"}\n");
        let check = |kept: bool, torn: &[u8], want: &[(&str, u64, u64)]| {
            let mut bench = Bench::new();
            bench.write("runs.jsonl", torn);
            bench.write("runs.jsonl-20260101", &[&bench.sealed, &one[..], two].concat());
            if !kept {
                bench.follower.files().remove(&Path::new(DIR).join("runs.jsonl")).expect("the original");
            }
            let found = bench.poll();
            let found: Vec<_> = found.iter().map(|(file, from, to)| (file.as_str(), *from, *to)).collect();
            assert_eq!(found, want, "original kept: {kept}, and goes on with {}", torn.escape_ascii());
            assert_eq!(bench.poll(), [], "nothing comes back");
            assert!(bench.history().starts_with(&bench.sealed));
        };
        let end = 20 * 31;
        let zeroed = [&[0; 15], &b"\n"[..], two].concat();
        check(false, &zeroed, &[("f2", end, end + 32)]);
        let second_zeroed = [&one[..], &[0; 15], b"\n"].concat();
        check(false, &second_zeroed, &[("f1", end, end + 16), ("f2", end + 16, end + 32)]);
        // Nothing says which of the two to believe: lines that only one of them has are not lost.
        let other = [&b"{\"run_id\":\"r9\"}\n"[..], two].concat();
        check(false, &other, &[("f1", end, end + 32), ("f2", end, end + 32)]);
        check(true, &zeroed, &[("f2", end, end + 32), ("f1", end, end + 32)]);
    }

    #[test]
    fn a_copy_in_the_making_that_a_power_cut_tore_holds_nothing_new() {
        let mut bench = Bench::new();
        let torn = [&bench.sealed[..62], &[0; 30], &b"\n"[..], &bench.sealed[..31]].concat();
        bench.write("runs.jsonl.1", &torn);
        assert_eq!([bench.poll(), bench.poll()], [[], []]);
        bench.empty("runs.jsonl");
        bench.poll();
        assert_eq!(bench.history(), b"", "what is torn stands in for nothing");
    }

    #[test]
    fn a_copy_that_only_a_link_of_ours_still_names_outlives_a_power_cut_and_is_found_at_the_next_start() {
        let mut bench = Bench::new();
        bench.write("runs.jsonl.1", &bench.sealed);
        assert_eq!(bench.poll(), [], "it is known");
        let (dir, links) = (Path::new(DIR), Path::new(DIR).join("links"));
        bench.follower.files().sync_dir(dir).expect("a sync");
        for seed in 0..50 {
            let left = bench.disk.image().settle(&mut Chance::new(seed), &mut Tally::default());
            Files::of(left).about(&links.join("f2.jsonl")).expect("the link");
        }
        bench.follower.files().remove(&dir.join("runs.jsonl.1")).expect("the copy");
        bench.empty("runs.jsonl");
        let known = bench.follower.generations()[..1].to_vec();
        bench.follower = Follower::new(bench.follower.files().clone(), dir.into(), Some(links), known);
        let extents = bench.extents();
        bench.follower.recover(&|_| Ok(extents.clone())).expect("a readable directory");
        assert!(bench.history() == bench.sealed);
    }
}
