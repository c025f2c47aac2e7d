//! Content known already under another inode. copytruncate and compressors copy a stream before they empty or delete it;
//! what was sealed must not be folded again, and what only the copy still has must not be lost.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::FileExt,
};

use super::{
    follow::ExtentsOf,
    generation::Generation,
    name::{self, Age, Compression},
    scan::Found,
    source,
};

/// The sealed extents of a generation with their digests, in order: how content is recognised when the original is gone.
pub struct SealedExtent {
    pub from: u64,
    pub to: u64,
    pub data: blake3::Hash,
}

/// Below this many sealed bytes a file in the place of a vanished one counts as new, not as a rewritten copy.
const EVIDENCE_BYTES: u64 = 256;

/// Whether the name and the situation of a new file allow it to be a copy of a generation at all. `present`: the
/// generation's own inode still lies in the directory.
pub fn may_be_copy(file: &Found, of: &Generation, present: bool) -> bool {
    let same_stream = *file.name.stream == **of.stream();
    if same_stream && file.name.age == Age::Live {
        return !present && of.sealed >= EVIDENCE_BYTES;
    }
    of.sealed > 0 && (same_stream || name::is_rotated_name(&file.name.stream, of.stream()))
}

/// How a new file's content relates to what was sealed of a generation.
#[derive(Debug, PartialEq, Eq)]
pub enum Likeness {
    Different,
    /// It begins with all of it.
    Copy,
    /// It holds a part of it from the start: a copy in the making, or one taken earlier.
    Prefix,
}

/// Compares a new file with what was sealed of a generation; the cheap refusals first.
///
/// # Errors
/// A file or the tape cannot be read, or the file's packing is not finished.
pub fn likeness(file: &Found, of: &Generation, extents_of: &ExtentsOf) -> io::Result<Likeness> {
    let plain = file.name.compression == Compression::None;
    if plain && file.len >= of.sealed {
        let mut marker = vec![0; of.marker.len()];
        fs::File::open(&file.path)?.read_exact_at(&mut marker, of.sealed - of.marker.len() as u64)?;
        if marker != of.marker {
            return Ok(Likeness::Different);
        }
    }
    let likeness = compare(file, &extents_of(of.file())?)?;
    let intact = source::identify(&of.path).is_ok_and(|(_, len)| len >= of.sealed);
    if likeness == Likeness::Different && plain && file.len < of.sealed && intact && begins_with(of, file)? {
        return Ok(Likeness::Prefix);
    }
    Ok(likeness)
}

/// Compares a file's bytes with the sealed extents of a generation.
fn compare(file: &Found, extents: &[SealedExtent]) -> io::Result<Likeness> {
    let Some(first) = extents.first().map(|extent| extent.from) else { return Ok(Likeness::Different) };
    let mut bytes = source::open(&file.path, file.name.compression, 0)?;
    io::copy(&mut bytes.by_ref().take(first), &mut io::sink())?;
    let mut matched = 0;
    for extent in extents {
        let mut hasher = blake3::Hasher::new();
        let read = io::copy(&mut bytes.by_ref().take(extent.to - extent.from), &mut hasher)?;
        if read < extent.to - extent.from {
            return Ok(if matched > 0 { Likeness::Prefix } else { Likeness::Different });
        }
        if hasher.finalize() != extent.data {
            return Ok(Likeness::Different);
        }
        matched += 1;
    }
    Ok(Likeness::Copy)
}

/// Whether a generation whose bytes are still there begins with all bytes of a shorter file.
fn begins_with(of: &Generation, file: &Found) -> io::Result<bool> {
    let mut original = source::open(&of.path, of.record.compression, 0)?.take(file.len);
    let mut copy = source::open(&file.path, Compression::None, 0)?.take(file.len);
    let (mut a, mut b) = (blake3::Hasher::new(), blake3::Hasher::new());
    let lengths = (io::copy(&mut original, &mut a)?, io::copy(&mut copy, &mut b)?);
    Ok(lengths.0 == lengths.1 && a.finalize() == b.finalize())
}
