use std::{io, sync::Arc};

use super::{
    generation::{Generation, MARKER_BYTES, Partial},
    poll::ResetReason,
    source,
};
use crate::files::{Files, Opened, read_exact_at};

/// What stands behind the sealed end of a file.
#[derive(Debug)]
pub enum New {
    Nothing,
    Lines { to: u64, bytes: Option<Arc<[u8]>> },
    Reset(ResetReason),
}

/// Reads what is new of an unpacked file, after making sure that it still continues what was sealed. More bytes than
/// `memory` are not held.
///
/// # Errors
/// The file cannot be read.
pub fn new_lines(files: &Files, generation: &mut Generation, memory: u64) -> io::Result<New> {
    generation.dirty = false;
    match try_new_lines(files, generation, memory) {
        // Cut between two reads: the next look will tell how.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            generation.dirty = true;
            Ok(New::Nothing)
        }
        other => other,
    }
}

fn try_new_lines(files: &Files, generation: &mut Generation, memory: u64) -> io::Result<New> {
    let file = source::open_file(files, &generation.path)?;
    let file = &*file;
    let about = file.about()?;
    if about.id.inode() != generation.inode() {
        // Renamed away while it was not linked: the next full look finds it under its new name.
        generation.dirty = true;
        return Ok(New::Nothing);
    }
    let len = about.len;
    generation.len = len;
    if len < generation.sealed {
        return Ok(New::Reset(ResetReason::Truncated));
    }
    let to = last_newline(file, search_from(file, generation, len)?, len)?;
    let bytes = match to {
        Some(to) if to - generation.sealed <= memory => {
            let mut bytes = vec![0; (to - generation.sealed) as usize];
            read_exact_at(file, &mut bytes, generation.sealed)?;
            Some(bytes)
        }
        _ => None,
    };
    // Checked after the reads: had the file been emptied and outgrown before or between them, this would be other bytes.
    if !holds(file, &generation.marker, generation.sealed)? {
        return Ok(New::Reset(ResetReason::Rewritten));
    }
    let Some(to) = to else {
        generation.partial = partial(file, generation.sealed, len)?;
        return Ok(New::Nothing);
    };
    if bytes.as_ref().is_some_and(|bytes| bytes.last() != Some(&b'\n')) {
        generation.dirty = true;
        return Ok(New::Nothing);
    }
    Ok(New::Lines { to, bytes: bytes.map(Arc::from) })
}

/// What is new of a packed file; its bytes are never held.
///
/// # Errors
/// The file cannot be read, or its packing is broken (or not finished yet).
pub fn new_packed_lines(files: &Files, generation: &mut Generation) -> io::Result<New> {
    // Only a whole measure settles it.
    generation.dirty = true;
    if source::identify(files, &generation.path)?.0.inode() != generation.inode() {
        // Renamed before it was linked: the next full look finds it under its new name.
        return Ok(New::Nothing);
    }
    let (_, to) = source::measure(files, &generation.path, generation.record.compression, generation.sealed)?;
    generation.dirty = false;
    Ok(if to > generation.sealed { New::Lines { to, bytes: None } } else { New::Nothing })
}

/// Where the search for a newline begins: past the part of an unterminated line that was searched before, as long as it
/// is still the same line.
fn search_from(file: &dyn Opened, generation: &Generation, len: u64) -> io::Result<u64> {
    let Partial { searched_to, marker } = &generation.partial;
    let same = *searched_to > generation.sealed && *searched_to <= len && holds(file, marker, *searched_to)?;
    Ok(if same { *searched_to } else { generation.sealed })
}

fn partial(file: &dyn Opened, sealed: u64, len: u64) -> io::Result<Partial> {
    Ok(Partial { searched_to: len, marker: tail(file, sealed, len)? })
}

/// Whether a file has these bytes before an offset.
fn holds(file: &dyn Opened, marker: &[u8], end: u64) -> io::Result<bool> {
    let mut found = vec![0; marker.len()];
    read_exact_at(file, &mut found, end - marker.len() as u64)?;
    Ok(found == marker)
}

/// Whether the file still has the last bytes before the sealed end; of a packed one nothing is known.
///
/// # Errors
/// The file cannot be read.
pub fn holds_marker(files: &Files, generation: &Generation) -> io::Result<bool> {
    if generation.is_packed() {
        return Ok(true);
    }
    match holds(&*source::open_file(files, &generation.path)?, &generation.marker, generation.sealed) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other,
    }
}

/// The last bytes of a range, so many as a marker has at most.
fn tail(file: &dyn Opened, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let len = (to - from).min(MARKER_BYTES as u64);
    let mut bytes = vec![0; len as usize];
    read_exact_at(file, &mut bytes, to - len)?;
    Ok(bytes)
}

/// The last bytes before the sealed end of a generation; of a packed one none.
///
/// # Errors
/// The file cannot be read, or is shorter.
pub fn marker(files: &Files, generation: &Generation) -> io::Result<Vec<u8>> {
    if generation.is_packed() || generation.sealed == 0 {
        return Ok(Vec::new());
    }
    tail(&*source::open_file(files, &generation.path)?, 0, generation.sealed)
}

/// The offset after the last newline of a range, searched from its end.
///
/// # Errors
/// The file cannot be read, or is shorter.
pub fn last_newline(file: &dyn Opened, from: u64, to: u64) -> io::Result<Option<u64>> {
    const STEP: u64 = 64 * 1024;
    let mut buffer = vec![0; STEP.min(to.saturating_sub(from)) as usize];
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(STEP).max(from);
        let part = &mut buffer[..(end - start) as usize];
        read_exact_at(file, part, start)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(Some(start + at as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}
