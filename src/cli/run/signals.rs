use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::{
    consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH},
    iterator::{backend::SignalDelivery, exfiltrator::SignalOnly},
};

/// What is passed on to the command.
const PASSED: [i32; 9] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT];

/// The signals that come to this process while a command runs for it.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Takes every signal that is passed on. One that whoever started us ignores (`nohup`, the background of a script)
    /// is left ignored, for the command as well.
    ///
    /// # Errors
    /// The system refuses.
    pub fn take() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        let ignored = ignored();
        let taken = PASSED.into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0).chain([SIGCHLD]);
        Ok(Signals { delivery: SignalDelivery::with_pipe(read, write, SignalOnly, taken)? })
    }

    /// Readable when a signal came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }

    /// What came since the last time.
    pub fn pending(&mut self) -> Vec<i32> {
        self.delivery.pending().collect()
    }
}

/// Whether it asks for an end, after which nothing is tried again.
pub fn is_end(signal: i32) -> bool {
    [SIGINT, SIGTERM, SIGHUP, SIGQUIT].contains(&signal)
}

/// Passes a signal on as it would have come without us: to the whole group where terminals send it, else to the command
/// alone.
pub fn pass(signal: i32, child: Pid) {
    let Some(named) = Signal::from_named_raw(signal).filter(|_| signal != SIGCHLD) else { return };
    // A command that has ended already needs no signal.
    let _ = match signal {
        SIGTERM | SIGUSR1 | SIGUSR2 => kill_process(child, named),
        _ => kill_process_group(child, named),
    };
}

/// `KILL` for 9.
pub fn name(signal: i32) -> String {
    let name = signal_hook::low_level::signal_name(signal);
    name.map_or_else(|| signal.to_string(), |name| name.trim_start_matches("SIG").to_owned())
}

/// One bit per signal that is ignored; none where the system does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
