use std::sync::{
    atomic::Ordering,
    mpsc::{self, Receiver, SyncSender},
};

use super::{LOOK_TIMEOUT, Live, look::Handle, status::IntakeLook, tailer::Request, worker::ToWorker};
use crate::{
    clock::Stopwatch,
    render::{
        everybody::{self, Everybody},
        state::{Asked, Head, Part, State},
    },
    subject::Subject,
};

/// Which rows of everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// All, and what is said of the whole.
    All,
    /// The same, each with so many of its newest entries.
    Lately(usize),
    /// Every agent's, and the fleet's.
    Agents,
}

/// The state of the running fold, or a part of it, as `replay` shows it.
#[derive(Debug, Default)]
pub struct Now<S> {
    pub state: S,
    /// The position each consumer stood at that answered, in list order.
    pub consumers: Vec<(&'static str, u64)>,
    /// Who did not answer: consumers that are down or read the tape by themselves, and `intake` when nothing is read any
    /// more.
    pub silent: Vec<&'static str>,
}

/// What a consumer says, and where it stood.
pub struct Rows<P = Part> {
    pub name: &'static str,
    pub position: u64,
    pub part: P,
}

impl Live {
    /// The rows of one subject by kind (`agent`, `strategy`, `fleet`) and name, and the fleet's, without counts of lines;
    /// an unknown one has no row. It costs the same however many there are. Everything appended before the call is in
    /// them. Waits two seconds at most for those who do not answer.
    pub fn rows(&self, kind: &'static str, name: &str) -> Now<State> {
        let mut now = Now::default();
        let look = self.glance_at_intake();
        self.heard(look.as_ref(), &mut now);
        let found = self.names.find(kind, name).filter(|subject| *subject != Subject::Fleet);
        let asked = Asked::These(found.into_iter().chain([Subject::Fleet]).collect());
        let parts = self.ask(&mut now, |reply| ToWorker::Rows { asked: asked.clone(), reply });
        let head = look.map(head).unwrap_or_default();
        now.state = self.names.with(|names| State::new(head, parts, &asked, names));
        now
    }

    /// The rows of everybody, with the same promise. They are held as packed text: as trees, those of a hundred thousand
    /// agents take gigabytes.
    pub fn everybody(&self, of: Of) -> Now<Everybody> {
        let mut now = Now::default();
        let look = self.look_at_intake();
        self.heard(look.as_ref(), &mut now);
        let now_there = look.as_ref().and_then(|look| look.now);
        let asked = match of {
            Of::All => Asked::All(now_there),
            Of::Lately(count) => Asked::Lately(now_there, count),
            Of::Agents => Asked::Agents,
        };
        let roll = self.names.with(|names| everybody::roll(&asked, names));
        let everybody = |reply| ToWorker::Everybody { asked: asked.clone(), roll: roll.clone(), reply };
        let sheaves = self.ask(&mut now, everybody);
        now.state = Everybody::new(look.map(head).unwrap_or_default(), sheaves, &roll);
        now
    }

    fn heard<S>(&self, look: Option<&IntakeLook>, now: &mut Now<S>) {
        if look.is_none() || !self.status().caught_up.load(Ordering::Acquire) {
            now.silent.push("intake");
        }
    }

    /// Whether there is a subject of a kind (`agent`, `strategy`) and name.
    pub fn knows(&self, kind: &'static str, name: &str) -> bool {
        self.names.find(kind, name).is_some()
    }

    /// What every consumer says, in list order.
    fn ask<S, P>(&self, now: &mut Now<S>, question: impl Fn(SyncSender<Rows<P>>) -> ToWorker) -> Vec<P> {
        if !self.status.caught_up.load(Ordering::Acquire) {
            // Half of the history is nothing to look at.
            now.silent.extend(self.workers.iter().map(|handle| handle.name));
            return Vec::new();
        }
        let asked = |handle: &Handle| ask(&handle.inbox, &question);
        let answers: Vec<_> = self.workers.iter().map(asked).collect();
        let watch = Stopwatch::start();
        let mut parts = Vec::with_capacity(answers.len());
        for (answer, handle) in answers.into_iter().zip(&self.workers) {
            let left = LOOK_TIMEOUT.saturating_sub(watch.elapsed());
            match answer.and_then(|answer| answer.recv_timeout(left).ok()) {
                Some(rows) => {
                    now.consumers.push((rows.name, rows.position));
                    parts.push(rows.part);
                }
                None => now.silent.push(handle.name),
            }
        }
        parts
    }

    /// Reads what was appended up to now; what intake says of it, but for what grows with streams and files.
    fn glance_at_intake(&self) -> Option<IntakeLook> {
        let (reply, answer) = mpsc::channel();
        self.tailer.send(Request::Glance(reply)).ok()?;
        self.waker.wake();
        answer.recv_timeout(LOOK_TIMEOUT).ok()
    }
}

/// Asks a worker; none when it has no room for questions.
pub fn ask<P>(
    inbox: &SyncSender<ToWorker>,
    question: impl FnOnce(SyncSender<Rows<P>>) -> ToWorker,
) -> Option<Receiver<Rows<P>>> {
    let (reply, answer) = mpsc::sync_channel(1);
    inbox.try_send(question(reply)).ok().map(|()| answer)
}

fn head(look: IntakeLook) -> Head {
    Head {
        position: look.position,
        tape_time: look.tape_time,
        policy: look.policy.hash.clone(),
        lines: look.lines,
        waiting: look.waiting,
        state_hash: None,
        decisions: None,
    }
}
