use std::io::{self, Read};

use crate::{
    event::{Decoder, Key, Line, Malformed, Predecoded},
    streams::{
        LineReader, RawLine,
        lines::{self, Taken},
    },
};

/// Whole lines of a file that lie one behind another, and what they say. Without bytes it is the end of the file.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Bytes,
    taken: Taken,
    /// Lines that were decoded, the first `len`; the others are there to be used again.
    lines: Vec<BlockLine>,
    len: usize,
    /// Bytes up to the end of the last of them.
    decoded: usize,
}

/// Lines that are shorter than this are decoded a part at a time.
const LINE_BYTES: usize = 64;

/// Bytes of lines, and whether all of them are UTF-8, which is mostly so.
#[derive(Debug)]
enum Bytes {
    Text(String),
    Raw(Vec<u8>),
}

/// A line that is not blank.
#[derive(Debug, Default)]
struct BlockLine {
    /// From a byte of the block to its newline.
    from: u32,
    to: u32,
    /// Its length in the file, when that is too long.
    oversize: Option<u64>,
    says: Predecoded,
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes::Raw(Vec::new())
    }
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Text(text) => text.as_bytes(),
            Bytes::Raw(bytes) => bytes,
        }
    }

    /// Some of them as text, if they are.
    #[inline]
    fn text(&self, from: u32, to: u32) -> Option<&str> {
        let range = from as usize..to as usize;
        match self {
            Bytes::Text(text) => text.get(range),
            Bytes::Raw(bytes) => std::str::from_utf8(bytes.get(range)?).ok(),
        }
    }
}

impl Block {
    /// Takes the next whole lines out of a reader; false when there are none.
    ///
    /// # Errors
    /// Reading failed.
    pub fn read(&mut self, reader: &mut LineReader<impl Read>) -> io::Result<bool> {
        (self.len, self.decoded) = (0, 0);
        let mut bytes = match std::mem::take(&mut self.bytes) {
            Bytes::Text(text) => text.into_bytes(),
            Bytes::Raw(bytes) => bytes,
        };
        let taken = reader.take_lines(&mut bytes);
        if !matches!(taken, Ok(Some(_))) {
            bytes.clear();
        }
        self.bytes = Bytes::Raw(bytes);
        let taken = taken?;
        self.taken = taken.unwrap_or_default();
        Ok(taken.is_some())
    }

    /// Finds the next lines and decodes them, instead of those before. Where lines are very short, not all at once: what is
    /// decoded takes more room than they do.
    pub fn decode(&mut self, decoder: &mut Decoder, line_bytes_max: usize) {
        self.bytes = match std::mem::take(&mut self.bytes) {
            Bytes::Raw(bytes) if self.decoded == 0 => {
                String::from_utf8(bytes).map_or_else(|error| Bytes::Raw(error.into_bytes()), Bytes::Text)
            }
            known => known,
        };
        let Block { bytes: all, taken, lines, len, decoded } = self;
        let (bytes, start) = (all.as_slice(), *decoded);
        let (mut from, most) = (start, bytes.len() / LINE_BYTES + 1);
        *len = 0;
        for newline in memchr::memchr_iter(b'\n', &bytes[start..]).take(most) {
            let to = start + newline;
            let line = &bytes[from..to];
            let skipped = if from == 0 { taken.skipped } else { 0 };
            if !lines::is_blank(line) || skipped > 0 && !taken.skipped_blank {
                if *len == lines.len() {
                    lines.push(BlockLine::default());
                }
                lines[*len].fill(all, (from, to), skipped, decoder, line_bytes_max);
                *len += 1;
            }
            from = to + 1;
        }
        *decoded = from;
    }

    /// Whether all of its lines were decoded.
    pub fn is_done(&self) -> bool {
        self.decoded == self.bytes.as_slice().len()
    }

    /// How many lines there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there were no bytes any more.
    pub fn is_end(&self) -> bool {
        self.bytes.as_slice().is_empty()
    }

    /// Where a line begins in the file.
    #[inline]
    pub fn offset(&self, nth: usize) -> u64 {
        let from = self.lines.get(nth).map_or(0, |line| u64::from(line.from));
        self.taken.offset + from - if from == 0 { self.taken.skipped } else { 0 }
    }

    /// The bytes of a line.
    pub fn raw(&self, nth: usize) -> RawLine<'_> {
        let Some(line) = self.lines.get(nth) else { return RawLine::Line(&[]) };
        let bytes = self.bytes.as_slice().get(line.from as usize..line.to as usize).unwrap_or_default();
        line.oversize.map_or(RawLine::Line(bytes), RawLine::Oversize)
    }

    /// Says in `line` what a line says.
    ///
    /// # Errors
    /// It is malformed.
    #[inline]
    pub fn say<'a>(&'a self, nth: usize, line: &mut Line<'a>) -> Result<(), Malformed> {
        let own = &self.lines[nth];
        own.says.say(|| self.bytes.text(own.from, own.to), line)
    }

    /// The run that a line names.
    #[inline]
    pub fn run(&self, nth: usize) -> Option<Key> {
        self.lines.get(..self.len)?.get(nth)?.says.run()
    }
}

impl BlockLine {
    fn fill(
        &mut self,
        all: &Bytes,
        (from, to): (usize, usize),
        skipped: u64,
        decoder: &mut Decoder,
        line_bytes_max: usize,
    ) {
        (self.from, self.to) = (from as u32, to as u32);
        let length = skipped + (to - from) as u64;
        self.oversize = Some(length).filter(|length| *length > line_bytes_max as u64);
        match (self.oversize, all.text(self.from, self.to)) {
            (Some(length), _) => self.says.oversize(length, line_bytes_max),
            (None, Some(text)) => decoder.before_its_turn(text, &mut self.says),
            (None, None) => self.says.refuse(&all.as_slice()[from..to]),
        }
    }
}
