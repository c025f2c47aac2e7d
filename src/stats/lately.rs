//! Where the entries of a queue are, by key: an index that what leaves the queue is not taken out of.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;

use super::near;

/// An index over the entries of a queue that somebody else keeps, numbered in the order in which they came.
///
/// A slot is the number of an entry and 31 bits of the hash of its key; a 32nd says that it was taken. What left the
/// queue is known by its number and not looked for: its slot lies elsewhere in memory, and to take it out would cost
/// more than all the rest. A slot that was left so is given to the next key that comes by, and when too many are, the
/// index is filled anew from the queue. It holds no keys and is never iterated.
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// A power of two of them, or none.
    slots: Vec<u64>,
    /// Those that are not free, of entries that are there or that left.
    taken: usize,
    hasher: RandomState,
}

/// The numbers of the entries that are in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Of the oldest; the others have the numbers after it.
    pub first: u32,
    pub count: usize,
}

/// What a search comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The place in the queue of the entry that has the key.
    Entry(usize),
    /// There is none, and this is the slot it would be put into.
    Room(usize),
}

const FREE: u64 = 0;
const TAKEN: u32 = 1 << 31;
const SLOTS_MIN: usize = 8;

impl Numbers {
    /// The place of a number in the queue, if its entry is there.
    #[inline]
    pub fn place(self, number: u32) -> Option<usize> {
        let place = number.wrapping_sub(self.first) as usize;
        (place < self.count).then_some(place)
    }
}

impl Lately {
    /// What stands for a key in the index.
    #[inline]
    pub fn tag(&self, key: &impl Hash) -> u32 {
        self.hasher.hash_one(key) as u32 | TAKEN
    }

    /// Whether it has to be filled anew before anything is sought.
    #[inline]
    pub fn is_full(&self) -> bool {
        (self.taken + 1) * 4 > self.slots.len() * 3
    }

    /// Fills it with the tags and numbers of at most `count` entries; room for half as many more is left.
    #[cold]
    pub fn fill(&mut self, count: usize, entries: impl Iterator<Item = (u32, u32)>) {
        self.slots.clear();
        self.slots.resize(((count + 1) * 2).next_power_of_two().max(SLOTS_MIN), FREE);
        self.taken = 0;
        for (tag, number) in entries {
            let mut at = self.home(tag);
            while self.slots[at] != FREE {
                at = self.after(at);
            }
            self.put(at, tag, number);
        }
    }

    /// Looks for the entry of a tag among those that are there; `is` says whether the one at a place has the key. The
    /// index must not be full.
    #[inline]
    pub fn seek(&self, tag: u32, there: Numbers, is: impl Fn(usize) -> bool) -> Sought {
        let mut left = None;
        let mut at = self.home(tag);
        loop {
            let slot = self.slots[at];
            if slot == FREE {
                return Sought::Room(left.unwrap_or(at));
            }
            match there.place(slot as u32) {
                Some(place) if (slot >> 32) as u32 == tag && is(place) => return Sought::Entry(place),
                Some(_) => {}
                None => left = left.or(Some(at)),
            }
            at = self.after(at);
        }
    }

    /// Fetches where the search for a tag begins into the cache.
    #[inline]
    pub fn fetch(&self, tag: u32) {
        near::fetch_at(&self.slots, self.home(tag));
    }

    /// Puts the number of a new entry where a search for it found room.
    #[inline]
    pub fn put(&mut self, room: usize, tag: u32, number: u32) {
        self.taken += usize::from(self.slots[room] == FREE);
        self.slots[room] = u64::from(tag) << 32 | u64::from(number);
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        tag as usize & self.slots.len().wrapping_sub(1)
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & self.slots.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    /// The same few keys again and again, in a queue of so much room: against a map of std.
    fn check(keys: &[u8], room: usize, mut first: u32) {
        let (mut index, mut queue, mut map) = (Lately::default(), VecDeque::new(), HashMap::new());
        for key in keys {
            let number = |place: usize, first: u32| first.wrapping_add(place as u32);
            if index.is_full() {
                let tags: Vec<u32> = queue.iter().map(|key| index.tag(key)).collect();
                index.fill(queue.len(), tags.into_iter().zip((0..).map(|place| number(place, first))));
            }
            let tag = index.tag(key);
            let there = Numbers { first, count: queue.len() };
            match index.seek(tag, there, |place| queue.get(place) == Some(key)) {
                Sought::Entry(place) => assert_eq!(map.get(key), Some(&number(place, first))),
                Sought::Room(slot) => {
                    assert_eq!(map.get(key), None);
                    if queue.len() == room {
                        map.remove(&queue.pop_front().expect("room for one at least"));
                        first = first.wrapping_add(1);
                    }
                    index.put(slot, tag, number(queue.len(), first));
                    map.insert(*key, number(queue.len(), first));
                    queue.push_back(*key);
                }
            }
            assert!(index.taken >= map.len() && index.taken < index.slots.len());
        }
    }

    proptest! {
        #[test]
        fn a_queue_finds_its_entries(keys in prop::collection::vec(0..60_u8, 1..400), room in 1..50_usize, first: u32) {
            check(&keys, room, first);
        }
    }

    #[test]
    fn what_left_is_forgotten_when_it_is_too_much() {
        let keys: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        for room in [1, 2, 100, 255, 256] {
            check(&keys, room, u32::MAX - 1_000);
        }
    }
}
