use std::sync::Arc;

use super::{
    chance::Chance,
    tally::{Kind, Tally},
};

/// A change that is not synced yet.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Arc<[u8]> },
    Length(usize),
}

/// The content of a file: as programs see it, and as the platter has it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    seen: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    unsynced: Vec<Change>,
    pub modified: i64,
    pub birth: i64,
}

/// Sizes of what reaches the platter as one.
const PAGES: [usize; 3] = [64, 512, 4096];

impl Node {
    pub fn seen(&self) -> &[u8] {
        &self.seen
    }

    pub fn append(&mut self, bytes: &[u8]) {
        let at = self.seen.len();
        Arc::make_mut(&mut self.seen).extend_from_slice(bytes);
        self.unsynced.push(Change::Write { at, bytes: bytes.into() });
    }

    pub fn set_len(&mut self, len: usize) {
        Arc::make_mut(&mut self.seen).resize(len, 0);
        self.unsynced.push(Change::Length(len));
    }

    pub fn sync(&mut self) {
        if self.unsynced.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        self.unsynced.drain(..).for_each(|change| apply(durable, &change));
    }

    /// A sync that failed: the changes stay visible, count as written, and never are.
    pub fn forget(&mut self) {
        self.unsynced.clear();
    }

    pub fn is_synced(&self) -> bool {
        self.unsynced.is_empty() && self.seen == self.durable
    }

    /// What the platter has after a power cut: everything that was synced, and any part of the rest.
    pub fn settle(&self, chance: &mut Chance, tally: &mut Tally) -> Node {
        if self.unsynced.is_empty() {
            return self.with(self.durable.clone());
        }
        let content = match chance.below(6) {
            0 => {
                tally.add(Kind::DroppedWrites);
                self.durable.clone()
            }
            1 => self.all(),
            2 => Arc::new(self.first(chance, tally)),
            3 => Arc::new(self.zeroed(tally)),
            _ => Arc::new(self.scattered(chance, tally)),
        };
        self.with(content)
    }

    fn with(&self, content: Arc<Vec<u8>>) -> Node {
        Node {
            seen: content.clone(),
            durable: content,
            unsynced: Vec::new(),
            modified: self.modified,
            birth: self.birth,
        }
    }

    /// Every change since the last sync.
    fn all(&self) -> Arc<Vec<u8>> {
        let mut content = self.durable.to_vec();
        self.unsynced.iter().for_each(|change| apply(&mut content, change));
        Arc::new(content)
    }

    /// The first changes, the last of them torn.
    fn first(&self, chance: &mut Chance, tally: &mut Tally) -> Vec<u8> {
        let mut content = self.durable.to_vec();
        let whole = chance.below(self.unsynced.len() as u64) as usize;
        self.unsynced[..whole].iter().for_each(|change| apply(&mut content, change));
        if let Change::Write { at, bytes } = &self.unsynced[whole] {
            tally.add(Kind::TornWrites);
            let part = chance.below(bytes.len() as u64) as usize;
            apply(&mut content, &Change::Write { at: *at, bytes: bytes[..part].into() });
        }
        content
    }

    /// The size, and none of the bytes.
    fn zeroed(&self, tally: &mut Tally) -> Vec<u8> {
        tally.add(Kind::ZeroedPages);
        let len = self.all().len();
        let mut content = self.durable.to_vec();
        content.truncate(len);
        content.resize(len, 0);
        content
    }

    /// Some pages as they were written and some as they were before, in no order; the size of any moment.
    fn scattered(&self, chance: &mut Chance, tally: &mut Tally) -> Vec<u8> {
        tally.add(Kind::ReorderedPages);
        let page = PAGES[chance.below(PAGES.len() as u64) as usize];
        let mut written = self.durable.to_vec();
        let mut lens = vec![written.len()];
        for change in &self.unsynced {
            apply(&mut written, change);
            lens.push(written.len());
        }
        let len = lens[chance.below(lens.len() as u64) as usize];
        let mut content = vec![0; len];
        for start in (0..len).step_by(page) {
            let from = if chance.one_in(2) { &written } else { &*self.durable };
            let end = (start + page).min(len).min(from.len());
            if start < end {
                content[start..end].copy_from_slice(&from[start..end]);
            }
        }
        // What was synced is there whatever became of the rest, unless a change reached into it.
        let kept = self.untouched().min(len);
        content[..kept].copy_from_slice(&self.durable[..kept]);
        content
    }

    /// So many bytes at the start of what was synced no change has reached since.
    fn untouched(&self) -> usize {
        let mut kept = self.durable.len();
        for change in &self.unsynced {
            kept = kept.min(match change {
                Change::Write { at, .. } => *at,
                Change::Length(len) => *len,
            });
        }
        kept
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, bytes } => {
            let end = at + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at..end].copy_from_slice(bytes);
        }
        Change::Length(len) => content.resize(*len, 0),
    }
}
