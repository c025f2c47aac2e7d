//! Floor 0: a believable fleet of trading agents, seeded: lines in simulated-time order, as many as are asked for.
//!
//! The same [`Config`] gives the same bytes on every platform and in every build: the only source of chance is a
//! ChaCha stream, `ln` and `exp` come from `libm`, every emitted number is rounded to a few decimals, and nothing
//! here reads a clock or a file. What the fleet hides on purpose is written down in [`planted`].

mod agent;
mod draws;
mod fleet;
mod lines;
mod market;
mod models;
pub mod planted;
mod queue;
mod roster;
mod run;
#[cfg(test)]
mod tests;

pub use fleet::{Config, Fleet, SimLine};
pub use models::{MODELS, Model};
