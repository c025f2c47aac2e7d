use super::cursor::Cursor;
use crate::event::{fields::Id, words};

/// The shapes of lines so far: a producer writes the keys of a kind of line in one order, spaced in one way.
#[derive(Debug, Default)]
pub struct Shapes([Shape; SLOTS]);

/// Few kinds of lines come in turns.
const SLOTS: usize = 16;

/// A line of more fields is unusual.
const STEPS_MAX: usize = 24;

/// What stands before each value of a line, in order.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    pub steps: Vec<Step>,
    /// What of ours they have, one bit each.
    pub fields: u64,
    /// A key of others is among them.
    pub strange: bool,
}

/// What stands before a value: a comma or the begin of the line, blanks, a key of ours or of others, a colon.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// As words, and which of their bits belong to it.
    text: [u64; WORDS],
    masks: [u64; WORDS],
    pub length: usize,
    pub id: Option<Id>,
}

/// The longest key of ours with its marks has 21 bytes.
const WORDS: usize = 4;

impl Shapes {
    /// The shape of the lines that begin like this one: by the first letters of the kind, where a line begins with that.
    #[inline(always)]
    pub fn like(&mut self, line: &[u8]) -> &mut Shape {
        let letters = line.get(9..11).map_or(0, |two| two[0].wrapping_add(two[1]));
        &mut self.0[usize::from(letters) % SLOTS]
    }
}

impl Shape {
    /// Goes on otherwise after so many steps.
    pub fn branch(&mut self, steps: usize) {
        self.steps.truncate(steps);
        let ids = self.steps.iter().map(|step| step.id);
        self.strange = ids.clone().any(|id| id.is_none());
        self.fields = ids.flatten().fold(0, |fields, id| fields | 1 << id as u64);
    }

    /// One step more; what is too long, or one too many, makes the shape one of a few steps only.
    pub fn learn(&mut self, text: &[u8], id: Option<Id>, nth: usize) {
        if text.len() <= 8 * WORDS && self.steps.len() == nth && nth < STEPS_MAX {
            self.steps.push(Step::of(text, id));
            self.strange |= id.is_none();
            self.fields |= id.map_or(0, |id| 1 << id as u64);
        }
    }
}

impl Step {
    fn of(text: &[u8], id: Option<Id>) -> Step {
        let begins = [0, 8, 16, 24];
        let mask = |from: usize| match text.len().saturating_sub(from) {
            0 => 0,
            left => u64::MAX >> (64 - 8 * left.min(8)),
        };
        Step { text: begins.map(|from| words::word(text, from)), masks: begins.map(mask), length: text.len(), id }
    }

    /// Whether a line goes on with it.
    #[inline(always)]
    pub fn is_next(&self, line: Cursor) -> bool {
        let differs = |nth: usize| (words::word(line.bytes(), line.at + 8 * nth) ^ self.text[nth]) & self.masks[nth];
        differs(0) | differs(1) == 0 && (self.length <= 16 || differs(2) | differs(3) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_known_by_every_byte() {
        for length in 1..=8 * WORDS {
            let text: Vec<u8> = (0..length as u8).map(|i| b'a' + i % 26).collect();
            let step = Step::of(&text, None);
            for rest in ["", "0", "and so on, far enough to fill four words"] {
                let line = [&text, rest.as_bytes()].concat();
                let is_next =
                    |line: &[u8]| std::str::from_utf8(line).is_ok_and(|text| step.is_next(Cursor { text, at: 0 }));
                assert!(is_next(&line), "{length} bytes");
                for place in 0..length {
                    let mut other = line.clone();
                    other[place] ^= 1;
                    assert!(!is_next(&other) && !is_next(&line[..place]), "{length} bytes, at {place}");
                }
            }
        }
    }
}
