use std::sync::{Arc, Mutex};

use thiserror::Error;

use super::read::ExtentSource;

/// History cannot be read as it was sealed.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("stream {stream}, file {file}, bytes {from} {}{}: {what}", up_to(*to), of_round(*round))]
    Damaged { stream: Arc<str>, file: Arc<str>, from: u64, to: u64, round: Option<u64>, what: String },
    #[error("round {round} holds {found} lines, {sealed} were sealed")]
    Count { round: u64, found: u64, sealed: u64 },
}

/// What could not be read, each with the number of lines that were handed on before.
pub type Faults = Arc<Mutex<Vec<(u64, ReadError)>>>;

/// The end of an extent of which nobody knows how long it is.
pub const TO_ITS_END: u64 = u64::MAX;

fn up_to(to: u64) -> String {
    if to == TO_ITS_END { "on".to_owned() } else { format!("to {to}") }
}

fn of_round(round: Option<u64>) -> String {
    round.map_or(String::new(), |round| format!(" (round {round})"))
}

/// Damage of an extent.
pub(super) fn damaged(extent: &ExtentSource, round: Option<u64>, what: &str) -> ReadError {
    ReadError::Damaged {
        stream: extent.stream.clone(),
        file: extent.file.clone(),
        from: extent.from,
        to: extent.to,
        round,
        what: what.to_owned(),
    }
}
