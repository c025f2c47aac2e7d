use super::cursor::Cursor;
use crate::event::{Kind, fields::Id, words::Padded};

/// The shapes of lines so far: a producer writes the keys of a kind of line in one order, spaced in one way.
#[derive(Debug, Default)]
pub struct Shapes([Alike; SLOTS]);

/// Shapes of lines that begin alike, and may go on in several ways: lines that do not say their kind, or leave out a field
/// now and then.
#[derive(Debug, Default)]
pub struct Alike {
    ways: [Shape; WAYS],
    /// The one of the line before, and the one that is given up next.
    pub last: usize,
    next: usize,
    /// How often one was begun, or begun anew.
    begun: u64,
}

/// Few fields are left out now and then.
const WAYS: usize = 8;

/// Few kinds of lines come in turns.
const SLOTS: usize = 16;

/// A line of more fields is unusual.
const STEPS_MAX: usize = 24;

/// What stands before each value of a line, in order.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    pub steps: Vec<Step>,
    /// The kind that the first step tells, where a line begins with it.
    pub kind: Option<Kind>,
    /// What of ours they have, one bit each.
    pub fields: u64,
    /// A key of others is among them.
    pub strange: bool,
    /// A line had nothing behind them.
    pub whole: bool,
    /// Which time one was begun this was.
    begun: u64,
}

/// What stands before a value: a comma or the begin of the line, blanks, a key of ours or of others, a colon. Before the
/// second value of a line that begins with its kind, that too.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// As words, and which of their bits belong to it.
    text: [u64; WORDS],
    masks: [u64; WORDS],
    pub length: usize,
    pub id: Option<Id>,
    /// Where it was learned first. Copies keep it, so that at one place the same one has the same before it.
    learned: u64,
}

/// The longest key of ours with its marks has 21 bytes, and the longest kind with its own 17.
const WORDS: usize = 6;

impl Shapes {
    /// The shape of the lines that begin like this one: by the first letters of the kind, where a line begins with that.
    #[inline(always)]
    pub fn like(&mut self, line: &Padded) -> &mut Alike {
        let letters = line.byte(9).wrapping_add(line.byte(10));
        &mut self.0[usize::from(letters) % SLOTS]
    }
}

impl Alike {
    #[inline(always)]
    pub fn way(&mut self, nth: usize) -> &mut Shape {
        &mut self.ways[nth % WAYS]
    }

    /// Another way that has the first so many steps of one, and the line where it now is.
    #[inline(never)]
    pub fn other(&self, way: usize, steps: usize, line: Cursor) -> Option<usize> {
        let this = self.ways.get(way)?;
        let last = steps.checked_sub(1)?;
        let learned = this.steps.get(last)?.learned;
        let goes_on = |shape: &Shape| match shape.steps.get(steps) {
            Some(step) => step.is_next(line),
            None => shape.whole && line.is_at_last(b'}'),
        };
        let same = |shape: &Shape| shape.steps.get(last).is_some_and(|step| step.learned == learned);
        let fits = |shape: &Shape| same(shape) && shape.kind == this.kind && goes_on(shape);
        self.ways.iter().enumerate().position(|(nth, shape)| nth != way && fits(shape))
    }

    /// Where a line is learned that has the first so many steps of a way: there, unless it is the way of whole lines.
    pub fn branch(&mut self, way: usize, steps: usize) -> &mut Shape {
        let this = &self.ways[way % WAYS];
        let place = if this.whole {
            let mut shape = this.clone();
            shape.branch(steps);
            let place = self.next % WAYS;
            let place = if place == way { (place + 1) % WAYS } else { place };
            self.next = place + 1;
            self.ways[place] = shape;
            place
        } else {
            self.ways[way % WAYS].branch(steps);
            way % WAYS
        };
        (self.last, self.begun) = (place, self.begun + 1);
        self.ways[place].begun = self.begun;
        &mut self.ways[place]
    }
}

impl Shape {
    /// Goes on otherwise after so many steps.
    pub fn branch(&mut self, steps: usize) {
        self.steps.truncate(steps);
        self.whole = false;
        self.kind = self.kind.filter(|_| steps > 0);
        let ids = self.steps.iter().map(|step| step.id);
        self.strange = ids.clone().any(|id| id.is_none());
        self.fields = ids.flatten().chain(self.kind.map(|_| Id::Kind)).fold(0, |fields, id| fields | 1 << id as u64);
    }

    /// The line begins with its kind; false when it does not say one.
    pub fn begin(&mut self, kind: Option<Kind>) -> bool {
        self.kind = kind;
        self.fields |= kind.map_or(0, |_| 1 << Id::Kind as u64);
        kind.is_some()
    }

    /// One step more; what is too long, or one too many, makes the shape one of a few steps only.
    pub fn learn(&mut self, text: &[u8], id: Option<Id>, nth: usize) {
        if text.len() <= 8 * WORDS && self.steps.len() == nth && nth < STEPS_MAX {
            self.steps.push(Step::of(text, id, self.begun));
            self.strange |= id.is_none();
            self.fields |= id.map_or(0, |id| 1 << id as u64);
        }
    }
}

impl Step {
    fn of(text: &[u8], id: Option<Id>, learned: u64) -> Step {
        let (mut words, mut masks) = ([0; WORDS], [0; WORDS]);
        for (nth, bytes) in text.chunks(8).take(WORDS).enumerate() {
            words[nth] = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            masks[nth] = u64::MAX >> (64 - 8 * bytes.len());
        }
        Step { text: words, masks, length: text.len(), id, learned }
    }

    /// Whether a line goes on with it.
    #[inline(always)]
    pub fn is_next(&self, line: Cursor) -> bool {
        let differs = |nth: usize| (line.padded.word(line.at + 8 * nth) ^ self.text[nth]) & self.masks[nth];
        differs(0) | differs(1) == 0
            && (self.length <= 16 || differs(2) | differs(3) == 0)
            && (self.length <= 32 || differs(4) | differs(5) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_known_by_every_byte() {
        for length in 1..=8 * WORDS {
            let text: Vec<u8> = (0..length as u8).map(|i| b'a' + i % 26).collect();
            let step = Step::of(&text, None, 0);
            for rest in ["", "0", "and so on, far enough to fill all of its words"] {
                let line = [&text, rest.as_bytes()].concat();
                let mut padded = Padded::default();
                let mut is_next = |line: &[u8]| {
                    assert!(padded.hold(line));
                    step.is_next(Cursor { text: "", padded: &padded, at: 0 })
                };
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
