use std::io::{self, BufRead, BufReader, Read};

use anyhow::Context;
use clap::Args;

use super::{Events, Found, Usage};
use crate::{
    event::Decoder,
    fold::intake::CONTROL_STREAM,
    policy::Limits,
    streams::{Appender, lines::is_blank, name},
    tape::directory,
};

#[derive(Debug, Args)]
pub struct Append {
    #[command(flatten)]
    events: Events,
    /// Stream to append to; NAME means the file NAME.jsonl
    stream: String,
}

/// Lines between syncs, and at most in one write; the last ones are synced at the end of the input.
const SYNC_EVERY: usize = 1000;

/// What is read at once.
const BUFFER: usize = 256 * 1024;

impl Append {
    pub fn run(self) -> anyhow::Result<Found> {
        let layout = self.events.layout();
        directory::check_dir(&layout)?;
        let path = layout.stream(&stream_name(&self.stream)?);
        let mut target = Target::new(Appender::shared(layout.files.clone(), path));
        // A stream that cannot be had is told before the first line is typed.
        target.appender.open().with_context(|| target.cannot())?;
        let (mut refused, mut number) = (0u64, 0u64);
        let limit = Limits::default().line_bytes;
        let mut decoder = Decoder::default();
        let mut input = BufReader::with_capacity(BUFFER, io::stdin().lock());
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
            if !is_blank(&line) {
                match judge(&mut decoder, &line, limit) {
                    Ok(()) => target.take(&line, number),
                    Err(why) => {
                        refused += 1;
                        eprintln!("line {number}: refused: {why}");
                    }
                }
            }
            // What follows may be a long time in coming.
            if input.buffer().is_empty() || target.is_full() {
                target.write()?;
            }
        }
        target.write()?;
        target.appender.sync()?;
        eprintln!("appended {} lines to {}, refused {refused}", target.lines, target.appender.path().display());
        Ok(if refused == 0 { Found::Nothing } else { Found::Something })
    }
}

/// Why a line must not be appended.
fn judge(decoder: &mut Decoder, line: &[u8], limit: usize) -> Result<(), String> {
    let decoded = decoder.line(line, limit).map_err(|why| format!("{} ({})", why.detail, why.reason.name()))?;
    match decoded.kind {
        Some(kind) if kind.is_control() => {
            Err(format!("a {} counts only in the stream `{CONTROL_STREAM}`, which runtape writes itself", kind.name()))
        }
        _ => Ok(()),
    }
}

/// A stream's name: a file name of the directory's top level, and not the control stream's.
pub fn stream_name(given: &str) -> Result<String, Usage> {
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

/// A stream that lines are appended to, and how many were.
struct Target {
    appender: Appender,
    lines: u64,
    unsynced: usize,
    /// Lines that share the next write, one after the other; where each ends, and the number of the first.
    waiting: Vec<u8>,
    ends: Vec<usize>,
    first: u64,
}

impl Target {
    fn new(appender: Appender) -> Target {
        Target { appender, lines: 0, unsynced: 0, waiting: Vec::new(), ends: Vec::new(), first: 0 }
    }

    fn take(&mut self, line: &[u8], number: u64) {
        if self.ends.is_empty() {
            self.first = number;
        }
        self.waiting.extend_from_slice(line);
        self.ends.push(self.waiting.len());
    }

    fn is_full(&self) -> bool {
        self.unsynced + self.ends.len() >= SYNC_EVERY
    }

    /// Writes what waits, and syncs when it is time.
    fn write(&mut self) -> anyhow::Result<()> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let lines: Vec<&[u8]> = starts.zip(&self.ends).map(|(start, end)| &self.waiting[start..*end]).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let appended = self.appender.append(&lines);
        appended.with_context(|| self.cannot()).with_context(|| {
            format!("line {} and what follows were not appended ({} lines before were)", self.first, self.lines)
        })?;
        self.lines += self.ends.len() as u64;
        self.unsynced += self.ends.len();
        self.waiting.clear();
        self.ends.clear();
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.appender.sync().with_context(|| self.cannot())?;
        }
        Ok(())
    }

    fn cannot(&self) -> String {
        format!("cannot append to {}", self.appender.path().display())
    }
}
