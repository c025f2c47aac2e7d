//! Floor 1: streaming mathematics without domain words.
//!
//! Sums and drawdowns are exact integers of a fixed unit and are rounded once, when somebody asks for an `f64`. So a
//! result is a function of the values alone: not of the order of evictions, nor of a restart in between.
//!
//! Inputs are finite `f64` with `|x| <= 2^53` ([`LIMIT`]). Everything here is total: [`admit`] brings any other input
//! into that range instead of panicking.

/// Two numbers that describe a path's largest fall, kept up to date while a window slides.
mod drawdown;
/// Tests that stay valid however often one looks.
pub mod evidence;
/// Sums of `f64` without rounding, canonical in memory and on the wire.
pub mod exact;
/// Fisher's exact test of a two by two table.
pub mod fisher;
/// Two's-complement integers of a fixed number of limbs.
mod fixed;
/// Counts per fixed bucket with an exact sum.
pub mod histogram;
/// A bounded FIFO of exact sums, each kept under a key while it is in the window.
pub mod keyed;
/// Where the entries of a queue are, by key, for queues that only the oldest leave.
mod lately;
/// A bounded FIFO of `f64` with its exact mean, and nothing else.
pub mod mean;
/// What will be needed soon, fetched into the cache.
pub mod near;
/// The two number types that windows compute with: fast `i128`, and wide for everything else.
mod number;
/// Median and nearest-rank percentiles by integer arithmetic.
pub mod order;
/// Where the entries of a queue are, by key.
pub mod places;
/// Plain `f64` to narrow numbers and back, by shifts alone.
mod plain;
/// Queues that hold so many entries and no more.
pub mod ring;
/// From exact integers and quotients to the nearest `f64`.
mod scaled;
/// Where the mean of a sequence changed.
pub mod segments;
/// Functions that std computes differently from platform to platform.
pub mod special;
/// Which conditions go with a target more often than chance lets expect.
pub mod subgroups;
/// All statistics of a finished sequence, computed when somebody looks.
pub mod summary;
/// Running sum, sum of squares and drawdown of one window in one number type.
mod tally;
/// A bounded FIFO of `f64` with exact statistics in constant time per push.
pub mod window;

/// Exact rationals on paper arithmetic: the slow second opinion of the tests.
#[cfg(test)]
mod reference;
/// Windows, sums and summaries against the slow reference.
#[cfg(test)]
mod tests;

pub use exact::Exact;
pub use histogram::{Bounds, Histogram};
pub use keyed::{Change, KeyedWindow};
pub use mean::MeanWindow;
pub use places::Places;
pub use scaled::{LIMIT, admit};
pub use summary::Summary;
pub use window::Window;
