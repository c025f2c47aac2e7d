//! A bounded FIFO of sums, each kept under a key while it is in the window.

use std::{collections::VecDeque, hash::Hash};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Exact, Places, Summary};

/// The last so many sums. A further value under a key that is still in the window is added to its entry in place; under
/// any other key, or none, it is an entry of its own.
#[derive(Clone, Debug)]
pub struct KeyedWindow<K> {
    capacity: usize,
    entries: VecDeque<(Option<K>, Exact)>,
    /// Entry number by key.
    places: Places,
    /// Number of the oldest entry; the others have the numbers after it.
    first: u32,
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

impl<K: Copy + Eq + Hash> KeyedWindow<K> {
    /// At least 1.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
        self.trim();
    }

    /// Adds a value under a key; says what became of which entry.
    pub fn add(&mut self, key: Option<K>, value: f64) -> Change {
        let known = key.and_then(|key| self.place_of(key));
        if let Some((place, (_, sum))) = known.and_then(|place| Some((place, self.entries.get_mut(place)?))) {
            let before = sum.to_f64();
            *sum += value;
            return Change {
                before: Some(before),
                after: sum.to_f64(),
                age: self.entries.len() - place,
                evicted: None,
            };
        }
        if let Some(key) = key {
            self.places.insert(&key, self.first.wrapping_add(self.entries.len() as u32));
        }
        let sum = Exact::from(value);
        let after = sum.to_f64();
        self.entries.push_back((key, sum));
        Change { before: None, after, age: 1, evicted: self.trim() }
    }

    fn place_of(&self, key: K) -> Option<usize> {
        let place = |number: u32| number.wrapping_sub(self.first) as usize;
        let has_it = |number| self.entries.get(place(number)).is_some_and(|(of, _)| *of == Some(key));
        self.places.find(&key, has_it).map(place)
    }

    /// The sum that is the `nth` from the end, the newest being the first.
    pub fn nth_last(&self, nth: usize) -> Option<&Exact> {
        let place = self.entries.len().checked_sub(nth)?;
        self.entries.get(place).map(|(_, sum)| sum)
    }

    /// The sums, oldest first, each rounded.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.entries.iter().map(|(_, sum)| sum.to_f64())
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Statistics of the sums, oldest first; linear in the window.
    pub fn summary(&self) -> Summary {
        Summary::of_exact(self.entries.iter().map(|(_, sum)| sum))
    }

    /// The drawdown of the sums in order; 0 when empty. Linear in the window.
    pub fn drawdown(&self) -> f64 {
        self.summary().drawdown.unwrap_or(0.0)
    }

    /// The exact sum of the newest `n` entries, rounded once; none when there are fewer.
    pub fn sum_of_last(&self, n: usize) -> Option<f64> {
        let skip = self.entries.len().checked_sub(n)?;
        Some(self.entries.iter().skip(skip).map(|(_, sum)| sum).sum::<Exact>().to_f64())
    }

    /// Drops what is too much; returns the last sum dropped.
    fn trim(&mut self) -> Option<f64> {
        let mut dropped = None;
        while self.entries.len() > self.capacity {
            let Some((key, sum)) = self.entries.pop_front() else { break };
            if let Some(key) = key {
                self.places.remove(&key, self.first);
            }
            self.first = self.first.wrapping_add(1);
            dropped = Some(sum.to_f64());
        }
        dropped
    }
}

impl<K: Copy + Eq + Hash> Default for KeyedWindow<K> {
    fn default() -> Self {
        KeyedWindow { capacity: 1, entries: VecDeque::new(), places: Places::default(), first: 0 }
    }
}

impl<K: Serialize> Serialize for KeyedWindow<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.capacity, &self.entries).serialize(serializer)
    }
}

impl<'de, K: Deserialize<'de> + Copy + Eq + Hash> Deserialize<'de> for KeyedWindow<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (capacity, entries): (usize, VecDeque<(Option<K>, Exact)>) = Deserialize::deserialize(deserializer)?;
        let mut window = KeyedWindow { capacity: capacity.max(1), ..KeyedWindow::default() };
        for (number, (key, _)) in (0..).zip(&entries) {
            key.iter().for_each(|key| window.places.insert(key, number));
        }
        window.entries = entries;
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
        let sums: Vec<f64> = window.entries.iter().map(|(_, sum)| sum.to_f64()).collect();
        assert_eq!(sums, [2.0, 4.0, 7.0]);
        assert_eq!(window.sum_of_last(2), Some(11.0));
        assert_eq!(window.sum_of_last(4), None);
        let saved = postcard::to_allocvec(&window).expect("serialises");
        let mut read: KeyedWindow<i32> = postcard::from_bytes(&saved).expect("deserialises");
        read.add(Some(3), 1.0);
        assert_eq!(read.sum_of_last(2), Some(12.0));
    }
}
