use std::{
    io,
    path::{Path, PathBuf},
};

use super::{name::Compression, scan::Inode, source};
use crate::files::Files;

/// Where the hard link of a generation lies.
pub fn path(links: &Path, file: &str, compression: Compression) -> PathBuf {
    let suffix = match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
    };
    links.join(format!("{file}.jsonl{suffix}"))
}

/// Makes the link of a generation, and drops what an earlier generation of that id left behind: an id whose file was
/// never sealed is given again after a restart.
///
/// Fails with `NotFound` when another file took the name meanwhile.
///
/// # Errors
/// The file system makes no link from here to there.
pub fn make(
    files: &Files,
    links: &Path,
    file: &str,
    compression: Compression,
    to: &Path,
    inode: Inode,
) -> io::Result<PathBuf> {
    let link = path(links, file, compression);
    // First beside, then over: a crash in between leaves either the old link or the new one.
    let beside = links.join(format!(".{file}.tmp"));
    remove(files, &beside)?;
    files.link(to, &beside)?;
    if source::identify(files, &beside)?.0.inode() != inode {
        remove(files, &beside)?;
        return Err(io::Error::new(io::ErrorKind::NotFound, "another file took its name"));
    }
    files.rename(&beside, &link)?;
    // Where both names were the same file already, a rename does nothing.
    remove(files, &beside)?;
    for other in [Compression::None, Compression::Gzip, Compression::Zstd] {
        if other != compression {
            remove(files, &path(links, file, other))?;
        }
    }
    Ok(link)
}

/// Removes a link that may not be there.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove(files: &Files, link: &Path) -> io::Result<()> {
    match files.remove(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
