use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::files::{About, Disk, File, Files, How, Opened};

/// A disk that counts the bytes that are read of its files.
#[derive(Debug)]
pub struct Counted {
    inner: Files,
    read: Arc<AtomicU64>,
}

impl Counted {
    pub fn files(inner: Files, read: Arc<AtomicU64>) -> Files {
        Files::of(Counted { inner, read })
    }
}

impl Disk for Counted {
    fn open(&self, path: &Path, how: How) -> io::Result<File> {
        Ok(Box::new(CountedFile { inner: self.inner.open(path, how)?, read: self.read.clone() }))
    }

    fn about(&self, path: &Path) -> io::Result<About> {
        self.inner.about(path)
    }

    fn about_name(&self, path: &Path) -> io::Result<About> {
        self.inner.about_name(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }

    fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        self.inner.make_dirs(dir)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.inner.link(file, name)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn process(&self) -> u32 {
        self.inner.process()
    }
}

#[derive(Debug)]
struct CountedFile {
    inner: File,
    read: Arc<AtomicU64>,
}

impl Opened for CountedFile {
    fn about(&self) -> io::Result<About> {
        self.inner.about()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.inner.read_at(buffer, offset)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        self.inner.append(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.inner.sync_all()
    }

    fn again(&self) -> io::Result<File> {
        Ok(Box::new(CountedFile { inner: self.inner.again()?, read: self.read.clone() }))
    }

    fn lock(&self, alone: bool) -> io::Result<bool> {
        self.inner.lock(alone)
    }
}
