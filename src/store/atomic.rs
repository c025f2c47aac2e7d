use std::{io, path::Path};

use crate::files::{Files, How};

/// Replaces a file by new content: written beside it, synced, renamed over it, the directory synced.
///
/// # Errors
/// Any step failed; the old file is as it was.
pub fn replace(files: &Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a path without a directory"))?;
    let name = path.file_name().ok_or_else(|| io::Error::other("a path without a name"))?;
    let beside = dir.join(format!(".{}.{}.tmp", name.to_string_lossy(), files.process()));
    let written = write_synced(files, &beside, bytes).and_then(|()| files.rename(&beside, path));
    if let Err(error) = written {
        let _ = files.remove(&beside);
        return Err(error);
    }
    files.sync_dir(dir)
}

fn write_synced(files: &Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = files.open(path, How::Anew)?;
    file.append(bytes)?;
    file.sync_all()
}
