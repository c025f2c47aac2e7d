use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use runtape::files::{About, Disk, File, Files, How, Opened};

/// This machine's disk until so many changes were made to it; then every further one fails, the first of them half done.
#[derive(Clone, Debug)]
pub struct Stopping {
    machine: Files,
    left: Arc<AtomicI64>,
    kind: io::ErrorKind,
}

#[derive(Debug)]
struct StoppingFile {
    file: File,
    disk: Stopping,
}

impl Stopping {
    /// As if the process were killed there.
    pub fn after(changes: i64) -> Stopping {
        Stopping::with(changes, io::ErrorKind::Other)
    }

    /// As if the disk were full from there on.
    pub fn full_after(changes: i64) -> Stopping {
        Stopping::with(changes, io::ErrorKind::StorageFull)
    }

    fn with(changes: i64, kind: io::ErrorKind) -> Stopping {
        Stopping { machine: Files::machine(), left: Arc::new(AtomicI64::new(changes)), kind }
    }

    pub fn files(&self) -> Files {
        Files::of(self.clone())
    }

    fn change(&self) -> io::Result<()> {
        match self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            true => Ok(()),
            false => Err(self.kind.into()),
        }
    }
}

impl Disk for Stopping {
    fn open(&self, path: &Path, how: How) -> io::Result<File> {
        if !matches!(how, How::Read | How::ReadWary) {
            self.change()?;
        }
        Ok(Box::new(StoppingFile { file: self.machine.open(path, how)?, disk: self.clone() }))
    }

    fn about(&self, path: &Path) -> io::Result<About> {
        self.machine.about(path)
    }

    fn about_name(&self, path: &Path) -> io::Result<About> {
        self.machine.about_name(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.machine.list(dir)
    }

    fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        self.change().and_then(|()| self.machine.make_dirs(dir))
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.change().and_then(|()| self.machine.link(file, name))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change().and_then(|()| self.machine.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change().and_then(|()| self.machine.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.machine.sync_dir(dir)
    }

    fn process(&self) -> u32 {
        self.machine.process()
    }
}

impl Opened for StoppingFile {
    fn about(&self) -> io::Result<About> {
        self.file.about()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let allowed = self.disk.change();
        if allowed.is_err() && self.disk.left.load(Ordering::SeqCst) == -1 {
            self.file.append(&bytes[..bytes.len() / 2])?;
        }
        allowed.and_then(|()| self.file.append(bytes))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change().and_then(|()| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn again(&self) -> io::Result<File> {
        Ok(Box::new(StoppingFile { file: self.file.again()?, disk: self.disk.clone() }))
    }

    fn lock(&self, alone: bool) -> io::Result<bool> {
        self.file.lock(alone)
    }
}

/// Does something on a disk that stops after no change, after one, after two, until it comes through; `after` looks at what
/// each attempt left. Returns how many changes it takes.
pub fn at_each_change<T>(
    mut prepare: impl FnMut() -> T,
    mut work: impl FnMut(&T, Files) -> bool,
    mut after: impl FnMut(&T, i64),
) -> i64 {
    for changes in 0.. {
        let place = prepare();
        let done = work(&place, Stopping::after(changes).files());
        after(&place, changes);
        if done {
            return changes;
        }
        assert!(changes < 2000, "it never comes through");
    }
    unreachable!("the loop ends by itself")
}
