use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    name::Compression,
    read,
    scan::{FileId, Found},
    seekable::Table,
};
use crate::files::{File, Files, How, Reading};

/// Unpacked bytes of a file.
pub type Bytes = Box<dyn Read + Send>;

/// Opens a file for reading from an unpacked offset on. Packed files are unpacked from their start, or from the frame that
/// holds the offset where they say what their frames hold.
///
/// # Errors
/// The file cannot be opened, or is shorter than `from`.
pub fn open(files: &Files, path: &Path, compression: Compression, from: u64) -> io::Result<Bytes> {
    unpack(open_file(files, path)?, compression, from)
}

/// Reads an open file from an unpacked offset on.
///
/// # Errors
/// The file is shorter than `from`.
pub fn unpack(opened: File, compression: Compression, from: u64) -> io::Result<Bytes> {
    match compression {
        Compression::None => Ok(Box::new(Reading::new(opened).at(from))),
        Compression::Gzip => {
            let packed = io::BufReader::new(Reading::new(opened));
            skip(Box::new(flate2::read::MultiGzDecoder::new(packed)), from)
        }
        Compression::Zstd => {
            let table = Table::read(&*opened, opened.about()?.len);
            let (packed, unpacked) = table.map_or((0, 0), |table| table.frame_of(from));
            let packed = Reading::new(opened).at(packed);
            skip(Box::new(zstd::stream::read::Decoder::new(packed)?), from - unpacked)
        }
    }
}

/// The offset after the last newline between two offsets of a file that is not packed, if there is one.
///
/// # Errors
/// The file cannot be read, or is shorter.
pub fn last_line_end(files: &Files, path: &Path, from: u64, to: u64) -> io::Result<Option<u64>> {
    read::last_newline(&*open_file(files, path)?, from, to)
}

/// Opens a regular file. Should something else have taken its name meanwhile, a link is refused and a pipe does not
/// make us wait for its writer.
///
/// # Errors
/// The file cannot be opened.
pub fn open_file(files: &Files, path: &Path) -> io::Result<File> {
    files.open(path, How::ReadWary)
}

/// Opens the file that was found, which may have been renamed since, so that another one lies in its place.
///
/// # Errors
/// `NotFound` when it lies elsewhere by now; it cannot be opened.
pub fn open_found(files: &Files, found: &Found) -> io::Result<File> {
    let file = open_file(files, &found.path)?;
    if file.about()?.id.inode() != found.id.inode() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "another file took its name"));
    }
    Ok(file)
}

/// Reads an unpacked file from an offset on and holds no descriptor between two reads: for when very many files are read
/// side by side.
#[derive(Debug)]
pub struct Reopening {
    files: Files,
    path: PathBuf,
    at: u64,
}

impl Reopening {
    pub fn new(files: &Files, path: &Path, from: u64) -> Reopening {
        Reopening { files: files.clone(), path: path.to_owned(), at: from }
    }
}

impl Read for Reopening {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = open_file(&self.files, &self.path)?.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

fn skip(mut bytes: Bytes, count: u64) -> io::Result<Bytes> {
    let skipped = io::copy(&mut bytes.by_ref().take(count), &mut io::sink())?;
    if skipped < count {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "shorter than what was sealed of it"));
    }
    Ok(bytes)
}

/// Identity and size of the file behind a path.
///
/// # Errors
/// The file cannot be looked at.
pub fn identify(files: &Files, path: &Path) -> io::Result<(FileId, u64)> {
    let about = files.about(path)?;
    Ok((about.id, about.len))
}

/// Unpacked size, and the offset after the last newline: what can be sealed.
///
/// # Errors
/// The file cannot be read, or its packing is broken (or not finished yet).
pub fn measure(files: &Files, path: &Path, compression: Compression, from: u64) -> io::Result<(u64, u64)> {
    let mut bytes = open(files, path, compression, from)?;
    let mut buffer = vec![0; 256 * 1024];
    let (mut at, mut whole) = (from, from);
    loop {
        let n = bytes.read(&mut buffer)?;
        if n == 0 {
            return Ok((at, whole));
        }
        if let Some(newline) = memchr::memrchr(b'\n', &buffer[..n]) {
            whole = at + newline as u64 + 1;
        }
        at += n as u64;
    }
}
