//! What will be needed soon, fetched into the cache while there is other work. Nothing here tells or changes anything.

use std::collections::VecDeque;

use prefetch_index::prefetch_index;

/// Fetches where a value begins.
#[inline(always)]
pub fn fetch<T>(value: &T) {
    prefetch_index(std::slice::from_ref(value), 0);
}

/// Fetches a place of a list, wherever it lies.
#[inline(always)]
pub fn fetch_at<T>(list: &[T], place: usize) {
    prefetch_index(list, place);
}

/// Fetches where the next entry of a queue of bounded length will stand: where the oldest does, if there is no more room,
/// or else near the newest.
#[inline(always)]
pub fn fetch_next<T>(queue: &VecDeque<T>) {
    let next = if queue.len() == queue.capacity() { queue.front() } else { queue.back() };
    if let Some(next) = next {
        fetch(next);
    }
}
