use std::io::{self, Read};

use runtape::streams::{LineReader, RawLine};

/// The reader of lines, fed in pieces of any size, against a split of the whole. The first three bytes say the longest
/// line, how much is read at once, and how much arrives at once.
pub fn judge(bytes: &[u8]) {
    let [limit, chunk, piece, rest @ ..] = bytes else { return };
    let (limit, chunk, piece) = (usize::from(*limit) % 48, 1 + usize::from(*chunk) % 80, 1 + usize::from(*piece) % 17);
    let mut reader = LineReader::new(Pieces { rest, piece, hiccup: false }, 1000, limit).with_chunk(chunk);
    let mut got = Vec::new();
    while reader.advance().expect("a slice can be read") {
        got.push((
            reader.offset(),
            match reader.line() {
                RawLine::Line(line) => Ok(line.to_vec()),
                RawLine::Oversize(length) => Err(length),
            },
        ));
    }
    assert_eq!(got, split(rest, limit));
    assert_eq!(reader.digest(), blake3::hash(rest));
    assert_eq!(reader.read_to(), 1000 + rest.len() as u64);
}

type Line = (u64, Result<Vec<u8>, u64>);

fn split(bytes: &[u8], limit: usize) -> Vec<Line> {
    let mut at = 1000;
    let mut lines = Vec::new();
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    for line in bytes[..whole].split_inclusive(|byte| *byte == b'\n') {
        let content = &line[..line.len() - 1];
        if !content.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)) {
            let fits = content.len() <= limit;
            lines.push((at, if fits { Ok(content.to_vec()) } else { Err(content.len() as u64) }));
        }
        at += line.len() as u64;
    }
    lines
}

/// A few bytes at a time, with an interruption before each.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
    hiccup: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.hiccup = !self.hiccup;
        if self.hiccup {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = self.piece.min(buffer.len()).min(self.rest.len());
        buffer[..n].copy_from_slice(&self.rest[..n]);
        self.rest = &self.rest[n..];
        Ok(n)
    }
}
