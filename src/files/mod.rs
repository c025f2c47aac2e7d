//! Floor 5: all that is asked of a disk, as one narrow trait: the machine's own file systems, or one that a simulation
//! brings. Nothing below `cli` and `serve` reaches a file by another way.

/// The file systems of this machine.
mod machine;
/// A file read from its start, or from anywhere, to its end.
mod reading;
/// A disk in memory that a power cut can hit at any call.
pub mod simulated;

use std::{
    fmt, io,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use machine::{Space, space};
pub use reading::Reading;

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
}

/// What lies under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// What a file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub kind: Kind,
    pub id: FileId,
    pub len: u64,
    /// Modification time, Unix nanoseconds.
    pub modified: i64,
}

impl About {
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// To be read.
    Read,
    /// To be read, where others may put anything under the name: a symbolic link is refused, and a pipe does not make us
    /// wait for its writer.
    ReadWary,
    /// To be read and appended to.
    Append,
    /// To be read and appended to, and made when it is not there.
    AppendOrMake,
    /// The same, with the caution of [`How::ReadWary`].
    AppendOrMakeWary,
    /// To be written from its start: made, or emptied.
    Anew,
}

/// A file system, as far as it is needed.
pub trait Disk: fmt::Debug + Send + Sync {
    /// # Errors
    /// As the file system says, here as everywhere.
    fn open(&self, path: &Path, how: How) -> io::Result<File>;

    /// What lies under a name; symbolic links are followed.
    fn about(&self, path: &Path) -> io::Result<About>;

    /// What lies under a name itself, be it a symbolic link.
    fn about_name(&self, path: &Path) -> io::Result<About>;

    /// The paths in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes a directory and those above it.
    fn make_dirs(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file a second name.
    fn link(&self, file: &Path, name: &Path) -> io::Result<()>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The number that tells this process from others that use the same disk.
    fn process(&self) -> u32;
}

/// An open file.
pub type File = Box<dyn Opened>;

/// What can be done with an open file.
pub trait Opened: fmt::Debug + Send + Sync {
    fn about(&self) -> io::Result<About>;

    /// Reads at an offset; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of it at the end, with one write where the system takes it; where that end came to be, even if somebody
    /// else appended at the same moment. After an error a part of it may be there.
    fn append(&self, bytes: &[u8]) -> io::Result<u64>;

    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the content durable, and as much of the rest as reading it back needs.
    fn sync_data(&self) -> io::Result<()>;

    fn sync_all(&self) -> io::Result<()>;

    /// The same open file once more.
    fn again(&self) -> io::Result<File>;

    /// Takes an advisory lock, until all handles of this open file are closed: alone, or shared. False when somebody
    /// holds it.
    fn lock(&self, alone: bool) -> io::Result<bool>;
}

/// Fills the whole buffer from an offset on.
///
/// # Errors
/// The file cannot be read, or ends before.
pub fn read_exact_at(file: &dyn Opened, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "failed to fill whole buffer")),
            Ok(n) => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A file system to hand on: cheap to clone.
#[derive(Clone, Debug)]
pub struct Files(Arc<dyn Disk>);

impl Files {
    /// Those of this machine.
    pub fn machine() -> Files {
        Files(Arc::new(machine::Machine))
    }

    pub fn of(disk: impl Disk + 'static) -> Files {
        Files(Arc::new(disk))
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, How::Read)?;
        let mut bytes = Vec::with_capacity(file.about()?.len as usize);
        io::Read::read_to_end(&mut Reading::new(file), &mut bytes)?;
        Ok(bytes)
    }
}

impl Deref for Files {
    type Target = dyn Disk;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}
