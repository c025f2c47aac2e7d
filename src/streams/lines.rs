use std::io::{self, Read};

/// A line as it lies in the file, without its newline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RawLine<'a> {
    Line(&'a [u8]),
    /// Longer than the limit; skipped without being held in memory. Its length in bytes.
    Oversize(u64),
}

/// The non-blank, terminated lines of a byte range, with the digest of every byte read. Memory is bounded by the longest
/// line allowed, whatever the input.
pub struct LineReader<R> {
    inner: R,
    hasher: blake3::Hasher,
    hashing: bool,
    buffer: Vec<u8>,
    /// Unread bytes are `buffer[start..end]`; those before `searched` hold no newline.
    start: usize,
    end: usize,
    searched: usize,
    /// Offset in the file of `buffer[start]`.
    offset: u64,
    line_bytes_max: usize,
    /// Bytes read at once.
    chunk: usize,
    /// Bytes already skipped of a line that is too long.
    skipped: u64,
    /// Whether the skipped bytes were all blank.
    skipped_blank: bool,
    ended: bool,
    current: Current,
}

/// The line the reader stands on.
#[derive(Clone, Copy)]
struct Current {
    offset: u64,
    /// In the buffer; nothing of a line that is too long.
    from: usize,
    to: usize,
    length: u64,
}

/// Where lines that were taken out of a reader lie.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// Offset in the file of the first byte.
    pub offset: u64,
    /// Bytes of the first line before that, which was already too long, and whether they were all blank.
    pub skipped: u64,
    pub skipped_blank: bool,
}

const CHUNK: usize = 256 * 1024;

impl<R: Read> LineReader<R> {
    /// `offset` is where `inner` begins in the file.
    pub fn new(inner: R, offset: u64, line_bytes_max: usize) -> Self {
        LineReader {
            inner,
            hasher: blake3::Hasher::new(),
            hashing: true,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            searched: 0,
            offset,
            line_bytes_max,
            chunk: CHUNK,
            skipped: 0,
            skipped_blank: true,
            ended: false,
            current: Current { offset, from: 0, to: 0, length: 0 },
        }
    }

    /// Reads so many bytes at once.
    pub fn with_chunk(mut self, bytes: usize) -> Self {
        self.chunk = bytes.max(1);
        self
    }

    /// Takes the digest only where it is asked for; it costs more than reading.
    pub fn with_digest(mut self, asked: bool) -> Self {
        self.hashing = asked;
        self
    }

    /// Goes to the next line; false at the end of the range. An unterminated rest is no line.
    ///
    /// # Errors
    /// Reading failed.
    pub fn advance(&mut self) -> io::Result<bool> {
        loop {
            let Some(newline) = memchr::memchr(b'\n', &self.buffer[self.searched..self.end]) else {
                if !self.read_on()? {
                    return Ok(false);
                }
                continue;
            };
            let (from, to) = (self.start, self.searched + newline);
            let (offset, length) = (self.offset - self.skipped, self.skipped + (to - from) as u64);
            self.offset += (to - from) as u64 + 1;
            self.start = to + 1;
            self.searched = self.start;
            self.skipped = 0;
            let blank = std::mem::replace(&mut self.skipped_blank, true) && is_blank(&self.buffer[from..to]);
            if !blank {
                self.current = Current { offset, from, to, length };
                return Ok(true);
            }
        }
    }

    /// Takes all whole lines that were read at once out of the reader: their bytes, to the newline of the last, into `bytes`
    /// whatever that held. None at the end of the range.
    ///
    /// # Errors
    /// Reading failed.
    pub fn take_lines(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Taken>> {
        loop {
            let Some(newline) = memchr::memrchr(b'\n', &self.buffer[self.searched..self.end]) else {
                if !self.read_on()? {
                    return Ok(None);
                }
                continue;
            };
            let behind = self.searched + newline + 1;
            let rest = self.end - behind;
            // What it had is not written anew, where it suffices.
            if bytes.len() < rest {
                bytes.resize(rest, 0);
            }
            bytes[..rest].copy_from_slice(&self.buffer[behind..self.end]);
            std::mem::swap(&mut self.buffer, bytes);
            bytes.truncate(behind);
            bytes.drain(..self.start);
            let taken = Taken { offset: self.offset, skipped: self.skipped, skipped_blank: self.skipped_blank };
            self.offset += (behind - self.start) as u64;
            (self.start, self.searched, self.end) = (0, 0, rest);
            (self.skipped, self.skipped_blank) = (0, true);
            return Ok(Some(taken));
        }
    }

    /// The line the reader stands on, after [`Self::advance`].
    pub fn line(&self) -> RawLine<'_> {
        let Current { from, to, length, .. } = self.current;
        if length > self.line_bytes_max as u64 {
            return RawLine::Oversize(length);
        }
        RawLine::Line(&self.buffer[from..to])
    }

    /// Where the line begins in the file.
    pub fn offset(&self) -> u64 {
        self.current.offset
    }

    /// Offset in the file up to which bytes were read.
    pub fn read_to(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }

    /// Bytes behind the last newline that were read so far.
    pub fn rest(&self) -> u64 {
        self.skipped + (self.end - self.start) as u64
    }

    /// Lets go of the beginning of a line that is already too long.
    fn skip_oversize(&mut self) {
        self.searched = self.end;
        if self.end - self.start > self.line_bytes_max {
            self.skipped += (self.end - self.start) as u64;
            self.skipped_blank &= is_blank(&self.buffer[self.start..self.end]);
            self.offset += (self.end - self.start) as u64;
            self.start = self.end;
        }
    }

    /// The digest of all bytes read so far; after the end of the range, of the range. Of nothing, when it was not asked
    /// for.
    pub fn digest(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    /// Reads more where no newline is left; false at the end of the range.
    fn read_on(&mut self) -> io::Result<bool> {
        self.skip_oversize();
        Ok(!self.ended && self.fill()?)
    }

    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.len() < self.end + self.chunk {
            self.buffer.resize(self.end + self.chunk, 0);
        }
        let n = loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if self.hashing {
            self.hasher.update(&self.buffer[self.end..self.end + n]);
        }
        self.end += n;
        self.ended = n == 0;
        Ok(n > 0)
    }
}

/// Whether a line holds white space only, and so is no line.
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c))
}

/// Counts the lines of bytes as [`LineReader`] gives them.
pub fn count(bytes: &[u8]) -> u64 {
    let mut start = 0;
    let mut lines = 0;
    for newline in memchr::memchr_iter(b'\n', bytes) {
        lines += u64::from(!is_blank(&bytes[start..newline]));
        start = newline + 1;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of a fixed size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(self.1).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn check(bytes: &[u8], want: &str) {
        for piece in 1..=bytes.len().max(1) {
            let mut reader = LineReader::new(Pieces(bytes, piece), 100, 8);
            let mut got = Vec::new();
            while reader.advance().expect("reading from memory") {
                let offset = reader.offset();
                got.push(match reader.line() {
                    RawLine::Line(line) => format!("{offset}:{}", String::from_utf8_lossy(line)),
                    RawLine::Oversize(length) => format!("{offset}:oversize {length}"),
                });
            }
            assert_eq!(got.join(" "), want, "pieces of {piece}");
            assert_eq!(reader.digest(), blake3::hash(bytes), "pieces of {piece}");
            let whole = &bytes[..memchr::memrchr(b'\n', bytes).map_or(0, |last| last + 1)];
            assert_eq!(count(whole), got.len() as u64, "counted without a reader");
        }
    }

    #[test]
    fn whole_lines_whatever_the_read_size() {
        check(b"", "");
        check(b"a\nbb\n", "100:a 102:bb");
        check(b"a\n\n \t\r\nb\n", "100:a 107:b");
        check(b"a\ntail", "100:a");
        check(b"12345678\n123456789\nx\n", "100:12345678 109:oversize 9 119:x");
        check(b"0123456789012345678901234567890\r\nok\n", "100:oversize 32 133:ok");
        check(b"                        \nok\n", "125:ok");
    }
}
