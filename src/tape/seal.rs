use std::io;

use super::{
    journal::Journal,
    measure::measure,
    read::{ExtentBytes, ExtentSource, RoundSource},
    round::{Extent, FORMAT, Round},
};
use crate::{
    event::{Nanos, time},
    streams::{Compression, Follower, Pending, source},
};

/// A round made of what a look at the streams found, not yet on the tape; with where its bytes are.
pub struct Sealed {
    pub round: Round,
    pub source: RoundSource,
}

/// What is sealed of a file at once is divided into extents of about this size: the last one of every file is read again
/// at each start, to see that the file is the one that was sealed.
const EXTENT_BYTES: u64 = 64 << 20;

/// Makes the next round of a tape from pending ranges: digests, line counts, the chain.
///
/// # Errors
/// A range that is not in memory cannot be read, or is not what the look found any more.
pub fn seal(journal: &Journal, follower: &Follower, pending: &[Pending], now: Nanos) -> io::Result<Sealed> {
    seal_in_extents(journal, follower, pending, now, EXTENT_BYTES)
}

/// The same in extents of at most so many bytes, where lines are not longer.
///
/// # Errors
/// As [`seal`].
pub fn seal_in_extents(
    journal: &Journal,
    follower: &Follower,
    pending: &[Pending],
    now: Nanos,
    most: u64,
) -> io::Result<Sealed> {
    let (number, first, prev) = journal.head();
    let (mut extents, mut sources, mut files, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for range in pending {
        let generation = follower.generation(range.generation);
        if !generation.on_tape {
            files.push(generation.record.clone());
        }
        for mut source in divided(follower, range, most)? {
            let measure = measure(follower.files(), &source)?;
            // Emptied and outgrown since it was looked at: these bytes do not continue what is sealed.
            if range.bytes.is_none() && !generation.still_continues(follower.files())? {
                let what = format!("{} was replaced while it was read", generation.path.display());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
            let data = measure.digest.to_hex().to_string();
            source.data = Some(data.clone());
            count += measure.lines;
            extents.push(Extent {
                stream: source.stream.clone(),
                file: source.file.clone(),
                from: source.from,
                to: source.to,
                data,
            });
            sources.push(source);
        }
    }
    let round = Round {
        v: FORMAT,
        round: number,
        first,
        count,
        at: time::format(now),
        files,
        extents,
        prev: prev.to_owned(),
        digest: String::new(),
    };
    let files_of = follower.files().clone();
    let (round_number, at, count) = (Some(number), Some(now), Some(count));
    let source = RoundSource { files: files_of, round: round_number, at, count, extents: sources, faults: None };
    Ok(Sealed { round: round.seal(), source })
}

/// A range in extents that end with a line. What is packed is not: it would be unpacked from its begin for each.
fn divided(follower: &Follower, range: &Pending, most: u64) -> io::Result<Vec<ExtentSource>> {
    let whole = extent_source(follower, range);
    let (mut list, mut from) = (Vec::new(), range.from);
    if let ExtentBytes::File(path, Compression::None) = &whole.bytes {
        while range.to - from > most
            && let Some(to) = source::last_line_end(follower.files(), path, from, from + most)?
        {
            list.push(ExtentSource { from, to, ..whole.clone() });
            from = to;
        }
    }
    list.push(ExtentSource { from, ..whole });
    Ok(list)
}

/// Where the bytes of a pending range are.
pub fn extent_source(follower: &Follower, range: &Pending) -> ExtentSource {
    let generation = follower.generation(range.generation);
    let bytes = match &range.bytes {
        Some(bytes) => ExtentBytes::Memory(bytes.clone()),
        None => ExtentBytes::File(generation.path.clone(), generation.record.compression),
    };
    ExtentSource {
        stream: generation.stream().clone(),
        file: generation.file().clone(),
        from: range.from,
        to: range.to,
        data: None,
        bytes,
    }
}
