use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    AppendResult, Config, OwnStream, StartError, Started, Status,
    append::Order,
    start::{self, Parts},
    worker::{Ended, Worker},
};
use crate::streams::{Scope, watch::Watch};

/// A fold that moves only when it is told to, on the thread of the caller. Its parts and what they do are those of
/// [`Live`](super::Live); what is missing is the waiting.
pub struct Steps {
    parts: Parts,
    following: bool,
    /// Why the tailer ended.
    failed: Option<String>,
    /// Batches handed on since the workers last took all of theirs.
    untaken: usize,
}

/// Batches that may wait for a worker: fewer than its queue has room for.
const UNTAKEN_MAX: usize = super::worker::QUEUE / 4;

impl Steps {
    /// # Errors
    /// As [`Live::start`](super::Live::start).
    pub fn start(config: Config) -> Result<Steps, StartError> {
        let watch = Watch::blind().map_err(|source| StartError::Io { what: "notifications".to_owned(), source })?;
        Ok(Steps { parts: start::assemble(config, watch)?, following: false, failed: None, untaken: 0 })
    }

    pub fn status(&self) -> &Arc<Status> {
        &self.parts.status
    }

    pub fn started(&self) -> &Started {
        &self.parts.started
    }

    /// Whether it has read its history, and can look at the streams.
    pub fn is_following(&self) -> bool {
        self.following && self.failed.is_none() && self.parts.status.troubles().tape.is_none()
    }

    /// Why nothing more is read, if so.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The tailer: one round of the history, or one look at all streams. Whether there was anything.
    pub fn look(&mut self) -> bool {
        self.make_room();
        if self.failed.is_some() {
            return false;
        }
        if !self.following {
            if let Some(round) = self.parts.history.next() {
                let recalled = self.parts.tailer.recall(round);
                return self.noted(recalled.map(|()| true));
            }
            self.following = true;
        }
        let polled = self.parts.tailer.poll(&Scope::All);
        let some = self.noted(polled);
        if self.failed.is_none() {
            self.parts.status.looked(self.parts.tailer.clock.now());
            self.parts.status.catch_up();
            self.parts.tailer.snapshot_when_due();
        }
        some
    }

    /// The tailer: lines to append to streams of ours.
    pub fn append(
        &mut self,
        orders: Vec<(OwnStream, Vec<String>)>,
        reply: impl Fn(usize, AppendResult) + Clone + Send + 'static,
    ) {
        self.make_room();
        let order = |(nth, (stream, lines))| {
            let reply = reply.clone();
            Order::new(stream, lines, move |result| reply(nth, result))
        };
        let orders: Vec<Order> = orders.into_iter().enumerate().map(order).collect();
        // As while the history is read, and after a failure: whoever asks is told.
        if !self.following || self.failed.is_some() {
            return orders
                .into_iter()
                .for_each(|order| _ = self.parts.tailer.reply(super::tailer::Request::Append(order)));
        }
        let appended = self.parts.tailer.append(orders).map(|()| true);
        self.noted(appended);
    }

    /// One consumer takes one message; those it hears first, so far as it must wait for them. Whether there was anything.
    pub fn fold(&mut self, index: usize) -> bool {
        let heard = self.parts.workers[index].slot.hears();
        for name in heard {
            if let Some(speaker) = self.parts.workers[..index].iter().position(|worker| worker.slot.name() == *name) {
                while self.fold(speaker) {}
            }
        }
        match self.parts.workers[index].turn() {
            Turn::Done => true,
            Turn::Idle => false,
            Turn::Ended(why) => {
                let why = format!("consumer {} stays down: {why}", self.parts.workers[index].slot.name());
                self.failed.get_or_insert(why);
                false
            }
        }
    }

    pub fn consumers(&self) -> usize {
        self.parts.workers.len()
    }

    /// The keeper: syncs, and writes what stands on it.
    pub fn keep(&mut self) {
        self.parts.keeper.turn();
    }

    /// The files for others: asks, lets the consumers answer, and writes.
    pub fn control(&mut self) {
        let Some(mut writer) = self.parts.controls.take() else { return };
        let asked = writer.ask();
        self.fold_all();
        writer.learn(asked, Duration::ZERO);
        writer.write();
        self.parts.controls = Some(writer);
    }

    /// All consumers take all that is there.
    pub fn fold_all(&mut self) {
        (0..self.consumers()).for_each(|index| while self.fold(index) {});
        self.untaken = 0;
    }

    /// Whether all that is sealed is folded, durable and written.
    pub fn is_settled(&self) -> bool {
        let status = self.status();
        let head = status.head.load(Ordering::Acquire);
        status.durable.load(Ordering::Acquire) >= head && status.decided() >= head
    }

    /// Ends as a program that is told to stop does.
    pub fn stop(mut self) {
        self.look();
        self.parts.tailer.finish();
        self.fold_all();
        self.keep();
    }

    /// The state of every consumer, in list order.
    pub fn states(&self) -> Vec<(&'static str, u64, Vec<u8>)> {
        self.parts.workers.iter().map(|w| (w.slot.name(), w.slot.position(), w.slot.save())).collect()
    }

    fn noted(&mut self, done: Result<bool, String>) -> bool {
        self.untaken += 1;
        done.unwrap_or_else(|error| {
            self.parts.tailer.give_up(&error);
            self.failed = Some(error);
            false
        })
    }

    /// A tailer that finds no room in a queue waits for a thread; here there is none.
    fn make_room(&mut self) {
        if self.untaken >= UNTAKEN_MAX {
            self.fold_all();
        }
    }
}

/// What came of one turn.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Done,
    /// There was nothing to do.
    Idle,
    /// It cannot go on, and why.
    Ended(String),
}

impl Worker {
    /// Takes one message, if there is one, on the thread of the caller: those it hears must have taken theirs before.
    fn turn(&mut self) -> Turn {
        match self.inbox.try_recv().map(|message| self.take(message)) {
            Ok(Ok(())) => Turn::Done,
            Ok(Err(Ended::Down(why) | Ended::Unread(why))) => Turn::Ended(why),
            Ok(Err(Ended::Behind)) => Turn::Ended("it was left behind".to_owned()),
            Ok(Err(Ended::Broken)) => Turn::Ended("it failed".to_owned()),
            Ok(Err(Ended::Stopped)) | Err(_) => Turn::Idle,
        }
    }
}
