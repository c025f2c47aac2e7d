use std::sync::Arc;

use crate::view::{ROOM, places};

/// Where the lines of each subject end in a block: those that a board of subjects has in one family, one subject after the
/// other.
#[derive(Debug)]
pub(super) struct Ends([u32; ROOM]);

impl Default for Ends {
    fn default() -> Self {
        Ends([0; ROOM])
    }
}

/// From so many changed subjects on a block is written anew, not patched.
const FEW: u32 = 8;

impl Ends {
    /// Where the first subject in `mask` begins.
    pub fn first(&self, mask: u64) -> usize {
        self.start(mask.trailing_zeros() as usize % ROOM)
    }

    /// Replaces the lines of the subjects in `mask`; `write` appends those of one, by its turn among them. A text that is
    /// being sent stays as it is.
    pub fn update(
        &mut self,
        text: &mut Arc<Vec<u8>>,
        mask: u64,
        scratch: &mut Vec<u8>,
        mut write: impl FnMut(usize, &mut Vec<u8>),
    ) {
        if mask.count_ones() > FEW {
            return self.rewrite(text, mask, scratch, write);
        }
        for (turn, place) in places(mask).enumerate() {
            scratch.clear();
            write(turn, scratch);
            self.replace(text, place, scratch);
        }
    }

    fn start(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.0[before] as usize)
    }

    fn replace(&mut self, text: &mut Arc<Vec<u8>>, place: usize, lines: &[u8]) {
        let (start, end) = (self.start(place), self.0[place] as usize);
        if text[start..end] == *lines {
            return;
        }
        let text = Arc::make_mut(text);
        if end - start == lines.len() {
            return text[start..end].copy_from_slice(lines);
        }
        let (length, next) = (text.len(), start + lines.len());
        text.resize(length.max(length + next - end), 0);
        text.copy_within(end..length, next);
        text.truncate(length + next - end);
        text[start..next].copy_from_slice(lines);
        for at in &mut self.0[place..] {
            *at = *at + next as u32 - end as u32;
        }
    }

    fn rewrite(
        &mut self,
        text: &mut Arc<Vec<u8>>,
        mask: u64,
        scratch: &mut Vec<u8>,
        mut write: impl FnMut(usize, &mut Vec<u8>),
    ) {
        scratch.clear();
        let (mut start, mut turn) = (0, 0);
        for place in 0..ROOM {
            let end = self.0[place] as usize;
            if mask & (1 << place) == 0 {
                scratch.extend_from_slice(&text[start..end]);
            } else {
                write(turn, scratch);
                turn += 1;
            }
            start = end;
            self.0[place] = scratch.len() as u32;
        }
        match Arc::get_mut(text) {
            Some(text) => {
                text.clear();
                text.extend_from_slice(scratch);
            }
            None => *text = Arc::new(scratch.as_slice().to_vec()),
        }
    }
}
