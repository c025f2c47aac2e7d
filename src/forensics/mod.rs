//! Floor 3: why money was made and lost, from the same events and decisions that everything else is made of.
//!
//! [`Recorder`] joins what the tape says of each run, with what held when the run began. All else is a function of its
//! [`Runs`]: where losses cluster, what changed before they did, and what one run has to show for itself.

/// Sums of PnL by what a run has in common with others.
pub mod breakdown;
/// Where losses cluster.
pub mod patterns;
/// Which runs count towards promotion.
pub mod promotion;
/// Batches and decisions to one row per run.
mod recorder;
/// One row per run.
mod runs;
/// A recorder as records, and back.
mod saved;
/// What changed first.
pub mod shifts;
/// What held an agent back, and how much of its size it might use.
mod standing;
/// What held everybody back, decision by decision.
mod standings;
/// What one run has to show for itself.
pub mod story;
/// What another policy would have made of it.
pub mod trial;
/// Strings by number.
mod words;

/// Lines in, findings out.
#[cfg(test)]
mod tests;

pub use recorder::Recorder;
pub use runs::{Held, Run, Runs, Tally};
pub use standing::Standing;
pub use words::{Word, Words};
