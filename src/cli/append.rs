use std::{
    io::{self, BufRead, BufReader, Read},
    mem, panic,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

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

/// Packs on their way to be written: one that waits, beside those that are read and written.
const PACKS: usize = 1;

/// Bytes from which on a pack is full, however few its lines are.
const PACK_BYTES: usize = 4 << 20;

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
        // What comes next is read and judged while this is written and synced. It is the reader that has its own thread:
        // it may wait for a line for ever, and a failed write is told at once.
        let (packs, inbox) = sync_channel(PACKS);
        let reader = thread::Builder::new().name("input".to_owned()).spawn(move || read(&packs));
        let reader = reader.context("cannot start a thread to read standard input")?;
        for pack in inbox {
            target.write(&pack)?;
        }
        let refused = reader.join().unwrap_or_else(|why| panic::resume_unwind(why));
        let synced = target.appender.sync().with_context(|| target.cannot());
        let refused = refused
            .with_context(|| format!("cannot read standard input ({} lines before were appended)", target.lines))?;
        synced?;
        eprintln!("appended {} lines to {}, refused {refused}", target.lines, target.appender.path().display());
        Ok(if refused == 0 { Found::Nothing } else { Found::Something })
    }
}

/// Lines that share a write, one after the other; where each ends, and the number of the first.
#[derive(Default)]
struct Pack {
    lines: Vec<u8>,
    ends: Vec<usize>,
    first: u64,
    /// Enough came since the last sync.
    sync: bool,
}

impl Pack {
    /// An empty one with room for as much.
    fn another(&self) -> Pack {
        let (lines, ends) = (Vec::with_capacity(self.lines.len()), Vec::with_capacity(self.ends.len()));
        Pack { lines, ends, ..Pack::default() }
    }

    fn take(&mut self, line: &[u8], number: u64) {
        if self.ends.is_empty() {
            self.first = number;
        }
        self.lines.extend_from_slice(line);
        self.ends.push(self.lines.len());
    }
}

/// Reads standard input and judges it line by line; hands on what may be appended, in packs, as it comes. Returns how many
/// lines were refused.
///
/// # Errors
/// Standard input cannot be read; what came before was handed on.
fn read(packs: &SyncSender<Pack>) -> io::Result<u64> {
    let (mut refused, mut number, mut unsynced) = (0u64, 0u64, 0);
    let limit = Limits::default().line_bytes;
    let mut decoder = Decoder::default();
    let mut input = BufReader::with_capacity(BUFFER, io::stdin().lock());
    let (mut line, mut pack) = (Vec::new(), Pack::default());
    loop {
        let there = next_line(&mut input, limit, &mut line);
        if !matches!(there, Ok(true)) {
            // Nobody takes it where writing failed, and that was told.
            let _ = packs.send(pack);
            return there.map(|_| refused);
        }
        number += 1;
        if !is_blank(&line) {
            match judge(&mut decoder, &line, limit) {
                Ok(()) => pack.take(&line, number),
                Err(why) => {
                    refused += 1;
                    eprintln!("line {number}: refused: {why}");
                }
            }
        }
        pack.sync = unsynced + pack.ends.len() >= SYNC_EVERY;
        // What follows may be a long time in coming.
        if pack.sync || pack.lines.len() >= PACK_BYTES || input.buffer().is_empty() {
            unsynced = if pack.sync { 0 } else { unsynced + pack.ends.len() };
            let next = pack.another();
            if packs.send(mem::replace(&mut pack, next)).is_err() {
                return Ok(refused);
            }
        }
    }
}

/// The next line without its newline; one beyond the limit is cut a little behind it, which is enough to refuse it. False
/// at the end of the input.
fn next_line(input: &mut impl BufRead, limit: usize, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = input.by_ref().take(limit as u64 + 2).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > limit {
        skip_line(input)?;
    }
    Ok(read > 0)
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
}

impl Target {
    fn new(appender: Appender) -> Target {
        Target { appender, lines: 0 }
    }

    /// Writes a pack, and syncs when it is time.
    fn write(&mut self, pack: &Pack) -> anyhow::Result<()> {
        if pack.ends.is_empty() {
            return Ok(());
        }
        let starts = [0].into_iter().chain(pack.ends.iter().copied());
        let lines: Vec<&[u8]> = starts.zip(&pack.ends).map(|(start, end)| &pack.lines[start..*end]).collect();
        let appended = self.appender.append(&lines);
        appended.with_context(|| self.cannot()).with_context(|| {
            format!("line {} and what follows were not appended ({} lines before were)", pack.first, self.lines)
        })?;
        self.lines += pack.ends.len() as u64;
        if pack.sync {
            self.appender.sync().with_context(|| self.cannot())?;
        }
        Ok(())
    }

    fn cannot(&self) -> String {
        format!("cannot append to {}", self.appender.path().display())
    }
}
