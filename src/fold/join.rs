use std::collections::{BTreeMap, VecDeque};

use foldhash::HashMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    event::{Key, Nanos},
    stats::Places,
};

/// Whose run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub agent: u32,
    pub strategy: Option<u32>,
}

/// A PnL line whose run nobody has claimed yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub run: Key,
    pub origin: u64,
    pub time: Option<Nanos>,
    pub run_id: Box<str>,
    pub strategy: Option<Box<str>>,
    pub symbol: Option<Box<str>>,
    pub realized_pnl_bps: f64,
    pub entry_price: Option<f64>,
    pub exit_price: Option<f64>,
    pub notional_usd: Option<f64>,
}

/// The owners of the last so many claimed runs, and the PnL that waits for a claim. Both bounded, first in, first out.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Saved")]
pub struct Join {
    owners: VecDeque<(Key, Owner)>,
    /// Number of an owner by run.
    places: Places,
    /// Number of the oldest owner; the others have the numbers after it.
    first: u32,
    waiting: BTreeMap<u64, Waiting>,
    by_run: HashMap<Key, Vec<u64>>,
    arrivals: u64,
    dropped: u64,
    /// Since the program began: for a look, not for the fold.
    forgotten: u64,
}

/// The form in a snapshot: ordered, without the indexes.
#[derive(Serialize, Deserialize)]
struct Saved {
    owners: Vec<(Key, Owner)>,
    waiting: Vec<Waiting>,
    dropped: u64,
}

impl Join {
    pub fn owner(&self, run: Key) -> Option<Owner> {
        self.owners.get(self.place_of(run)?).map(|(_, owner)| *owner)
    }

    /// Fetches into the cache what looking for a run will need.
    pub fn fetch(&self, run: Key) {
        self.places.fetch(&run);
    }

    fn place_of(&self, run: Key) -> Option<usize> {
        let place = |number: u32| number.wrapping_sub(self.first) as usize;
        let has_it = |number| self.owners.get(place(number)).is_some_and(|(of, _)| *of == run);
        self.places.find(&run, has_it).map(place)
    }

    /// Claims a run for its first named agent; a later line may still name the strategy the first one left out.
    /// Returns whose it was before this line.
    pub fn claim(&mut self, run: Key, owner: Owner, horizon: usize) -> Option<Owner> {
        if let Some(place) = self.place_of(run) {
            let (_, known) = self.owners.get_mut(place)?;
            let before = *known;
            known.strategy = known.strategy.or(owner.strategy);
            return Some(before);
        }
        self.append(run, owner);
        while self.owners.len() > horizon {
            if let Some((old, _)) = self.owners.pop_front() {
                self.places.remove(&old, self.first);
                self.first = self.first.wrapping_add(1);
                self.forgotten += 1;
            }
            // It is forgotten next.
            if let Some((oldest, _)) = self.owners.front() {
                self.places.fetch(oldest);
            }
        }
        None
    }

    fn append(&mut self, run: Key, owner: Owner) {
        self.places.insert(&run, self.first.wrapping_add(self.owners.len() as u32));
        self.owners.push_back((run, owner));
    }

    /// Keeps a PnL until its run is claimed; past the limit the oldest is dropped, and counted.
    pub fn wait(&mut self, pnl: Waiting, limit: usize) {
        self.by_run.entry(pnl.run).or_default().push(self.arrivals);
        self.waiting.insert(self.arrivals, pnl);
        self.arrivals += 1;
        while self.waiting.len() > limit {
            let Some((arrival, old)) = self.waiting.pop_first() else { break };
            self.dropped += 1;
            if let Some(list) = self.by_run.get_mut(&old.run) {
                list.retain(|a| *a != arrival);
                if list.is_empty() {
                    self.by_run.remove(&old.run);
                }
            }
        }
    }

    /// The PnL that waited for a run, in order of arrival.
    pub fn release(&mut self, run: Key) -> Vec<Waiting> {
        if self.by_run.is_empty() {
            return Vec::new();
        }
        let arrivals = self.by_run.remove(&run).unwrap_or_default();
        arrivals.iter().filter_map(|arrival| self.waiting.remove(arrival)).collect()
    }

    /// Runs whose owner is known.
    pub fn runs(&self) -> usize {
        self.owners.len()
    }

    /// Runs whose owner was forgotten since the program began.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl From<Saved> for Join {
    fn from(saved: Saved) -> Self {
        let mut join = Join { dropped: saved.dropped, ..Join::default() };
        for (run, owner) in saved.owners {
            join.append(run, owner);
        }
        for pnl in saved.waiting {
            join.wait(pnl, usize::MAX);
        }
        join
    }
}

impl Serialize for Join {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let saved = Saved {
            owners: self.owners.iter().copied().collect(),
            waiting: self.waiting.values().cloned().collect(),
            dropped: self.dropped,
        };
        saved.serialize(serializer)
    }
}
