//! Content known already under another inode. copytruncate and compressors copy a stream before they empty or delete it;
//! what was sealed must not be folded again, and what only the copy still has must not be lost.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use super::{
    generation::Generation,
    name::{self, Age, Compression},
    poll::ExtentsOf,
    scan::Found,
    source,
};
use crate::files::{self, Files, Reading};

/// The sealed extents of a generation with their digests, in order: how content is recognised when the original is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    if *file.name.stream == **of.stream() && file.name.age == Age::Live {
        return !present && of.sealed >= EVIDENCE_BYTES;
    }
    of.sealed > 0 && may_be_named(file, of)
}

/// Whether whoever rotates a generation may give a copy of it such a name.
pub fn may_be_named(file: &Found, of: &Generation) -> bool {
    let same_stream = *file.name.stream == **of.stream();
    same_stream && file.name.age != Age::Live || name::is_rotated_name(&file.name.stream, of.stream())
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
/// A file or the tape cannot be read, or the file's packing is not finished. `NotFound`: it lies elsewhere by now.
pub fn likeness(
    files: &Files,
    file: &Found,
    of: &Generation,
    upto: u64,
    extents_of: &ExtentsOf,
) -> io::Result<Likeness> {
    if file.name.compression == Compression::None && file.len >= of.sealed && !of.replaced {
        let mut marker = vec![0; of.marker.len()];
        let opened = source::open_found(files, file)?;
        files::read_exact_at(&*opened, &mut marker, of.sealed - of.marker.len() as u64)?;
        if marker != of.marker {
            return Ok(Likeness::Different);
        }
    }
    let by_bytes = if of.is_intact(files) { compare_with_original(files, file, of, upto)? } else { None };
    by_bytes.map_or_else(|| compare_digests(files, file, of, &extents_of(of.file())?), Ok)
}

/// Nothing when the original does not hold what was sealed of it: whoever made the copy may empty the original while it
/// is compared, and what was read of it then says nothing.
fn compare_with_original(files: &Files, file: &Found, of: &Generation, upto: u64) -> io::Result<Option<Likeness>> {
    let likeness = compare_bytes(files, file, of, upto)?;
    Ok((of.is_intact(files) && of.still_continues(files)?).then_some(likeness))
}

/// Compares a file with the bytes of a generation before `upto`.
fn compare_bytes(files: &Files, file: &Found, of: &Generation, upto: u64) -> io::Result<Likeness> {
    const STEP: usize = 64 * 1024;
    let mut original = source::open(files, &of.path, of.record.compression, 0)?.take(upto);
    let mut copy = source::unpack(source::open_found(files, file)?, file.name.compression, 0)?.take(upto);
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

/// Where a file that begins like a generation goes on otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The start of the first line in which they differ.
    pub from: u64,
    pub torn: Torn,
}

/// Whose bytes a power cut took there: zeros are all that is left, and no stream has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    Neither,
    Original,
    /// A copy in the making: all that it held is in the original.
    Copy,
}

/// Where the two part before `upto`; none where not even a sealed extent is the same, unless a power cut tore one of them.
///
/// # Errors
/// A file cannot be read. `NotFound`: it lies elsewhere by now.
pub fn fork(
    files: &Files,
    file: &Found,
    of: &Generation,
    upto: u64,
    extents_of: &ExtentsOf,
) -> io::Result<Option<Fork>> {
    if of.is_packed() || of.sealed == 0 || !of.is_intact(files) || !of.still_continues(files)? {
        return Ok(None);
    }
    let mut original = BufReader::new(source::open(files, &of.path, Compression::None, 0)?);
    let mut copy = BufReader::new(source::unpack(source::open_found(files, file)?, file.name.compression, 0)?);
    let plain = file.name.compression == Compression::None;
    let has_extent = |to| extents_of(of.file()).map(|extents| extents.first().is_some_and(|first| first.to <= to));
    let mut from = 0;
    for at in 0..upto {
        let (mut a, mut b) = ([0], [0]);
        if original.read(&mut a)? == 0 || copy.read(&mut b)? == 0 {
            return Ok(None);
        }
        if a != b {
            let zeroed = b == [0] && plain && from > 0;
            let (from, torn) = match at >= of.sealed {
                _ if zeroed && (file.len <= of.len || !has_newline(&mut copy)?) => (from, Torn::Copy),
                // What the copy has behind all that is known was torn off the original.
                false if zeroed => (upto, Torn::Neither),
                // Zeros are sealed there: what is sealed behind them is read again, rather than a line be lost.
                false if a == [0] && from > 0 => (from, Torn::Neither),
                // Copied before a power cut took the end of the original, and other lines are sealed there since.
                false if file.name.age != Age::Live && has_extent(from)? => (from, Torn::Neither),
                false => return Ok(None),
                true if a == [0] => (from, Torn::Original),
                true => (from, Torn::Neither),
            };
            return Ok(Some(Fork { from, torn }));
        }
        if a == *b"\n" {
            from = at + 1;
        }
    }
    Ok(None)
}

/// Whether a file is the very one that was sealed first of a generation, as a power cut brought it back after it was
/// emptied: up to where it has what a copy has by now, at the start of a line.
///
/// # Errors
/// A file cannot be read. `NotFound`: it lies elsewhere by now.
pub fn returned(files: &Files, file: &Found, of: &Generation) -> io::Result<Option<u64>> {
    let very = file.id.inode() == of.origin.inode() && !file.id.is_reborn(of.origin);
    let elsewhere = || source::identify(files, &of.path).is_ok_and(|(id, _)| id.inode() != file.id.inode());
    if !very || !elsewhere() {
        return Ok(None);
    }
    let known = BufReader::new(source::open(files, &of.path, of.record.compression, 0)?).bytes();
    let found = BufReader::new(source::open_found(files, file).map(Reading::new)?).bytes();
    let (mut at, mut same) = (0, 0);
    for (a, b) in known.zip(found) {
        let (a, b) = (a?, b?);
        if a != b {
            break;
        }
        at += 1;
        if a == b'\n' {
            same = at;
        }
    }
    Ok((same >= EVIDENCE_BYTES).then_some(same))
}

/// Whether any line ends in what is left.
fn has_newline(bytes: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let some = bytes.fill_buf()?;
        if some.is_empty() || memchr::memchr(b'\n', some).is_some() {
            return Ok(!some.is_empty());
        }
        let len = some.len();
        bytes.consume(len);
    }
}

/// Compares a file with the sealed extents of a generation.
fn compare_digests(files: &Files, file: &Found, of: &Generation, extents: &[SealedExtent]) -> io::Result<Likeness> {
    let Some(first) = extents.first().map(|extent| extent.from) else { return Ok(Likeness::Different) };
    let mut bytes = source::unpack(source::open_found(files, file)?, file.name.compression, 0)?;
    io::copy(&mut bytes.by_ref().take(first), &mut io::sink())?;
    for (matched, extent) in extents.iter().enumerate() {
        let mut hasher = blake3::Hasher::new();
        let read = io::copy(&mut bytes.by_ref().take(extent.to - extent.from), &mut hasher)?;
        if read < extent.to - extent.from {
            let part = matched > 0 && has(files, of, extent.from, read, hasher.finalize()) != Some(false);
            return Ok(if part { Likeness::Part } else { Likeness::Different });
        }
        if hasher.finalize() != extent.data {
            return Ok(Likeness::Different);
        }
    }
    Ok(Likeness::Copy)
}

/// Up to where a file has the sealed extents of a generation.
pub fn held(files: &Files, path: &Path, compression: Compression, extents: &[SealedExtent]) -> u64 {
    let Some(first) = extents.first().map(|extent| extent.from) else { return 0 };
    let Ok(mut bytes) = source::open(files, path, compression, first) else { return 0 };
    let mut holds = |extent: &&SealedExtent| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(bytes.by_ref().take(extent.to - extent.from)).is_ok() && hasher.finalize() == extent.data
    };
    extents.iter().take_while(|extent| holds(extent)).last().map_or(0, |extent| extent.to)
}

/// Whether a generation has so many bytes of this digest from an offset on; none where they are not to be had.
fn has(files: &Files, of: &Generation, from: u64, count: u64, digest: blake3::Hash) -> Option<bool> {
    let bytes = source::open(files, &of.path, of.record.compression, from).ok()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(bytes.take(count)).ok()?;
    (hasher.count() == count).then(|| hasher.finalize() == digest)
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;
    use crate::streams::{
        Compression,
        generation::{GenerationRecord, State},
        scan,
    };

    /// The file of the stream `runs`, as it is there now.
    fn runs(path: &Path, sealed: u64, state: State) -> Generation {
        let record = GenerationRecord {
            file: Arc::from("f1"),
            stream: Arc::from("runs"),
            name: "runs.jsonl".to_owned(),
            id: source::identify(&Files::machine(), path).expect("a file").0,
            compression: Compression::None,
        };
        Generation::new(&Files::machine(), record, path.to_owned(), sealed, state)
    }

    /// What a comparison finds that began while the original was whole.
    fn check(after: &[u8], want: Option<Likeness>) {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, copy) = (dir.path().join("runs.jsonl"), dir.path().join("runs.jsonl.1"));
        let sealed = b"{\"run_id\":\"r1\"}\n".repeat(100);
        fs::write(&path, &sealed).expect("a write");
        fs::write(&copy, &sealed).expect("a write");
        let original = runs(&path, sealed.len() as u64, State::Open);
        fs::write(&path, after).expect("a write");
        let name = name::parse("runs.jsonl.1").expect("a stream file");
        let found = scan::look(&Files::machine(), &copy, name).expect("a regular file").expect("it is there");
        assert_eq!(
            compare_with_original(&Files::machine(), &found, &original, original.sealed).expect("a comparison"),
            want
        );
        let extents = [SealedExtent { from: 0, to: sealed.len() as u64, data: blake3::hash(&sealed) }];
        let likeness = likeness(&Files::machine(), &found, &original, original.sealed, &|_| {
            Ok(extents.iter().map(|e| SealedExtent { from: e.from, to: e.to, data: e.data }).collect())
        });
        assert_eq!(likeness.expect("a comparison"), Likeness::Copy);
    }

    #[test]
    fn a_file_that_ends_within_an_extent_is_a_part_only_if_it_holds_the_same() {
        let (line, other) = (b"{\"run_id\":\"r1\"}\n", b"{\"run_id\":\"r2\"}\n");
        let dir = tempfile::tempdir().expect("a directory");
        let (path, part) = (dir.path().join("runs.jsonl"), dir.path().join("runs.jsonl.1"));
        let sealed = line.repeat(5);
        let data = |from: usize, to: usize| blake3::hash(&sealed[from..to]);
        let extents = [(0, 32), (32, 80)].map(|(from, to)| SealedExtent {
            from: from as u64,
            to: to as u64,
            data: data(from, to),
        });
        let check = |original: &[u8], third: &[u8], want: Likeness| {
            fs::write(&path, original).expect("a write");
            fs::write(&part, [&line[..], line, third].concat()).expect("a write");
            let of = runs(&path, 80, State::Ended);
            let name = name::parse("runs.jsonl.1").expect("a stream file");
            let found = scan::look(&Files::machine(), &part, name).expect("a regular file").expect("it is there");
            assert_eq!(compare_digests(&Files::machine(), &found, &of, &extents).expect("a comparison"), want);
        };
        check(&sealed, line, Likeness::Part);
        check(&sealed, other, Likeness::Different);
        check(b"", other, Likeness::Part);
    }

    #[test]
    fn an_original_that_is_emptied_meanwhile_decides_nothing() {
        let sealed = b"{\"run_id\":\"r1\"}\n".repeat(100);
        check(&sealed, Some(Likeness::Copy));
        check(b"", None);
        check(&sealed[..sealed.len() / 2], None);
        check(&b"{\"run_id\":\"r2\"}\n".repeat(200), None);
    }
}
