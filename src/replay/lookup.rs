//! Every line that names a run.

use std::sync::Arc;

use super::{Gap, ReplayError};
use crate::{
    streams::RawLine,
    tape::{Directory, each_line},
};

/// Longer lines are not looked at: no policy may let them be folded.
const LINE_BYTES_MAX: usize = 1 << 30;

/// A line that names a run, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub position: u64,
    pub stream: Arc<str>,
    pub file: Arc<str>,
    pub offset: u64,
    pub line: Vec<u8>,
}

/// Takes the position of a line, the run it names, its place and its bytes.
pub type EachNamed<'a> = dyn FnMut(u64, &str, &crate::fold::Place, &[u8]) + 'a;

/// Hands on every line that names a run, in tape order; returns what could not be read.
///
/// # Errors
/// The tape itself cannot be read.
pub fn each_named(directory: &Directory, each: &mut EachNamed) -> Result<Vec<Gap>, ReplayError> {
    let (mut position, mut gaps) = (directory.first_position(), Vec::new());
    for source in directory.rounds(directory.first_round())? {
        let source = source?;
        let end = source.count.map(|count| position + count);
        let read = each_line(&source, LINE_BYTES_MAX, &mut |line, place, raw| {
            let id = line.as_ref().ok().and_then(|line| line.run_id.as_deref());
            if let (Some(id), RawLine::Line(bytes)) = (id, raw) {
                each(position, id, place, bytes);
            }
            position += 1;
            true
        });
        if let Err(error) = read {
            let to = end.unwrap_or(position).max(position);
            gaps.push(Gap { from: position, to, what: error.to_string() });
        }
        position = end.unwrap_or(position).max(position);
    }
    Ok(gaps)
}

/// The lines that name a run, in tape order.
///
/// # Errors
/// The tape itself cannot be read.
pub fn lines_of(directory: &Directory, run_id: &str) -> Result<(Vec<Told>, Vec<Gap>), ReplayError> {
    let mut found = Vec::new();
    let gaps = each_named(directory, &mut |position, id, place, line| {
        if id == run_id {
            let (stream, file) = (place.stream.clone(), place.file.clone());
            found.push(Told { position, stream, file, offset: place.offset, line: line.to_vec() });
        }
    })?;
    Ok((found, gaps))
}
