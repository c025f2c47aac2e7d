use std::{collections::BTreeSet, io, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::poll::Scope;

/// Wakes a waiting [`Watch`] from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Wakes the watch, or makes its next wait return at once.
    pub fn wake(&self) {
        // A full counter means that it is awake already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// Why a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The kernel named these files, or lost count of them.
    Changed(Scope),
    /// Somebody called [`Waker::wake`].
    Called,
    TimedOut,
}

/// Waits for changes of a directory. What the kernel says is a hint: whoever waits must also look by himself now and
/// then.
pub struct Watch {
    #[cfg(target_os = "linux")]
    inotify: Option<inotify::Inotify>,
    waker: Waker,
    buffer: Vec<u8>,
}

impl Watch {
    /// Watches a directory where the kernel can; elsewhere only wakers and timeouts end a wait.
    ///
    /// # Errors
    /// No event descriptor can be made.
    pub fn new(dir: &Path) -> io::Result<Watch> {
        Watch::of(
            #[cfg(target_os = "linux")]
            watch_dir(dir).ok(),
        )
    }

    /// One that the kernel tells nothing: only wakers and timeouts end a wait.
    ///
    /// # Errors
    /// No event descriptor can be made.
    pub fn blind() -> io::Result<Watch> {
        Watch::of(
            #[cfg(target_os = "linux")]
            None,
        )
    }

    fn of(#[cfg(target_os = "linux")] inotify: Option<inotify::Inotify>) -> io::Result<Watch> {
        let waker = Waker(Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?));
        Ok(Watch {
            #[cfg(target_os = "linux")]
            inotify,
            waker,
            buffer: vec![0; 16 * 1024],
        })
    }

    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// `inotify`, or `poll` where notifications are not to be had.
    pub fn mode(&self) -> &'static str {
        #[cfg(target_os = "linux")]
        if self.inotify.is_some() {
            return "inotify";
        }
        "poll"
    }

    /// Waits for a change, a call, or the end of `timeout_ms`.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn wait(&mut self, timeout_ms: u64) -> io::Result<Woken> {
        let timeout = Timespec { tv_sec: (timeout_ms / 1000) as i64, tv_nsec: (timeout_ms % 1000) as i64 * 1_000_000 };
        let waker = self.waker.clone();
        let mut fds = vec![PollFd::new(&*waker.0, PollFlags::IN)];
        #[cfg(target_os = "linux")]
        if let Some(inotify) = &self.inotify {
            fds.push(PollFd::new(inotify, PollFlags::IN));
        }
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) | Ok(0) => return Ok(Woken::TimedOut),
            other => other?,
        };
        let called = !fds[0].revents().is_empty();
        let changed = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if called {
            let _ = rustix::io::read(&*waker.0, &mut [0u8; 8]);
            return Ok(Woken::Called);
        }
        Ok(if changed { self.changes() } else { Woken::TimedOut })
    }

    /// Lets changes gather for a while, or until somebody calls.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub fn pause(&self, time: Duration) -> io::Result<()> {
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        match poll(&mut [PollFd::new(&*self.waker.0, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }

    #[cfg(target_os = "linux")]
    fn changes(&mut self) -> Woken {
        let Some(inotify) = &mut self.inotify else { return Woken::TimedOut };
        let Ok(events) = inotify.read_events(&mut self.buffer) else { return Woken::Changed(Scope::All) };
        let mut names = BTreeSet::new();
        for event in events {
            let by_write = event.mask == inotify::EventMask::MODIFY;
            match event.name.and_then(|name| name.to_str()) {
                Some(name) if by_write => names.insert(name.to_owned()),
                // A file came, went, or was renamed; or the queue ran over.
                _ => return Woken::Changed(Scope::All),
            };
        }
        Woken::Changed(Scope::Names(names.into_iter().collect()))
    }

    #[cfg(not(target_os = "linux"))]
    fn changes(&mut self) -> Woken {
        self.buffer.clear();
        Woken::Changed(Scope::All)
    }
}

#[cfg(target_os = "linux")]
fn watch_dir(dir: &Path) -> io::Result<inotify::Inotify> {
    use inotify::WatchMask;
    let inotify = inotify::Inotify::init()?;
    let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVE | WatchMask::DELETE | WatchMask::MOVE_SELF;
    inotify.watches().add(dir, mask)?;
    Ok(inotify)
}
