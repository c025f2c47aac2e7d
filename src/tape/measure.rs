use std::io::{self, Read};

use super::read::{ExtentBytes, ExtentSource};
use crate::{
    files::Files,
    streams::{LineReader, lines, source},
};

/// What an extent holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    pub digest: blake3::Hash,
    pub lines: u64,
}

/// Reads an extent from its first byte to its last.
///
/// # Errors
/// It cannot be read. `UnexpectedEof`: not all of it is there.
pub fn measure(files: &Files, extent: &ExtentSource) -> io::Result<Measure> {
    let sealed = extent.to - extent.from;
    let bytes = match &extent.bytes {
        ExtentBytes::Memory(bytes) => {
            let bytes = bytes.get(..sealed as usize).ok_or_else(|| short(extent, bytes.len() as u64))?;
            return Ok(Measure { digest: blake3::hash(bytes), lines: lines::count(bytes) });
        }
        ExtentBytes::File(path, compression) => source::open(files, path, *compression, extent.from)?,
    };
    // The limit matters to what is held in memory only, not to the count.
    let mut reader = LineReader::new(bytes.take(sealed), extent.from, 1 << 20);
    let mut lines = 0;
    while reader.advance()? {
        lines += 1;
    }
    if reader.read_to() < extent.to {
        return Err(short(extent, reader.read_to() - extent.from));
    }
    Ok(Measure { digest: reader.digest(), lines })
}

/// Fewer bytes are there than were sealed.
pub fn short(extent: &ExtentSource, left: u64) -> io::Error {
    let sealed = extent.to - extent.from;
    let what = format!("{left} of {sealed} sealed bytes are left: the file was emptied, cut or replaced");
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What is measured of an extent of `sealed` bytes of which these are in memory.
    fn check(bytes: &[u8], sealed: u64, want: &str) {
        let extent = ExtentSource {
            stream: "runs".into(),
            file: "f1".into(),
            from: 7,
            to: 7 + sealed,
            data: None,
            bytes: ExtentBytes::Memory(Arc::from(bytes)),
        };
        let got = match measure(&Files::machine(), &extent) {
            Ok(measure) => {
                assert_eq!(measure.digest, blake3::hash(&bytes[..sealed as usize]));
                format!("{} lines", measure.lines)
            }
            Err(error) => format!("{:?}: {error}", error.kind()),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn what_is_in_memory_is_measured_as_far_as_it_was_sealed() {
        check(b"a\n\nb\n", 5, "2 lines");
        check(b"a\nb\nc\n", 4, "2 lines");
        check(b"a\n", 6, "UnexpectedEof: 2 of 6 sealed bytes are left: the file was emptied, cut or replaced");
    }
}
