use std::{
    io,
    path::{Path, PathBuf},
};

use crate::files::{File, Files, How};

/// The file is begun anew at this size.
const BYTES_MAX: u64 = 64 * 1024;

/// Remembers how far everything is durable, so that the next start can tell what a power cut took from what was damaged.
/// It is never synced itself: after a power cut it may say less than was durable, never more.
#[derive(Debug)]
pub struct DurableMark {
    files: Files,
    path: PathBuf,
    file: Option<File>,
}

impl DurableMark {
    pub fn new(files: Files, path: PathBuf) -> DurableMark {
        DurableMark { files, path, file: None }
    }

    /// The last position that was noted, as far as it can be read; 0 without any.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(files: &Files, path: &Path) -> io::Result<u64> {
        match files.read(path) {
            Ok(bytes) => {
                let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
                // A torn number is the beginning of one, and so less.
                Ok(lines.filter_map(|line| line.parse().ok()).max().unwrap_or(0))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Everything before `durable` is synced.
    ///
    /// # Errors
    /// It cannot be written: the next start knows less, nothing else depends on it.
    pub fn note(&mut self, durable: u64) -> io::Result<()> {
        let large = self.files.about(&self.path).is_ok_and(|about| about.len > BYTES_MAX);
        let file = match self.file.take() {
            Some(file) if !large => file,
            _ => self.files.open(&self.path, if large { How::Anew } else { How::AppendOrMake })?,
        };
        // Behind a line break: whatever a power cut left before must not become a part of it.
        file.append(format!("\n{durable}\n").as_bytes())?;
        // One that was opened to be emptied does not append.
        self.file = (!large).then_some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_noted_or_less_whatever_is_cut_off() {
        let (files, dir) = (Files::machine(), tempfile::tempdir().expect("a temporary directory"));
        let path = dir.path().join("durable");
        let mut mark = DurableMark::new(files.clone(), path.clone());
        for durable in [7, 12_345, 12_399] {
            mark.note(durable).expect("a writable directory");
        }
        let whole = std::fs::read(&path).expect("the file");
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("a writable file");
            assert!(DurableMark::read(&files, &path).expect("a file") <= 12_399);
            DurableMark::new(files.clone(), path.clone()).note(12_400).expect("a writable file");
            assert_eq!(DurableMark::read(&files, &path).expect("a file"), 12_400, "cut at {cut}");
        }
        for durable in 20_000..30_000 {
            mark.note(durable).expect("a writable file");
        }
        assert_eq!(DurableMark::read(&files, &path).expect("a file"), 29_999);
        assert!(std::fs::metadata(&path).expect("a file").len() <= BYTES_MAX + 100);
    }
}
