use std::collections::VecDeque;

use serde::Serialize;

/// So many bytes are packed as one.
const BLOCK_BYTES: usize = 256 << 10;

/// What packing a length and a number takes.
const HEAD: usize = 8;

/// JSON texts under rising numbers, packed as they come. Rows repeat their field names: packed, those of a hundred
/// thousand subjects take a few megabytes.
#[derive(Debug, Default)]
pub struct Pile {
    blocks: VecDeque<Block>,
    /// The last ones, not packed yet.
    open: Vec<u8>,
}

#[derive(Debug)]
enum Block {
    Packed { bytes: Vec<u8>, unpacked: usize },
    Plain(Vec<u8>),
}

impl Pile {
    /// Puts a value on the pile. One that is no JSON is left out.
    pub fn put(&mut self, number: u32, value: &impl Serialize) {
        let start = self.open.len();
        self.open.extend_from_slice(&[0; HEAD]);
        if serde_json::to_writer(&mut self.open, value).is_err() {
            return self.open.truncate(start);
        }
        let len = (self.open.len() - start - HEAD) as u32;
        self.open[start..start + 4].copy_from_slice(&number.to_le_bytes());
        self.open[start + 4..start + HEAD].copy_from_slice(&len.to_le_bytes());
        if self.open.len() >= BLOCK_BYTES {
            let bytes = std::mem::take(&mut self.open);
            self.blocks.push_back(Block::of(bytes));
        }
    }

    /// Reads it from its start; what was read is freed.
    pub fn taken(self) -> Taken {
        let Pile { mut blocks, open } = self;
        blocks.push_back(Block::Plain(open));
        Taken { blocks, block: Vec::new(), at: 0 }
    }
}

impl Block {
    fn of(bytes: Vec<u8>) -> Block {
        match zstd::bulk::compress(&bytes, 1) {
            Ok(packed) => Block::Packed { bytes: packed, unpacked: bytes.len() },
            Err(_) => Block::Plain(bytes),
        }
    }

    fn unpacked(self) -> Vec<u8> {
        match self {
            // It was packed by this process, and nobody else had it.
            Block::Packed { bytes, unpacked } => zstd::bulk::decompress(&bytes, unpacked).unwrap_or_default(),
            Block::Plain(bytes) => bytes,
        }
    }
}

/// A pile as it is read.
#[derive(Debug)]
pub struct Taken {
    blocks: VecDeque<Block>,
    block: Vec<u8>,
    at: usize,
}

impl Taken {
    /// The text under a number, if there is one; numbers are asked for as they were put there.
    pub fn next(&mut self, number: u32) -> Option<&[u8]> {
        while self.at >= self.block.len() {
            (self.block, self.at) = (self.blocks.pop_front()?.unpacked(), 0);
        }
        let (head, rest) = self.block[self.at..].split_first_chunk::<HEAD>()?;
        let [a, b, c, d, len @ ..] = *head;
        if u32::from_le_bytes([a, b, c, d]) != number {
            return None;
        }
        let len = u32::from_le_bytes(len) as usize;
        self.at += HEAD + len;
        rest.get(..len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_taken_in_order_and_only_once() {
        let mut pile = Pile::default();
        let text = |number: u32| "x".repeat(number as usize % 700);
        let put: Vec<u32> = (0..5000).filter(|number| number % 3 > 0).collect();
        put.iter().for_each(|number| pile.put(*number, &text(*number)));
        let held: usize = pile
            .blocks
            .iter()
            .map(|block| matches!(block, Block::Packed { bytes, .. } if bytes.len() < BLOCK_BYTES / 20))
            .map(usize::from)
            .sum();
        assert_eq!((held, pile.blocks.len()), (4, 4), "packed as they come");
        let mut taken = pile.taken();
        for number in 0..5000 {
            let want = put.contains(&number).then(|| format!("{:?}", text(number)));
            assert_eq!(taken.next(number), want.as_deref().map(str::as_bytes), "{number}");
        }
        assert_eq!(taken.next(5000), None);
        assert_eq!(Pile::default().taken().next(0), None);
    }
}
