use std::sync::{
    atomic::Ordering,
    mpsc::{self, Receiver, SyncSender},
};

use super::{LOOK_TIMEOUT, Live, status::IntakeLook, tailer::Request, worker::ToWorker};
use crate::{
    clock::Stopwatch,
    render::state::{Asked, Head, Part, State},
    subject::Subject,
};

/// Whose rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// Everybody's, and what is said of the whole.
    All,
    /// The same, each with so many of its newest entries.
    Lately(usize),
    /// Every agent's, and the fleet's.
    Agents,
    /// Those of one subject by kind (`agent`, `strategy`, `fleet`) and name, and the fleet's. It costs the same however
    /// many there are.
    One(&'static str, String),
}

/// The state of the running fold, or a part of it.
#[derive(Clone, Debug, Default)]
pub struct StateNow {
    /// As `replay` shows it. Of one subject: without counts of lines; unknown subjects have no row.
    pub state: State,
    /// The position each consumer stood at that answered, in list order.
    pub consumers: Vec<(&'static str, u64)>,
    /// Who did not answer: consumers that are down or read the tape by themselves, and `intake` when nothing is read any
    /// more.
    pub silent: Vec<&'static str>,
}

/// What a consumer says, and where it stood.
pub struct Rows {
    pub name: &'static str,
    pub position: u64,
    pub part: Part,
}

impl Live {
    /// The rows of one subject or of all, as `replay -o json` shows them. Everything appended before the call is in
    /// them. Waits two seconds at most for those who do not answer.
    pub fn rows(&self, of: Of) -> StateNow {
        let everything = matches!(of, Of::All | Of::Lately(_) | Of::Agents);
        let look = if everything { self.look_at_intake() } else { self.glance_at_intake() };
        let mut now = StateNow::default();
        if look.is_none() || !self.status().caught_up.load(Ordering::Acquire) {
            now.silent.push("intake");
        }
        let now_there = look.as_ref().and_then(|look| look.now);
        let asked = match of {
            Of::All => Asked::All(now_there),
            Of::Lately(count) => Asked::Lately(now_there, count),
            Of::Agents => Asked::Agents,
            Of::One(kind, name) => {
                let found = self.names.find(kind, &name).filter(|subject| *subject != Subject::Fleet);
                Asked::These(found.into_iter().chain([Subject::Fleet]).collect())
            }
        };
        let parts = self.ask(&asked, &mut now);
        let head = look.map(head).unwrap_or_default();
        now.state = self.names.with(|names| State::new(head, parts, &asked, names));
        now
    }

    /// Whether there is a subject of a kind (`agent`, `strategy`) and name.
    pub fn knows(&self, kind: &'static str, name: &str) -> bool {
        self.names.find(kind, name).is_some()
    }

    /// What every consumer says, in list order.
    fn ask(&self, asked: &Asked, now: &mut StateNow) -> Vec<Part> {
        if !self.status.caught_up.load(Ordering::Acquire) {
            // Half of the history is nothing to look at.
            now.silent.extend(self.workers.iter().map(|handle| handle.name));
            return Vec::new();
        }
        let rows = |reply| ToWorker::Rows { asked: asked.clone(), reply };
        let answers: Vec<_> = self.workers.iter().map(|handle| ask(&handle.inbox, rows)).collect();
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
pub fn ask(
    inbox: &SyncSender<ToWorker>,
    question: impl FnOnce(SyncSender<Rows>) -> ToWorker,
) -> Option<Receiver<Rows>> {
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
