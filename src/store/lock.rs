use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::files::{File, Files, How};

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
    pub fn take(files: &Files, path: &Path) -> Result<Lock, LockError> {
        let io_error = |source| LockError::Io { path: path.to_owned(), source };
        let own = path.parent().unwrap_or(path);
        files.make_dirs(own).map_err(io_error)?;
        let file = files.open(path, How::AppendOrMake).map_err(io_error)?;
        if !file.lock(true).map_err(io_error)? {
            let pid = files.read(path).map_err(io_error)?;
            let pid = String::from_utf8_lossy(&pid);
            let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(LockError::Held { dir: own.parent().unwrap_or(own).to_owned(), pid });
        }
        file.set_len(0).map_err(io_error)?;
        file.append(format!("{}\n", files.process()).as_bytes()).map_err(io_error)?;
        Ok(Lock { _file: file })
    }

    /// Whether somebody holds the lock at `path` just now; nothing is made or written.
    pub fn is_held(files: &Files, path: &Path) -> bool {
        files.open(path, How::Read).is_ok_and(|file| file.lock(false).is_ok_and(|free| !free))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_pid_of_the_first() {
        let (files, dir) = (Files::machine(), tempfile::tempdir().expect("a temporary directory"));
        let path = dir.path().join(".runtape/lock");
        let first = Lock::take(&files, &path).expect("nobody holds it");
        let told = Lock::take(&files, &path).expect_err("it is held").to_string();
        assert!(told.contains(&format!("pid {}", std::process::id())), "{told}");
        assert!(Lock::is_held(&files, &path));
        drop(first);
        assert!(!Lock::is_held(&files, &path) && !Lock::is_held(&files, &dir.path().join("nothing")));
        Lock::take(&files, &path).expect("it was released");
    }
}
