//! runtape is the flight recorder and the circuit breaker of a fleet of trading agents: every run, signal and realized
//! profit is a line in an append-only log; runtape gives the lines one order, folds them, and says who may trade, at what
//! size, and why: now, at any moment of the past, or under another policy.
//!
//! One sentence to hold every file against: **lines become events on the tape; each consumer folds the tape; views and
//! decisions leave; nothing flows back except by being appended to a stream.**
//!
//! ```text
//!  streams (files anyone appends to)
//!    |  read, order, seal
//!    v
//!   tape ── batch of events ──►  consumer ─► view ──► /metrics, JSON, tables
//!    (positions 0,1,2,...)       consumer ─► .runtape/decisions/<consumer>.jsonl
//!                                consumer ─► .runtape/snapshots (state + position, one value)
//! ```
//!
//! # Floors
//! A file imports only lower floors, or its own folder. The modules below stand in this order.
//!
//! | floor | modules | |
//! |---|---|---|
//! | 0 | [`event`], [`subject`], [`simulate`] | **pure**: no file, no clock, no thread, no chance, no hash-map order; total functions |
//! | 1 | [`stats`], [`policy`], [`decision`], [`import`], [`view`] | |
//! | 2 | [`fold`] | |
//! | 3 | [`consumers`], [`forensics`] | |
//! | 4 | [`render`] | |
//! | 5 | [`clock`], [`files`] | **sync shell**: the clock and the disk, may fail |
//! | 6 | [`layout`], [`streams`], [`store`] | |
//! | 7 | [`tape`] | |
//! | 8 | [`replay`](mod@replay) | |
//! | 9 | [`history`], [`keeping`], [`live`], [`report`] | threads in [`live`] |
//! | 10 | [`drill`], [`serve`] | **async shell**: tokio is named here and nowhere else |
//! | 11 | [`cli`] | |
//!
//! A new consumer is one file and one line in [`consumers`]; snapshots, /metrics, replay, verify and the tests that
//! quantify over [`consumers::REGISTRY`] cover it without another edit.
//!
//! # Invariants, as absences
//! - No floor below [`clock`] opens a file, reads a clock or spawns a thread. The wall clock is read in [`clock`] only, the
//!   disk is reached through [`files`] only: a simulation brings its own of both. ([`serve`] and [`cli`] read the files that
//!   a person names.)
//! - Nothing but [`tape`] decides order. Nothing but the tape brings a policy in. There is no `is_live` flag in the core:
//!   effects are a buffer, the shell decides.
//! - No second fold: live, replay, tests and benches call the same [`Consumer::apply`](fold::Consumer::apply).
//! - A reader never writes and never truncates. A stream of others is never truncated by us; only files we own alone are
//!   repaired, before the first append.
//! - No snapshot is written past the durable watermark (streams and tape synced).
//! - No iteration over a hash map reaches an output. No float is summed in an order that depends on threads or chunks. No
//!   transcendental function of std in the fold, since their results differ between platforms: `libm` has them.
//! - No consumer imports another or reads its state; it hears decisions.
//! - No `unwrap` on input. No global registry: served numbers are rendered from views.
//! - Unknown is not an error, malformed is not an error, a finding is not an error: each is a value with its own name.
//!
//! `tests/architecture.rs` reads `src/` and holds what a machine can hold of this.

#![forbid(unsafe_code)]

// Floor 0: what a line can say: kinds, ids, time, money; decoding that never fails.
pub mod event;
// Floor 0: a seeded fleet of agents, for demos, tests and benches.
pub mod simulate;
// Floor 0: whom a number or a decision is about.
pub mod subject;

// Floor 1: what a consumer concludes, with its numbers.
pub mod decision;
// Floor 1: records of other programs, turned into lines.
pub mod import;
// Floor 1: every threshold, validated.
pub mod policy;
// Floor 1: streaming mathematics without domain words.
pub mod stats;
// Floor 1: samples and rows, plain.
pub mod view;

// Floor 2: intake (dedupe, tape time, join), what a consumer is, the engine step.
pub mod fold;

// Floor 3: the consumers and their order.
pub mod consumers;
// Floor 3: why money was made and lost.
pub mod forensics;

// Floor 4: views to bytes: metric pages, JSON, tables.
pub mod render;

// Floor 5: the only file that reads a clock.
pub mod clock;
// Floor 5: all that is asked of a disk, and the one of this machine.
pub mod files;

// Floor 6: where things lie in an events directory.
pub mod layout;
// Floor 6: what is kept beside the tape: snapshots, decisions, rejects, the lock.
pub mod store;
// Floor 6: the files that producers append to, recognised and followed.
pub mod streams;

// Floor 7: the total order: rounds sealed, read back and verified.
pub mod tape;

// Floor 8: the loop of every reading command.
pub mod replay;

#[cfg(feature = "history")]
// Floor 9: history as tables.
pub mod history;
// Floor 9: history copied away, brought back, cut short, packed.
pub mod keeping;
// Floor 9: the same fold, live, on threads.
pub mod live;
// Floor 9: why money was made and lost, asked of a directory.
pub mod report;

// Floor 10: disasters on a simulated disk, drawn from a seed.
pub mod drill;
// Floor 10: HTTP.
pub mod serve;

// Floor 11: one file per command.
pub mod cli;
