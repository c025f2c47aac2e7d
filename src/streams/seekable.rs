//! Packed files that can be read from the middle: many small zstd frames and, behind them, a table of their sizes in a
//! frame that every zstd reader skips (zstd's own seekable format). History is read by extents; from the start of a file
//! each time, that would take the square of its length.

use std::io::{self, Read};

use crate::files::{Opened, read_exact_at};

/// Unpacked bytes of a frame.
const FRAME: usize = 256 * 1024;
const LEVEL: i32 = 6;

const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Magic number and length of the table's frame, and what ends it.
const HEAD: u64 = 8;
const FOOT: u64 = 9;
const ENTRY: u64 = 8;

/// Packs everything a reader gives; the packed bytes go to `out`. Returns how many were read.
///
/// # Errors
/// Reading, packing or writing failed.
pub fn pack(bytes: &mut dyn Read, out: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let (mut table, mut frames, mut total) = (Vec::new(), 0_u32, 0);
    let mut block = Vec::with_capacity(FRAME);
    loop {
        block.clear();
        bytes.take(FRAME as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            break;
        }
        let packed = zstd::bulk::compress(&block, LEVEL)?;
        out(&packed)?;
        table.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        table.extend_from_slice(&(block.len() as u32).to_le_bytes());
        frames += 1;
        total += block.len() as u64;
    }
    let len = table.len() as u32 + FOOT as u32;
    out(&[SKIPPABLE.to_le_bytes(), len.to_le_bytes()].concat())?;
    table.extend_from_slice(&frames.to_le_bytes());
    table.push(0);
    table.extend_from_slice(&SEEKABLE.to_le_bytes());
    out(&table)?;
    Ok(total)
}

/// The table at the end of a packed file.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Packed and unpacked bytes of each frame.
    frames: Vec<(u32, u32)>,
}

impl Table {
    /// Reads the table of a file. None: it has none, and is to be read from its start.
    pub fn read(file: &dyn Opened, len: u64) -> Option<Table> {
        let mut foot = [0; FOOT as usize];
        read_exact_at(file, &mut foot, len.checked_sub(FOOT)?).ok()?;
        let (count, rest) = foot.split_at(4);
        let plain = rest[0] == 0 && rest[1..] == SEEKABLE.to_le_bytes();
        let count = u64::from(u32::from_le_bytes(count.try_into().ok()?));
        let begin = len.checked_sub(HEAD + count * ENTRY + FOOT).filter(|_| plain)?;
        let mut table = vec![0; (HEAD + count * ENTRY) as usize];
        read_exact_at(file, &mut table, begin).ok()?;
        let words: Vec<u32> =
            table.chunks_exact(4).filter_map(|word| Some(u32::from_le_bytes(word.try_into().ok()?))).collect();
        let (head, entries) = words.split_at_checked(2)?;
        let frames: Vec<(u32, u32)> = entries.chunks_exact(2).map(|entry| (entry[0], entry[1])).collect();
        let packed: u64 = frames.iter().map(|frame| u64::from(frame.0)).sum();
        (head[0] == SKIPPABLE && packed == begin).then_some(Table { frames })
    }

    /// Unpacked bytes of the whole file.
    pub fn total(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.1)).sum()
    }

    /// Where the frame with an unpacked offset begins: packed, and unpacked. The end of the last one for any offset past it.
    pub fn frame_of(&self, offset: u64) -> (u64, u64) {
        let mut at = (0, 0);
        for (packed, unpacked) in &self.frames {
            if at.1 + u64::from(*unpacked) > offset {
                break;
            }
            at = (at.0 + u64::from(*packed), at.1 + u64::from(*unpacked));
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        files::{Files, How},
        streams::{Compression, source},
    };

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|n| format!("{{\"n\":{n},\"x\":\"{}\"}}\n", n * 7919 % 100_003).into_bytes()).collect()
    }

    #[test]
    fn any_part_is_read_as_from_the_whole() {
        let (files, dir) = (Files::machine(), tempfile::tempdir().expect("a temporary directory"));
        let path = dir.path().join("f1.jsonl.zst");
        for count in [0, 1, 30_000] {
            let (bytes, mut packed) = (lines(count), Vec::new());
            let total = pack(&mut bytes.as_slice(), &mut |part| {
                packed.extend_from_slice(part);
                Ok(())
            });
            assert_eq!(total.expect("memory"), bytes.len() as u64);
            std::fs::write(&path, &packed).expect("a writable file");
            let file = files.open(&path, How::Read).expect("a readable file");
            let table = Table::read(&*file, packed.len() as u64).expect("a table");
            assert_eq!(table.total(), bytes.len() as u64);
            assert_eq!(zstd::decode_all(packed.as_slice()).expect("any zstd reads it"), bytes);
            let len = bytes.len() as u64;
            let frame = FRAME as u64;
            for from in [0, 1, frame - 1, frame, frame + 1, 2 * frame, len.saturating_sub(1), len] {
                if from <= len {
                    let mut read = Vec::new();
                    let mut part = source::open(&files, &path, Compression::Zstd, from).expect("a readable file");
                    part.read_to_end(&mut read).expect("a readable file");
                    assert!(read == bytes[from as usize..], "{count} lines from {from}");
                }
            }
            assert!(source::open(&files, &path, Compression::Zstd, len + 1).is_err(), "past the end");
        }
    }

    #[test]
    fn a_file_that_is_not_whole_has_no_table() {
        let (files, dir) = (Files::machine(), tempfile::tempdir().expect("a temporary directory"));
        let (path, mut packed) = (dir.path().join("f1.jsonl.zst"), Vec::new());
        let bytes = lines(30_000);
        pack(&mut bytes.as_slice(), &mut |part| {
            packed.extend_from_slice(part);
            Ok(())
        })
        .expect("memory");
        for cut in (0..packed.len()).step_by(997).chain(packed.len() - 40..packed.len()) {
            std::fs::write(&path, &packed[..cut]).expect("a writable file");
            let file = files.open(&path, How::Read).expect("a readable file");
            assert_eq!(Table::read(&*file, cut as u64), None, "cut at {cut}");
        }
        std::fs::write(&path, zstd::encode_all(bytes.as_slice(), 3).expect("memory")).expect("a writable file");
        let file = files.open(&path, How::Read).expect("a readable file");
        let len = file.about().expect("a file").len;
        assert_eq!(Table::read(&*file, len), None, "one frame, packed by others");
    }
}
