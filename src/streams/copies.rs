//! Content known already under another inode. copytruncate and compressors copy a stream before they empty or delete it;
//! what was sealed must not be folded again, and what only the copy still has must not be lost.

use std::io::{self, Read};

use super::{
    generation::Generation,
    name::{self, Age, Compression},
    poll::ExtentsOf,
    scan::Found,
    source,
};
use crate::files::{self, Files};

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

/// How a new file's content relates to what is known of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    Different,
    /// It begins with all of it.
    Copy,
    /// All of it is a part of it from the start: a copy in the making, or one taken earlier.
    Part,
}

/// Compares a new file with a generation up to an offset; the cheap refusals first. Where the original is still there
/// its bytes decide, else the digests on the tape.
///
/// # Errors
/// A file or the tape cannot be read, or the file's packing is not finished.
pub fn likeness(
    files: &Files,
    file: &Found,
    of: &Generation,
    upto: u64,
    extents_of: &ExtentsOf,
) -> io::Result<Likeness> {
    if file.name.compression == Compression::None && file.len >= of.sealed && !of.replaced {
        let mut marker = vec![0; of.marker.len()];
        let opened = source::open_file(files, &file.path)?;
        files::read_exact_at(&*opened, &mut marker, of.sealed - of.marker.len() as u64)?;
        if marker != of.marker {
            return Ok(Likeness::Different);
        }
    }
    if of.is_intact(files) {
        compare_bytes(files, file, of, upto)
    } else {
        compare_digests(files, file, &extents_of(of.file())?)
    }
}

/// Compares a file with the bytes of a generation before `upto`.
fn compare_bytes(files: &Files, file: &Found, of: &Generation, upto: u64) -> io::Result<Likeness> {
    const STEP: usize = 64 * 1024;
    let mut original = source::open(files, &of.path, of.record.compression, 0)?.take(upto);
    let mut copy = source::open(files, &file.path, file.name.compression, 0)?.take(upto);
    let (mut a, mut b) = (Vec::with_capacity(STEP), Vec::with_capacity(STEP));
    let mut same = 0;
    loop {
        a.clear();
        b.clear();
        original.by_ref().take(STEP as u64).read_to_end(&mut a)?;
        copy.by_ref().take(STEP as u64).read_to_end(&mut b)?;
        if !a.starts_with(&b) {
            return Ok(Likeness::Different);
        }
        same += b.len();
        if b.len() < a.len() {
            return Ok(if same > 0 { Likeness::Part } else { Likeness::Different });
        }
        if a.is_empty() {
            return Ok(Likeness::Copy);
        }
    }
}

/// Compares a file with the sealed extents of a generation.
fn compare_digests(files: &Files, file: &Found, extents: &[SealedExtent]) -> io::Result<Likeness> {
    let Some(first) = extents.first().map(|extent| extent.from) else { return Ok(Likeness::Different) };
    let mut bytes = source::open(files, &file.path, file.name.compression, 0)?;
    io::copy(&mut bytes.by_ref().take(first), &mut io::sink())?;
    for (matched, extent) in extents.iter().enumerate() {
        let mut hasher = blake3::Hasher::new();
        let read = io::copy(&mut bytes.by_ref().take(extent.to - extent.from), &mut hasher)?;
        if read < extent.to - extent.from {
            return Ok(if matched > 0 { Likeness::Part } else { Likeness::Different });
        }
        if hasher.finalize() != extent.data {
            return Ok(Likeness::Different);
        }
    }
    Ok(Likeness::Copy)
}
