use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::near;

/// What was spent on each day, nano-USD, by days since 1970; the earliest first. Nearly all of it is asked and said of
/// the last one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<i64, i128>")]
pub struct Days(Vec<(i64, i128)>);

impl Days {
    /// Fetches the last day into the cache.
    #[inline]
    pub fn fetch_last(&self) {
        near::fetch_at(&self.0, self.0.len().saturating_sub(1));
    }

    /// What was spent on a day.
    pub fn of(&self, day: i64) -> i128 {
        self.find(day).map_or(0, |index| self.0[index].1)
    }

    pub fn add(&mut self, day: i64, spent: i128) {
        match self.find(day) {
            Ok(index) => self.0[index].1 += spent,
            Err(index) => self.0.insert(index, (day, spent)),
        }
    }

    /// Forgets the earliest days beyond so many.
    pub fn keep(&mut self, most: usize) {
        if self.0.len() > most {
            self.0.drain(..self.0.len() - most);
        }
    }

    /// Each day and what was spent on it, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (i64, i128)> + '_ {
        self.0.iter().rev().copied()
    }

    #[inline]
    fn find(&self, day: i64) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if *last == day => Ok(self.0.len() - 1),
            _ => self.0.binary_search_by_key(&day, |(day, _)| *day),
        }
    }
}

impl From<BTreeMap<i64, i128>> for Days {
    fn from(days: BTreeMap<i64, i128>) -> Days {
        Days(days.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_kept_and_written_as_a_map() {
        let (mut days, mut map) = (Days::default(), BTreeMap::new());
        for (day, spent) in [(3, 5), (4, -1), (4, 7), (1, 2), (9, 1), (3, 1), (2, 8)] {
            days.add(day, spent);
            *map.entry(day).or_default() += spent;
            assert_eq!(days.newest_first().collect::<Vec<_>>(), map.clone().into_iter().rev().collect::<Vec<_>>());
            let bytes = postcard::to_allocvec(&days).expect("memory");
            assert_eq!(bytes, postcard::to_allocvec(&map).expect("memory"));
            let read: Days = postcard::from_bytes(&bytes).expect("own bytes");
            assert_eq!(read.0, days.0);
        }
        assert_eq!((days.of(4), days.of(5)), (6, 0));
        days.keep(2);
        assert_eq!(days.newest_first().collect::<Vec<_>>(), [(9, 1), (4, 6)]);
    }
}
