use std::ops::Range;

use super::{FLEET, KINDS, Shown};
use crate::{
    render::{escape, exposition::append},
    subject::Subject,
    view::{Sample, Samples, Spot, places},
};

/// The subjects of a board that are to be written, by turn: how their series are named behind the name of the family, and
/// where the samples of each family begin.
pub(super) struct Board<'a> {
    families: usize,
    samples: Vec<&'a [Sample]>,
    ranges: Vec<Range<u32>>,
    series: Vec<u8>,
    ends: Vec<u32>,
}

impl<'a> Board<'a> {
    /// Those that `mask` has a bit for, of which the hidden have nothing.
    pub(super) fn new(shown: &Shown<'a>, spot: Spot, mask: u64, hidden: impl Fn(Subject) -> bool) -> Board<'a> {
        let (families, turns) = (shown.families.len(), mask.count_ones() as usize);
        let mut board = Board {
            families,
            samples: vec![&[]; turns],
            ranges: vec![0..0; turns * families],
            series: Vec::new(),
            ends: Vec::with_capacity(turns),
        };
        for (turn, place) in places(mask).enumerate() {
            let subject = spot.subject(place);
            if let Some(samples) = shown.samples.at(spot, place).filter(|_| !hidden(subject)) {
                board.take(turn, samples);
                if spot.kind != FLEET {
                    append(&mut board.series, &["{", KINDS[spot.kind], "=\""]);
                    escape::label_value(&mut board.series, shown.subjects.name(subject));
                    append(&mut board.series, &["\"}"]);
                }
                board.series.push(b' ');
            }
            board.ends.push(board.series.len() as u32);
        }
        board
    }

    fn take(&mut self, turn: usize, samples: &'a Samples) {
        self.samples[turn] = &samples.list;
        let mut at = 0;
        for same in samples.list.chunk_by(|one, next| one.family == next.family) {
            let end = at + same.len() as u32;
            if let Some(range) =
                same.first().and_then(|sample| self.ranges.get_mut(turn * self.families + sample.family))
            {
                *range = at..end;
            }
            at = end;
        }
    }

    /// What the subject whose turn it is has in a family.
    pub(super) fn samples(&self, turn: usize, family: usize) -> &'a [Sample] {
        let Range { start, end } = self.ranges[turn * self.families + family];
        &self.samples[turn][start as usize..end as usize]
    }

    /// What stands between the name of a family and the number, where the family has no labels of its own: the label of the
    /// subject in braces, and a blank.
    pub(super) fn series(&self, turn: usize) -> &[u8] {
        let start = turn.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.series[start..self.ends[turn] as usize]
    }
}
