//! Floor 9: history as tables and series: every run with what held when it began, and what the metric page would have
//! shown at each step.
//!
//! Logs of any kind become a walk ([`pile`]), the walk gives the rows, and rows become files by day ([`table`]). Held in
//! memory are the runs that may still get lines, and the rows of a few days that are not written yet.

/// Logs to tables.
pub mod backfill;
/// How far a backfill is, to go on with it.
mod checkpoint;
/// A disk that counts what is read of it.
mod counted;
/// Tables that fill while a walk goes on.
mod filling;
/// Series with timestamps, for a Prometheus.
mod openmetrics;
/// A Parquet file that is being written.
mod part;
/// Old logs from anywhere as one history.
pub mod pile;
/// The tables of a tape that grows, written anew again and again.
pub mod rollups;
/// The columns of the tables.
pub mod schema;
/// The state of everybody at the steps of a history.
pub mod series;
/// Rows to Parquet files, by day.
mod table;

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::replay::ReplayError;

/// A backfill could not be finished.
#[derive(Debug, Error)]
pub enum HistoryError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "cannot write {}: {source}; make room and type the same again: it goes on from its last checkpoint",
        path.display()
    )]
    Write { path: PathBuf, source: io::Error },
    #[error("{} holds a backfill that this one cannot go on with: {what}; choose another --out, or remove it", out.display())]
    Other { out: PathBuf, what: String },
}
