use std::fs::{File, OpenOptions};

use nix::sys::signal::{SigSet, SigmaskHow, Signal as Masked};
use rustix::{
    process::{Pid, Signal, getpgrp, kill_process_group},
    termios::{tcgetpgrp, tcsetpgrp},
};
use signal_hook::consts::{SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};

/// The terminal, as far as the command uses it. The command has a process group of its own; it becomes that of the
/// foreground once it reads from the terminal, and not before: in a pipeline others read from it as well.
#[derive(Debug, Default)]
pub struct Terminal {
    lent: Option<File>,
}

impl Terminal {
    /// The command was stopped: it gets the terminal if that is what it waits for, else we stop as it did, so that the
    /// shell takes over.
    pub fn stopped(&mut self, signal: i32, child: Pid) {
        let waits = matches!(signal, SIGTTIN | SIGTTOU);
        if waits && self.lend(child) {
            let _ = kill_process_group(child, Signal::CONT);
        } else if waits || signal == SIGTSTP {
            let had = self.lent.is_some();
            self.take_back();
            // Continued, we hear SIGCONT and pass it on.
            let _ = signal_hook::low_level::raise(SIGSTOP);
            if had {
                self.lend(child);
            }
        }
    }

    /// Makes the command's group that of the foreground, if ours is it.
    fn lend(&mut self, child: Pid) -> bool {
        let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else { return false };
        let lent = tcgetpgrp(&terminal) == Ok(getpgrp()) && tcsetpgrp(&terminal, child).is_ok();
        if lent {
            self.lent = Some(terminal);
        }
        lent
    }

    /// Makes our group that of the foreground again.
    pub fn take_back(&mut self) {
        let Some(terminal) = self.lent.take() else { return };
        // Who stands in the background and changes the foreground is stopped, unless it blocks this signal.
        let block: SigSet = [Masked::SIGTTOU].into_iter().collect();
        let before = block.thread_swap_mask(SigmaskHow::SIG_BLOCK);
        let _ = tcsetpgrp(&terminal, getpgrp());
        if let Ok(before) = before {
            let _ = before.thread_set_mask();
        }
    }
}
