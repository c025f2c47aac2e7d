//! A bounded FIFO of sums, each kept under a key while it is in the window.

use std::{collections::VecDeque, hash::Hash};

use foldhash::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};

use super::lately::{Lately, Numbers, Sought};
use super::{Exact, Summary, near, plain, ring, scaled::admit};

/// The last so many sums. A further value under a key that is still in the window is added to its entry in place; under
/// any other key, or none, it is an entry of its own.
#[derive(Clone, Debug)]
pub struct KeyedWindow<K> {
    capacity: usize,
    entries: VecDeque<Entry<K>>,
    /// Places by key.
    index: Lately,
    /// Number of the oldest entry; the others have the numbers after it.
    first: u32,
    /// Sums of several values that are no `f64`, by entry number.
    sums: HashMap<u32, Exact>,
}

/// An entry in half a cache line: a window of hundreds is gone through by every event of somebody.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Entry<K> {
    /// Of no meaning without `keyed`.
    key: K,
    /// The sum, rounded.
    value: f64,
    /// What stands for the key in the index.
    tag: u32,
    keyed: bool,
    /// The sum is more than its rounded value: it is among the sums.
    longer: bool,
}

impl<K> Entry<K> {
    /// The sum as a count of the narrow unit, if it is plain.
    #[inline]
    fn plain(&self) -> Option<i128> {
        if self.longer { None } else { plain::units(self.value) }
    }
}

/// What a value did to a [`KeyedWindow`]: its entry before and after, rounded, the entry's place from the end (the newest
/// is 1), and the entry it pushed out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub before: Option<f64>,
    pub after: f64,
    pub age: usize,
    pub evicted: Option<f64>,
}

impl<K: Copy + Default + Eq + Hash> KeyedWindow<K> {
    /// At least 1.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
        self.trim(self.capacity);
    }

    /// Adds a value under a key; says what became of which entry.
    pub fn add(&mut self, key: Option<K>, value: f64) -> Change {
        let value = admit(value);
        let Some(key) = key else {
            return self.append(Entry { key: K::default(), value, tag: 0, keyed: false, longer: false });
        };
        if self.index.is_full() {
            self.fill_index();
        }
        let tag = self.index.tag(&key);
        let is = |place: usize| self.entries.get(place).is_some_and(|entry| entry.keyed && entry.key == key);
        match self.index.seek(tag, self.numbers(), is) {
            Sought::Entry(place) => self.add_to(place, value),
            Sought::Room(room) => {
                let change = self.append(Entry { key, value, tag, keyed: true, longer: false });
                self.index.put(room, tag, self.number(self.entries.len() - 1));
                change
            }
        }
    }

    /// The oldest leaves before the newest comes, which may so take its room.
    #[inline]
    fn append(&mut self, entry: Entry<K>) -> Change {
        let evicted = self.trim(self.capacity - 1);
        ring::make_room(&mut self.entries, self.capacity);
        let after = entry.value;
        self.entries.push_back(entry);
        Change { before: None, after, age: 1, evicted }
    }

    /// Fetches itself into the cache.
    #[inline]
    pub fn fetch(&self) {
        near::fetch(&self.entries);
        near::fetch(&self.index);
        near::fetch(&self.first);
    }

    /// Fetches what [`Self::add`] of a key will look at.
    #[inline]
    pub fn fetch_behind(&self, key: Option<K>) {
        if let Some(key) = key {
            self.index.fetch(self.index.tag(&key));
        }
        near::fetch_next(&self.entries);
    }

    /// Fetches the entry that is the `nth` from the end.
    #[inline]
    pub fn fetch_nth_last(&self, nth: usize) {
        if let Some(entry) = self.entries.len().checked_sub(nth).and_then(|place| self.entries.get(place)) {
            near::fetch(entry);
        }
    }

    fn fill_index(&mut self) {
        let entries = self.entries.iter().zip(0..).filter(|(entry, _)| entry.keyed);
        let first = self.first;
        self.index.fill(self.entries.len(), entries.map(|(entry, place)| (entry.tag, first.wrapping_add(place))));
    }

    fn numbers(&self) -> Numbers {
        Numbers { first: self.first, count: self.entries.len() }
    }

    #[inline(never)]
    fn add_to(&mut self, place: usize, value: f64) -> Change {
        let mut sum = self.exact(place);
        sum += value;
        let age = self.entries.len() - place;
        let before = std::mem::replace(&mut self.entries[place].value, sum.to_f64());
        let Entry { value: after, longer, .. } = self.entries[place];
        let number = self.number(place);
        self.entries[place].longer = sum != Exact::from(after);
        if self.entries[place].longer {
            self.sums.insert(number, sum);
        } else if longer {
            self.sums.remove(&number);
        }
        Change { before: Some(before), after, age, evicted: None }
    }

    fn number(&self, place: usize) -> u32 {
        self.first.wrapping_add(place as u32)
    }

    /// The sum at a place.
    #[inline]
    fn exact(&self, place: usize) -> Exact {
        let Entry { value, longer, .. } = self.entries[place];
        if longer { self.longer(place, value) } else { Exact::from(value) }
    }

    #[cold]
    fn longer(&self, place: usize, value: f64) -> Exact {
        self.sums.get(&self.number(place)).cloned().unwrap_or_else(|| Exact::from(value))
    }

    /// The sum that is the `nth` from the end, the newest being the first.
    pub fn nth_last(&self, nth: usize) -> Option<Exact> {
        Some(self.exact(self.entries.len().checked_sub(nth).filter(|place| *place < self.entries.len())?))
    }

    /// The sums, oldest first, each rounded.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.entries.iter().map(|entry| entry.value)
    }

    /// The sums, oldest first.
    fn exacts(&self) -> impl Iterator<Item = Exact> + '_ {
        (0..self.entries.len()).map(|place| self.exact(place))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Statistics of the sums, oldest first; linear in the window.
    pub fn summary(&self) -> Summary {
        if self.sums.is_empty() { Summary::of(self.values()) } else { Summary::of_exact(self.exacts()) }
    }

    /// The drawdown of the sums in order; 0 when empty. Linear in the window.
    pub fn drawdown(&self) -> f64 {
        self.summary().drawdown.unwrap_or(0.0)
    }

    /// The exact sum of the newest `n` entries, rounded once; none when there are fewer.
    pub fn sum_of_last(&self, n: usize) -> Option<f64> {
        let skip = self.entries.len().checked_sub(n)?;
        let plain = self.entries.range(skip..).try_fold(0_i128, |sum, entry| sum.checked_add(entry.plain()?));
        Some(plain.map_or_else(|| self.exact_sum_from(skip), plain::to_f64))
    }

    #[cold]
    fn exact_sum_from(&self, place: usize) -> f64 {
        (place..self.entries.len()).map(|place| self.exact(place)).sum::<Exact>().to_f64()
    }

    /// Drops the oldest beyond so many; returns the last sum dropped.
    #[inline]
    fn trim(&mut self, most: usize) -> Option<f64> {
        let mut dropped = None;
        while self.entries.len() > most {
            let Some(Entry { value, longer, .. }) = self.entries.pop_front() else { break };
            if longer {
                self.sums.remove(&self.first);
            }
            self.first = self.first.wrapping_add(1);
            dropped = Some(value);
        }
        dropped
    }
}

impl<K> Default for KeyedWindow<K> {
    fn default() -> Self {
        let (entries, index, sums) = Default::default();
        KeyedWindow { capacity: 1, entries, index, first: 0, sums }
    }
}

/// The capacity, and the entries oldest first: key and exact sum.
impl<K: Copy + Default + Eq + Hash + Serialize> Serialize for KeyedWindow<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.capacity, Entries(self)).serialize(serializer)
    }
}

struct Entries<'a, K>(&'a KeyedWindow<K>);

impl<K: Copy + Default + Eq + Hash + Serialize> Serialize for Entries<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (entry, sum) in self.0.entries.iter().zip(self.0.exacts()) {
            list.serialize_element(&(entry.keyed.then_some(entry.key), sum))?;
        }
        list.end()
    }
}

impl<'de, K: Deserialize<'de> + Copy + Default + Eq + Hash> Deserialize<'de> for KeyedWindow<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (capacity, entries): (usize, Vec<(Option<K>, Exact)>) = Deserialize::deserialize(deserializer)?;
        let mut window = KeyedWindow { capacity: capacity.max(1), ..KeyedWindow::default() };
        // No more room than they need, as if they had come one by one.
        window.entries.reserve_exact(entries.len());
        for (number, (key, sum)) in (0..).zip(entries) {
            let tag = key.map_or(0, |key| window.index.tag(&key));
            let value = sum.to_f64();
            let longer = sum != Exact::from(value);
            window.entries.push_back(Entry { key: key.unwrap_or_default(), value, tag, keyed: key.is_some(), longer });
            if longer {
                window.sums.insert(number, sum);
            }
        }
        window.fill_index();
        Ok(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_adds_in_place_until_it_left_the_window() {
        let mut window = KeyedWindow::default();
        window.set_capacity(3);
        for (key, value) in
            [(Some(1), 10.0), (Some(2), -5.0), (Some(1), 1.0), (None, 2.0), (Some(3), 4.0), (Some(1), 7.0)]
        {
            window.add(key, value);
        }
        let sums: Vec<f64> = window.values().collect();
        assert_eq!(sums, [2.0, 4.0, 7.0]);
        assert_eq!(window.sum_of_last(2), Some(11.0));
        assert_eq!(window.sum_of_last(4), None);
        let saved = postcard::to_allocvec(&window).expect("serialises");
        let mut read: KeyedWindow<i32> = postcard::from_bytes(&saved).expect("deserialises");
        read.add(Some(3), 1.0);
        assert_eq!(read.sum_of_last(2), Some(12.0));
    }

    #[test]
    fn sums_that_are_no_float_are_kept_whole() {
        let mut window = KeyedWindow::default();
        window.set_capacity(2);
        let steps = [(Some(1), 1e15), (Some(1), 0.01), (Some(2), 3.0), (Some(1), -1e15), (None, 5.0), (Some(2), 0.1)];
        let mut said = String::new();
        for (key, value) in steps {
            let change = window.add(key, value);
            let written = postcard::to_allocvec(&window).expect("serialises");
            let read: KeyedWindow<i32> = postcard::from_bytes(&written).expect("deserialises");
            assert_eq!(postcard::to_allocvec(&read).expect("serialises"), written);
            assert_eq!((read.summary(), read.sum_of_last(2)), (window.summary(), window.sum_of_last(2)));
            let longer = window.entries.iter().filter(|entry| entry.longer).count();
            assert_eq!(longer, window.sums.len(), "no sum outlives its entry");
            said += &format!("{:?} {} {:?} {longer}\n", change.before, change.after, change.evicted);
        }
        let want = "None 1000000000000000 None 0\nSome(1000000000000000.0) 1000000000000000 None 1\nNone 3 None 1\n\
                    Some(1000000000000000.0) 0.01 None 0\nNone 5 Some(0.01) 0\nSome(3.0) 3.1 None 1\n";
        assert_eq!(said, want);
    }
}
