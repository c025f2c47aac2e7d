use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};

use super::name::{self, Compression, StreamFile};

/// What the file system calls a file. A hard link of ours keeps the inode from being reused; where links are not
/// possible the birth time tells a reused inode apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    pub dev: u64,
    pub ino: u64,
    /// Birth time, Unix nanoseconds, where the file system keeps one.
    pub birth: Option<i64>,
}

/// Device and inode.
pub type Inode = (u64, u64);

impl FileId {
    pub fn inode(&self) -> Inode {
        (self.dev, self.ino)
    }

    /// Whether an inode was freed and given to another file since it was known as `before`: only where no link of ours
    /// keeps it.
    pub fn is_reborn(&self, before: FileId) -> bool {
        matches!((before.birth, self.birth), (Some(a), Some(b)) if a != b)
    }

    pub fn of(metadata: &fs::Metadata) -> FileId {
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let birth = born.map(|since| since.as_nanos() as i64);
        FileId { dev: metadata.dev(), ino: metadata.ino(), birth }
    }
}

/// A file of a stream, as it lies in the directory now.
#[derive(Clone, Debug)]
pub struct Found {
    pub path: PathBuf,
    pub name: StreamFile,
    pub id: FileId,
    /// Size on disk.
    pub len: u64,
    /// Modification time, Unix nanoseconds.
    pub modified: i64,
}

/// Something in the directory that cannot be followed, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub path: PathBuf,
    pub what: String,
}

/// The stream files of a directory's top level: by stream, oldest first. A packed file beside its unpacked self is
/// left out. Links and other things that are no regular files are problems, not streams.
///
/// # Errors
/// The directory cannot be read.
pub fn scan(dir: &Path) -> io::Result<(Vec<Found>, Vec<Problem>)> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        let Some(parsed) = name::parse(file_name) else { continue };
        match look(&entry.path(), parsed) {
            Ok(Some(file)) => found.push(file),
            Ok(None) => {}
            Err(what) => problems.push(Problem { path: entry.path(), what }),
        }
    }
    let plain: HashSet<PathBuf> =
        found.iter().filter(|f| f.name.compression == Compression::None).map(|f| f.path.clone()).collect();
    found.retain(|f| f.name.compression == Compression::None || !plain.contains(&f.path.with_extension("")));
    oldest_first(&mut found);
    problems.sort();
    Ok((found, problems))
}

/// Sorts by stream, and the files of a stream from the oldest to the one that is appended to.
pub fn oldest_first(found: &mut [Found]) {
    found.sort_by(|a, b| (&a.name.stream, &a.name.age, &a.path).cmp(&(&b.name.stream, &b.name.age, &b.path)));
}

/// One path as a stream file; `None` when it vanished meanwhile.
///
/// # Errors
/// Why it cannot be followed.
pub fn look(path: &Path, name: StreamFile) -> Result<Option<Found>, String> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            Ok(Some(Found { path: path.to_owned(), name, id: FileId::of(&metadata), len: metadata.len(), modified }))
        }
        Ok(metadata) if metadata.is_symlink() => {
            Err("is a symbolic link; runtape follows regular files only: move the file here, or hard-link it"
                .to_owned())
        }
        Ok(_) => Err("is not a regular file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
