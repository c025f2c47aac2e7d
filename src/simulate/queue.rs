//! What has been decided and is not yet written: lines wait here for their time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::run::{AlphaLine, PnlLine, RunLine};

#[derive(Debug, Clone)]
pub(super) enum Pending {
    Alpha(AlphaLine),
    Run(RunLine),
    Pnl(PnlLine),
}

#[derive(Debug, Clone)]
struct Entry {
    ts: i64,
    /// Lines of one instant leave in the order in which they came.
    order: u64,
    line: Pending,
}

impl Entry {
    fn key(&self) -> (i64, u64) {
        (self.ts, self.order)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    pushed: u64,
}

impl Queue {
    pub fn push(&mut self, ts: i64, line: Pending) {
        self.heap.push(Reverse(Entry { ts, order: self.pushed, line }));
        self.pushed += 1;
    }

    /// The earliest line, when it is due at `until` or before.
    pub fn pop_due(&mut self, until: i64) -> Option<(i64, Pending)> {
        if self.heap.peek()?.0.ts > until {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.ts, entry.line))
    }
}
