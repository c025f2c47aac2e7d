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

    pub fn shown(&self) -> String {
        let synced = if self.is_synced() { "" } else { ", not synced" };
        format!("{} bytes{synced}\n{}", self.seen.len(), self.seen.escape_ascii().to_string().replace("\\n", "\n"))
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

    /// The size, and none of the bytes that were written since the last change of length.
    fn zeroed(&self, tally: &mut Tally) -> Vec<u8> {
        tally.add(Kind::ZeroedPages);
        let (mut content, writes) = self.era(self.eras());
        let len = writes.iter().map(Change::end).fold(content.len(), usize::max);
        content.resize(len, 0);
        content
    }

    /// Some pages as they were written and some as they were before, in no order; the size of any moment.
    fn scattered(&self, chance: &mut Chance, tally: &mut Tally) -> Vec<u8> {
        tally.add(Kind::ReorderedPages);
        let page = PAGES[chance.below(PAGES.len() as u64) as usize];
        let (before, writes) = self.era(chance.below(self.eras() as u64 + 1) as usize);
        let mut written = before.clone();
        let mut lens = vec![before.len()];
        for change in writes {
            apply(&mut written, change);
            lens.push(written.len());
        }
        let len = lens[chance.below(lens.len() as u64) as usize];
        let mut content = before.clone();
        content.resize(len, 0);
        for start in (0..len).step_by(page).filter(|_| chance.one_in(2)) {
            let end = (start + page).min(len);
            content[start..end].copy_from_slice(&written[start..end]);
        }
        content
    }

    fn eras(&self) -> usize {
        self.unsynced.iter().filter(|change| matches!(change, Change::Length(_))).count()
    }

    /// A change of length is whole or not there, and what was written after it is only there with it: the content right
    /// after the `nth` one (0: as it was synced), and what was written up to the next.
    fn era(&self, nth: usize) -> (Vec<u8>, &[Change]) {
        let lengths = self.unsynced.iter().enumerate().filter(|(_, change)| matches!(change, Change::Length(_)));
        let bounds: Vec<usize> = lengths.map(|(at, _)| at).collect();
        let from = nth.checked_sub(1).map_or(0, |nth| bounds[nth] + 1);
        let to = bounds.get(nth).copied().unwrap_or(self.unsynced.len());
        let mut content = self.durable.to_vec();
        self.unsynced[..from].iter().for_each(|change| apply(&mut content, change));
        (content, &self.unsynced[from..to])
    }
}

impl Change {
    fn end(&self) -> usize {
        match self {
            Change::Write { at, bytes } => at + bytes.len(),
            Change::Length(len) => *len,
        }
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
