use std::{
    fs::{self, OpenOptions},
    io::{self, Seek, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock, statvfs},
    io::Errno,
};

use super::{About, Disk, File, FileId, How, Kind, Opened};

/// What the kernel calls the file system.
#[derive(Debug)]
pub struct Machine;

/// How much a file system of this machine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub bytes: u64,
    /// What may still be written by us; some systems keep a rest for the administrator.
    pub free: u64,
    /// Files there may be, and may still be; 0 and 0 where they are not counted.
    pub files: u64,
    pub free_files: u64,
}

/// The file system that holds a path.
///
/// # Errors
/// There is no such path, or the system does not say.
pub fn space(path: &Path) -> io::Result<Space> {
    let about = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
    let (bytes, free) = (bytes(about.f_blocks), bytes(about.f_bavail));
    Ok(Space { bytes, free, files: about.f_files, free_files: about.f_favail })
}

impl Disk for Machine {
    fn open(&self, path: &Path, how: How) -> io::Result<File> {
        let mut options = OpenOptions::new();
        match how {
            How::Read | How::ReadWary => options.read(true),
            How::Append => options.read(true).append(true),
            How::AppendOrMake | How::AppendOrMakeWary => options.read(true).append(true).create(true),
            How::Anew => options.write(true).create(true).truncate(true),
        };
        if matches!(how, How::ReadWary | How::AppendOrMakeWary) {
            options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
        }
        Ok(Box::new(options.open(path)?))
    }

    fn about(&self, path: &Path) -> io::Result<About> {
        fs::metadata(path).map(|metadata| about(&metadata))
    }

    fn about_name(&self, path: &Path) -> io::Result<About> {
        fs::symlink_metadata(path).map(|metadata| about(&metadata))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    }

    fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(file, name)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn process(&self) -> u32 {
        std::process::id()
    }
}

impl Opened for fs::File {
    fn about(&self) -> io::Result<About> {
        self.metadata().map(|metadata| about(&metadata))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let mut file = self;
        file.write_all(bytes)?;
        file.stream_position()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        fs::File::sync_all(self)
    }

    fn again(&self) -> io::Result<File> {
        Ok(Box::new(self.try_clone()?))
    }

    fn lock(&self, alone: bool) -> io::Result<bool> {
        let how = if alone { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
        match flock(self, how) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            // A file system without locks, for one.
            Err(error) => Err(error.into()),
        }
    }
}

fn about(metadata: &fs::Metadata) -> About {
    let kind = match metadata.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_symlink() => Kind::Symlink,
        _ => Kind::Other,
    };
    let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let birth = born.map(|since| since.as_nanos() as i64);
    let id = FileId { dev: metadata.dev(), ino: metadata.ino(), birth };
    let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    About { kind, id, len: metadata.len(), modified }
}
