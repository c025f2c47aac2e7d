//! Floor 2: the pure engine. Decoded lines go through [`intake`] (dedupe, tape time, join) into a [`Batch`] of events;
//! every consumer folds the batches through its [`Slot`]; decisions and views leave. Live, replay, verify and benches
//! call the same [`Slot::step`].

/// Events in tape order, as intake hands them to every consumer.
pub mod batch;
/// The trait of a consumer, and what it sees at a position.
pub mod consumer;
/// Event ids seen lately.
mod dedupe;
/// All consumers stepped together, in list order.
pub mod engine;
/// What was said of a batch, position by position.
mod heard;
/// Lines to events: dedupe, tape time, join; shared by all consumers.
pub mod intake;
/// Which agent a run belongs to, and the PnL that waits for one.
mod join;
/// What intake counted.
pub mod lines;
/// Commands, obeyed or refused.
pub mod orders;
/// One consumer behind an object-safe face: step, save, restore, look.
pub mod slot;

/// Lines in, events and counts out.
#[cfg(test)]
mod tests;

pub use batch::{Batch, Body, Entry, Event, Place, Placed, Reject, Text};
pub use consumer::{At, Consumer, Decisions, Followed};
pub use engine::{Engine, Registration};
pub use intake::Intake;
pub use lines::Lines;
pub use slot::{Emitted, Slot};
