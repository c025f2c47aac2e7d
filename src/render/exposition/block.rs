use std::sync::Arc;

use super::sheet::places;
use crate::view::ROOM;

/// The lines that a board of subjects has in one family, one subject after the other.
#[derive(Debug)]
pub(super) struct Block {
    text: Arc<Vec<u8>>,
    /// Where the lines of each subject end.
    ends: [u32; ROOM],
}

impl Default for Block {
    fn default() -> Self {
        Block { text: Arc::default(), ends: [0; ROOM] }
    }
}

/// From so many changed subjects on a block is written anew, not patched.
const FEW: u32 = 8;

impl Block {
    /// The lines, shared with whoever sends them.
    pub fn text(&self) -> &Arc<Vec<u8>> {
        &self.text
    }

    /// The first byte that stands to be replaced.
    pub fn glance(&self, mask: u64) -> u8 {
        let start = self.start(mask.trailing_zeros() as usize % ROOM);
        self.text.get(start).copied().unwrap_or_default()
    }

    /// Replaces the lines of the subjects in `mask`; `write` appends those of one, by its turn among them. A text that is
    /// being sent stays as it is.
    pub fn update(&mut self, mask: u64, scratch: &mut Vec<u8>, mut write: impl FnMut(usize, &mut Vec<u8>)) {
        if mask.count_ones() > FEW {
            return self.rewrite(mask, scratch, write);
        }
        for (turn, place) in places(mask).enumerate() {
            scratch.clear();
            write(turn, scratch);
            self.replace(place, scratch);
        }
    }

    fn start(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    fn replace(&mut self, place: usize, lines: &[u8]) {
        let (start, end) = (self.start(place), self.ends[place] as usize);
        if self.text[start..end] == *lines {
            return;
        }
        let text = Arc::make_mut(&mut self.text);
        if end - start == lines.len() {
            return text[start..end].copy_from_slice(lines);
        }
        let (length, next) = (text.len(), start + lines.len());
        text.resize(length.max(length + next - end), 0);
        text.copy_within(end..length, next);
        text.truncate(length + next - end);
        text[start..next].copy_from_slice(lines);
        for at in &mut self.ends[place..] {
            *at = *at + next as u32 - end as u32;
        }
    }

    fn rewrite(&mut self, mask: u64, scratch: &mut Vec<u8>, mut write: impl FnMut(usize, &mut Vec<u8>)) {
        scratch.clear();
        let (mut start, mut turn) = (0, 0);
        for place in 0..ROOM {
            let end = self.ends[place] as usize;
            if mask & (1 << place) == 0 {
                scratch.extend_from_slice(&self.text[start..end]);
            } else {
                write(turn, scratch);
                turn += 1;
            }
            start = end;
            self.ends[place] = scratch.len() as u32;
        }
        match Arc::get_mut(&mut self.text) {
            Some(text) => {
                text.clear();
                text.extend_from_slice(scratch);
            }
            None => self.text = Arc::new(scratch.as_slice().to_vec()),
        }
    }
}
