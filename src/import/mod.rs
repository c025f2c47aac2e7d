//! Floor 1: records of other programs, turned into lines.
//!
//! A source (a mapping, or a format that is known by name) makes [`Draft`]s of [`Record`]s: fields of
//! [`event::fields`](crate::event::fields) with the path each came from. Everything here is pure and total: what cannot be
//! used is a [`Refusal`] with its place.

/// A line before it is written: fields, where each came from, and the identity of its record.
pub mod draft;
/// Trades of freqtrade's backtests.
pub mod freqtrade;
/// Traces, observations and scores of Langfuse.
pub mod langfuse;
/// Spend logs of LiteLLM.
pub mod litellm;
/// `field = path`, as a person writes it.
pub mod mapping;
/// `a.b[0].c`: where a value stands in a record.
pub mod path;
/// Bytes of a file to records.
pub mod records;
/// What was recognised, for a person to look at before anything is written.
pub mod report;
/// Values of other programs in the shapes of ours.
pub mod value;

pub use draft::{Draft, Drafts, Refusal};
pub use mapping::Mapping;
pub use path::Path;
pub use records::{Format, Record, Records};

#[cfg(test)]
mod tests;
