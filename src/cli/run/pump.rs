use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::ChildStdout,
    thread::{self, JoinHandle},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_setfl},
    io::{Errno, read, write},
    pipe::{PipeFlags, pipe_with},
};

/// What is kept of the end of standard output.
pub const TAIL_MAX: usize = 64 * 1024;

/// Passes standard output through byte by byte, as it comes, and keeps its end.
#[derive(Debug)]
pub struct Pump {
    /// Closed when the command has ended.
    ended: OwnedFd,
    /// Hangs up when everything was passed on.
    finished: OwnedFd,
    thread: JoinHandle<Tail>,
}

/// The end of what was printed.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: Vec<u8>,
    /// Something before it is gone.
    cut: bool,
}

impl Pump {
    /// # Errors
    /// No pipe, or no thread.
    pub fn start(out: ChildStdout) -> io::Result<Pump> {
        let (ended_read, ended) = pipe_with(PipeFlags::CLOEXEC)?;
        let (finished, running) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&out, OFlags::NONBLOCK)?;
        let thread = thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            let mut tail = Tail::default();
            // A reader that went away is the command's business: its next write says so, since nobody reads any more.
            let _ = pass(&out, &ended_read, &mut tail);
            drop(running);
            tail
        })?;
        Ok(Pump { ended, finished, thread })
    }

    /// After the command's end: a descriptor that hangs up once what it printed was passed on, and the end of that.
    pub fn finish(self) -> (OwnedFd, JoinHandle<Tail>) {
        drop(self.ended);
        (self.finished, self.thread)
    }
}

/// Until the end of the output, or until the command has ended and what it had printed was read: something it left
/// running may hold the output open for ever.
fn pass(out: &ChildStdout, ended: &OwnedFd, tail: &mut Tail) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut has_ended = false;
    loop {
        match read(out, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                write_out(&buffer[..n])?;
                tail.push(&buffer[..n]);
                continue;
            }
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) if !has_ended => {}
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut both = [PollFd::new(out, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut both, None) {
            Ok(_) | Err(Errno::INTR) => has_ended = !both[1].revents().is_empty(),
            Err(error) => return Err(error.into()),
        }
    }
}

fn write_out(mut bytes: &[u8]) -> io::Result<()> {
    let stdout = rustix::stdio::stdout();
    while !bytes.is_empty() {
        match write(stdout, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 4 * TAIL_MAX {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let over = self.bytes.len().saturating_sub(TAIL_MAX);
        self.bytes.drain(..over);
        self.cut |= over > 0;
    }

    /// The last line that begins as an object, if it lies within the last [`TAIL_MAX`] bytes.
    pub fn result(mut self) -> Option<Vec<u8>> {
        self.trim();
        // The first line may lack its beginning.
        let mut lines = self.bytes.split(|byte| *byte == b'\n').skip(usize::from(self.cut));
        let is_object = |line: &&[u8]| line.trim_ascii_start().starts_with(b"{");
        let last = lines.by_ref().filter(is_object).last();
        last.map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_the_last_whole_line_that_is_an_object() {
        let result = |chunks: &[&[u8]]| {
            let mut tail = Tail::default();
            chunks.iter().for_each(|chunk| tail.push(chunk));
            tail.result()
        };
        assert_eq!(result(&[b"{\"a\":1}\n{\"b\"", b":2}\ndone\n\n"]), Some(b"{\"b\":2}".to_vec()));
        assert_eq!(result(&[b"nothing\n"]), None);
        let long = vec![b'x'; 5 * TAIL_MAX];
        assert_eq!(result(&[&long, b"{\"cut\":1}\n"]), None, "it is not the beginning of a line");
        assert_eq!(result(&[&long, b"\n{\"b\":2}"]), Some(b"{\"b\":2}".to_vec()));
    }
}
