use std::{
    io,
    path::{Path, PathBuf},
};

use super::scan::Inode;
use crate::files::{File, Files, How, Opened, read_exact_at};

/// Appends whole lines to a stream file. Opened when there is something to append, and again when its name has come to
/// mean another file.
#[derive(Debug)]
pub struct Appender {
    files: Files,
    path: PathBuf,
    /// Nobody else appends: what a failed write left may be cut off.
    own: bool,
    open: Option<(File, Inode)>,
    /// The name of the open file is durable.
    named: bool,
}

/// What an append wrote.
#[derive(Debug)]
pub struct Written {
    /// Offset of the first byte of each line.
    pub offsets: Vec<u64>,
    /// The length of the file before and after.
    before: u64,
    after: u64,
}

impl Appender {
    /// For a stream that others append to as well: nothing is ever cut off.
    pub fn shared(files: Files, path: PathBuf) -> Appender {
        Appender { files, path, own: false, open: None, named: false }
    }

    /// For a stream of ours alone.
    pub fn own(files: Files, path: PathBuf) -> Appender {
        Appender { files, path, own: true, open: None, named: false }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that the file is there and can be appended to.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub fn open(&mut self) -> io::Result<()> {
        self.file().map(|_| ())
    }

    /// Appends lines (without their newlines) with one write; behind a newline of its own where somebody left a torn
    /// line.
    ///
    /// # Errors
    /// The file cannot be opened or written. Of a stream of ours nothing is left of the lines, unless cutting them off
    /// failed too: then a torn line is left, and the next append begins behind it.
    pub fn append<L: AsRef<[u8]>>(&mut self, lines: &[L]) -> io::Result<Written> {
        let own = self.own;
        let file = self.file()?;
        let before = file.about()?.len;
        let mut out = Vec::new();
        if is_torn(file, before)? {
            out.push(b'\n');
        }
        let mut offsets = Vec::with_capacity(lines.len());
        for line in lines {
            offsets.push(out.len() as u64);
            out.extend_from_slice(line.as_ref());
            out.push(b'\n');
        }
        let after = file.append(&out).inspect_err(|_| {
            if own {
                // Should this fail too, the torn line is closed by the next append.
                let _ = file.set_len(before);
            }
        })?;
        let start = after - out.len() as u64;
        offsets.iter_mut().for_each(|offset| *offset += start);
        Ok(Written { offsets, before: start, after })
    }

    /// Cuts off what an append wrote, while nothing stands behind it.
    ///
    /// # Errors
    /// It is not the end of the file any more, or the file is not ours alone, or it cannot be cut.
    pub fn take_back(&mut self, written: &Written) -> io::Result<()> {
        let Some((file, _)) = self.open.as_ref().filter(|_| self.own) else {
            return Err(io::Error::other("the file is not ours to cut"));
        };
        if file.about()?.len != written.after {
            return Err(io::Error::other("somebody else appended behind it"));
        }
        file.set_len(written.before)
    }

    /// Makes what was appended durable, the file's name too.
    ///
    /// # Errors
    /// The sync failed.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some((file, _)) = &self.open {
            file.sync_data()?;
        }
        if let Some(dir) = self.path.parent().filter(|dir| !self.named && **dir != *Path::new("")) {
            self.files.sync_dir(dir)?;
            self.named = true;
        }
        Ok(())
    }

    /// The file that has the name now.
    fn file(&mut self) -> io::Result<&dyn Opened> {
        let there = self.files.about_name(&self.path).ok().map(|about| about.id.inode());
        let open = match self.open.take() {
            Some(open) if Some(open.1) == there => open,
            _ => {
                self.named = false;
                open(&self.files, &self.path)?
            }
        };
        Ok(&*self.open.insert(open).0)
    }
}

fn open(files: &Files, path: &Path) -> io::Result<(File, Inode)> {
    // A link is not followed, as nothing that is read is; a pipe does not make us wait for its reader.
    let file = files.open(path, How::AppendOrMakeWary)?;
    let about = file.about()?;
    if !about.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok((file, about.id.inode()))
}

/// Whether a file of this length ends inside a line.
fn is_torn(file: &dyn Opened, len: u64) -> io::Result<bool> {
    if len == 0 {
        return Ok(false);
    }
    let mut last = [0];
    read_exact_at(file, &mut last, len - 1)?;
    Ok(last != *b"\n")
}

/// Whether a write failed for want of room: on the disk, in a quota, or under a limit on the size of files.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_stand_where_it_says_behind_torn_ones_and_in_renamed_files() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("api.jsonl");
        fs::write(&path, "{\"torn").expect("a writable file");
        let mut appender = Appender::own(Files::machine(), path.clone());
        assert_eq!(appender.append(&["one", "two"]).expect("a writable file").offsets, [7, 11]);
        assert_eq!(appender.append(&["three"]).expect("a writable file").offsets, [15]);
        assert_eq!(fs::read(&path).expect("the file"), b"{\"torn\none\ntwo\nthree\n");
        fs::rename(&path, dir.path().join("api.jsonl.1")).expect("a free name");
        let written = appender.append(&["four"]).expect("a new file");
        assert_eq!(written.offsets, [0]);
        assert_eq!(fs::read(&path).expect("the file"), b"four\n");
        appender.take_back(&written).expect("the end of the file");
        assert_eq!(fs::read(&path).expect("the file"), b"");
        appender.sync().expect("a file");
    }

    #[test]
    fn what_others_wrote_is_never_cut_off() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("runs.jsonl");
        let mut shared = Appender::shared(Files::machine(), path.clone());
        let written = shared.append(&["one"]).expect("a writable file");
        assert!(shared.take_back(&written).is_err());
        let mut own = Appender::own(Files::machine(), path.clone());
        let written = own.append(&["two"]).expect("a writable file");
        shared.append(&["three"]).expect("a writable file");
        assert!(own.take_back(&written).is_err(), "a line of somebody else stands behind it");
        assert_eq!(fs::read(&path).expect("the file"), b"one\ntwo\nthree\n");
    }

    #[test]
    fn only_regular_files_are_appended_to() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, link) = (dir.path().join("elsewhere"), dir.path().join("api.jsonl"));
        fs::write(&file, "").expect("a writable file");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        assert!(Appender::own(Files::machine(), link).append(&["one"]).is_err());
        assert!(Appender::own(Files::machine(), dir.path().to_owned()).append(&["one"]).is_err());
        #[cfg(target_os = "linux")]
        assert!(open(&Files::machine(), Path::new("/dev/full")).is_err());
    }
}
