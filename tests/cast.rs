//! Consumers that only tests register: one that speaks, two that hear, one that fails, one that is slow.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use runtape::{
    consumers::REGISTRY,
    decision::Decision,
    fold::{At, Body, Consumer, Decisions, Event, Registration},
    subject::Subject,
};
use serde::{Deserialize, Serialize};

/// Speaks at every third event that has an agent.
#[derive(Default, Serialize, Deserialize)]
pub struct Pulse {
    events: u64,
}

impl Consumer for Pulse {
    const NAME: &'static str = "pulse";
    const VERSION: u32 = 1;

    fn apply(&mut self, _at: &At, event: &Event, out: &mut Decisions) {
        let Some(agent) = event.agent else { return };
        self.events += 1;
        if self.events.is_multiple_of(3) {
            let numbers = vec![("events", self.events.into()), ("origin", event.origin.into())];
            out.emit(Subject::Agent(agent), "beat", "third", numbers);
        }
    }
}

/// A number that depends on everything that was seen and on its order.
#[derive(Default, Serialize, Deserialize)]
struct Trace(u64);

impl Trace {
    fn see(&mut self, kind: u64, position: u64) {
        for word in [kind, position] {
            self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(7);
        }
    }
}

/// Hears the pulse and the quarantine, and speaks of every second thing it hears.
#[derive(Default, Serialize, Deserialize)]
pub struct Echo {
    trace: Trace,
    heard: u64,
}

impl Consumer for Echo {
    const NAME: &'static str = "echo";
    const VERSION: u32 = 1;
    const HEARS: &'static [&'static str] = &["quarantine", "pulse"];

    fn apply(&mut self, at: &At, event: &Event, _out: &mut Decisions) {
        let kind = match event.body {
            Body::Run(_) => 1,
            Body::Alpha(_) => 2,
            Body::Pnl(_) => 3,
            _ => 4,
        };
        self.trace.see(kind, at.position);
    }

    fn hear(&mut self, at: &At, decision: &Decision, out: &mut Decisions) {
        self.trace.see(if decision.consumer == "pulse" { 5 } else { 6 }, at.position);
        self.heard += 1;
        if self.heard.is_multiple_of(2) {
            out.emit(decision.subject, "heard", "second", vec![("trace", self.trace.0.into())]);
        }
    }
}

/// Hears an echo: what was heard is heard of again, at the same position.
#[derive(Default, Serialize, Deserialize)]
pub struct Canyon {
    trace: Trace,
}

impl Consumer for Canyon {
    const NAME: &'static str = "canyon";
    const VERSION: u32 = 1;
    const HEARS: &'static [&'static str] = &["pulse", "echo"];

    fn apply(&mut self, at: &At, event: &Event, _out: &mut Decisions) {
        self.trace.see(event.origin, at.position);
    }

    fn hear(&mut self, at: &At, decision: &Decision, out: &mut Decisions) {
        self.trace.see(u64::from(decision.ordinal), at.position);
        if decision.consumer == "echo" {
            out.emit(decision.subject, "again", "echo", vec![("trace", self.trace.0.into())]);
        }
    }
}

/// How often each [`Fuse`] still fails, and at which position.
static FAILURES: [AtomicI64; 8] = [const { AtomicI64::new(0) }; 8];
static FAILS_AT: [AtomicU64; 8] = [const { AtomicU64::new(u64::MAX) }; 8];

/// A pulse that fails at one position. Each test has a number of its own.
#[derive(Default, Serialize, Deserialize)]
pub struct Fuse<const N: usize> {
    pulse: Pulse,
}

/// The next so many times, fuse `N` fails at a position.
pub fn fails<const N: usize>(position: u64, times: i64) {
    FAILS_AT[N].store(position, Ordering::SeqCst);
    FAILURES[N].store(times, Ordering::SeqCst);
}

fn burn<const N: usize>(position: u64) {
    if position == FAILS_AT[N].load(Ordering::SeqCst) && FAILURES[N].fetch_sub(1, Ordering::SeqCst) > 0 {
        panic!("a fuse that a test put in");
    }
}

impl<const N: usize> Consumer for Fuse<N> {
    const NAME: &'static str = "pulse";
    const VERSION: u32 = 1;

    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        self.pulse.apply(at, event, out);
        burn::<N>(at.position);
    }
}

/// An echo that fails at one position.
#[derive(Default, Serialize, Deserialize)]
pub struct EchoFuse<const N: usize> {
    echo: Echo,
}

impl<const N: usize> Consumer for EchoFuse<N> {
    const NAME: &'static str = "echo";
    const VERSION: u32 = 1;
    const HEARS: &'static [&'static str] = Echo::HEARS;

    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        self.echo.apply(at, event, out);
        burn::<N>(at.position);
    }

    fn hear(&mut self, at: &At, decision: &Decision, out: &mut Decisions) {
        self.echo.hear(at, decision, out);
    }
}

/// What [`Snail`] takes for an event, in microseconds.
pub static SNAIL_MICROS: AtomicU64 = AtomicU64::new(0);

/// A pulse that takes its time.
#[derive(Default, Serialize, Deserialize)]
pub struct Snail {
    pulse: Pulse,
}

impl Consumer for Snail {
    const NAME: &'static str = "snail";
    const VERSION: u32 = 1;

    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        thread::sleep(Duration::from_micros(SNAIL_MICROS.load(Ordering::SeqCst)));
        self.pulse.apply(at, event, out);
    }
}

/// The consumers of the program, and these after them.
pub fn with(more: &[Registration]) -> &'static [Registration] {
    REGISTRY.iter().chain(more).copied().collect::<Vec<_>>().leak()
}

/// A pulse of a later version, which speaks at every second event.
#[derive(Default, Serialize, Deserialize)]
pub struct PulseAnew {
    events: u64,
}

impl Consumer for PulseAnew {
    const NAME: &'static str = "pulse";
    const VERSION: u32 = 2;

    fn apply(&mut self, _at: &At, event: &Event, out: &mut Decisions) {
        let Some(agent) = event.agent else { return };
        self.events += 1;
        if self.events.is_multiple_of(2) {
            out.emit(Subject::Agent(agent), "beat", "second", vec![("events", self.events.into())]);
        }
    }
}
