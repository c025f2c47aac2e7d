//! Floor 9: history as tables: every run with what held when it began, as Parquet that DuckDB, pandas and polars read.
//!
//! Logs of any kind become a walk ([`pile`]), the walk gives the rows, and rows become files by day ([`table`]). Held in
//! memory are the runs that may still get lines, and the rows of a few days that are not written yet.

/// Logs to tables.
pub mod backfill;
/// A disk that counts what is read of it.
mod counted;
/// Old logs from anywhere as one history.
pub mod pile;
/// The columns of the tables.
pub mod schema;
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
    #[error("cannot write {}: {source}; make room or choose another --out", path.display())]
    Write { path: PathBuf, source: io::Error },
}
