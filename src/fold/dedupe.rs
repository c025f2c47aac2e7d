use std::collections::VecDeque;

use foldhash::HashSet;

use serde::{Deserialize, Serialize, Serializer};

use crate::event::Key;

/// The event ids of the last so many lines that had one. First in, first out: part of the state, so that a replay
/// forgets what the live fold forgot.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "VecDeque<Key>")]
pub struct Dedupe {
    order: VecDeque<Key>,
    seen: HashSet<Key>,
    /// Since the program began: for a look, not for the fold.
    forgotten: u64,
}

impl Dedupe {
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Ids that left the horizon since the program began.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether the id is new within the horizon; remembers it when it is.
    pub fn first(&mut self, id: Key, horizon: usize) -> bool {
        if !self.seen.insert(id) {
            return false;
        }
        self.order.push_back(id);
        while self.order.len() > horizon {
            if let Some(old) = self.order.pop_front() {
                self.seen.remove(&old);
                self.forgotten += 1;
            }
        }
        true
    }
}

impl From<VecDeque<Key>> for Dedupe {
    fn from(order: VecDeque<Key>) -> Self {
        let seen = order.iter().copied().collect();
        Dedupe { order, seen, forgotten: 0 }
    }
}

impl Serialize for Dedupe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.order.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_again_once_it_left_the_horizon() {
        let mut dedupe = Dedupe::default();
        let new: Vec<bool> = [1, 1, 2, 3, 1].map(|id| dedupe.first(Key(id), 2)).to_vec();
        assert_eq!(new, [true, false, true, true, true]);
    }
}
