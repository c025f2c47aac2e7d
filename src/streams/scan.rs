use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};

use super::name::{self, Compression, StreamFile};
pub use crate::files::{FileId, Inode};
use crate::files::{Files, Kind};

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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    pub path: PathBuf,
    pub what: String,
}

/// The stream files of a directory's top level: by stream, oldest first. A packed file beside its unpacked self is
/// left out. Links and other things that are no regular files are problems, not streams.
///
/// # Errors
/// The directory cannot be read.
pub fn scan(files: &Files, dir: &Path) -> io::Result<(Vec<Found>, Vec<Problem>)> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for path in files.list(dir)? {
        let Some(file_name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(parsed) = name::parse(file_name) else { continue };
        match look(files, &path, parsed) {
            Ok(Some(file)) => found.push(file),
            Ok(None) => {}
            Err(what) => problems.push(Problem { path, what }),
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
pub fn look(files: &Files, path: &Path, name: StreamFile) -> Result<Option<Found>, String> {
    match files.about_name(path) {
        Ok(about) => match about.kind {
            Kind::File => {
                Ok(Some(Found { path: path.to_owned(), name, id: about.id, len: about.len, modified: about.modified }))
            }
            Kind::Symlink => {
                Err("is a symbolic link; runtape follows regular files only: move the file here, or hard-link it"
                    .to_owned())
            }
            Kind::Directory | Kind::Other => Err("is not a regular file".to_owned()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
