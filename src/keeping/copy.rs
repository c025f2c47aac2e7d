use std::{
    io::{self, BufReader, Read},
    path::Path,
};

use super::{KeepError, failed};
use crate::{
    files::{File, Files, How, Reading},
    streams::{Compression, copies::SealedExtent, source},
};

const STEP: usize = 256 * 1024;

/// Makes `to` hold the first `end` bytes of an unpacked file, every sealed extent held against its digest. Of what `to`
/// holds already the first `have` bytes are taken for granted, and what follows as far as it is sound. Returns the bytes
/// that were copied.
///
/// # Errors
/// A file cannot be read or written, or the bytes are not those that were sealed.
pub fn plain(
    files: &Files,
    from: &Path,
    to: &Path,
    have: u64,
    end: u64,
    extents: &[SealedExtent],
) -> Result<u64, KeepError> {
    let out = files.open(to, How::AppendOrMake).map_err(failed("write", to))?;
    let there = out.about().map_err(failed("read", to))?.len;
    let sound = match there.min(end) {
        more if more > have => sound_until(&out, have, more, extents).map_err(failed("read", to))?,
        less => less,
    };
    if there != sound {
        out.set_len(sound).map_err(failed("write", to))?;
    }
    if sound < end {
        let bytes = source::open_file(files, from).map_err(failed("read", from))?;
        // What a backup holds must not vanish from its source in a power cut.
        bytes.sync_data().map_err(failed("sync", from))?;
        let mut bytes = BufReader::with_capacity(STEP, Reading::new(bytes).at(sound));
        for part in parts(sound, end, extents) {
            let hash = pass(&mut bytes, part.to - part.from, from, &mut |block| {
                out.append(block).map(drop).map_err(failed("write", to))
            })?;
            if part.data.is_some_and(|data| data != hash) {
                return Err(damaged(from, part.from, part.to));
            }
        }
    }
    out.sync_all().map_err(failed("write", to))?;
    Ok(end.saturating_sub(sound))
}

/// Copies a file whole, and returns its size and digest.
///
/// # Errors
/// A file cannot be read or written.
pub fn whole(files: &Files, from: &Path, to: &Path) -> Result<(u64, String), KeepError> {
    let mut bytes = Reading::new(source::open_file(files, from).map_err(failed("read", from))?);
    let out = files.open(to, How::Anew).map_err(failed("write", to))?;
    let (mut hasher, mut buffer, mut len) = (blake3::Hasher::new(), vec![0; STEP], 0);
    loop {
        let n = bytes.read(&mut buffer).map_err(failed("read", from))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        len += n as u64;
        out.append(&buffer[..n]).map_err(failed("write", to))?;
    }
    out.sync_all().map_err(failed("write", to))?;
    Ok((len, hasher.finalize().to_hex().to_string()))
}

/// Holds every sealed extent of a file against its digest, in one pass, and `end` against its length.
///
/// # Errors
/// The file cannot be read, or is not what was sealed.
pub fn check(
    files: &Files,
    path: &Path,
    compression: Compression,
    end: u64,
    extents: &[SealedExtent],
) -> Result<(), KeepError> {
    let mut bytes = source::open(files, path, compression, 0).map_err(failed("read", path))?;
    for part in parts(0, end, extents) {
        let hash = pass(&mut bytes, part.to - part.from, path, &mut |_| Ok(()))?;
        if part.data.is_some_and(|data| data != hash) {
            return Err(damaged(path, part.from, part.to));
        }
    }
    Ok(())
}

/// Size and digest of the first `len` bytes of a file.
///
/// # Errors
/// It cannot be read, or is shorter.
pub fn digest(files: &Files, path: &Path, len: u64) -> Result<String, KeepError> {
    let mut bytes = Reading::new(source::open_file(files, path).map_err(failed("read", path))?);
    Ok(pass(&mut bytes, len, path, &mut |_| Ok(()))?.to_hex().to_string())
}

fn damaged(path: &Path, from: u64, to: u64) -> KeepError {
    let what = format!("bytes {from} to {to} are not those that were sealed; run `runtape verify` on its directory");
    KeepError::Damaged { path: path.to_owned(), what }
}

/// A range between two offsets: an extent, or what lies between two.
struct Part {
    from: u64,
    to: u64,
    data: Option<blake3::Hash>,
}

/// What lies between two offsets, cut at the extents. An extent of which only a part lies there has no digest.
fn parts(from: u64, to: u64, extents: &[SealedExtent]) -> Vec<Part> {
    let (mut parts, mut at) = (Vec::new(), from);
    for extent in extents.iter().filter(|extent| extent.to > from && extent.to <= to) {
        if extent.from > at {
            parts.push(Part { from: at, to: extent.from, data: None });
        }
        let data = (extent.from >= at).then_some(extent.data);
        parts.push(Part { from: extent.from.max(at), to: extent.to, data });
        at = extent.to;
    }
    if at < to {
        parts.push(Part { from: at, to, data: None });
    }
    parts
}

/// How far a file that was half copied holds what was sealed, from an offset on.
fn sound_until(file: &File, from: u64, to: u64, extents: &[SealedExtent]) -> io::Result<u64> {
    let mut bytes = BufReader::with_capacity(STEP, Reading::new(file.again()?).at(from));
    let mut sound = from;
    for part in parts(from, to, extents) {
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut bytes.by_ref().take(part.to - part.from), &mut hasher)?;
        // What no extent covers is copied again.
        if part.data != Some(hasher.finalize()) {
            break;
        }
        sound = part.to;
    }
    Ok(sound)
}

/// Reads so many bytes and hands them on in blocks; returns their digest.
fn pass(
    bytes: &mut impl Read,
    len: u64,
    path: &Path,
    each: &mut dyn FnMut(&[u8]) -> Result<(), KeepError>,
) -> Result<blake3::Hash, KeepError> {
    let (mut hasher, mut left) = (blake3::Hasher::new(), len);
    let mut buffer = vec![0; STEP.min(len as usize)];
    while left > 0 {
        let most = buffer.len().min(left as usize);
        let n = bytes.read(&mut buffer[..most]).map_err(failed("read", path))?;
        if n == 0 {
            let what = format!("it ends {left} bytes before what was sealed of it");
            return Err(KeepError::Damaged { path: path.to_owned(), what });
        }
        hasher.update(&buffer[..n]);
        each(&buffer[..n])?;
        left -= n as u64;
    }
    Ok(hasher.finalize())
}
