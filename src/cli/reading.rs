use std::{
    cell::Cell,
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{Events, Output};
use crate::{
    clock::{Clock, Stopwatch},
    policy::{InForce, Policy},
    tape::Directory,
};

/// Opens a directory for reading, and tells of what was cut off in it.
///
/// # Errors
/// It cannot be read, or something in it cannot be followed.
pub fn open(events: &Events) -> anyhow::Result<Directory> {
    let directory = quietly(events)?;
    for reset in &directory.resets {
        eprintln!(
            "runtape: stream {} (file {}) was {} below offset {}: run `runtape verify`",
            reset.stream,
            reset.file,
            reset.reason.name(),
            reset.sealed
        );
    }
    Ok(directory)
}

/// As [`open`], without a word where the screen belongs to somebody else.
///
/// # Errors
/// Those of [`open`].
pub fn quietly(events: &Events) -> anyhow::Result<Directory> {
    let directory = Directory::open(events.layout(), Some(Clock::system().now()))?;
    if let Some(problem) = directory.problems.first() {
        anyhow::bail!("cannot follow {}: {}", problem.path.display(), problem.what);
    }
    Ok(directory)
}

/// The policy of a file, to replace those of the tape; none without a file.
pub fn policy(file: Option<&PathBuf>) -> anyhow::Result<Option<Arc<InForce>>> {
    let Some(file) = file else { return Ok(None) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read the policy {}", file.display()))?;
    Ok(Some(Arc::new(InForce::new(Policy::from_toml(&text)?))))
}

/// A progress bar on a terminal's stderr that shows itself only when the work takes longer than a second.
pub struct Progress {
    bar: ProgressBar,
    since: Stopwatch,
    waiting: Cell<bool>,
}

impl Progress {
    /// `total` where it is known; `bytes` says what is counted.
    pub fn new(total: Option<u64>, what: &'static str, bytes: bool) -> Progress {
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        bar.set_draw_target(ProgressDrawTarget::hidden());
        let template = match (total.is_some(), bytes) {
            (true, true) => "{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left",
            (true, false) => "{msg} {bar:30} {human_pos}/{human_len} {per_sec} {eta} left",
            (false, true) => "{msg} {spinner} {bytes} {binary_bytes_per_sec}",
            (false, false) => "{msg} {spinner} {human_pos} {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Progress { bar, since: Stopwatch::start(), waiting: Cell::new(io::stderr().is_terminal()) }
    }

    /// So much more is done.
    pub fn inc(&self, done: u64) {
        if self.waiting.get() && self.since.elapsed() > Duration::from_secs(1) {
            self.waiting.set(false);
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        self.bar.inc(done);
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Standard output with a buffer; a reader who leaves ends the program quietly.
pub fn stdout() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// Prints what a command did: as a text that `write` makes of it, or whole on one line of JSON.
///
/// # Errors
/// Standard output cannot be written.
pub fn print<R: Serialize>(
    report: &R,
    output: Output,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = stdout();
    if output == Output::Text {
        write(&mut out)?;
    } else {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
    }
    Ok(out.flush()?)
}

/// Whether output may be coloured: a terminal, and nobody said no.
pub fn color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !refused && !dumb
}
