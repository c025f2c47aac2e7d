use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use thiserror::Error;

/// The events directory cannot be taken.
#[derive(Debug, Error)]
pub enum LockError {
    #[error(
        "another runtape (pid {pid}) is serving {}: stop it first, or use its address with --server",
        dir.display()
    )]
    Held { dir: PathBuf, pid: String },
    #[error("cannot take the lock {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The right to write below `.runtape`, held until dropped. Freed by the kernel when the process dies, never by a
/// timeout.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock file at `path`, leaving our pid in it.
    ///
    /// # Errors
    /// Somebody holds it, or the file cannot be written.
    pub fn take(path: &Path) -> Result<Lock, LockError> {
        let io_error = |source| LockError::Io { path: path.to_owned(), source };
        let own = path.parent().unwrap_or(path);
        fs::create_dir_all(own).map_err(io_error)?;
        let mut file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path).map_err(io_error)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(io_error)?;
                let dir = own.parent().unwrap_or(own).to_owned();
                let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
                return Err(LockError::Held { dir, pid });
            }
            // A file system without locks, for one.
            Err(error) => return Err(io_error(error.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io_error)?;
        writeln!(file, "{}", std::process::id()).map_err(io_error)?;
        Ok(Lock { _file: file })
    }

    /// Whether somebody holds the lock at `path` just now; nothing is made or written.
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_pid_of_the_first() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(".runtape/lock");
        let first = Lock::take(&path).expect("nobody holds it");
        let told = Lock::take(&path).expect_err("it is held").to_string();
        assert!(told.contains(&format!("pid {}", std::process::id())), "{told}");
        assert!(Lock::is_held(&path));
        drop(first);
        assert!(!Lock::is_held(&path) && !Lock::is_held(&dir.path().join("nothing")));
        Lock::take(&path).expect("it was released");
    }
}
