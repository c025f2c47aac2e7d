//! Queues that hold so many entries and no more.

use std::collections::VecDeque;

/// Makes room for one more entry of `most`. Memory grows by doubling, up to room for `most` exactly: from then on what
/// comes in at the back takes the place, and the cache line, of what went out at the front before it.
#[inline]
pub fn make_room<T>(queue: &mut VecDeque<T>, most: usize) {
    if queue.len() == queue.capacity() {
        grow(queue, most);
    }
}

#[cold]
fn grow<T>(queue: &mut VecDeque<T>, most: usize) {
    const LEAST: usize = 4;
    let double = queue.len().max(LEAST);
    queue.reserve_exact(double.min(most.saturating_sub(queue.len())).max(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_has_no_room_to_spare() {
        let mut queue = VecDeque::new();
        for x in 0..1000 {
            if queue.len() == 300 {
                queue.pop_front();
            }
            make_room(&mut queue, 300);
            queue.push_back(x);
        }
        assert_eq!((queue.len(), queue.capacity(), queue[0]), (300, 300, 700));
    }
}
