use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::event::Key;

/// Requests that can be told from one another at once; older ones are forgotten.
pub const REQUESTS_MAX: usize = 65_536;

/// Which requests came, and where their lines stand: the same request gets the same answer, however often it is sent.
#[derive(Debug)]
pub struct Seen {
    list: Mutex<List>,
    max: usize,
}

#[derive(Debug, Default)]
struct List {
    requests: HashMap<Key, Entry>,
    order: VecDeque<Key>,
    forgotten: u64,
}

#[derive(Debug)]
struct Entry {
    content: blake3::Hash,
    positions: Option<Arc<[u64]>>,
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: whoever asked has to append it, and to say how that ended.
    New,
    /// Another one is appending it.
    Underway,
    At(Arc<[u64]>),
    /// The id stands for another request.
    Other,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { list: Mutex::default(), max: REQUESTS_MAX }
    }
}

impl Seen {
    /// Looks a request up, and takes it when it is new.
    pub fn take(&self, key: Key, content: blake3::Hash) -> Known {
        let mut list = self.lock();
        if let Some(entry) = list.requests.get(&key) {
            return match &entry.positions {
                _ if entry.content != content => Known::Other,
                Some(positions) => Known::At(positions.clone()),
                None => Known::Underway,
            };
        }
        list.requests.insert(key, Entry { content, positions: None });
        list.order.push_back(key);
        while list.order.len() > self.max {
            if let Some(oldest) = list.order.pop_front() {
                list.requests.remove(&oldest);
                list.forgotten += 1;
            }
        }
        Known::New
    }

    /// Where the lines of a request came to stand.
    pub fn put(&self, key: Key, positions: Arc<[u64]>) {
        if let Some(entry) = self.lock().requests.get_mut(&key) {
            entry.positions = Some(positions);
        }
    }

    /// The request came to nothing and may be tried again.
    pub fn forget(&self, key: Key) {
        let mut list = self.lock();
        list.requests.remove(&key);
        list.order.retain(|other| *other != key);
    }

    pub fn len(&self) -> usize {
        self.lock().order.len()
    }

    /// How many were forgotten to make room.
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_id_and_held_to_its_content() {
        let seen = Seen { max: 2, ..Seen::default() };
        let (one, two) = (blake3::hash(b"1"), blake3::hash(b"2"));
        let key = |name| Key::of_parts("check", name);
        assert_eq!(seen.take(key("a"), one), Known::New);
        assert_eq!(seen.take(key("a"), one), Known::Underway);
        seen.put(key("a"), [7].into());
        assert_eq!(seen.take(key("a"), one), Known::At([7].into()));
        assert_eq!(seen.take(key("a"), two), Known::Other);
        assert_eq!(seen.take(key("b"), one), Known::New);
        seen.forget(key("b"));
        assert_eq!(seen.take(key("b"), two), Known::New);
        assert_eq!(seen.take(key("c"), two), Known::New);
        assert_eq!(seen.take(key("a"), one), Known::New, "the oldest was forgotten");
    }
}
