use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    copies::{self, Likeness, SealedExtent},
    generation::{self, Generation, GenerationRecord, MARKER_BYTES, State},
    name::{self, Compression},
    scan::{self, FileId, Found, Problem},
    source,
};

/// New bytes beyond this are not held in memory but read again when they are folded.
const IN_MEMORY_MAX: u64 = 16 << 20;

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole directory, and every file that left it.
    All,
    /// These file names; a hint, so that an idle file costs nothing.
    Names(Vec<String>),
}

/// Whole lines of a generation that are not sealed yet.
#[derive(Debug)]
pub struct Pending {
    /// Index of the generation.
    pub generation: usize,
    pub from: u64,
    pub to: u64,
    /// The bytes, unless there are too many.
    pub bytes: Option<Arc<[u8]>>,
}

/// Content below what was sealed is gone or different: reported, never passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    pub stream: Arc<str>,
    pub file: Arc<str>,
    /// How much of the file was sealed.
    pub sealed: u64,
    pub reason: ResetReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResetReason {
    /// The file is shorter than what was sealed of it.
    Truncated,
    /// The bytes before the sealed end are others now.
    Rewritten,
    /// Another file took its name before it was linked, or its inode.
    Identity,
}

impl ResetReason {
    pub const ALL: [ResetReason; 3] = [ResetReason::Truncated, ResetReason::Rewritten, ResetReason::Identity];

    pub fn name(self) -> &'static str {
        match self {
            ResetReason::Truncated => "truncated",
            ResetReason::Rewritten => "rewritten",
            ResetReason::Identity => "identity",
        }
    }
}

/// What a look at the directory found.
#[derive(Debug, Default)]
pub struct Poll {
    /// By stream name, then by age of the file: the order of extents in a round.
    pub pending: Vec<Pending>,
    pub resets: Vec<Reset>,
    pub problems: Vec<Problem>,
}

/// Sealed extents of a generation by its id: read from the tape when a copy must be recognised.
pub type ExtentsOf<'a> = dyn Fn(&str) -> io::Result<Vec<SealedExtent>> + 'a;

/// Follows every stream file of a directory. Knows what was sealed; never writes to a stream.
pub struct Follower {
    dir: PathBuf,
    /// Where our hard links lie; absent for a reader, which makes none.
    links: Option<PathBuf>,
    generations: Vec<Generation>,
    by_inode: HashMap<(u64, u64), usize>,
    /// Number of the next generation's id.
    next_file: usize,
    /// Inodes seen in the last full scan.
    present: std::collections::HashSet<(u64, u64)>,
}

impl Follower {
    /// A follower that knows the generations of a tape. With `links`, new files are hard-linked there before they are
    /// sealed.
    pub fn new(dir: PathBuf, links: Option<PathBuf>, known: Vec<Generation>) -> Follower {
        let mut follower = Follower {
            dir,
            links,
            generations: Vec::new(),
            by_inode: HashMap::new(),
            next_file: 1 + known.iter().filter_map(|g| generation::file_number(g.file())).max().unwrap_or(0),
            present: Default::default(),
        };
        for generation in known {
            follower.add(generation);
        }
        follower
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
        let mut poll = Poll::default();
        let found = match scope {
            Scope::All => self.scan(&mut poll)?,
            Scope::Names(names) => self.look(names, &mut poll),
        };
        let mut grown: Vec<usize> = Vec::new();
        let mut fresh = Vec::new();
        for file in found {
            match self.by_inode.get(&(file.id.dev, file.id.ino)) {
                Some(&index) => self.revisit(index, &file, &mut grown, &mut poll),
                None => fresh.push(file),
            }
        }
        if *scope == Scope::All {
            self.visit_departed(&mut grown);
        }
        for index in grown {
            self.collect(index, &mut poll);
        }
        for file in fresh {
            self.meet(&file, extents_of, &mut poll);
        }
        let generations = &self.generations;
        poll.pending.sort_by(|a, b| {
            let stream = |p: &Pending| generations[p.generation].stream().clone();
            stream(a).as_bytes().cmp(stream(b).as_bytes()).then(a.generation.cmp(&b.generation))
        });
        Ok(poll)
    }

    /// Remembers that a pending range is on the tape.
    pub fn sealed(&mut self, pending: &Pending) {
        let generation = &mut self.generations[pending.generation];
        generation.sealed = pending.to;
        generation.scanned = pending.to.max(generation.scanned);
        generation.on_tape = true;
        if let Some(bytes) = &pending.bytes {
            let keep = bytes.len().min(MARKER_BYTES as usize);
            generation.marker = bytes[bytes.len() - keep..].to_vec();
        } else {
            generation.marker = read_marker(generation).unwrap_or_default();
        }
    }

    /// Looks at a pending range again at the next poll: it could not be sealed.
    pub fn retry(&mut self, pending: &Pending) {
        self.generations[pending.generation].len = u64::MAX;
    }

    fn scan(&mut self, poll: &mut Poll) -> io::Result<Vec<Found>> {
        let (found, problems) = scan::scan(&self.dir)?;
        poll.problems = problems;
        self.present = found.iter().map(|file| (file.id.dev, file.id.ino)).collect();
        Ok(found)
    }

    fn look(&mut self, names: &[String], poll: &mut Poll) -> Vec<Found> {
        let mut found = Vec::new();
        for file_name in names {
            let Some(parsed) = name::parse(file_name) else { continue };
            let path = self.dir.join(file_name);
            match scan::look(&path, parsed) {
                Ok(Some(file)) => {
                    self.present.insert((file.id.dev, file.id.ino));
                    found.push(file);
                }
                Ok(None) => {}
                Err(what) => poll.problems.push(Problem { path, what }),
            }
        }
        found
    }

    /// A known inode lies in the directory: has it grown, shrunk, or become another file?
    fn revisit(&mut self, index: usize, file: &Found, grown: &mut Vec<usize>, poll: &mut Poll) {
        let generation = &mut self.generations[index];
        let reborn = matches!((generation.record.id.birth, file.id.birth), (Some(a), Some(b)) if a != b);
        if reborn {
            self.reset(index, ResetReason::Identity, poll);
            self.meet_new(file, 0, State::Open, poll);
            return;
        }
        if self.links.is_none() && generation.path.parent() == Some(&self.dir) {
            generation.path.clone_from(&file.path);
        }
        if file.len != generation.len || file.modified != generation.modified {
            generation.len = file.len;
            generation.modified = file.modified;
            grown.push(index);
        }
    }

    /// Files that left the directory may still be written to by those who hold them open: late writes after a rotation.
    fn visit_departed(&mut self, grown: &mut Vec<usize>) {
        for (index, generation) in self.generations.iter_mut().enumerate() {
            let id = generation.record.id;
            let here = self.present.contains(&(id.dev, id.ino));
            if here || generation.state != State::Open || generation.record.compression != Compression::None {
                continue;
            }
            if let Ok((found, len)) = source::identify(&generation.path)
                && (found.dev, found.ino) == (id.dev, id.ino)
                && len != generation.len
            {
                generation.len = len;
                grown.push(index);
            }
        }
    }

    /// Reads what is new of a generation, after making sure that it still continues what was sealed.
    fn collect(&mut self, index: usize, poll: &mut Poll) {
        let generation = &mut self.generations[index];
        if generation.state != State::Open || generation.record.compression != Compression::None {
            return;
        }
        match read_new(generation) {
            Ok(New::Nothing) => {}
            Ok(New::Lines { to, bytes }) => {
                poll.pending.push(Pending { generation: index, from: generation.sealed, to, bytes });
            }
            Ok(New::Reset(reason)) => {
                let (path, stream) = (generation.path.clone(), generation.stream().clone());
                self.reset(index, reason, poll);
                self.restart(index, &path, &stream, poll);
            }
            Err(error) => {
                // Looked at again at the next poll: the size is forgotten.
                generation.len = u64::MAX;
                poll.problems.push(Problem { path: generation.path.clone(), what: error.to_string() });
            }
        }
    }

    /// The same inode, emptied and written anew: a generation of its own, from the start.
    fn restart(&mut self, index: usize, path: &Path, stream: &Arc<str>, poll: &mut Poll) {
        let Ok((id, len)) = source::identify(path) else { return };
        let name = self.generations[index].record.name.clone();
        let record = GenerationRecord {
            file: self.next_file_id(),
            stream: stream.clone(),
            name,
            id,
            compression: Compression::None,
        };
        let path = self.link(&record, path, poll);
        let generation = fresh_generation(record, path, 0, len, State::Open);
        let new = self.add(generation);
        self.collect(new, poll);
        self.release_shadows(index, poll);
    }

    fn reset(&mut self, index: usize, reason: ResetReason, poll: &mut Poll) {
        let generation = &mut self.generations[index];
        generation.state = State::Ended;
        poll.resets.push(Reset {
            stream: generation.stream().clone(),
            file: generation.file().clone(),
            sealed: generation.sealed,
            reason,
        });
    }

    /// Copies of a generation that was emptied now hold the only lines after what was sealed of it.
    fn release_shadows(&mut self, of: usize, poll: &mut Poll) {
        let sealed = self.generations[of].sealed;
        for index in 0..self.generations.len() {
            if self.generations[index].state == (State::Shadow { of }) {
                let generation = &mut self.generations[index];
                generation.state = State::Open;
                generation.sealed = sealed;
                generation.scanned = sealed;
                generation.marker = read_marker(generation).unwrap_or_default();
                if let Ok((_, len)) = source::identify(&generation.path) {
                    generation.len = len;
                }
                self.adopt_history(of, index);
                self.collect_any(index, poll);
            }
        }
    }

    /// A file whose inode is not known: a copy of something known, or a new generation.
    fn meet(&mut self, file: &Found, extents_of: &ExtentsOf, poll: &mut Poll) {
        if file.len == 0 {
            return;
        }
        let mut prefix_of = None;
        for index in (0..self.generations.len()).rev() {
            let generation = &self.generations[index];
            let id = generation.record.id;
            let present = self.present.contains(&(id.dev, id.ino));
            if !generation.on_tape || !copies::may_be_copy(file, generation, present) {
                continue;
            }
            let ended = generation.state == State::Ended || !present;
            let likeness = copies::likeness(file, generation, extents_of);
            match likeness {
                Ok(Likeness::Copy) if ended => {
                    let sealed = generation.sealed;
                    let new = self.meet_new(file, sealed, State::Open, poll);
                    self.adopt_history(index, new);
                    return;
                }
                Ok(Likeness::Copy) => {
                    let sealed = generation.sealed;
                    self.meet_new(file, sealed, State::Shadow { of: index }, poll);
                    return;
                }
                Ok(Likeness::Prefix) => prefix_of = prefix_of.or(Some(index)),
                Ok(Likeness::Different) => {}
                Err(error) => {
                    poll.problems.push(Problem { path: file.path.clone(), what: error.to_string() });
                    return;
                }
            }
        }
        match prefix_of {
            // A copy in the making: looked at again while it grows, and folded by nobody.
            Some(_) => {}
            None => {
                self.meet_new(file, 0, State::Open, poll);
            }
        }
    }

    /// Makes a generation of a file, to be read from `from` on.
    fn meet_new(&mut self, file: &Found, from: u64, state: State, poll: &mut Poll) -> usize {
        let record = GenerationRecord {
            file: self.next_file_id(),
            stream: Arc::from(file.name.stream.as_str()),
            name: file.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            id: file.id,
            compression: file.name.compression,
        };
        let path = self.link(&record, &file.path, poll);
        let mut generation = fresh_generation(record, path, from, file.len, state);
        generation.marker = read_marker(&generation).unwrap_or_default();
        let index = self.add(generation);
        self.collect_any(index, poll);
        index
    }

    fn collect_any(&mut self, index: usize, poll: &mut Poll) {
        let generation = &mut self.generations[index];
        if generation.record.compression == Compression::None {
            return self.collect(index, poll);
        }
        if generation.state != State::Open {
            return;
        }
        match source::measure(&generation.path, generation.record.compression, generation.sealed) {
            Ok((_, to)) if to > generation.sealed => {
                poll.pending.push(Pending { generation: index, from: generation.sealed, to, bytes: None });
            }
            Ok(_) => {}
            Err(error) => {
                // Packing may not be finished: forgotten, and met again at the next look.
                let id = generation.record.id;
                poll.problems.push(Problem { path: generation.path.clone(), what: error.to_string() });
                if index + 1 == self.generations.len() {
                    self.by_inode.remove(&(id.dev, id.ino));
                    self.generations.pop();
                }
            }
        }
    }

    /// History that only a copy still holds is read from the copy.
    fn adopt_history(&mut self, of: usize, copy: usize) {
        let (path, compression) = (self.generations[copy].path.clone(), self.generations[copy].record.compression);
        let Some(links) = &self.links else {
            self.generations[of].path = path;
            self.generations[of].record.compression = compression;
            return;
        };
        let old = &mut self.generations[of];
        let link = link_path(links, &old.record.file, compression);
        let intact = source::identify(&old.path).is_ok_and(|(_, len)| len >= old.sealed) && old.state != State::Ended;
        if !intact && replace_link(&path, &link).is_ok() {
            if old.path != link {
                let _ = fs::remove_file(&old.path);
            }
            old.path = link;
            old.record.compression = compression;
        }
    }

    /// Links a file into our own folder, so that nobody's rotation or deletion takes its history away. Where that is
    /// not possible the file is read where it lies, and the problem is reported.
    fn link(&self, record: &GenerationRecord, path: &Path, poll: &mut Poll) -> PathBuf {
        let Some(links) = &self.links else { return path.to_owned() };
        let link = link_path(links, &record.file, record.compression);
        match replace_link(path, &link) {
            Ok(()) => link,
            Err(error) => {
                let what = format!(
                    "cannot be hard-linked to {}: {error}; its history is lost if it is deleted",
                    link.display()
                );
                poll.problems.push(Problem { path: path.to_owned(), what });
                path.to_owned()
            }
        }
    }

    fn next_file_id(&mut self) -> Arc<str> {
        self.next_file += 1;
        generation::file_id(self.next_file - 1)
    }

    fn add(&mut self, generation: Generation) -> usize {
        let index = self.generations.len();
        let FileId { dev, ino, .. } = generation.record.id;
        self.by_inode.insert((dev, ino), index);
        self.generations.push(generation);
        index
    }
}

/// Where the hard link of a generation lies.
pub fn link_path(links: &Path, file: &str, compression: Compression) -> PathBuf {
    let suffix = match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
    };
    links.join(format!("{file}.jsonl{suffix}"))
}

fn replace_link(path: &Path, link: &Path) -> io::Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(path, link)
}

fn fresh_generation(record: GenerationRecord, path: PathBuf, from: u64, len: u64, state: State) -> Generation {
    Generation {
        record,
        path,
        sealed: from,
        scanned: from,
        len,
        modified: 0,
        marker: Vec::new(),
        state,
        on_tape: false,
    }
}

/// What stands behind the sealed end of a file.
enum New {
    Nothing,
    Lines { to: u64, bytes: Option<Arc<[u8]>> },
    Reset(ResetReason),
}

fn read_new(generation: &mut Generation) -> io::Result<New> {
    let file = fs::File::open(&generation.path)?;
    let len = file.metadata()?.len();
    generation.len = len;
    if len < generation.sealed {
        return Ok(New::Reset(ResetReason::Truncated));
    }
    let marker_from = generation.sealed - generation.marker.len() as u64;
    let mut marker = vec![0; generation.marker.len()];
    file.read_exact_at(&mut marker, marker_from)?;
    if marker != generation.marker {
        return Ok(New::Reset(ResetReason::Rewritten));
    }
    let Some(to) = last_newline(&file, generation.scanned, len)? else {
        generation.scanned = len;
        return Ok(New::Nothing);
    };
    if to - generation.sealed > IN_MEMORY_MAX {
        return Ok(New::Lines { to, bytes: None });
    }
    let mut bytes = vec![0; (to - generation.sealed) as usize];
    file.read_exact_at(&mut bytes, generation.sealed)?;
    if bytes.last() != Some(&b'\n') {
        // Emptied between two reads: the next look will tell how.
        return Ok(New::Nothing);
    }
    Ok(New::Lines { to, bytes: Some(bytes.into()) })
}

/// The offset after the last newline of a range, searched from its end.
fn last_newline(file: &fs::File, from: u64, to: u64) -> io::Result<Option<u64>> {
    const STEP: u64 = 64 * 1024;
    let mut buffer = vec![0; STEP.min(to.saturating_sub(from)) as usize];
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(STEP).max(from);
        let part = &mut buffer[..(end - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(Some(start + at as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}

/// The last bytes before the sealed end.
pub fn read_marker(generation: &Generation) -> io::Result<Vec<u8>> {
    if generation.record.compression != Compression::None {
        return Ok(Vec::new());
    }
    let len = generation.sealed.min(MARKER_BYTES);
    let mut marker = vec![0; len as usize];
    fs::File::open(&generation.path)?.read_exact_at(&mut marker, generation.sealed - len)?;
    Ok(marker)
}
