/// Lines that are decoded before their turn, by whoever has time.
pub mod ahead;
/// Lines that lie one behind another.
mod block;
/// A stream's place within a round.
mod cursor;
/// Lines on their way through intake.
mod feed;

use std::{cmp::Reverse, collections::BinaryHeap, path::PathBuf, sync::Arc};

use self::{ahead::Readahead, cursor::cursors, feed::Feed};
use super::fault::{Faults, ReadError};
use crate::{
    event::{Decoded, Decoder, Key, Line, Nanos},
    files::Files,
    fold::{Batch, Intake, Place},
    streams::{Compression, RawLine},
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

/// The same, where lines are decoded before their turn by whoever helps `readahead`; and by this thread, when nobody does.
///
/// # Errors
/// As [`read_round`].
pub fn read_round_ahead(
    source: &RoundSource,
    intake: &mut Intake,
    until: Until,
    readahead: &Arc<Readahead>,
    sink: &mut dyn FnMut(Batch),
) -> Result<bool, ReadError> {
    let first = intake.position();
    read(source, first, intake, (until, None), Some(readahead), &mut never_enough(sink))
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
    read_in_steps(source, first, intake, (until, None), &mut never_enough(sink))
}

fn never_enough(sink: &mut dyn FnMut(Batch)) -> impl FnMut(Batch, &Intake) -> bool {
    move |batch, _| {
        sink(batch);
        true
    }
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
    how_far: (Until, Option<Nanos>),
    sink: &mut dyn FnMut(Batch, &Intake) -> bool,
) -> Result<bool, ReadError> {
    read(source, first, intake, how_far, None, sink)
}

fn read(
    source: &RoundSource,
    first: u64,
    intake: &mut Intake,
    (until, step): (Until, Option<Nanos>),
    readahead: Option<&Arc<Readahead>>,
    sink: &mut dyn FnMut(Batch, &Intake) -> bool,
) -> Result<bool, ReadError> {
    let done_before = intake.position() - first;
    let line_bytes_max = intake.policy().policy.limits.line_bytes;
    let mut feed = Feed { batch: intake.begin(), intake, done_before, at: source.at, until, step, sink };
    let read = read_lines(source, line_bytes_max, readahead, &mut feed);
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
    read_lines(source, line_bytes_max, None, &mut Each(each))
}

fn read_lines(
    source: &RoundSource,
    line_bytes_max: usize,
    readahead: Option<&Arc<Readahead>>,
    each: &mut dyn Reader,
) -> Result<bool, ReadError> {
    let mut cursors = cursors(source, line_bytes_max, readahead);
    let mut decoder = Decoder::default();
    let mut turns: BinaryHeap<Turn> = BinaryHeap::new();
    let mut lines = 0;
    for (index, cursor) in cursors.iter_mut().enumerate() {
        if cursor.advance(&mut decoder, lines)?
            && let Some(open) = &cursor.open
        {
            let mut line = Line::default();
            let fault = open.decode(&mut decoder, &mut line, each);
            cursor.high = time_of(fault.as_ref().map(|()| &line)).unwrap_or(Nanos::MIN);
            turns.push(Reverse((cursor.high, index)));
        }
    }
    while let Some(Reverse((_, index))) = turns.pop() {
        let cursor = &mut cursors[index];
        let mut due = true;
        // A stream keeps its turn while no other is due, so that most lines are decoded once.
        while let Some(open) = &cursor.open {
            let mut line = Line::default();
            let fault = open.decode(&mut decoder, &mut line, each);
            let line = fault.as_ref().map(|()| &line);
            cursor.high = time_of(line).map_or(cursor.high, |time| time.max(cursor.high));
            let turn = Reverse((cursor.high, index));
            if !due && turns.peek().is_some_and(|other| turn < *other) {
                turns.push(turn);
                break;
            }
            due = false;
            if !each.take(line, &open.place, open.raw()) {
                return Ok(false);
            }
            lines += 1;
            if !cursor.advance(&mut decoder, lines)? {
                break;
            }
        }
    }
    Ok(true)
}

/// What a line adds to its stream's high time: nothing where it has no usable `ts`.
fn time_of(line: Decoded) -> Option<Nanos> {
    line.ok()?.ts.at()
}

/// What a stream is ordered by: its high time, then its name, which is the cursor's index.
type Turn = Reverse<(Nanos, usize)>;

#[cfg(test)]
mod tests;
