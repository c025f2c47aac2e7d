use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Inner, Simulated, names::Entry, node::Node, tally::Kind};
use crate::files::{About, Disk, File, FileId, How, Kind as What, Opened};

/// A handle of a file: it outlives its name.
#[derive(Debug)]
struct Handle {
    disk: Simulated,
    ino: u64,
    path: PathBuf,
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such file or directory: {}", path.display()))
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

fn full() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "no space left on device")
}

impl Inner {
    fn about(&self, entry: Entry) -> About {
        let (kind, ino) = match entry {
            Entry::Directory => (What::Directory, 1),
            Entry::File(ino) => (What::File, ino),
        };
        let node = self.state.nodes.get(&ino);
        About {
            kind,
            id: FileId { dev: 1, ino, birth: node.map(|node| node.birth) },
            len: node.map_or(0, |node| node.seen().len() as u64),
            modified: node.map_or(0, |node| node.modified),
        }
    }

    fn find(&self, path: &Path) -> io::Result<Entry> {
        self.state.names.seen.get(path).ok_or_else(|| missing(path))
    }

    fn node(&mut self, ino: u64) -> &mut Node {
        let now = self.state.now;
        let node = Arc::make_mut(self.state.nodes.entry(ino).or_default());
        node.modified = now;
        node
    }

    fn make(&mut self, path: &Path) -> io::Result<u64> {
        if path.parent().is_none_or(|dir| self.state.names.seen.get(dir) != Some(Entry::Directory)) {
            return Err(missing(path));
        }
        let ino = self.state.next;
        self.state.next += 1;
        self.node(ino).birth = ino as i64;
        Arc::make_mut(&mut self.state.names).set(path, Entry::File(ino));
        Ok(ino)
    }

    /// How much of a write fits; an error behind it when not all does.
    fn write(&mut self, ino: u64, bytes: &[u8]) -> io::Result<()> {
        let mut fits = bytes.len();
        let mut error = None;
        if self.fails(Kind::FailedWrites) {
            (fits, error) = match self.state.now / 1000 % 3 {
                0 => (0, Some(broken())),
                1 => {
                    self.tally.add(Kind::ShortWrites);
                    (bytes.len() / 2, Some(full()))
                }
                _ => {
                    self.tally.add(Kind::FileTooLarge);
                    (bytes.len() / 3, Some(io::Error::new(io::ErrorKind::FileTooLarge, "file too large")))
                }
            };
        }
        if !self.outside
            && let Some(room) = &mut self.room
        {
            if *room < fits {
                self.tally.add(Kind::FullDisk);
                (fits, error) = (*room, Some(full()));
            }
            *room -= fits;
        }
        self.node(ino).append(&bytes[..fits]);
        error.map_or(Ok(()), Err)
    }

    fn sync(&mut self, ino: u64) -> io::Result<()> {
        if self.lying && !self.outside {
            return Ok(());
        }
        if self.fails(Kind::FailedSyncs) {
            self.node(ino).forget();
            return Err(broken());
        }
        let modified = self.state.nodes.get(&ino).map_or(0, |node| node.modified);
        let node = self.node(ino);
        node.sync();
        node.modified = modified;
        Ok(())
    }

    fn open(&mut self, path: &Path, how: How) -> io::Result<(u64, bool)> {
        if self.fails(Kind::FailedReads) {
            return Err(broken());
        }
        match (self.find(path), how) {
            (Ok(Entry::File(ino)), How::Anew) => {
                self.node(ino).set_len(0);
                Ok((ino, true))
            }
            (Ok(Entry::File(ino)), _) => Ok((ino, false)),
            (Ok(Entry::Directory), _) => Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory")),
            (Err(error), How::Read | How::ReadWary | How::Append) => Err(error),
            (Err(_), _) => self.make(path).map(|ino| (ino, true)),
        }
    }

    /// Changes a name, unless that fails.
    fn rename(&mut self, change: impl FnOnce(&mut Inner) -> io::Result<()>) -> io::Result<()> {
        if self.fails(Kind::FailedNames) {
            return Err(broken());
        }
        change(self)
    }
}

impl Disk for Simulated {
    fn open(&self, path: &Path, how: How) -> io::Result<File> {
        let mut inner = self.inner();
        let opened = inner.open(path, how);
        let made = opened.as_ref().is_ok_and(|(_, made)| *made);
        let (ino, _) = inner.note(if made { "make" } else { "open" }, path, opened, made)?;
        Ok(Box::new(Handle { disk: self.clone(), ino, path: path.to_owned() }))
    }

    fn about(&self, path: &Path) -> io::Result<About> {
        let inner = self.inner();
        inner.find(path).map(|entry| inner.about(entry))
    }

    fn about_name(&self, path: &Path) -> io::Result<About> {
        self.about(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut inner = self.inner();
        if inner.fails(Kind::FailedReads) {
            return inner.note("list", dir, Err(broken()), false);
        }
        inner.find(dir)?;
        Ok(inner.state.names.in_dir(dir))
    }

    fn make_dirs(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let mut new: Vec<&Path> = dir.ancestors().filter(|dir| !inner.state.names.seen.has(dir)).collect();
        while let Some(dir) = new.pop() {
            let made = inner.rename(|inner| {
                Arc::make_mut(&mut inner.state.names).set(dir, Entry::Directory);
                Ok(())
            });
            inner.note("mkdir", dir, made, true)?;
        }
        Ok(())
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let linked = inner.rename(|inner| {
            let entry = inner.find(file)?;
            if inner.state.names.seen.has(name) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "file exists"));
            }
            Arc::make_mut(&mut inner.state.names).set(name, entry);
            Ok(())
        });
        inner.note("link", name, linked, true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let renamed = inner.rename(|inner| {
            let entry = inner.find(from)?;
            // Two names of one file: nothing happens, as POSIX has it.
            if inner.find(to).ok() != Some(entry) {
                Arc::make_mut(&mut inner.state.names).rename(from, to, entry);
            }
            Ok(())
        });
        inner.note("rename", to, renamed, true)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        if !inner.state.names.seen.has(path) {
            return Err(missing(path));
        }
        let removed = inner.rename(|inner| {
            Arc::make_mut(&mut inner.state.names).remove(path);
            Ok(())
        });
        inner.note("remove", path, removed, true)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        let lying = inner.lying && !inner.outside;
        let synced = if inner.fails(Kind::FailedSyncs) {
            Err(broken())
        } else {
            inner.find(dir).map(|_| {
                if !lying {
                    Arc::make_mut(&mut inner.state.names).sync_dir(dir);
                }
            })
        };
        inner.note("sync directory", dir, synced, true)
    }

    fn process(&self) -> u32 {
        1
    }
}

impl Opened for Handle {
    fn about(&self) -> io::Result<About> {
        Ok(self.disk.inner().about(Entry::File(self.ino)))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.inner();
        if inner.fails(Kind::FailedReads) {
            return inner.note("read", &self.path, Err(broken()), false);
        }
        let seen = inner.state.nodes.get(&self.ino).map_or(&[][..], |node| node.seen());
        let from = (offset as usize).min(seen.len());
        let n = buffer.len().min(seen.len() - from);
        buffer[..n].copy_from_slice(&seen[from..from + n]);
        Ok(n)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<u64> {
        let mut inner = self.disk.inner();
        let written = inner.write(self.ino, bytes);
        inner.note("write", &self.path, written, true)?;
        Ok(inner.about(Entry::File(self.ino)).len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let cut = if inner.fails(Kind::FailedWrites) {
            Err(broken())
        } else {
            inner.node(self.ino).set_len(len as usize);
            Ok(())
        };
        inner.note("cut", &self.path, cut, true)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let synced = inner.sync(self.ino);
        inner.note("sync", &self.path, synced, true)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn again(&self) -> io::Result<File> {
        Ok(Box::new(Handle { disk: self.disk.clone(), ino: self.ino, path: self.path.clone() }))
    }

    fn lock(&self, _alone: bool) -> io::Result<bool> {
        Ok(true)
    }
}
