/// Lines on their way through intake.
mod feed;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use self::feed::Feed;
use super::{
    fault::{Faults, ReadError, damaged},
    measure::{measure, short},
};
use crate::{
    event::{Decoded, Decoder, Key, Line, Malformed, Nanos},
    files::Files,
    fold::{Batch, Intake, Place, intake::CONTROL_STREAM},
    streams::{Compression, LineReader, RawLine, source},
};

/// Lines handed on together at most.
const BATCH_LINES: usize = 512;

/// A round, sealed or virtual, with where its bytes are.
#[derive(Debug)]
pub struct RoundSource {
    /// Where its files lie.
    pub files: Files,
    /// Number on the tape; absent past its end.
    pub round: Option<u64>,
    /// Sealing time; absent where there is no tape, so that nothing is skewed.
    pub at: Option<Nanos>,
    /// Lines it must hold; absent when nobody counted.
    pub count: Option<u64>,
    pub extents: Vec<ExtentSource>,
    /// Where to tell of damage, so that the rest is read all the same; absent where damage ends the reading.
    pub faults: Option<Faults>,
}

/// One extent and its bytes.
#[derive(Clone, Debug)]
pub struct ExtentSource {
    pub stream: Arc<str>,
    pub file: Arc<str>,
    pub from: u64,
    pub to: u64,
    /// The digest it must have.
    pub data: Option<String>,
    pub bytes: ExtentBytes,
}

#[derive(Clone, Debug)]
pub enum ExtentBytes {
    Memory(Arc<[u8]>),
    File(PathBuf, Compression),
}

/// How far to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Until {
    #[default]
    End,
    /// Lines before this position.
    Position(u64),
    /// Lines before the first one later than this, Unix nanoseconds.
    Time(Nanos),
}

/// Feeds the lines of a round through intake in tape order; whole batches go to `sink`. Returns false when `until` was
/// reached inside.
///
/// # Errors
/// Bytes that are missing or differ from what was sealed. Lines before the damaged extent were handed on, none of it.
pub fn read_round(
    source: &RoundSource,
    intake: &mut Intake,
    until: Until,
    sink: &mut dyn FnMut(Batch),
) -> Result<bool, ReadError> {
    let first = intake.position();
    read_rest(source, first, intake, until, sink)
}

/// The same for a round that begins at `first` and was read up to where intake stands.
///
/// # Errors
/// As [`read_round`].
pub fn read_rest(
    source: &RoundSource,
    first: u64,
    intake: &mut Intake,
    until: Until,
    sink: &mut dyn FnMut(Batch),
) -> Result<bool, ReadError> {
    let mut sink = |batch, _: &Intake| {
        sink(batch);
        true
    };
    read_in_steps(source, first, intake, (until, None), &mut sink)
}

/// The same, where a batch ends before the line with which the tape time enters another step, and `sink`, shown where intake
/// stands behind the batch, says whether to go on: with false the reading ends as if `until` were reached.
///
/// # Errors
/// As [`read_round`].
pub fn read_in_steps(
    source: &RoundSource,
    first: u64,
    intake: &mut Intake,
    (until, step): (Until, Option<Nanos>),
    sink: &mut dyn FnMut(Batch, &Intake) -> bool,
) -> Result<bool, ReadError> {
    let done_before = intake.position() - first;
    let line_bytes_max = intake.policy().policy.limits.line_bytes;
    let mut feed = Feed { batch: intake.begin(), intake, done_before, at: source.at, until, step, sink };
    let read = read_lines(source, line_bytes_max, &mut feed);
    let goes_on = feed.flush();
    let (done, found) = (read? && goes_on, feed.intake.position() - first);
    match (source.round, source.count) {
        (Some(round), Some(sealed)) if done && sealed != found => Err(ReadError::Count { round, found, sealed }),
        _ => Ok(done),
    }
}

/// Takes a line, decoded, with its place and its bytes; false to stop.
pub type EachLine<'a> = dyn FnMut(Decoded<'_, '_>, &Place, RawLine<'_>) -> bool + 'a;

/// Who reads lines, and hears of them before.
trait Reader {
    /// Takes a line, decoded, with its place and its bytes; false to stop.
    fn take(&mut self, line: Decoded, place: &Place, raw: RawLine) -> bool;

    /// Hears of a run while the line that names it is still being decoded: what is known of it can be fetched meanwhile.
    fn hear_of(&self, _run: Key) {}
}

struct Each<'a, 'b>(&'a mut EachLine<'b>);

impl Reader for Each<'_, '_> {
    fn take(&mut self, line: Decoded, place: &Place, raw: RawLine) -> bool {
        (self.0)(line, place, raw)
    }
}

/// The lines of a round in tape order: always the line whose stream's high time is the lowest, streams by name. Returns
/// false when `each` stopped it.
///
/// # Errors
/// Bytes that are missing or differ from what was sealed.
pub fn each_line(source: &RoundSource, line_bytes_max: usize, each: &mut EachLine) -> Result<bool, ReadError> {
    read_lines(source, line_bytes_max, &mut Each(each))
}

fn read_lines(source: &RoundSource, line_bytes_max: usize, each: &mut dyn Reader) -> Result<bool, ReadError> {
    let mut cursors = cursors(source, line_bytes_max);
    let mut decoder = Decoder::default();
    let mut turns: BinaryHeap<Turn> = BinaryHeap::new();
    let mut lines = 0;
    for (index, cursor) in cursors.iter_mut().enumerate() {
        if cursor.advance(lines)?
            && let Some(open) = &cursor.open
        {
            let mut line = Line::default();
            let fault = decode(&mut decoder, open.reader.line(), cursor.reading.line_bytes_max, &mut line, each);
            cursor.high = time_of(fault.as_ref().map(|()| &line)).unwrap_or(Nanos::MIN);
            turns.push(Reverse((cursor.high, index)));
        }
    }
    while let Some(Reverse((_, index))) = turns.pop() {
        let cursor = &mut cursors[index];
        let mut due = true;
        // A stream keeps its turn while no other is due, so that most lines are decoded once.
        while let Some(open) = &cursor.open {
            let raw = open.reader.line();
            let mut line = Line::default();
            let fault = decode(&mut decoder, raw, cursor.reading.line_bytes_max, &mut line, each);
            let line = fault.as_ref().map(|()| &line);
            cursor.high = time_of(line).map_or(cursor.high, |time| time.max(cursor.high));
            let turn = Reverse((cursor.high, index));
            if !due && turns.peek().is_some_and(|other| turn < *other) {
                turns.push(turn);
                break;
            }
            due = false;
            if !each.take(line, &open.place, raw) {
                return Ok(false);
            }
            lines += 1;
            if !cursor.advance(lines)? {
                break;
            }
        }
    }
    Ok(true)
}

/// One cursor per stream, its extents in the order in which they are listed.
fn cursors(source: &RoundSource, line_bytes_max: usize) -> Vec<Cursor<'_>> {
    let mut streams: BTreeMap<&[u8], Vec<&ExtentSource>> = BTreeMap::new();
    for extent in &source.extents {
        streams.entry(extent.stream.as_bytes()).or_default().push(extent);
    }
    let reading = Reading {
        round: source.round,
        line_bytes_max,
        chunk: (BUFFERS_BYTES / streams.len().max(1)).clamp(CHUNK_MIN, CHUNK_MAX),
        reopen: streams.len() > DESCRIPTORS_MAX,
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

/// Read buffers of all streams of a round together, and the bounds of one.
const BUFFERS_BYTES: usize = 64 << 20;
const CHUNK_MIN: usize = 8 << 10;
const CHUNK_MAX: usize = 256 << 10;

/// More streams than this in a round are read without holding their files open.
const DESCRIPTORS_MAX: usize = 128;

/// Lines of the control stream may always be so long.
const CONTROL_LINE_BYTES: usize = 1 << 20;

const UNTERMINATED: &str = "the last line has no newline at its end and is left out";
const NOT_SEALED: &str = "the bytes are not those that were sealed";

/// How the streams of a round are read.
#[derive(Clone, Copy)]
struct Reading {
    round: Option<u64>,
    line_bytes_max: usize,
    chunk: usize,
    reopen: bool,
}

/// A stream's place within a round.
struct Cursor<'a> {
    files: &'a Files,
    faults: Option<&'a Faults>,
    reading: Reading,
    /// Extents not yet begun, the next one last.
    extents: Vec<&'a ExtentSource>,
    open: Option<Open<'a>>,
    /// The largest usable `ts` of this stream in the round so far.
    high: Nanos,
}

struct Open<'a> {
    extent: &'a ExtentSource,
    reader: LineReader<io::Take<source::Bytes>>,
    place: Place,
}

/// Where the bytes of an extent are that were found to be those that were sealed.
enum Held {
    Here(Vec<u8>),
    There,
}

impl<'a> Cursor<'a> {
    /// Goes to the next line; false at the end of the stream's part of the round. What cannot be read ends its extent
    /// only, where there is somebody to tell that `lines` were read before.
    fn advance(&mut self, lines: u64) -> Result<bool, ReadError> {
        loop {
            match (self.next_line(), self.faults) {
                (Err(error), Some(faults)) => {
                    self.open = None;
                    faults.lock().unwrap_or_else(PoisonError::into_inner).push((lines, error));
                }
                (answer, _) => return answer,
            }
        }
    }

    fn next_line(&mut self) -> Result<bool, ReadError> {
        loop {
            if let Some(open) = &mut self.open {
                match open.reader.advance() {
                    Ok(true) => {
                        open.place.offset = open.reader.offset();
                        return Ok(true);
                    }
                    Ok(false) => {
                        let extent = open.extent;
                        let differs = |sealed: &String| *sealed != *open.reader.digest().to_hex();
                        if extent.data.as_ref().is_some_and(differs) {
                            return Err(damaged(extent, self.reading.round, NOT_SEALED));
                        }
                        let rest = open.reader.rest();
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
        let reader = LineReader::new(bytes.take(len), extent.from, self.reading.line_bytes_max)
            .with_chunk(self.reading.chunk.min(len as usize))
            .with_digest(extent.data.is_some());
        let place = Place { stream: extent.stream.clone(), file: extent.file.clone(), offset: extent.from };
        Ok(Open { extent, reader, place })
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

/// Decodes the line a reader stands on.
fn decode<'a>(
    decoder: &mut Decoder,
    raw: RawLine<'a>,
    most: usize,
    line: &mut Line<'a>,
    each: &dyn Reader,
) -> Result<(), Malformed> {
    match raw {
        RawLine::Line(bytes) => decoder.decode(bytes, most, line, &|run| each.hear_of(run)),
        RawLine::Oversize(length) => Err(Malformed::oversize(length, most)),
    }
}

/// What a line adds to its stream's high time: nothing where it has no usable `ts`.
fn time_of(line: Decoded) -> Option<Nanos> {
    line.ok()?.ts.at()
}

/// What a stream is ordered by: its high time, then its name, which is the cursor's index.
type Turn = Reverse<(Nanos, usize)>;
