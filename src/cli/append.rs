use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;

use super::{Events, Found, Usage};
use crate::{
    event,
    fold::intake::CONTROL_STREAM,
    policy::Limits,
    streams::{lines::is_blank, name},
    tape::directory,
};

#[derive(Debug, Args)]
pub struct Append {
    #[command(flatten)]
    events: Events,
    /// Stream to append to; NAME means the file NAME.jsonl
    stream: String,
}

/// Lines between syncs; the last ones are synced at the end of the input.
const SYNC_EVERY: u64 = 1000;

impl Append {
    pub fn run(self) -> anyhow::Result<Found> {
        let layout = self.events.layout();
        directory::check_dir(&layout)?;
        let path = layout.stream(&stream_name(&self.stream)?);
        let mut target = Target::open(path)?;
        let (mut refused, mut number) = (0u64, 0u64);
        let limit = Limits::default().line_bytes;
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        loop {
            line.clear();
            // One byte more than allowed is enough to refuse it.
            let read = input.by_ref().take(limit as u64 + 2).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            number += 1;
            let whole = line.last() == Some(&b'\n');
            if whole {
                line.pop();
            } else if line.len() > limit {
                skip_line(&mut input)?;
            }
            if is_blank(&line) {
                continue;
            }
            if let Err(why) = judge(&line, limit) {
                refused += 1;
                eprintln!("line {number}: refused: {why}");
                continue;
            }
            target.append(&mut line).with_context(|| {
                format!("line {number} and what follows were not appended ({} lines before were)", target.lines)
            })?;
        }
        target.sync()?;
        eprintln!("appended {} lines to {}, refused {refused}", target.lines, target.path.display());
        Ok(if refused == 0 { Found::Nothing } else { Found::Something })
    }
}

/// Why a line must not be appended.
fn judge(line: &[u8], limit: usize) -> Result<(), String> {
    let decoded = event::decode(line, limit).map_err(|why| format!("{} ({})", why.detail, why.reason.name()))?;
    match decoded.kind {
        Some(kind) if kind.is_control() => {
            Err(format!("a {} counts only in the stream `{CONTROL_STREAM}`, which runtape writes itself", kind.name()))
        }
        _ => Ok(()),
    }
}

/// A stream's name: a file name of the directory's top level, and not the control stream's.
fn stream_name(given: &str) -> Result<String, Usage> {
    let stream = given.strip_suffix(".jsonl").unwrap_or(given);
    let live = name::parse(&format!("{stream}.jsonl")).is_some_and(|file| file.stream == stream);
    if !live || stream.contains('/') || stream.len() > 200 {
        return Err(Usage(format!("{given:?} is no stream name; want a plain file name as `runs`")));
    }
    if stream == CONTROL_STREAM {
        return Err(Usage(format!("only runtape itself appends to `{CONTROL_STREAM}`")));
    }
    Ok(stream.to_owned())
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (used, done) = match memchr::memchr(b'\n', buffer) {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if done {
            return Ok(());
        }
    }
}

/// A stream opened for appending.
struct Target {
    path: PathBuf,
    file: File,
    lines: u64,
}

impl Target {
    fn open(path: PathBuf) -> anyhow::Result<Target> {
        let open = OpenOptions::new().create(true).append(true).read(true).open(&path);
        let file = open.with_context(|| format!("cannot append to {}", path.display()))?;
        if !file.metadata()?.is_file() {
            bail!("{} is not a regular file", path.display());
        }
        Ok(Target { path, file, lines: 0 })
    }

    /// One write for the line; behind a newline of its own where somebody left a torn line.
    fn append(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        if self.lines == 0 && is_torn(&mut self.file)? {
            line.insert(0, b'\n');
        }
        self.file.write_all(line)?;
        self.lines += 1;
        if self.lines.is_multiple_of(SYNC_EVERY) {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if let Some(dir) = self.path.parent().filter(|dir| *dir != Path::new("")) {
            crate::store::atomic::sync_dir(dir)?;
        }
        Ok(())
    }
}

/// Whether the file ends inside a line.
pub fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
