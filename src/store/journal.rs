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
    /// line. Lines about positions from `again` on will be made again, and may not have been synced: they count up to the
    /// first that a power cut spoilt.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(files: &Files, path: &Path, again: u64) -> io::Result<OwnLines> {
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
        let (bytes, last) = whole_lines(&*file, again)?;
        if file.about()?.len > bytes {
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        Ok(own(Some(file), bytes, last))
    }

    /// The mark of the last line of a file that decodes; nothing is written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_in(files: &Files, path: &Path) -> io::Result<Option<Mark>> {
        match files.open(path, How::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => last_line(&*other?).map(|(_, mark)| mark),
        }
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

/// The length of the lines that count, and the mark of the last one: all before the last line about a position before
/// `again`, and those behind it up to the first that does not decode.
fn whole_lines(file: &dyn Opened, again: u64) -> io::Result<(u64, Option<Mark>)> {
    let (end, last) = last_line(file)?;
    let mut step = 64 * 1024;
    loop {
        let start = end.saturating_sub(step);
        let mut tail = vec![0; (end - start) as usize];
        read_exact_at(file, &mut tail, start)?;
        // Where it does not begin at the start of the file, its first line may be the rest of one.
        let from = if start == 0 { 0 } else { memchr::memchr(b'\n', &tail).map_or(tail.len(), |at| at + 1) };
        let lines = tail[from..].split_inclusive(|byte| *byte == b'\n');
        let mut at = start + from as u64;
        let mut marks: Vec<(u64, Option<Mark>)> = Vec::new();
        for line in lines {
            at += line.len() as u64;
            marks.push((at, serde_json::from_slice(line).ok()));
        }
        let before = marks.iter().rposition(|(_, mark)| mark.is_some_and(|mark| mark.cause < again));
        if before.is_none() && start > 0 {
            step *= 4;
            continue;
        }
        let spoilt = |(_, mark): &(u64, Option<Mark>)| mark.is_none();
        let first = before.map_or(0, |at| at + 1);
        let Some(spoilt) = marks[first..].iter().position(spoilt) else { return Ok((end, last)) };
        return Ok(match (first + spoilt).checked_sub(1) {
            Some(at) => marks[at],
            None => (start, None),
        });
    }
}

/// The end of the last line that decodes, and its mark.
fn last_line(file: &dyn Opened) -> io::Result<(u64, Option<Mark>)> {
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
        let mut file = OwnLines::open(&Files::machine(), &path, 0).expect("a new file");
        append(&mut file, &[(3, 0), (3, 1), (7, 0)]);
        let whole = fs::read(&path).expect("the file");
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).expect("a writable file");
            let mut file = OwnLines::open(&Files::machine(), &path, 0).expect("a torn file");
            append(&mut file, &[(3, 0), (3, 1), (7, 0)]);
            assert_eq!(fs::read(&path).expect("the file"), whole, "cut at {cut}");
        }
        let zeroed = [whole.as_slice(), &[0; 100]].concat();
        fs::write(&path, zeroed).expect("a writable file");
        OwnLines::open(&Files::machine(), &path, 0).expect("a zero-filled tail");
        assert_eq!(fs::read(&path).expect("the file"), whole);
    }
}
