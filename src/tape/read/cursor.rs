use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::Path,
    sync::{Arc, PoisonError},
};

use super::{
    ExtentBytes, ExtentSource, Reader, RoundSource,
    ahead::{Ahead, Readahead},
};
use crate::{
    event::{Decoder, Line, Malformed, Nanos},
    files::Files,
    fold::{Place, intake::CONTROL_STREAM},
    streams::{Compression, LineReader, RawLine, source},
    tape::{
        fault::{Faults, ReadError, damaged},
        measure::{measure, short},
    },
};

/// Read buffers of all streams of a round together, and the bounds of one.
const BUFFERS_BYTES: usize = 64 << 20;
const CHUNK_MIN: usize = 8 << 10;
const CHUNK_MAX: usize = 256 << 10;

/// One block of every stream, where lines are decoded before their turn: a stream has several, and what is decoded takes up
/// to five times as much.
const BLOCKS_BYTES: usize = 4 << 20;

/// More streams than this in a round are read without holding their files open.
const DESCRIPTORS_MAX: usize = 128;

/// Lines of the control stream may always be so long.
const CONTROL_LINE_BYTES: usize = 1 << 20;

const UNTERMINATED: &str = "the last line has no newline at its end and is left out";
const NOT_SEALED: &str = "the bytes are not those that were sealed";

/// How the streams of a round are read.
#[derive(Clone, Copy)]
struct Reading<'a> {
    round: Option<u64>,
    line_bytes_max: usize,
    chunk: usize,
    reopen: bool,
    /// Who decodes before it is a line's turn, in pieces of so many bytes.
    ahead: Option<(&'a Arc<Readahead>, usize)>,
}

/// A stream's place within a round.
pub struct Cursor<'a> {
    files: &'a Files,
    faults: Option<&'a Faults>,
    reading: Reading<'a>,
    /// Extents not yet begun, the next one last.
    extents: Vec<&'a ExtentSource>,
    pub open: Option<Open<'a>>,
    /// The largest usable `ts` of this stream in the round so far.
    pub high: Nanos,
}

/// An extent that is being read, and the line that is next.
pub struct Open<'a> {
    extent: &'a ExtentSource,
    line_bytes_max: usize,
    lines: Lines,
    pub place: Place,
}

/// The lines of an extent: decoded when it is their turn, or before.
enum Lines {
    Here(Box<ExtentReader>),
    Ahead(Ahead),
}

pub type ExtentReader = LineReader<io::Take<source::Bytes>>;

/// Where the bytes of an extent are that were found to be those that were sealed.
enum Held {
    Here(Vec<u8>),
    There,
}

/// One cursor per stream, its extents in the order in which they are listed.
pub fn cursors<'a>(
    source: &'a RoundSource,
    line_bytes_max: usize,
    readahead: Option<&'a Arc<Readahead>>,
) -> Vec<Cursor<'a>> {
    let mut streams: BTreeMap<&[u8], Vec<&ExtentSource>> = BTreeMap::new();
    for extent in &source.extents {
        streams.entry(extent.stream.as_bytes()).or_default().push(extent);
    }
    let shared = |bytes: usize, most: usize| (bytes / streams.len().max(1)).clamp(CHUNK_MIN.min(most), most);
    let reading = Reading {
        round: source.round,
        line_bytes_max,
        chunk: shared(BUFFERS_BYTES, CHUNK_MAX),
        reopen: streams.len() > DESCRIPTORS_MAX,
        ahead: readahead.map(|readahead| (readahead, shared(BLOCKS_BYTES, readahead.block_bytes))),
    };
    streams
        .into_values()
        .map(|mut extents| {
            extents.reverse();
            // What an operator orders is never too long to be read, whatever was ordered before.
            let ours = extents.first().is_some_and(|extent| *extent.stream == *CONTROL_STREAM);
            let line_bytes_max = if ours { line_bytes_max.max(CONTROL_LINE_BYTES) } else { line_bytes_max };
            let reading = Reading { line_bytes_max, ..reading };
            let (files, faults) = (&source.files, source.faults.as_ref());
            Cursor { files, faults, reading, extents, open: None, high: Nanos::MIN }
        })
        .collect()
}

impl<'a> Cursor<'a> {
    /// Goes to the next line; false at the end of the stream's part of the round. What cannot be read ends its extent
    /// only, where there is somebody to tell that `lines` were read before.
    pub fn advance(&mut self, decoder: &mut Decoder, lines: u64) -> Result<bool, ReadError> {
        loop {
            match (self.next_line(decoder), self.faults) {
                (Err(error), Some(faults)) => {
                    self.open = None;
                    faults.lock().unwrap_or_else(PoisonError::into_inner).push((lines, error));
                }
                (answer, _) => return answer,
            }
        }
    }

    fn next_line(&mut self, decoder: &mut Decoder) -> Result<bool, ReadError> {
        loop {
            if let Some(open) = &mut self.open {
                match open.advance(decoder) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {
                        let extent = open.extent;
                        let (digest, rest) = open.lines.end();
                        if extent.data.as_ref().is_some_and(|sealed| *sealed != *digest.to_hex()) {
                            return Err(damaged(extent, self.reading.round, NOT_SEALED));
                        }
                        self.open = None;
                        if rest > 0 && self.faults.is_some() {
                            return Err(damaged(extent, self.reading.round, UNTERMINATED));
                        }
                    }
                    Err(error) => return Err(damaged(open.extent, self.reading.round, &error.to_string())),
                }
            }
            let Some(extent) = self.extents.pop() else { return Ok(false) };
            self.open = Some(self.begin(extent)?);
        }
    }

    fn begin(&self, extent: &'a ExtentSource) -> Result<Open<'a>, ReadError> {
        let len = extent.to - extent.from;
        let damaged = |what: &str| damaged(extent, self.reading.round, what);
        let bytes: source::Bytes = match (&extent.bytes, &extent.data) {
            (ExtentBytes::Memory(bytes), _) => Box::new(io::Cursor::new(bytes.clone())),
            (ExtentBytes::File(path, compression), Some(sealed)) => {
                let held = self.held_against(sealed, extent);
                let held = held.map_err(|error| damaged(&format!("{}: {error}", path.display())))?;
                match held.ok_or_else(|| damaged(NOT_SEALED))? {
                    Held::Here(bytes) => Box::new(io::Cursor::new(bytes)),
                    Held::There => self.open(path, *compression, extent).map_err(|error| damaged(&error))?,
                }
            }
            (ExtentBytes::File(path, compression), None) => {
                self.open(path, *compression, extent).map_err(|error| damaged(&error))?
            }
        };
        let line_bytes_max = self.reading.line_bytes_max;
        // A small one is read sooner than somebody who helps wakes up.
        let ahead = self.reading.ahead.filter(|(_, chunk)| len > 2 * *chunk as u64);
        let chunk = ahead.map_or(self.reading.chunk, |(_, chunk)| chunk);
        let reader = LineReader::new(bytes.take(len), extent.from, line_bytes_max)
            .with_chunk(chunk.min(len as usize))
            .with_digest(extent.data.is_some());
        let lines = match ahead {
            Some((readahead, _)) => Lines::Ahead(Ahead::new(readahead, reader, line_bytes_max)),
            None => Lines::Here(Box::new(reader)),
        };
        let place = Place { stream: extent.stream.clone(), file: extent.file.clone(), offset: extent.from };
        Ok(Open { extent, line_bytes_max, lines, place })
    }

    fn open(&self, path: &Path, compression: Compression, extent: &ExtentSource) -> Result<source::Bytes, String> {
        if self.reading.reopen && compression == Compression::None {
            return Ok(Box::new(source::Reopening::new(self.files, path, extent.from)));
        }
        source::open(self.files, path, compression, extent.from).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Holds an extent against its digest, so that no line is folded that was not sealed; nothing when it differs. A
    /// large one is read once more after that.
    fn held_against(&self, sealed: &str, extent: &ExtentSource) -> io::Result<Option<Held>> {
        let ExtentBytes::File(path, compression) = &extent.bytes else { return Ok(Some(Held::There)) };
        let len = extent.to - extent.from;
        if len > self.reading.chunk as u64 {
            return Ok((measure(self.files, extent)?.digest.to_hex().as_str() == sealed).then_some(Held::There));
        }
        let mut bytes = Vec::with_capacity(len as usize);
        source::open(self.files, path, *compression, extent.from)?.take(len).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < len {
            return Err(short(extent, bytes.len() as u64));
        }
        Ok((blake3::hash(&bytes).to_hex().as_str() == sealed).then_some(Held::Here(bytes)))
    }
}

impl Open<'_> {
    #[inline]
    fn advance(&mut self, decoder: &mut Decoder) -> io::Result<bool> {
        let (more, offset) = match &mut self.lines {
            Lines::Here(reader) => (reader.advance()?, reader.offset()),
            Lines::Ahead(ahead) => (ahead.advance(decoder)?, ahead.offset()),
        };
        self.place.offset = offset;
        Ok(more)
    }

    /// The bytes of the line.
    pub fn raw(&self) -> RawLine<'_> {
        match &self.lines {
            Lines::Here(reader) => reader.line(),
            Lines::Ahead(ahead) => ahead.raw(),
        }
    }

    /// What the line says, into `line`.
    #[inline]
    pub fn decode<'a>(
        &'a self,
        decoder: &mut Decoder,
        line: &mut Line<'a>,
        each: &dyn Reader,
    ) -> Result<(), Malformed> {
        match &self.lines {
            Lines::Here(reader) => match reader.line() {
                RawLine::Line(bytes) => decoder.decode(bytes, self.line_bytes_max, line, &|run| each.hear_of(run)),
                RawLine::Oversize(length) => Err(Malformed::oversize(length, self.line_bytes_max)),
            },
            Lines::Ahead(ahead) => {
                if let Some(run) = ahead.run_to_come() {
                    each.hear_of(run);
                }
                ahead.say(line)
            }
        }
    }
}

impl Lines {
    /// After the last line: the digest of all bytes, and how many there are behind the last newline.
    fn end(&self) -> (blake3::Hash, u64) {
        let of = |reader: &ExtentReader| (reader.digest(), reader.rest());
        match self {
            Lines::Here(reader) => of(reader),
            Lines::Ahead(ahead) => ahead.with_reader(of),
        }
    }
}
