use std::{collections::HashSet, io, path::PathBuf, sync::Arc};

use super::{
    adopt::Copy,
    copies::{self, Fork, Likeness, Torn},
    follow::{Follower, may_be_appended_to},
    generation::{Generation, GenerationRecord, State},
    links,
    name::{self, Age, Compression, StreamFile},
    poll::{ExtentsOf, Poll, ResetReason},
    scan::{self, Found, Problem},
    seekable::Table,
    source,
};

/// A file that cannot be read at so many looks in a row keeps its copies waiting no more.
const PATIENCE: u32 = 20;

/// What a new file continues.
enum Kin {
    /// Nothing that is known.
    None,
    /// It holds all lines of a generation before `from`, and perhaps more.
    Copy { of: usize, from: u64 },
    /// It holds a part of a generation, and nothing else.
    Part { of: usize },
    /// It holds what is sealed of a generation, and goes on otherwise.
    Fork { of: usize, fork: Fork },
}

impl Follower {
    /// A file whose inode is not known: a copy of something known, or a new generation.
    pub(super) fn meet(&mut self, file: &Found, extents_of: &ExtentsOf, poll: &mut Poll) {
        let still = self.held.keeps_still(file) && file.name.age == Age::Live;
        if file.len == 0 || (self.held.waits(file, &mut poll.problems) && !still) {
            return;
        }
        if self.is_archive(file) {
            return self.held.hold(file, None, None);
        }
        if self.waits_for_original(file, poll) {
            return self.keep_unread(&Copy::of(file));
        }
        match self.kin(file, extents_of, poll) {
            Ok(Kin::None) => self.begin(file, 0, State::Open, extents_of, poll),
            // A name that producers append to, and nobody is writing it: a file that happens to begin like an old one.
            Ok(Kin::Part { .. }) if still => self.begin(file, 0, State::Open, extents_of, poll),
            Ok(Kin::Part { of }) => {
                if self.adopt_part(of, &Copy::of(file), extents_of) {
                    self.forget_unread(file);
                    self.held.hold(file, None, Some(of));
                }
            }
            Ok(Kin::Copy { of, from }) => {
                let there = self.present.contains(&self.generations[of].inode());
                let stays = self.is_followed(of) && there && !self.goes_on_in_copy(of);
                if !stays && !self.adopt(of, &Copy::of(file), true) {
                    return;
                }
                let state = if stays { State::Shadow { of } } else { State::Open };
                self.begin(file, from, state, extents_of, poll);
            }
            Ok(Kin::Fork { of, fork }) => {
                if fork.torn != Torn::Original || self.prefer(of, &Copy::of(file), fork.from, poll) {
                    self.begin(file, fork.from, State::Open, extents_of, poll);
                }
            }
            // Renamed since it was seen: the next full look meets it under its new name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.keep_unread(&Copy::of(file));
                poll.problems.push(Problem { path: file.path.clone(), what: error.to_string() });
                self.held.hold_unread(file, &error);
            }
        }
    }

    /// Whether a file is the very one from which an ended generation is read, and says itself that it holds no more. It
    /// need not be unpacked to be known.
    fn is_archive(&self, file: &Found) -> bool {
        let Some(&of) = self.packed.get(&file.id.inode()) else { return false };
        let table = source::open_file(&self.files, &file.path).ok().and_then(|opened| Table::read(&*opened, file.len));
        table.is_some_and(|table| table.total() == self.generations[of].sealed)
    }

    /// Whether a file may be a copy of one that an earlier look met, and of which what is there could not be read, or
    /// sealed, so far: only then can be told what both hold.
    fn waits_for_original(&self, file: &Found, poll: &Poll) -> bool {
        let met = self.generations.iter().enumerate().take(poll.met);
        let mut open = met.filter(|(_, original)| !original.on_tape && original.state == State::Open);
        open.any(|(index, original)| {
            let unsealed = poll.end_of(index, original.sealed) > original.sealed;
            let unread = (1..PATIENCE).contains(&original.failed);
            (unsealed || unread) && copies::may_be_named(file, original)
        })
    }

    /// Whether a generation is read from a copy that lies beside its emptied original: nobody empties that one again.
    fn goes_on_in_copy(&self, of: usize) -> bool {
        let generation = &self.generations[of];
        let live = self.dir.join(format!("{}.jsonl", generation.stream()));
        let is_live = || source::identify(&self.files, &live).is_ok_and(|(id, _)| id.inode() == generation.inode());
        generation.inode() != generation.origin.inode() && !is_live()
    }

    /// What a new file continues: the newest generation first.
    fn kin(&self, file: &Found, extents_of: &ExtentsOf, poll: &Poll) -> io::Result<Kin> {
        let mut kin = Kin::None;
        for (index, generation) in self.generations.iter().enumerate().rev() {
            // The inode of a file that was removed may be another's by now.
            let present = generation.state != State::Dropped && self.present.contains(&generation.inode());
            if !generation.on_tape {
                continue;
            }
            let from = poll.end_of(index, generation.sealed);
            if may_be_appended_to(file)
                && let Some(same) = copies::returned(&self.files, file, generation)?
            {
                let fork = Fork { from: same.min(from), torn: Torn::Neither };
                return Ok(Kin::Fork { of: index, fork });
            }
            if !copies::may_be_copy(file, generation, present) {
                continue;
            }
            match (copies::likeness(&self.files, file, generation, from, extents_of)?, &kin) {
                (Likeness::Copy, _) => return Ok(Kin::Copy { of: index, from }),
                (Likeness::Part, Kin::None | Kin::Fork { .. }) => kin = Kin::Part { of: index },
                (Likeness::Different, Kin::None) => {
                    kin = match copies::fork(&self.files, file, generation, from, extents_of)? {
                        None => Kin::None,
                        Some(Fork { torn: Torn::Copy, .. }) => Kin::Part { of: index },
                        Some(fork) => Kin::Fork { of: index, fork },
                    };
                }
                _ => {}
            }
        }
        Ok(kin)
    }

    /// Makes a generation of a file, to be read from `from` on.
    fn begin(&mut self, file: &Found, from: u64, state: State, extents_of: &ExtentsOf, poll: &mut Poll) {
        self.held.release(file.id.inode());
        self.settle_original(file);
        let record = GenerationRecord {
            file: self.unread.remove(&file.id.inode()).unwrap_or_else(|| self.next_file_id()),
            stream: Arc::from(file.name.stream.as_str()),
            name: file.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            id: file.id,
            compression: file.name.compression,
        };
        let path = self.link(&record, &file.path, poll);
        // Of a copy nothing may ever be sealed, and it may be all that there is when its original is emptied.
        self.relinked |= matches!(state, State::Shadow { .. }) && path != file.path;
        let packed = record.compression != Compression::None;
        let mut generation = Generation::new(&self.files, record, path, from, state);
        generation.len = file.len;
        generation.modified = file.modified;
        let index = self.add(generation);
        let found = poll.pending.len();
        self.collect(index, Some(file), extents_of, poll);
        // A packed file with nothing new (or not finished) is no generation: what it holds is known already.
        if packed && state == State::Open && poll.pending.len() == found {
            self.undo(index, file);
        }
    }

    /// Takes back the generation that was just made of a packed file.
    fn undo(&mut self, index: usize, file: &Found) {
        debug_assert_eq!(index + 1, self.generations.len(), "only the last one can be taken back");
        let Some(generation) = self.generations.pop() else { return };
        self.by_inode.remove(&generation.inode());
        if self.links.is_some() && generation.path.parent() != Some(&self.dir) {
            // Should it stay, the next generation of this id replaces it.
            let _ = links::remove(&self.files, &generation.path);
        }
        // Renamed before it was read: met again.
        if !generation.dirty && !self.held.has(file.id.inode()) {
            self.held.hold(file, None, None);
        }
    }

    /// The same inode, emptied and written anew: a generation of its own, from the start. Copies of what it held before
    /// now hold the only lines after what was sealed.
    pub(super) fn restart(&mut self, ended: usize, extents_of: &ExtentsOf, poll: &mut Poll) {
        let old = &self.generations[ended];
        let (path, mut record) = (old.path.clone(), old.record.clone());
        if let Ok((id, _)) = source::identify(&self.files, &path) {
            record.id = id;
            record.file = self.next_file_id();
            let path = self.link(&record, &path, poll);
            let new = self.add(Generation::new(&self.files, record, path, 0, State::Open));
            self.collect(new, None, extents_of, poll);
        }
        self.release_copies(ended, extents_of, poll);
    }

    /// Of what ended, that of which a copy could not take the place yet.
    pub(super) fn ended_with_shadows(&self) -> Vec<usize> {
        let ended = |generation: &Generation| match generation.state {
            State::Shadow { of } if !self.is_followed(of) => Some(of),
            _ => None,
        };
        self.generations.iter().filter_map(ended).collect()
    }

    pub(super) fn release_copies(&mut self, of: usize, extents_of: &ExtentsOf, poll: &mut Poll) {
        // Looked at anew by the same poll, or by the next full one.
        self.held.release_parts(of);
        for index in 0..self.generations.len() {
            if self.generations[index].state != (State::Shadow { of }) {
                continue;
            }
            let whole = matches!(self.likeness_of_shadow(index, of, extents_of), Ok(Likeness::Copy));
            let sealed = self.generations[of].sealed;
            let shadow = &self.generations[index];
            let copy =
                Copy { path: shadow.path.clone(), inode: shadow.inode(), compression: shadow.record.compression };
            let taken = if whole { self.adopt(of, &copy, true) } else { self.adopt_part(of, &copy, extents_of) };
            if !taken {
                continue;
            }
            let shadow = &mut self.generations[index];
            if whole {
                shadow.state = State::Open;
                shadow.advance(&self.files, sealed, None);
                self.collect(index, None, extents_of, poll);
                continue;
            }
            // Taken before the last sealed line: it has nothing new.
            shadow.state = State::Ended;
            self.by_inode.remove(&copy.inode);
        }
    }

    fn likeness_of_shadow(&self, shadow: usize, of: usize, extents_of: &ExtentsOf) -> io::Result<Likeness> {
        let (shadow, of) = (&self.generations[shadow], &self.generations[of]);
        let (id, len) = source::identify(&self.files, &shadow.path)?;
        let name = StreamFile {
            stream: shadow.stream().to_string(),
            age: Age::Archived,
            compression: shadow.record.compression,
        };
        let file = Found { path: shadow.path.clone(), name, id, len, modified: 0 };
        copies::likeness(&self.files, &file, of, of.sealed, extents_of)
    }

    /// Looks for sealed history that is not where it was: emptied or replaced while nobody looked, and perhaps still held
    /// by a copy in the directory. To be called before anything sealed is read.
    ///
    /// # Errors
    /// The directory, a file or the tape cannot be read.
    pub fn recover(&mut self, extents_of: &ExtentsOf) -> io::Result<()> {
        let mut lost = Vec::new();
        let mut poll = Poll::default();
        for index in 0..self.generations.len() {
            let generation = &self.generations[index];
            if generation.state == State::Dropped {
                continue;
            }
            let found = source::identify(&self.files, &generation.path);
            let short = !generation.is_packed() && found.as_ref().is_ok_and(|(_, len)| *len < generation.sealed);
            if found.is_ok() && !short && !self.is_outgrown(generation) {
                continue;
            }
            lost.push(index);
            if generation.state == State::Open {
                let reborn = found.is_ok_and(|(id, _)| id.is_reborn(generation.record.id));
                let reason = match (reborn, short) {
                    (true, _) => ResetReason::Identity,
                    (false, true) => ResetReason::Truncated,
                    (false, false) => ResetReason::Rewritten,
                };
                self.reset(index, reason, &mut poll);
            }
        }
        self.resets.append(&mut poll.resets);
        if lost.is_empty() {
            return Ok(());
        }
        let (mut found, _) = scan::scan(&self.files, &self.dir)?;
        found.retain(|file| !self.by_inode.contains_key(&file.id.inode()));
        self.recover_from(&found, &lost, extents_of);
        lost.retain(|of| self.is_lost(&self.generations[*of]));
        if !lost.is_empty() {
            let known = self.known_copies();
            self.recover_from(&known, &lost, extents_of);
            lost.retain(|of| self.is_lost(&self.generations[*of]));
        }
        // The newest first: of several that one file continues it is the one that goes on.
        for of in lost.into_iter().rev() {
            let unknown = self.unknown_copies(&self.generations[of]);
            self.recover_from(&unknown, &[of], extents_of);
            self.follow_link(of);
        }
        Ok(())
    }

    /// What a link of ours alone names is in no directory to be met: what it holds behind the sealed end of the file that
    /// it stands in for is read as more of that file.
    fn follow_link(&mut self, of: usize) {
        let generation = &mut self.generations[of];
        let Ok((id, len)) = source::identify(&self.files, &generation.path) else { return };
        if id.inode() == generation.inode()
            || generation.is_packed()
            || len < generation.sealed
            || self.by_inode.contains_key(&id.inode())
        {
            return;
        }
        generation.record.id = id;
        (generation.state, generation.replaced, generation.dirty) = (State::Open, false, true);
        generation.advance(&self.files, generation.sealed, None);
        self.by_inode.insert(id.inode(), of);
    }

    /// Emptied and written anew, past what was sealed of it.
    fn is_outgrown(&self, generation: &Generation) -> bool {
        generation.replaced || matches!(generation.still_continues(&self.files), Ok(false))
    }

    /// Files of which lines of their own are on the tape, and which may have been copies before: wherever they lie by now.
    fn known_copies(&self) -> Vec<Found> {
        let found = |generation: &Generation| {
            let name = name::parse(&generation.record.name).filter(|name| name.age != Age::Live)?;
            let name = StreamFile { compression: generation.record.compression, ..name };
            let (id, len) = source::identify(&self.files, &generation.path).ok()?;
            Some(Found { path: generation.path.clone(), name, id, len, modified: 0 })
        };
        let known = self.generations.iter().filter(|generation| generation.state != State::Dropped);
        let mut seen = HashSet::new();
        known.filter_map(found).filter(|file| seen.insert(file.id.inode())).collect()
    }

    /// Links that may have been made to copies of a generation: under any name, but so packed as it says.
    fn unknown_copies(&self, of: &Generation) -> Vec<Found> {
        let found = |path: PathBuf| {
            let packed = name::parse(path.file_name()?.to_str()?)?.compression;
            let name = StreamFile { stream: of.stream().to_string(), age: Age::Archived, compression: packed };
            let (id, len) = source::identify(&self.files, &path).ok()?;
            Some(Found { path, name, id, len, modified: 0 })
        };
        self.unknown_links().into_iter().filter_map(found).collect()
    }

    fn is_lost(&self, generation: &Generation) -> bool {
        let Ok((id, len)) = source::identify(&self.files, &generation.path) else { return true };
        id.inode() == generation.inode() || (!generation.is_packed() && len < generation.sealed)
    }

    fn recover_from(&mut self, found: &[Found], lost: &[usize], extents_of: &ExtentsOf) {
        for (file, &of) in found.iter().flat_map(|file| lost.iter().rev().map(move |of| (file, of))) {
            let lost = &self.generations[of];
            if file.id.inode() == lost.inode() || !copies::may_be_copy(file, lost, false) {
                continue;
            }
            match copies::likeness(&self.files, file, lost, lost.sealed, extents_of) {
                Ok(Likeness::Copy) => self.adopt(of, &Copy::of(file), true),
                Ok(Likeness::Part) => self.adopt_part(of, &Copy::of(file), extents_of),
                // A file that cannot be read is met, and reported, by the first look.
                Ok(Likeness::Different) | Err(_) => continue,
            };
        }
    }

    pub(super) fn is_followed(&self, index: usize) -> bool {
        self.generations[index].state == State::Open
    }
}
