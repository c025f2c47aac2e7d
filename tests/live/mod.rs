/// Lines that the fold appends itself.
mod appending;
/// The files for processes without a network.
mod controls;
/// The state as JSON.
mod rows;

use std::{
    sync::{atomic::Ordering, mpsc},
    time::Duration,
};

use runtape::{
    clock::Clock,
    fold::Registration,
    layout::Layout,
    live::{AppendResult, Cadence, Config, Live, OwnStream},
};

use crate::{
    cast,
    support::{Events, wait_until},
};

/// A fold in this process that has read its history.
pub struct Stage {
    pub events: Events,
    pub live: Live,
}

impl Stage {
    pub fn open(events: Events, more: &[Registration]) -> Stage {
        Stage::at(events, more, Clock::system())
    }

    pub fn at(events: Events, more: &[Registration], clock: Clock) -> Stage {
        let cadence = Cadence {
            poll: Duration::from_millis(20),
            coalesce: Duration::from_millis(1),
            snapshot: Duration::from_millis(50),
        };
        let layout = Layout::new(events.path());
        let config = Config { layout, registry: cast::with(more), clock, cadence, quarantine_file: None };
        let mut live = None;
        // A process that is being started beside us holds every lock of ours until it runs its own program.
        wait_until("the directory is free", || {
            live = Live::start(config.clone()).ok();
            live.is_some()
        });
        let stage = Stage { live: live.expect("a free directory"), events };
        wait_until("it follows", || stage.live.status().caught_up.load(Ordering::Acquire));
        stage
    }

    /// Appends lines and waits for what came of them.
    pub fn append(&self, stream: OwnStream, lines: &[&str]) -> AppendResult {
        let (reply, answer) = mpsc::channel();
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.live.append(stream, lines, move |result| reply.send(result).expect("somebody waits"));
        answer.recv_timeout(Duration::from_secs(20)).expect("an answer")
    }

    pub fn wait_for(&self, position: u64) {
        let status = self.live.status();
        let there = || status.consumers.iter().all(|consumer| consumer.position.load(Ordering::Acquire) >= position);
        wait_until("every consumer has come there", there);
    }

    pub fn close(self) -> Events {
        self.live.stop();
        self.events
    }
}
