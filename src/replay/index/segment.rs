use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Entry, Stretch};
use crate::files::{File, Files, How, read_exact_at};

pub const FORMAT: u32 = 1;

/// More than any header has.
const HEADER_BYTES_MAX: u64 = 16 << 20;
/// Bytes of an entry: hash 8, position 6, offset 6, file 2, check 4.
const ENTRY: usize = 26;
/// Entries of a block, which is read and checked as a whole.
pub const BLOCK: usize = 256;
/// Bytes of a block in the list of blocks: its first hash, and its checksum.
const LISTED: usize = 16;

/// What a file says of itself, in its first line. The list of blocks follows, then the blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub v: u32,
    /// The rounds it covers: the first, and one past the last.
    pub rounds: (u64, u64),
    /// Their positions: the first, and one past the last.
    pub from: u64,
    pub to: u64,
    /// Digest of its last round.
    pub tape: String,
    /// Stream and file by number.
    pub files: Vec<(String, String)>,
    pub entries: u64,
    /// BLAKE3 of the list of blocks.
    pub list: String,
    /// BLAKE3 of this line without it.
    pub seal: String,
}

impl Header {
    fn line(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a header holds only text and integers")
    }

    fn expected_seal(&self) -> String {
        let open = Header { seal: String::new(), ..self.clone() };
        blake3::hash(&open.line()).to_hex().to_string()
    }
}

/// An entry as it is sorted and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packed {
    pub hash: u64,
    pub position: u64,
    pub offset: u64,
    pub file: u16,
    pub check: u32,
}

impl Packed {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.hash.to_le_bytes());
        out.extend(&self.position.to_le_bytes()[..6]);
        out.extend(&self.offset.to_le_bytes()[..6]);
        out.extend(self.file.to_le_bytes());
        out.extend(self.check.to_le_bytes());
    }

    fn get(bytes: &[u8]) -> Packed {
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        Packed {
            hash: number(0, 8),
            position: number(8, 14),
            offset: number(14, 20),
            file: number(20, 22) as u16,
            check: number(22, 26) as u32,
        }
    }
}

/// The bytes of a file. `header` lacks what follows from the entries.
pub fn to_bytes(header: Header, mut entries: Vec<Packed>) -> Vec<u8> {
    entries.sort_unstable();
    let (mut list, mut blocks) = (Vec::new(), Vec::with_capacity(entries.len() * ENTRY));
    for block in entries.chunks(BLOCK) {
        let start = blocks.len();
        block.iter().for_each(|entry| entry.put(&mut blocks));
        list.extend(block[0].hash.to_le_bytes());
        list.extend(sum(&blocks[start..]));
    }
    let list_digest = blake3::hash(&list).to_hex().to_string();
    let mut header = Header { entries: entries.len() as u64, list: list_digest, seal: String::new(), ..header };
    header.seal = header.expected_seal();
    let mut bytes = header.line();
    bytes.push(b'\n');
    bytes.extend(list);
    bytes.extend(blocks);
    bytes
}

/// The checksum of a block.
fn sum(block: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(block).as_bytes()[..8]);
    sum
}

/// A file of an index with its list of blocks.
pub struct Segment {
    pub header: Header,
    file: File,
    /// First hash and checksum of each block.
    blocks: Vec<(u64, [u8; 8])>,
    /// Where the blocks begin in the file.
    start: u64,
}

impl Segment {
    /// Reads the header and the list of blocks.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(files: &Files, path: PathBuf) -> Result<Segment, String> {
        let file = files.open(&path, How::Read).map_err(|error| error.to_string())?;
        let len = file.about().map_err(|error| error.to_string())?.len;
        let read = |from: u64, to: u64| {
            let mut bytes = vec![0; to.min(len).saturating_sub(from) as usize];
            read_exact_at(&*file, &mut bytes, from).map(|()| bytes).map_err(|error| error.to_string())
        };
        let mut head = read(0, 64 << 10)?;
        if memchr::memchr(b'\n', &head).is_none() {
            head = read(0, HEADER_BYTES_MAX)?;
        }
        let end = memchr::memchr(b'\n', &head).ok_or("it has no header")?;
        let header: Header = serde_json::from_slice(&head[..end]).map_err(|error| format!("its header: {error}"))?;
        if header.v != FORMAT || header.seal != header.expected_seal() || header.line() != head[..end] {
            return Err("its header does not match its checksum".to_owned());
        }
        let count = header.entries.div_ceil(BLOCK as u64);
        let first = end as u64 + 1;
        let start = first + count * LISTED as u64;
        let list = read(first, start)?;
        if blake3::hash(&list).to_hex().as_str() != header.list || start + header.entries * ENTRY as u64 != len {
            return Err("its list of blocks does not match its checksum".to_owned());
        }
        let block = |bytes: &[u8]| {
            let (mut hash, mut sum) = ([0; 8], [0; 8]);
            hash.copy_from_slice(&bytes[..8]);
            sum.copy_from_slice(&bytes[8..]);
            (u64::from_le_bytes(hash), sum)
        };
        Ok(Segment { header, file, blocks: list.chunks_exact(LISTED).map(block).collect(), start })
    }

    /// The entries of a hash.
    ///
    /// # Errors
    /// A block is not as it was written.
    pub fn find(&self, hash: u64) -> Result<Vec<Entry>, String> {
        let mut found = Vec::new();
        // Entries of one hash may begin at the end of the block before.
        let from = self.blocks.partition_point(|(first, _)| *first < hash).saturating_sub(1);
        for (at, _) in self.blocks.iter().enumerate().skip(from).take_while(|(_, (first, _))| *first <= hash) {
            let entries = self.block(at)?;
            found.extend(entries.into_iter().filter(|entry| entry.hash == hash).map(|entry| self.entry(&entry)));
        }
        Ok(found)
    }

    fn block(&self, at: usize) -> Result<Vec<Packed>, String> {
        let from = at * BLOCK;
        let count = (self.header.entries as usize - from).min(BLOCK);
        let mut bytes = vec![0; count * ENTRY];
        let offset = self.start + (from * ENTRY) as u64;
        read_exact_at(&*self.file, &mut bytes, offset).map_err(|error| error.to_string())?;
        if sum(&bytes) != self.blocks[at].1 {
            return Err(format!("block {at} does not match its checksum"));
        }
        Ok(bytes.chunks_exact(ENTRY).map(Packed::get).collect())
    }

    fn entry(&self, packed: &Packed) -> Entry {
        let (stream, file) = self.header.files.get(packed.file as usize).cloned().unwrap_or_default();
        Entry { position: packed.position, stream, file, offset: packed.offset, check: packed.check }
    }

    /// What it covers.
    pub fn stretch(&self) -> Stretch {
        Stretch { round: self.header.rounds.0, position: self.header.from, end: Some(self.header.rounds.1) }
    }
}
