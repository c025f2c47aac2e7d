use std::{array, sync::Arc};

use super::Samples;
use crate::subject::Subject;

/// Places on a board, at most 64, as the mask that says which of them differ has a bit for each; so few that lines of one
/// subject move few of others when they are replaced.
pub const ROOM: usize = 32;

/// The kinds of subjects that have samples.
pub const KINDS: usize = 3;

type Board = [Option<Arc<Samples>>; ROOM];

/// The samples of every subject. A copy shares all of them; changing one copies its board and no other, so that two
/// shelves are told apart in the time of what differs.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    boards: [Vec<Arc<Board>>; KINDS],
}

/// A board, and which places on it are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub kind: usize,
    pub board: usize,
}

impl Spot {
    /// The subject at a place of the board.
    pub fn subject(self, place: usize) -> Subject {
        let id = (self.board * ROOM + place) as u32;
        match self.kind {
            0 => Subject::Agent(id),
            1 => Subject::Strategy(id),
            _ => Subject::Fleet,
        }
    }
}

/// The places on a board that have a bit in a mask.
pub fn places(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(place)
    })
}

/// The board of a subject and its place there; the unknown have none.
fn find(subject: Subject) -> Option<(Spot, usize)> {
    let (kind, id) = match subject {
        Subject::Agent(id) => (0, id as usize),
        Subject::Strategy(id) => (1, id as usize),
        Subject::Fleet => (2, 0),
        Subject::UnknownAgent | Subject::UnknownStrategy => return None,
    };
    Some((Spot { kind, board: id / ROOM }, id % ROOM))
}

impl Shelf {
    pub fn put(&mut self, subject: Subject, samples: Samples) {
        let Some((spot, place)) = find(subject) else { return };
        let boards = &mut self.boards[spot.kind];
        while boards.len() <= spot.board {
            boards.push(Arc::new(array::from_fn(|_| None)));
        }
        if let Some(board) = boards.get_mut(spot.board) {
            Arc::make_mut(board)[place] = Some(Arc::new(samples));
        }
    }

    pub fn get(&self, subject: Subject) -> Option<&Arc<Samples>> {
        find(subject).and_then(|(spot, place)| self.at(spot, place))
    }

    /// The samples at a place of a board.
    pub fn at(&self, spot: Spot, place: usize) -> Option<&Arc<Samples>> {
        self.boards[spot.kind].get(spot.board)?[place].as_ref()
    }

    /// Where this shelf and another differ: boards, in order, with a bit per place.
    pub fn differences(&self, other: &Shelf) -> Vec<(Spot, u64)> {
        let mut found = Vec::new();
        for kind in 0..KINDS {
            let (ours, theirs) = (&self.boards[kind], &other.boards[kind]);
            for board in 0..ours.len().max(theirs.len()) {
                let mask = differing(ours.get(board), theirs.get(board));
                if mask != 0 {
                    found.push((Spot { kind, board }, mask));
                }
            }
        }
        found
    }
}

fn differing(ours: Option<&Arc<Board>>, theirs: Option<&Arc<Board>>) -> u64 {
    if let (Some(ours), Some(theirs)) = (ours, theirs)
        && Arc::ptr_eq(ours, theirs)
    {
        return 0;
    }
    let at = |board: Option<&Arc<Board>>, place: usize| board.and_then(|board| board[place].as_ref().map(Arc::as_ptr));
    (0..ROOM).filter(|&place| at(ours, place) != at(theirs, place)).fold(0, |mask, place| mask | 1 << place)
}
