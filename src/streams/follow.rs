use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    generation::{self, Generation, GenerationRecord, Place, State},
    held::HeldFiles,
    links,
    name::{self, Age, Compression},
    poll::{ExtentsOf, Pending, Poll, Reset, ResetReason, Scope},
    read::{self, New},
    scan::{self, Found, Inode, Problem},
    source,
};
use crate::{files::Files, view::Load};

/// New bytes of a file beyond this are not held in memory but read again when they are folded; those of all files
/// together neither.
const FILE_BYTES_MAX: u64 = 16 << 20;
const POLL_BYTES_MAX: u64 = 64 << 20;

/// Follows every stream file of a directory. Knows what was sealed; never writes to a stream.
pub struct Follower {
    pub(super) files: Files,
    pub(super) dir: PathBuf,
    /// Where our hard links lie; absent for a reader, which makes none.
    pub(super) links: Option<PathBuf>,
    pub(super) generations: Vec<Generation>,
    /// The generation that an inode holds now; of ended ones none.
    pub(super) by_inode: HashMap<Inode, usize>,
    /// Number of the next generation's id.
    pub(super) next_file: usize,
    /// Inodes seen in the last full scan, and what was met since.
    pub(super) present: HashSet<Inode>,
    pub(super) held: HeldFiles,
    /// Packed files from which ended generations are read, by the inode of our link.
    pub(super) packed: HashMap<Inode, usize>,
    /// Found before the first look.
    pub(super) resets: Vec<Reset>,
    /// Links were made for files that are on the tape already, and may be all that keeps them.
    pub(super) relinked: bool,
    /// Copies that were adopted and could not be linked yet: by generation, the inode of the copy.
    pub(super) unlinked: BTreeMap<usize, Inode>,
    /// Links of files that could not be read, or be made durable, so far: by inode, under which id.
    pub(super) unread: HashMap<Inode, Arc<str>>,
    /// Generations whose bytes lie elsewhere now, and nobody was told yet.
    pub(super) moved: Vec<usize>,
    /// A sync failed, and nobody was told yet.
    pub(super) failed_sync: Option<io::Error>,
    /// Names of streams, and how many there may be.
    pub(super) streams: HashSet<Arc<str>>,
    pub(super) streams_max: usize,
    /// Streams beyond, at the last full look.
    pub(super) beyond: usize,
}

/// Streams of a directory. Each has series of its own on the metric page; the files of a stream are not limited.
const STREAMS_MAX: usize = 20_000;

/// Streams that the program itself appends to. They find a place whoever took the others.
const OWN: [&str; 3] = ["api", "control", "reconcile"];

impl Follower {
    /// A follower that knows the generations of a tape. With `links`, new files are hard-linked there before they are
    /// sealed.
    pub fn new(files: Files, dir: PathBuf, links: Option<PathBuf>, known: Vec<Generation>) -> Follower {
        let mut follower = Follower {
            files,
            dir,
            links,
            generations: Vec::with_capacity(known.len()),
            by_inode: HashMap::new(),
            next_file: 1 + known.iter().filter_map(|g| generation::file_number(g.file())).max().unwrap_or(0),
            present: HashSet::new(),
            held: HeldFiles::default(),
            packed: HashMap::new(),
            resets: Vec::new(),
            relinked: false,
            unlinked: BTreeMap::new(),
            unread: HashMap::new(),
            moved: Vec::new(),
            failed_sync: None,
            streams: HashSet::new(),
            streams_max: STREAMS_MAX,
            beyond: 0,
        };
        for generation in known {
            follower.add(generation);
        }
        follower
    }

    pub fn files(&self) -> &Files {
        &self.files
    }

    /// How far the limit of streams is used.
    pub fn load(&self) -> Load {
        Load::new("streams", self.streams_max, self.streams.len(), self.beyond as u64)
    }

    pub fn generations(&self) -> &[Generation] {
        &self.generations
    }

    pub fn generation(&self, index: usize) -> &Generation {
        &self.generations[index]
    }

    /// Looks for whole lines that are not sealed. Nothing is remembered of them until [`Self::sealed`].
    ///
    /// # Errors
    /// The directory cannot be read. Files that cannot be read are problems of the poll.
    pub fn poll(&mut self, scope: &Scope, extents_of: &ExtentsOf) -> io::Result<Poll> {
        let (resets, met) = (std::mem::take(&mut self.resets), self.generations.len());
        let mut poll = Poll { resets, met, ..Poll::default() };
        let found = match scope {
            Scope::All => self.scan(&mut poll)?,
            Scope::Names(names) => self.look(names, &mut poll),
        };
        let (mut grown, mut fresh, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for file in &found {
            // A file renamed during the look, or with two names, is one file.
            if !seen.insert(file.id.inode()) {
                continue;
            }
            match self.by_inode.get(&file.id.inode()) {
                Some(&index) if file.id.is_reborn(self.generations[index].record.id) => {
                    self.reset(index, ResetReason::Identity, &mut poll);
                    fresh.push(file);
                }
                Some(&index) => self.revisit(index, file, &mut grown, &mut poll),
                None => fresh.push(file),
            }
        }
        let mut ended = Vec::new();
        if *scope == Scope::All {
            self.visit_departed(&mut grown);
            ended = self.ended_with_shadows();
        }
        for (index, file) in grown {
            self.collect(index, file, extents_of, &mut poll);
        }
        ended.into_iter().for_each(|of| self.release_copies(of, extents_of, &mut poll));
        let before = fresh.len();
        fresh.retain(|file| self.has_place(&file.name.stream));
        if *scope == Scope::All {
            self.beyond = before - fresh.len();
            poll.problems.extend(self.crowded(&found));
        }
        for file in fresh {
            // Copies and archives are not urgent, and may be in the making: only a full look meets them.
            if *scope == Scope::All || may_be_appended_to(file) {
                self.meet(file, extents_of, &mut poll);
            }
        }
        if *scope == Scope::All {
            self.link_adopted(&found, &mut poll);
        }
        self.keep_links();
        self.order(&found, &mut poll.pending);
        Ok(poll)
    }

    fn has_place(&self, stream: &str) -> bool {
        self.streams.len() < self.streams_max || self.streams.contains(stream) || OWN.contains(&stream)
    }

    /// One problem for all files that find no place.
    fn crowded(&self, found: &[Found]) -> Option<Problem> {
        let first = found.iter().find(|file| !self.has_place(&file.name.stream)).filter(|_| self.beyond > 0)?;
        let what = format!(
            "there are {} files of streams beyond the {} that can be followed, this one first; append to streams that are \
             there already",
            self.beyond, self.streams_max
        );
        Some(Problem { path: first.path.clone(), what })
    }

    /// Makes new links durable at once: whoever deletes the other name does not wait for the next round.
    fn keep_links(&mut self) {
        if let (true, Some(links)) = (std::mem::take(&mut self.relinked), &self.links)
            && let Err(error) = self.files.sync_dir(links)
        {
            self.failed_sync.get_or_insert(error);
        }
    }

    /// Why a sync failed since this was last asked. One that works later proves nothing of what this one lost.
    pub fn failed_sync(&mut self) -> Option<io::Error> {
        self.failed_sync.take()
    }

    /// Where the bytes of a generation lie from now on.
    pub(super) fn place(&mut self, of: usize, path: PathBuf) {
        let generation = &mut self.generations[of];
        if generation.path != path {
            generation.path = path;
            self.moved.push(of);
        }
    }

    /// Files whose bytes lie elsewhere since this was last asked: linked, renamed, or to be had from a copy only.
    pub fn moved(&mut self) -> Vec<Place> {
        let moved = std::mem::take(&mut self.moved);
        moved.into_iter().filter_map(|index| Some(self.generations.get(index)?.place())).collect()
    }

    /// Remembers that a pending range is on the tape.
    pub fn sealed(&mut self, pending: &Pending) {
        let generation = &mut self.generations[pending.generation];
        generation.advance(&self.files, pending.to, pending.bytes.as_deref());
        generation.on_tape = true;
    }

    /// Looks at a pending range again at the next full poll: it could not be sealed.
    pub fn retry(&mut self, pending: &Pending) {
        self.generations[pending.generation].dirty = true;
    }

    fn scan(&mut self, poll: &mut Poll) -> io::Result<Vec<Found>> {
        let (found, problems) = scan::scan(&self.files, &self.dir)?;
        poll.problems = problems;
        self.present = found.iter().map(|file| file.id.inode()).collect();
        let present = &self.present;
        self.held.retain(|inode| present.contains(inode));
        Ok(found)
    }

    fn look(&mut self, names: &[String], poll: &mut Poll) -> Vec<Found> {
        let mut found = Vec::new();
        for file_name in names {
            let Some(parsed) = name::parse(file_name) else { continue };
            let path = self.dir.join(file_name);
            match scan::look(&self.files, &path, parsed) {
                Ok(Some(file)) => {
                    self.present.insert(file.id.inode());
                    found.push(file);
                }
                Ok(None) => {}
                Err(what) => poll.problems.push(Problem { path, what }),
            }
        }
        scan::oldest_first(&mut found);
        found
    }

    /// A known inode lies in the directory: has it changed?
    fn revisit<'a>(
        &mut self,
        index: usize,
        file: &'a Found,
        grown: &mut Vec<(usize, Option<&'a Found>)>,
        poll: &mut Poll,
    ) {
        if self.generations[index].path.parent() == Some(&self.dir) {
            // Not linked: read where it lies now, under whatever name.
            let record = self.generations[index].record.clone();
            let path = self.link(&record, &file.path, poll);
            self.relinked |= path != file.path;
            self.place(index, path);
        }
        let generation = &mut self.generations[index];
        let changed = file.len != generation.len || file.modified != generation.modified;
        if !changed && !generation.dirty {
            return;
        }
        generation.len = file.len;
        generation.modified = file.modified;
        generation.dirty = true;
        if !self.held.waits(file, &mut poll.problems) {
            grown.push((index, Some(file)));
        }
    }

    /// Files that left the directory may still be written to by those who hold them open: late writes after a rotation.
    fn visit_departed(&mut self, grown: &mut Vec<(usize, Option<&Found>)>) {
        for (index, generation) in self.generations.iter_mut().enumerate() {
            if self.present.contains(&generation.inode()) || generation.state != State::Open || generation.is_packed() {
                continue;
            }
            if let Ok((found, len)) = source::identify(&self.files, &generation.path)
                && found.inode() == generation.inode()
                && (len != generation.len || generation.dirty)
            {
                generation.len = len;
                grown.push((index, None));
            }
        }
    }

    /// Reads what is new of a generation. `file`: as it lies in the directory, if it does.
    pub(super) fn collect(&mut self, index: usize, file: Option<&Found>, extents_of: &ExtentsOf, poll: &mut Poll) {
        let generation = &mut self.generations[index];
        if generation.state != State::Open {
            return;
        }
        let memory = FILE_BYTES_MAX.min(POLL_BYTES_MAX.saturating_sub(poll.in_memory()));
        let packed = generation.is_packed();
        let new = if packed {
            read::new_packed_lines(&self.files, generation)
        } else {
            read::new_lines(&self.files, generation, memory)
        };
        generation.failed = if new.is_ok() { 0 } else { generation.failed.saturating_add(1) };
        match new {
            Ok(New::Nothing) => {}
            Ok(New::Lines { to, bytes }) => {
                poll.pending.push(Pending { generation: index, from: generation.sealed, to, bytes });
            }
            Ok(New::Reset(reason)) => {
                self.reset(index, reason, poll);
                self.restart(index, extents_of, poll);
            }
            Err(error) => {
                generation.dirty = true;
                let problem = Problem { path: generation.path.clone(), what: error.to_string() };
                if let (true, Some(file)) = (packed, file) {
                    self.held.hold_unread(file, &error);
                }
                poll.problems.push(problem);
                return;
            }
        }
        if let Some(file) = file {
            self.held.release(file.id.inode());
        }
    }

    /// Ends a generation: what was sealed of it is not there any more.
    pub(super) fn reset(&mut self, index: usize, reason: ResetReason, poll: &mut Poll) {
        let generation = &mut self.generations[index];
        generation.state = State::Ended;
        self.by_inode.remove(&generation.inode());
        poll.resets.push(Reset {
            stream: generation.stream().clone(),
            file: generation.file().clone(),
            sealed: generation.sealed,
            reason,
        });
    }

    /// By stream name; within a stream files that left the directory first, then from the oldest to the newest name.
    fn order(&self, found: &[Found], pending: &mut [Pending]) {
        let ages: HashMap<Inode, usize> = found.iter().enumerate().map(|(age, file)| (file.id.inode(), age)).collect();
        pending.sort_by_cached_key(|range| {
            let generation = &self.generations[range.generation];
            (generation.stream().clone(), ages.get(&generation.inode()).copied(), range.generation)
        });
    }

    pub(super) fn next_file_id(&mut self) -> Arc<str> {
        self.next_file += 1;
        generation::file_id(self.next_file - 1)
    }

    pub(super) fn add(&mut self, generation: Generation) -> usize {
        let index = self.generations.len();
        if !matches!(generation.state, State::Ended | State::Dropped) {
            self.by_inode.insert(generation.inode(), index);
        }
        self.streams.insert(generation.stream().clone());
        if generation.state == State::Ended
            && generation.is_packed()
            && let Ok((id, _)) = source::identify(&self.files, &generation.path)
        {
            self.packed.insert(id.inode(), index);
        }
        self.generations.push(generation);
        index
    }

    /// Links a file into our own folder, so that nobody's rotation or deletion takes its history away. Where that is
    /// not possible the file is read where it lies, and the problem is reported.
    pub(super) fn link(&self, record: &GenerationRecord, file: &Path, poll: &mut Poll) -> PathBuf {
        let Some(links) = &self.links else { return file.to_owned() };
        let made = links::make(&self.files, links, &record.file, record.compression, file, record.id.inode());
        made.unwrap_or_else(|error| {
            // Renamed since it was seen: linked when the next full look finds it.
            if error.kind() != io::ErrorKind::NotFound {
                let what = format!(
                    "cannot be hard-linked below {}: {error}; its history is lost if it is deleted",
                    links.display()
                );
                poll.problems.push(Problem { path: file.to_owned(), what });
            }
            file.to_owned()
        })
    }
}

/// The file of a stream that producers append to, going by its name.
pub(super) fn may_be_appended_to(file: &Found) -> bool {
    file.name.age == Age::Live && file.name.compression == Compression::None
}
