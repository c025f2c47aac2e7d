use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    decision::Decision,
    files::{File, Files, How, Opened, read_exact_at},
};

/// Where a line of ours stands in the fold. Lines of a file ascend by it, so that after a crash the last line tells
/// which ones a refold need not write again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Mark {
    /// The position a line is about.
    #[serde(alias = "position")]
    pub cause: u64,
    #[serde(default)]
    pub ordinal: u32,
}

impl Mark {
    pub fn of(decision: &Decision) -> Mark {
        Mark { cause: decision.cause, ordinal: decision.ordinal }
    }
}

/// A file of JSON lines that only we append to: decisions of a consumer, rejects of intake. Each line is written once,
/// whatever is refolded.
#[derive(Debug)]
pub struct OwnLines {
    files: Files,
    path: PathBuf,
    /// None until the first line is written.
    file: Option<File>,
    bytes: u64,
    last: Option<Mark>,
    /// A write failed and what it left is not known to be cut off.
    torn: bool,
}

impl OwnLines {
    /// Opens the file; a torn tail is cut off before anything is appended. One that is not there begins with its first
    /// line.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(files: &Files, path: &Path) -> io::Result<OwnLines> {
        let own = |file, bytes, last| OwnLines {
            files: files.clone(),
            path: path.to_owned(),
            file,
            bytes,
            last,
            torn: false,
        };
        let file = match files.open(path, How::Append) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(own(None, 0, None));
            }
            other => other?,
        };
        let (bytes, last) = whole_lines(&*file)?;
        if file.about()?.len > bytes {
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        Ok(own(Some(file), bytes, last))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mark of the last line.
    pub fn last(&self) -> Option<Mark> {
        self.last
    }

    /// Appends lines in ascending order of their marks, skipping what is there already; one write for all.
    ///
    /// # Errors
    /// The write failed; what it left is cut off and nothing of it counts as written.
    pub fn append<'a>(&mut self, lines: impl IntoIterator<Item = (Mark, &'a str)>) -> io::Result<()> {
        let mut out = String::new();
        let mut last = self.last;
        for (mark, line) in lines {
            if last.is_none_or(|last| mark > last) {
                out.push_str(line);
                out.push('\n');
                last = Some(mark);
            }
        }
        if out.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(begin(&self.files, &self.path)?),
        };
        if self.torn {
            file.set_len(self.bytes)?;
            self.torn = false;
        }
        if let Err(error) = file.append(out.as_bytes()) {
            self.torn = file.set_len(self.bytes).is_err();
            return Err(error);
        }
        self.bytes += out.len() as u64;
        self.last = last;
        Ok(())
    }

    /// Makes what was appended durable.
    ///
    /// # Errors
    /// The sync failed; the file must not be trusted further.
    pub fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.sync_data())
    }
}

/// A new file, whose name is durable.
fn begin(files: &Files, path: &Path) -> io::Result<File> {
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    files.make_dirs(dir)?;
    let file = files.open(path, How::AppendOrMake)?;
    files.sync_dir(dir)?;
    Ok(file)
}

/// The length of the whole lines, and the mark of the last one. A tail that does not decode is not whole.
fn whole_lines(file: &dyn Opened) -> io::Result<(u64, Option<Mark>)> {
    const STEP: u64 = 1 << 20;
    let mut end = file.about()?.len;
    loop {
        let start = end.saturating_sub(STEP);
        let mut tail = vec![0; (end - start) as usize];
        read_exact_at(file, &mut tail, start)?;
        let mut till = tail.len();
        while let Some(newline) = memchr::memrchr(b'\n', &tail[..till]) {
            let line_start = memchr::memrchr(b'\n', &tail[..newline]).map_or(0, |at| at + 1);
            if line_start == 0 && start > 0 {
                break;
            }
            if let Ok(mark) = serde_json::from_slice(&tail[line_start..newline]) {
                return Ok((start + newline as u64 + 1, Some(mark)));
            }
            till = newline;
        }
        if start == 0 {
            return Ok((0, None));
        }
        end = start + till as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(cause: u64, ordinal: u32) -> (Mark, String) {
        (Mark { cause, ordinal }, format!("{{\"cause\":{cause},\"ordinal\":{ordinal},\"verdict\":\"x\"}}"))
    }

    fn append(file: &mut OwnLines, marks: &[(u64, u32)]) {
        let lines: Vec<(Mark, String)> = marks.iter().map(|(cause, ordinal)| line(*cause, *ordinal)).collect();
        file.append(lines.iter().map(|(mark, text)| (*mark, text.as_str()))).expect("a writable file");
    }

    #[test]
    fn nothing_is_written_twice_and_a_torn_tail_is_written_again() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("decisions/x.jsonl");
        let mut file = OwnLines::open(&Files::machine(), &path).expect("a new file");
        append(&mut file, &[(3, 0), (3, 1), (7, 0)]);
        let whole = fs::read(&path).expect("the file");
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).expect("a writable file");
            let mut file = OwnLines::open(&Files::machine(), &path).expect("a torn file");
            append(&mut file, &[(3, 0), (3, 1), (7, 0)]);
            assert_eq!(fs::read(&path).expect("the file"), whole, "cut at {cut}");
        }
        let zeroed = [whole.as_slice(), &[0; 100]].concat();
        fs::write(&path, zeroed).expect("a writable file");
        OwnLines::open(&Files::machine(), &path).expect("a zero-filled tail");
        assert_eq!(fs::read(&path).expect("the file"), whole);
    }
}
