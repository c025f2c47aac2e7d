use std::{
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_setfl},
    io::{Errno, FdFlags, dup2, fcntl_dupfd_cloexec, fcntl_setfd, read},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, test_kill_process_group, waitpid},
};

use super::{
    pump::Pump,
    report::Lines,
    signals::{self, Signals},
    terminal::Terminal,
};
use crate::clock::Stopwatch;

/// Where the command finds the number of the descriptor it reports on.
const REPORT_FD: &str = "RUNTAPE_REPORT_FD";
/// What is read of reports once the command has ended: no pipe holds more.
const LATE_MAX: usize = 1 << 20;
/// Between two looks for what is left of a process group.
const LEFT_POLL: Duration = Duration::from_millis(10);

/// How long a command may run, and how long it has to end after it was told to.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub timeout: Option<Duration>,
    pub grace: Duration,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Killed(i32),
    TimedOut,
    NotFound,
    NotExecutable(String),
}

impl End {
    /// As shells say it.
    pub fn code(&self) -> u8 {
        match self {
            End::Exited(code) => u8::try_from(*code).unwrap_or(u8::MAX),
            End::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            End::TimedOut => 124,
            End::NotFound => 127,
            End::NotExecutable(_) => 126,
        }
    }

    pub fn error_type(&self) -> Option<String> {
        match self {
            End::Exited(0) => None,
            End::Exited(code) => Some(format!("exit:{code}")),
            End::Killed(signal) => Some(format!("signal:{}", signals::name(*signal))),
            End::TimedOut => Some("timeout".to_owned()),
            End::NotFound => Some("not_found".to_owned()),
            End::NotExecutable(_) => Some("not_executable".to_owned()),
        }
    }

    pub fn started(&self) -> bool {
        !matches!(self, End::NotFound | End::NotExecutable(_))
    }
}

/// What is known of a command that ended.
#[derive(Debug)]
pub struct Ended {
    pub end: End,
    pub latency: Duration,
    /// Peak memory of the largest process so far, as the system counts it.
    pub max_rss: Option<u64>,
    pub lines: Lines,
    /// The line that is its result; none where none was printed.
    pub result: Option<Vec<u8>>,
    /// We were asked to end meanwhile.
    pub interrupted: bool,
}

/// The descriptor that commands report on: 3, unless whoever started us uses it. It is held from the beginning, so that
/// no other file comes to have its number.
#[derive(Debug)]
pub struct Report {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Report {
    /// # Errors
    /// No pipe can be had.
    pub fn open() -> io::Result<Report> {
        let (low_reader, low_writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let reader = fcntl_dupfd_cloexec(&low_reader, 10)?;
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        // Its number, the lowest that was free, is what the writer gets.
        drop(low_reader);
        let writer = fcntl_dupfd_cloexec(&low_writer, 3)?;
        fcntl_setfd(&writer, FdFlags::empty())?;
        Ok(Report { reader, writer })
    }

    /// A pipe of its own for the next command: what an earlier one left running is not heard any more.
    ///
    /// # Errors
    /// No pipe can be had.
    pub fn renew(&mut self) -> io::Result<()> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        dup2(&writer, &mut self.writer)?;
        self.reader = reader;
        Ok(())
    }
}

/// Runs a command to its end.
///
/// # Errors
/// It could not be started for want of something that is not its own, or not be waited for.
pub fn run(
    command: &mut Command,
    signals: &mut Signals,
    report: &Report,
    patience: Patience,
    wants_result: bool,
) -> io::Result<Ended> {
    command.env(REPORT_FD, report.writer.as_raw_fd().to_string()).process_group(0);
    if wants_result {
        command.stdout(Stdio::piped());
    }
    let stopwatch = Stopwatch::start();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return not_started(&error, stopwatch.elapsed()).ok_or(error),
    };
    let pid = Pid::from_child(&child);
    // Without anybody to read its output it must not go on unseen.
    let pump = child.stdout.take().map(Pump::start).transpose().inspect_err(|_| {
        let _ = kill_process_group(pid, Signal::KILL);
    })?;
    let mut watch = Watch {
        pid,
        signals,
        report,
        patience,
        stopwatch: stopwatch.clone(),
        lines: Lines::default(),
        terminal: Terminal::default(),
        told: None,
        killed: false,
        interrupted: false,
    };
    let status = watch.until_end()?;
    let latency = stopwatch.elapsed();
    watch.terminal.take_back();
    watch.sweep();
    watch.read_reports(LATE_MAX);
    let max_rss = getrusage(UsageWho::RUSAGE_CHILDREN).ok().and_then(|usage| u64::try_from(usage.max_rss()).ok());
    let result = pump.and_then(|pump| watch.result(pump));
    let end = match (watch.told, status.terminating_signal()) {
        (Some(_), _) => End::TimedOut,
        (None, Some(signal)) => End::Killed(signal),
        (None, None) => End::Exited(status.exit_status().unwrap_or(0)),
    };
    let Watch { lines, interrupted, .. } = watch;
    Ok(Ended { end, latency, max_rss, lines, result, interrupted })
}

fn not_started(error: &io::Error, latency: Duration) -> Option<Ended> {
    let end = match error.kind() {
        io::ErrorKind::NotFound => End::NotFound,
        io::ErrorKind::PermissionDenied => End::NotExecutable(error.to_string()),
        _ => match Errno::from_io_error(error)? {
            Errno::NOEXEC | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::TXTBSY | Errno::TOOBIG => {
                End::NotExecutable(error.to_string())
            }
            _ => return None,
        },
    };
    Some(Ended { end, latency, max_rss: None, lines: Lines::default(), result: None, interrupted: false })
}

/// A running command.
struct Watch<'a> {
    pid: Pid,
    signals: &'a mut Signals,
    report: &'a Report,
    patience: Patience,
    stopwatch: Stopwatch,
    lines: Lines,
    terminal: Terminal,
    /// When it was told to end, its time being over.
    told: Option<Duration>,
    killed: bool,
    interrupted: bool,
}

impl Watch<'_> {
    fn until_end(&mut self) -> io::Result<WaitStatus> {
        loop {
            match waitpid(Some(self.pid), WaitOptions::NOHANG | WaitOptions::UNTRACED) {
                Ok(Some((_, status))) if status.stopped() => {
                    self.terminal.stopped(status.stopping_signal().unwrap_or(0), self.pid);
                }
                Ok(Some((_, status))) => return Ok(status),
                Ok(None) => self.wait()?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for whatever comes next: a signal, a report, the end of its time.
    fn wait(&mut self) -> io::Result<()> {
        let timeout = self.due().map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let mut both = [
            PollFd::from_borrowed_fd(self.signals.fd(), PollFlags::IN),
            PollFd::new(&self.report.reader, PollFlags::IN),
        ];
        match poll(&mut both, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let reported = both[1].revents().contains(PollFlags::IN);
        if reported {
            self.read_reports(LATE_MAX);
        }
        for signal in self.signals.pending() {
            self.interrupted |= signals::is_end(signal);
            signals::pass(signal, self.pid);
        }
        Ok(())
    }

    /// Tells the command to end once its time is over, and then makes it; how long until the next of the two.
    fn due(&mut self) -> Option<Duration> {
        let timeout = self.patience.timeout?;
        let now = self.stopwatch.elapsed();
        let Some(told) = self.told else {
            if now < timeout {
                return Some(timeout - now);
            }
            self.told = Some(now);
            let _ = kill_process_group(self.pid, Signal::TERM);
            // What is stopped would not hear it.
            let _ = kill_process_group(self.pid, Signal::CONT);
            return Some(self.patience.grace);
        };
        let left = (told + self.patience.grace).saturating_sub(now);
        if left.is_zero() && !self.killed {
            self.killed = true;
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        (!self.killed).then_some(left)
    }

    /// After a timeout nothing of the group is left running.
    fn sweep(&mut self) {
        while self.told.is_some() && !self.killed && test_kill_process_group(self.pid).is_ok() {
            self.due();
            thread::sleep(LEFT_POLL);
        }
    }

    fn read_reports(&mut self, most: usize) {
        let mut buffer = [0; 16 * 1024];
        let mut total = 0;
        while total < most {
            match read(&self.report.reader, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => return,
                Ok(n) => {
                    self.lines.push(&buffer[..n]);
                    total += n;
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// The result on standard output, once that was passed on; whoever asks us to end meanwhile does not wait for a
    /// reader that does not read.
    fn result(&mut self, pump: Pump) -> Option<Vec<u8>> {
        let (finished, thread) = pump.finish();
        while !thread.is_finished() {
            let mut both =
                [PollFd::from_borrowed_fd(self.signals.fd(), PollFlags::IN), PollFd::new(&finished, PollFlags::IN)];
            let _ = poll(&mut both, None);
            if !both[1].revents().is_empty() {
                break;
            }
            if self.signals.pending().into_iter().any(signals::is_end) {
                self.interrupted = true;
                return None;
            }
        }
        thread.join().ok()?.result()
    }
}
