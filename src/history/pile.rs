use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{HistoryError, counted::Counted};
use crate::{
    event::Nanos,
    files::{Files, How, Inode, Reading},
    fold::intake::CONTROL_STREAM,
    layout::Layout,
    streams::{
        Compression,
        name::{self, Age, StreamFile},
        scan::{self, Found},
    },
    tape::{Directory, ExtentBytes, ExtentSource, TO_ITS_END},
};

/// Old logs from anywhere, as one history without a tape: the files of a stream in a folder from the oldest on, streams
/// merged by time.
pub struct Pile {
    pub directory: Directory,
    /// Files that are read, with their sizes on the disk and when they were changed, in the order of their streams.
    pub files: Vec<(PathBuf, u64, Nanos)>,
    /// Files that hold what another one holds already, with that one.
    pub copies: Vec<(PathBuf, PathBuf)>,
    /// Bytes of them that were read so far.
    read: Arc<AtomicU64>,
}

impl Pile {
    /// A pile of files; a file named twice is one. What comes of it will lie in `out`.
    ///
    /// # Errors
    /// A file cannot be looked at.
    pub fn of(files: &Files, paths: &[PathBuf], out: &Path) -> Result<Pile, HistoryError> {
        let mut found = look(files, paths)?;
        without_packed(&mut found);
        let copies = without_copies(files, &mut found)?;
        scan::oldest_first(&mut found);
        let read = Arc::new(AtomicU64::new(0));
        let layout = Layout::on(Counted::files(files.clone(), read.clone()), out);
        let extents = extents(&found);
        let files = found.into_iter().map(|file| (file.path, file.len, file.modified)).collect();
        Ok(Pile { directory: Directory::of_files(layout, extents), files, copies, read })
    }

    /// Bytes of its files, as they lie on the disk.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, len, _)| len).sum()
    }

    /// What tells them from other logs, and from themselves before they changed.
    pub fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (path, len, modified) in &self.files {
            hasher.update(format!("{path:?} {len} {modified}\n").as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Those that were read.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// The stream files of a directory's top level, behind links too.
///
/// # Errors
/// The directory cannot be read.
pub fn of_dir(files: &Files, dir: &Path) -> Result<Vec<PathBuf>, HistoryError> {
    let (found, problems) = scan::scan(files, dir).map_err(|source| unreadable(dir, source))?;
    let linked = problems.into_iter().map(|problem| problem.path);
    let linked = linked.filter(|path| files.about(path).is_ok_and(|about| about.is_file()));
    Ok(found.into_iter().map(|file| file.path).chain(linked).collect())
}

fn unreadable(path: &Path, source: io::Error) -> HistoryError {
    HistoryError::Read { path: path.to_owned(), source }
}

fn look(files: &Files, paths: &[PathBuf]) -> Result<Vec<Found>, HistoryError> {
    let mut seen: HashSet<Inode> = HashSet::new();
    let mut found = Vec::new();
    for path in paths {
        let about = files.about(path).map_err(|source| unreadable(path, source))?;
        if !about.is_file() {
            return Err(unreadable(path, io::Error::other("is not a regular file")));
        }
        if seen.insert(about.id.inode()) {
            let (name, id) = (named(path), about.id);
            found.push(Found { path: path.clone(), name, id, len: about.len, modified: about.modified });
        }
    }
    Ok(found)
}

/// What the name says; of a file that is not called like a stream, that it is one all the same.
fn named(path: &Path) -> StreamFile {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name::parse(&name).unwrap_or_else(|| {
        let compression = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Compression::Gzip,
            Some("zst") => Compression::Zstd,
            _ => Compression::None,
        };
        StreamFile { stream: name, age: Age::Live, compression }
    })
}

/// Leaves out packed files beside their unpacked selves.
fn without_packed(found: &mut Vec<Found>) {
    let plain: BTreeSet<PathBuf> =
        found.iter().filter(|f| f.name.compression == Compression::None).map(|f| f.path.clone()).collect();
    found.retain(|f| f.name.compression == Compression::None || !plain.contains(&f.path.with_extension("")));
}

/// Leaves out files with the bytes of another one: only those of the same length are read for that.
fn without_copies(files: &Files, found: &mut Vec<Found>) -> Result<Vec<(PathBuf, PathBuf)>, HistoryError> {
    let mut of_length: HashMap<u64, usize> = HashMap::new();
    for file in found.iter().filter(|file| file.len > 0) {
        *of_length.entry(file.len).or_default() += 1;
    }
    let (mut known, mut copies) = (HashMap::new(), Vec::new());
    let mut kept = Vec::new();
    for file in found.drain(..) {
        if of_length.get(&file.len).is_some_and(|files| *files > 1) {
            let digest = digest(files, &file.path).map_err(|source| unreadable(&file.path, source))?;
            if let Some(first) = known.get(&digest) {
                copies.push((file.path, PathBuf::clone(first)));
                continue;
            }
            known.insert(digest, file.path.clone());
        }
        kept.push(file);
    }
    *found = kept;
    Ok(copies)
}

fn digest(files: &Files, path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut Reading::new(files.open(path, How::Read)?), &mut hasher)?;
    Ok(hasher.finalize())
}

/// Where the lines of each file are. A name that several folders have is several streams, but for the one of orders.
fn extents(found: &[Found]) -> Vec<ExtentSource> {
    let mut folders: BTreeMap<&str, BTreeSet<Option<&Path>>> = BTreeMap::new();
    for file in found {
        folders.entry(&file.name.stream).or_default().insert(file.path.parent());
    }
    let extent = |file: &Found| {
        let stream = &*file.name.stream;
        let alone = folders.get(stream).is_none_or(|folders| folders.len() < 2);
        let folder = file.path.parent().filter(|_| !alone && stream != CONTROL_STREAM);
        let stream = folder.map_or(stream.to_owned(), |folder| format!("{}/{stream}", folder.display()));
        let (compression, path) = (file.name.compression, file.path.clone());
        ExtentSource {
            stream: stream.into(),
            file: file.path.display().to_string().into(),
            from: 0,
            to: if compression == Compression::None { file.len } else { TO_ITS_END },
            data: None,
            bytes: ExtentBytes::File(path, compression),
        }
    };
    found.iter().map(extent).collect()
}
