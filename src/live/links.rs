use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use super::{
    SealedBatch,
    worker::{QUEUE, ToWorker},
};
use crate::clock::Stopwatch;

/// A worker may take so long over one batch before it must read the tape by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// A worker that is behind may hold the others up for so long in all, until it has kept up for a whole queue of batches.
const HELD_UP_MAX: Duration = Duration::from_secs(1);

/// A worker as the tailer sees it.
pub struct Link {
    inbox: SyncSender<ToWorker>,
    /// It reads the tape by itself; nothing is sent until it joins again. Set by either side, cleared by a join.
    away: Arc<AtomicBool>,
    held_up: Duration,
    /// Batches that found room at once, one after the other.
    kept_up: usize,
}

impl Link {
    pub fn new(inbox: SyncSender<ToWorker>, away: Arc<AtomicBool>) -> Link {
        Link { inbox, away, held_up: Duration::ZERO, kept_up: 0 }
    }

    pub fn away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// From here on it gets batches again.
    pub fn join(&mut self) {
        (self.held_up, self.kept_up) = (Duration::ZERO, 0);
        self.away.store(false, Ordering::Release);
    }

    /// Hands the `nth` batch of a round to the worker. In a round of many batches, and in history that everybody must have
    /// read before anything is served, all wait for the slowest; one that is behind from round to round is soon left to
    /// itself.
    pub fn batch(&mut self, sealed: &Arc<SealedBatch>, nth: usize, history: bool) {
        let together = history || nth >= QUEUE;
        let patience = if together { PATIENCE } else { HELD_UP_MAX.saturating_sub(self.held_up) };
        let Some(waited) = self.deliver(ToWorker::Batch(sealed.clone()), patience) else {
            return self.away.store(true, Ordering::Release);
        };
        self.kept_up = if waited.is_zero() { self.kept_up + 1 } else { 0 };
        if self.kept_up >= QUEUE {
            self.held_up = Duration::ZERO;
        } else if !together {
            self.held_up += waited;
        }
    }

    /// Something that must not be lost for want of room, unless the worker is stuck.
    pub fn insist(&self, message: ToWorker) {
        self.deliver(message, PATIENCE);
    }

    /// Something that is left out when there is no room.
    pub fn mention(&self, message: ToWorker) {
        let _ = self.inbox.try_send(message);
    }

    /// Waits for room; how long it took, or none when it did not get there (or, for a batch, is not wanted).
    fn deliver(&self, mut message: ToWorker, patience: Duration) -> Option<Duration> {
        let watch = Stopwatch::start();
        let mut waited = Duration::ZERO;
        loop {
            if matches!(message, ToWorker::Batch(_)) && self.away() {
                return None;
            }
            message = match self.inbox.try_send(message) {
                Ok(()) => return Some(waited),
                Err(TrySendError::Disconnected(_)) => return None,
                Err(TrySendError::Full(message)) => message,
            };
            if waited > patience {
                return None;
            }
            thread::sleep(Duration::from_micros(200));
            waited = watch.elapsed();
        }
    }
}
