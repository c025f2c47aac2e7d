use std::{
    io::{self, Read},
    sync::Arc,
};

use super::{
    journal::Journal,
    read::{ExtentBytes, ExtentSource, RoundSource},
    round::{Extent, FORMAT, Round},
};
use crate::{
    event::{Nanos, time},
    files::Files,
    streams::{Follower, LineReader, Pending, source},
};

/// A round made of what a look at the streams found, not yet on the tape; with where its bytes are.
pub struct Sealed {
    pub round: Round,
    pub source: RoundSource,
}

/// Makes the next round of a tape from pending ranges: digests, line counts, the chain.
///
/// # Errors
/// A range that is not in memory cannot be read.
pub fn seal(journal: &Journal, follower: &Follower, pending: &[Pending], now: Nanos) -> io::Result<Sealed> {
    let (number, first, prev) = journal.head();
    let (mut extents, mut sources, mut files, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for range in pending {
        let generation = follower.generation(range.generation);
        if !generation.on_tape {
            files.push(generation.record.clone());
        }
        let source = extent_source(follower, range);
        let (digest, lines) = digest(follower.files(), &source)?;
        count += lines;
        extents.push(Extent {
            stream: source.stream.clone(),
            file: source.file.clone(),
            from: source.from,
            to: source.to,
            data: digest.to_hex().to_string(),
        });
        sources.push(source);
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
    let source =
        RoundSource { files: files_of, round: Some(number), at: Some(now), count: Some(count), extents: sources };
    Ok(Sealed { round: round.seal(), source })
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

/// The digest of an extent's bytes and its number of lines.
fn digest(files: &Files, extent: &ExtentSource) -> io::Result<(blake3::Hash, u64)> {
    let bytes: source::Bytes = match &extent.bytes {
        ExtentBytes::Memory(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
        ExtentBytes::File(path, compression) => source::open(files, path, *compression, extent.from)?,
    };
    // The limit matters to what is held in memory only, not to the count.
    let mut reader = LineReader::new(bytes.take(extent.to - extent.from), extent.from, 1 << 20);
    let mut lines = 0;
    while reader.advance()? {
        lines += 1;
    }
    Ok((reader.digest(), lines))
}
