//! Where the entries of a queue are, by key: an index of eight bytes per slot that holds no keys.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use super::near;

/// An index over numbered entries that somebody else keeps: the number of the entry that has a key.
///
/// A slot is the number of an entry and 31 bits of the hash of its key; a 32nd says that the slot is taken. So most
/// keys that are not there are known not to be without a look at any entry, and the table grows and closes its gaps
/// without one. It is never iterated.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// A power of two of them, or none.
    slots: Vec<u64>,
    taken: usize,
    hasher: RandomState,
}

const FREE: u64 = 0;
const TAKEN: u32 = 1 << 31;
const SLOTS_MIN: usize = 8;

impl Places {
    fn tag(&self, key: &impl Hash) -> u32 {
        self.hasher.hash_one(key) as u32 | TAKEN
    }

    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    /// Fetches the slots of a key into the cache: to be called some time before they are needed, since in a large table
    /// they are mostly in memory only.
    pub fn fetch(&self, key: &impl Hash) {
        near::fetch_at(&self.slots, self.tag(key) as usize & self.mask());
    }

    /// The number that was put in for a key; `is` says whether the entry of a number has it.
    pub fn find(&self, key: &impl Hash, is: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let tag = self.tag(key);
        let mut at = tag as usize & self.mask();
        loop {
            let slot = self.slots[at];
            if slot == FREE {
                return None;
            }
            if tag_of(slot) == tag && is(slot as u32) {
                return Some(slot as u32);
            }
            at = (at + 1) & self.mask();
        }
    }

    /// Puts in the number of a key that is not there.
    pub fn insert(&mut self, key: &impl Hash, number: u32) {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            let larger = vec![FREE; (self.slots.len() * 2).max(SLOTS_MIN)];
            let slots = std::mem::replace(&mut self.slots, larger);
            slots.into_iter().filter(|slot| *slot != FREE).for_each(|slot| self.put(slot));
        }
        self.put(u64::from(self.tag(key)) << 32 | u64::from(number));
        self.taken += 1;
    }

    fn put(&mut self, slot: u64) {
        let mut at = tag_of(slot) as usize & self.mask();
        while self.slots[at] != FREE {
            at = (at + 1) & self.mask();
        }
        self.slots[at] = slot;
    }

    /// Takes out the number of a key, if it is there.
    pub fn remove(&mut self, key: &impl Hash, number: u32) {
        if self.slots.is_empty() {
            return;
        }
        let wanted = u64::from(self.tag(key)) << 32 | u64::from(number);
        let mut gap = tag_of(wanted) as usize & self.mask();
        while self.slots[gap] != wanted {
            if self.slots[gap] == FREE {
                return;
            }
            gap = (gap + 1) & self.mask();
        }
        // What stands behind the gap and belongs at or before it moves up, so that a search never ends too early.
        let mut at = (gap + 1) & self.mask();
        while self.slots[at] != FREE {
            let home = tag_of(self.slots[at]) as usize;
            if at.wrapping_sub(home) & self.mask() >= at.wrapping_sub(gap) & self.mask() {
                self.slots[gap] = self.slots[at];
                gap = at;
            }
            at = (at + 1) & self.mask();
        }
        self.slots[gap] = FREE;
        self.taken -= 1;
    }
}

fn tag_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A queue of distinct keys, against a map of std.
        #[test]
        fn a_queue_finds_its_entries(keys in prop::collection::vec(0..60_u8, 1..400), room in 1..50_usize, first: u32) {
            let (mut places, mut queue, mut map) = (Places::default(), VecDeque::new(), HashMap::new());
            let mut first = first;
            for key in keys {
                let entry = |number: u32| queue.get(number.wrapping_sub(first) as usize);
                let found = places.find(&key, |number| entry(number) == Some(&key));
                prop_assert_eq!(found, map.get(&key).copied());
                if found.is_none() {
                    let number = first.wrapping_add(queue.len() as u32);
                    places.insert(&key, number);
                    map.insert(key, number);
                    queue.push_back(key);
                }
                if queue.len() > room {
                    let old = queue.pop_front().expect("more than one");
                    places.remove(&old, first);
                    map.remove(&old);
                    first = first.wrapping_add(1);
                }
                prop_assert_eq!(places.taken, queue.len());
            }
            places.remove(&200_u8, first);
            prop_assert_eq!(places.taken, queue.len());
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let mut places = Places::default();
        places.remove(&1, 1);
        assert_eq!(places.find(&1, |_| true), None);
    }
}
