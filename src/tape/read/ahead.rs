use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{block::Block, cursor::ExtentReader};
use crate::{
    event::{Decoder, Key, Line, Malformed},
    streams::RawLine,
};

/// Blocks of an extent that are decoded, or being decoded, at most.
const DEPTH: usize = 4;

/// Few enough that all blocks of a stream stay in the cache.
const BLOCK_BYTES: usize = 128 << 10;

/// How many lines before its turn a run is heard of.
const NOTICE: usize = 8;

/// Extents that want blocks of their lines decoded before it is their turn. Whoever has nothing else to do helps: what
/// comes out, and in which order, depends on the bytes alone.
#[derive(Debug)]
pub struct Readahead {
    wanted: Mutex<Wanted>,
    /// Something is wanted, or nothing more will be.
    more: Condvar,
    /// Blocks that were read to their end, to be filled anew.
    spare: Mutex<Vec<Block>>,
    /// Bytes of a block at most, but for a line that is longer.
    pub(super) block_bytes: usize,
}

impl Default for Readahead {
    fn default() -> Self {
        Readahead::of_blocks(BLOCK_BYTES)
    }
}

impl Readahead {
    /// More than so many who only help have nothing to do where there is one stream.
    pub const HELPERS: usize = DEPTH;

    /// With blocks of so many bytes.
    pub(super) fn of_blocks(block_bytes: usize) -> Readahead {
        Readahead { wanted: Mutex::default(), more: Condvar::new(), spare: Mutex::default(), block_bytes }
    }

    /// Decodes a block that will be asked for; false when none is wanted.
    pub fn help(&self, decoder: &mut Decoder) -> bool {
        loop {
            let Some(blocks) = lock(&self.wanted).blocks.pop_front() else { return false };
            if blocks.upgrade().is_some_and(|blocks| blocks.decode_next(self, decoder)) {
                return true;
            }
        }
    }

    /// Decodes whatever is wanted until nothing more will be: see [`Reading`].
    pub fn help_on(&self, decoder: &mut Decoder) {
        let nothing = |wanted: &mut Wanted| wanted.blocks.is_empty() && !wanted.ended;
        while !self.more.wait_while(lock(&self.wanted), nothing).unwrap_or_else(PoisonError::into_inner).ended {
            self.help(decoder);
        }
    }

    fn want(&self, blocks: &Arc<Blocks>) {
        lock(&self.wanted).blocks.push_back(Arc::downgrade(blocks));
        self.more.notify_one();
    }
}

/// Somebody reads. When this is let go of, nothing more will be wanted.
#[derive(Debug)]
pub struct Reading(Arc<Readahead>);

impl Reading {
    pub fn of(readahead: &Arc<Readahead>) -> Reading {
        Reading(readahead.clone())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        lock(&self.0.wanted).ended = true;
        self.0.more.notify_all();
    }
}

#[derive(Debug, Default)]
struct Wanted {
    /// An extent is there once for each block that it wants, in the order of asking.
    blocks: VecDeque<Weak<Blocks>>,
    ended: bool,
}

/// The blocks of an extent: read one after another, decoded at the same time, given out in order.
struct Blocks {
    line_bytes_max: usize,
    reader: Mutex<ExtentReader>,
    progress: Mutex<Progress>,
    /// A block was decoded, or there is none any more.
    came: Condvar,
}

/// How far the blocks of an extent are. Blocks are numbered from 0.
#[derive(Default)]
struct Progress {
    /// Blocks that somebody took on.
    begun: u64,
    given: u64,
    /// Decoded, not yet given out.
    ready: BTreeMap<u64, io::Result<Block>>,
    /// All that there are were begun.
    ended: bool,
}

impl Progress {
    /// Whether all were given out.
    fn is_over(&self) -> bool {
        self.ended && self.begun == self.given
    }
}

impl Blocks {
    /// Takes on the next block; false where enough are on their way, or none is left.
    fn decode_next(&self, readahead: &Readahead, decoder: &mut Decoder) -> bool {
        let mut reader = lock(&self.reader);
        let number = {
            let mut progress = lock(&self.progress);
            if progress.ended || progress.begun - progress.given >= DEPTH as u64 {
                return false;
            }
            progress.begun += 1;
            progress.begun - 1
        };
        // Whatever happens, somebody may be waiting for it.
        let mut promise = Promise { blocks: self, number, kept: None };
        let mut block = lock(&readahead.spare).pop().unwrap_or_default();
        let read = block.read(&mut reader);
        if !matches!(read, Ok(true)) {
            lock(&self.progress).ended = true;
        }
        drop(reader);
        promise.kept = Some(read.map(|_| {
            block.decode(decoder, self.line_bytes_max);
            block
        }));
        true
    }

    /// The next block in order, decoded here when nobody has begun it; an empty one at the end.
    fn next(self: &Arc<Self>, readahead: &Readahead, decoder: &mut Decoder) -> io::Result<Block> {
        loop {
            let mut progress = lock(&self.progress);
            let number = progress.given;
            if let Some(block) = progress.ready.remove(&number) {
                progress.given += 1;
                drop(progress);
                readahead.want(self);
                return block;
            }
            if progress.is_over() {
                return Ok(Block::default());
            }
            drop(progress);
            if !self.decode_next(readahead, decoder) {
                let there = |progress: &Progress| progress.ready.contains_key(&number) || progress.is_over();
                let waits = |progress: &mut Progress| !there(progress);
                drop(self.came.wait_while(lock(&self.progress), waits));
            }
        }
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blocks")
    }
}

/// A block that was taken on, and is told of when this is let go of.
struct Promise<'a> {
    blocks: &'a Blocks,
    number: u64,
    kept: Option<io::Result<Block>>,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let kept = self.kept.take().unwrap_or_else(|| Err(io::Error::other("decoding was broken off")));
        let mut progress = lock(&self.blocks.progress);
        progress.ended |= kept.is_err();
        progress.ready.insert(self.number, kept);
        drop(progress);
        self.blocks.came.notify_all();
    }
}

/// The lines of an extent, one after another, decoded before it is their turn.
pub struct Ahead {
    readahead: Arc<Readahead>,
    blocks: Arc<Blocks>,
    block: Block,
    /// Number of the line within the block.
    at: usize,
}

impl Ahead {
    /// Before the first line.
    pub fn new(readahead: &Arc<Readahead>, reader: ExtentReader, line_bytes_max: usize) -> Ahead {
        let (reader, progress) = (Mutex::new(reader), Mutex::default());
        let blocks = Arc::new(Blocks { line_bytes_max, reader, progress, came: Condvar::new() });
        (0..DEPTH).for_each(|_| readahead.want(&blocks));
        Ahead { readahead: readahead.clone(), blocks, block: Block::default(), at: 0 }
    }

    /// Goes to the next line; false at the end.
    ///
    /// # Errors
    /// Reading failed. Lines before that were given.
    #[inline]
    pub fn advance(&mut self, decoder: &mut Decoder) -> io::Result<bool> {
        self.at += 1;
        if self.at < self.block.len() {
            return Ok(true);
        }
        self.next_block(decoder)
    }

    #[inline(never)]
    fn next_block(&mut self, decoder: &mut Decoder) -> io::Result<bool> {
        self.at = 0;
        loop {
            if !self.block.is_done() {
                self.block.decode(decoder, self.blocks.line_bytes_max);
                if self.block.len() > 0 {
                    return Ok(true);
                }
                continue;
            }
            let next = self.blocks.next(&self.readahead, decoder)?;
            let ended = next.is_end();
            lock(&self.readahead.spare).push(std::mem::replace(&mut self.block, next));
            // All of its lines may be blank.
            if ended || self.block.len() > 0 {
                return Ok(!ended);
            }
        }
    }

    /// Where the line begins in the file.
    pub fn offset(&self) -> u64 {
        self.block.offset(self.at)
    }

    /// The bytes of the line.
    pub fn raw(&self) -> RawLine<'_> {
        self.block.raw(self.at)
    }

    /// Says in `line` what the line says.
    ///
    /// # Errors
    /// It is malformed.
    #[inline]
    pub fn say<'a>(&'a self, line: &mut Line<'a>) -> Result<(), Malformed> {
        self.block.say(self.at, line)
    }

    /// The run of a line that comes soon.
    #[inline]
    pub fn run_to_come(&self) -> Option<Key> {
        self.block.run(self.at + NOTICE)
    }

    /// Shows what reads the bytes.
    pub fn with_reader<T>(&self, look: impl FnOnce(&ExtentReader) -> T) -> T {
        look(&lock(&self.blocks.reader))
    }
}

/// Whatever another thread left behind when it broke off: no block is asked for after that.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
