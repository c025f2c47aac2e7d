use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::HistoryError;
use crate::{
    event::{Nanos, time},
    files::{File, Files, How},
    render::{
        Format, Sheet,
        exposition::{Alone, Shown},
        label_value,
    },
};

/// Bytes that are written together.
const WRITTEN_AT_ONCE: usize = 1 << 20;

/// Series with timestamps, a file a day: `<root>/YYYY-MM-DD.om`, each with all that `/metrics` would have shown of the fleet.
pub struct OpenMetrics {
    files: Files,
    root: PathBuf,
    /// Of every series, escaped, with a comma behind.
    labels: Vec<u8>,
    sheet: Sheet,
    open: Option<Day>,
    samples: u64,
    pub finished: Vec<String>,
}

/// How far the files are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PageMark {
    samples: u64,
    finished: Vec<String>,
    open: Option<DayMark>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DayMark {
    day: i64,
    name: String,
    len: u64,
    heads: Vec<String>,
}

struct Day {
    day: i64,
    name: String,
    file: File,
    buffer: Vec<u8>,
    /// Lines of families that stand in it.
    heads: BTreeSet<Vec<u8>>,
}

impl OpenMetrics {
    /// Files below `root`; the series get these labels beside their own.
    pub fn new(files: Files, root: PathBuf, labels: &[(&str, &str)]) -> OpenMetrics {
        let mut spelled = Vec::new();
        for (name, value) in labels {
            spelled.extend_from_slice(name.as_bytes());
            spelled.extend_from_slice(b"=\"");
            label_value(&mut spelled, value);
            spelled.extend_from_slice(b"\",");
        }
        let sheet = Sheet::new(Format::OpenMetrics100);
        OpenMetrics { files, root, labels: spelled, sheet, open: None, samples: 0, finished: Vec::new() }
    }

    /// Goes on from a mark: what was written after it is cut off.
    ///
    /// # Errors
    /// A file cannot be cut or removed.
    pub fn resume(mut self, mark: PageMark) -> Result<OpenMetrics, HistoryError> {
        let open = mark.open.as_ref().map(|open| (beside(&self.root, &open.name), self.root.join(&open.name)));
        if let Some((path, name)) = &open
            && self.files.about(path).is_err()
        {
            self.files.rename(name, path).map_err(|source| failed(path.clone(), source))?;
        }
        for path in self.files.list(&self.root).unwrap_or_default() {
            let known = mark.finished.iter().any(|name| path == self.root.join(name));
            if !known && open.as_ref().is_none_or(|(open, _)| path != *open) {
                self.files.remove(&path).map_err(|source| failed(path, source))?;
            }
        }
        if let Some((DayMark { day, name, len, heads }, (path, _))) = mark.open.zip(open) {
            let opened = self.files.open(&path, How::Append).and_then(|file| file.set_len(len).map(|()| file));
            let file = opened.map_err(|source| failed(path, source))?;
            let heads = heads.into_iter().map(String::into_bytes).collect();
            self.open = Some(Day { day, name, file, buffer: Vec::new(), heads });
        }
        (self.samples, self.finished) = (mark.samples, mark.finished);
        Ok(self)
    }

    /// Writes what is held; how far the files are.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn mark(&mut self) -> Result<PageMark, HistoryError> {
        let mut mark = PageMark { samples: self.samples, finished: self.finished.clone(), open: None };
        if let Some(open) = &mut self.open {
            let written = open.write().and_then(|()| open.file.sync_all()).and_then(|()| open.file.about());
            let about = written.map_err(|source| failed(beside(&self.root, &open.name), source))?;
            let heads = open.heads.iter().map(|head| String::from_utf8_lossy(head).into_owned()).collect();
            mark.open = Some(DayMark { day: open.day, name: open.name.clone(), len: about.len, heads });
        }
        Ok(mark)
    }

    /// Samples that were written.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds everything that is shown, at a moment that is not before the last one.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add(&mut self, shown: &[Shown], at: Nanos) -> Result<(), HistoryError> {
        let day = at.div_euclid(time::DAY);
        if self.open.as_ref().is_some_and(|open| open.day != day) {
            self.finish()?;
        }
        self.sheet.update(shown, None, &Alone);
        if self.open.is_none() {
            self.open = Some(self.begin(day)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let stamp = stamp(at);
        for section in self.sheet.sections() {
            for line in
                section.texts().flat_map(|text| text.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty())
            {
                if line[0] == b'#' {
                    open.head(line);
                } else {
                    self.samples += 1;
                    sample(&mut open.buffer, line, &self.labels, &stamp);
                }
            }
        }
        if open.buffer.len() < WRITTEN_AT_ONCE {
            return Ok(());
        }
        open.write().map_err(|source| failed(beside(&self.root, &open.name), source))
    }

    /// Gives the open file its end and its name.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(&mut self) -> Result<(), HistoryError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let (path, name) = (beside(&self.root, &open.name), self.root.join(&open.name));
        open.buffer.extend_from_slice(b"# EOF\n");
        let written = open.write().and_then(|()| open.file.sync_all());
        let named = written.and_then(|()| self.files.rename(&path, &name));
        named.and_then(|()| self.files.sync_dir(&self.root)).map_err(|source| failed(path, source))?;
        self.finished.push(open.name);
        Ok(())
    }

    fn begin(&self, day: i64) -> Result<Day, HistoryError> {
        let name = format!("{}.om", time::day_text(day.saturating_mul(time::DAY)));
        let path = beside(&self.root, &name);
        let opened = self.files.make_dirs(&self.root).and_then(|()| self.files.open(&path, How::Anew));
        let file = opened.map_err(|source| failed(path, source))?;
        Ok(Day { day, name, file, buffer: Vec::new(), heads: BTreeSet::new() })
    }
}

impl Day {
    fn head(&mut self, line: &[u8]) {
        if !self.heads.contains(line) {
            self.heads.insert(line.to_vec());
            self.buffer.extend_from_slice(line);
            self.buffer.push(b'\n');
        }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// A line of the page with more labels and a time: a name is followed by its labels, or by its value.
fn sample(out: &mut Vec<u8>, line: &[u8], labels: &[u8], stamp: &[u8]) {
    let name = line.iter().position(|byte| matches!(byte, b'{' | b' ')).unwrap_or(line.len());
    let (name, rest) = line.split_at(name);
    out.extend_from_slice(name);
    out.push(b'{');
    if let Some(own) = rest.strip_prefix(b"{") {
        out.extend_from_slice(labels);
        out.extend_from_slice(own);
    } else {
        out.extend_from_slice(labels.strip_suffix(b",").unwrap_or(labels));
        out.push(b'}');
        out.extend_from_slice(rest);
    }
    out.extend_from_slice(stamp);
}

/// Unix seconds behind a space, to the millisecond, and the end of the line.
fn stamp(at: Nanos) -> Vec<u8> {
    let millis = at.div_euclid(time::SECOND / 1000);
    let (seconds, rest) = (millis.div_euclid(1000), millis.rem_euclid(1000));
    if rest == 0 { format!(" {seconds}\n") } else { format!(" {seconds}.{rest:03}\n") }.into_bytes()
}

fn beside(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.part"))
}

fn failed(path: PathBuf, source: io::Error) -> HistoryError {
    HistoryError::Write { path, source }
}
