use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::stats::MeanWindow;

/// What the upper confidence bound of an agent is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Mean of its rewards in the window, 0 without any.
    pub mean: f64,
    /// How many there are, with the runs that were just given.
    pub runs: u32,
}

impl Standing {
    pub fn of(rewards: &MeanWindow) -> Standing {
        // Zero has one sign, so that equal means are equal keys.
        let mean = if rewards.is_empty() { 0.0 } else { rewards.mean() + 0.0 };
        Standing { mean, runs: rewards.len() as u32 }
    }

    /// Its upper confidence bound, by twice the logarithm of all runs; above everything while it has none.
    pub fn bound(self, spread: f64) -> f64 {
        if self.runs == 0 { f64::INFINITY } else { self.mean + (spread / f64::from(self.runs)).sqrt() }
    }
}

/// An agent on the board: those with the highest mean first, by name among equals.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub mean: f64,
    pub name: Arc<str>,
    pub agent: u32,
}

impl Eq for Place {}

impl Ord for Place {
    fn cmp(&self, other: &Place) -> Ordering {
        let by_mean = other.mean.total_cmp(&self.mean);
        by_mean.then_with(|| self.name.cmp(&other.name)).then(self.agent.cmp(&other.agent))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Place) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Those who take part, by number of runs. Whatever the logarithm of all runs is, agents of equally many are ordered by
/// their means: so the best of all is among the first of each number.
#[derive(Debug, Default)]
pub struct Board {
    groups: BTreeMap<u32, BTreeSet<Place>>,
    /// Where each agent stands, by its number.
    standings: Vec<Option<Standing>>,
    /// Runs in all windows.
    runs: u64,
    /// The first of all names, to look for places with.
    no_name: Arc<str>,
}

impl Board {
    /// Puts an agent where it stands now, or takes it off.
    pub fn place(&mut self, agent: u32, name: Arc<str>, standing: Option<Standing>) {
        let id = agent as usize;
        if self.standings.len() <= id {
            self.standings.resize(id + 1, None);
        }
        if let Some(before) = std::mem::replace(&mut self.standings[id], standing) {
            self.runs -= u64::from(before.runs);
            self.draw(before.runs, &Place { mean: before.mean, name: name.clone(), agent });
        }
        if let Some(Standing { mean, runs }) = standing {
            self.runs += u64::from(runs);
            self.put_back(runs, Place { mean, name, agent });
        }
    }

    /// Runs in the windows of all who take part, drawn or not.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The one with the highest bound, and its number of runs; by name among equals.
    pub fn best(&self, spread: f64) -> Option<(f64, u32, &Place)> {
        let mut best: Option<(f64, u32, &Place)> = None;
        for (runs, group) in &self.groups {
            let Some((score, place)) = self.first(*runs, group, spread) else { continue };
            if best.is_none_or(|(highest, _, other)| precedes((score, &place.name), (highest, &other.name))) {
                best = Some((score, *runs, place));
            }
        }
        best
    }

    /// The best of a group. Means that differ may still give the same bound once it is rounded: then the name decides.
    fn first<'a>(&self, runs: u32, group: &'a BTreeSet<Place>, spread: f64) -> Option<(f64, &'a Place)> {
        let mut first = group.first()?;
        let bound = |place: &Place| Standing { mean: place.mean, runs }.bound(spread);
        let (score, mut mean) = (bound(first), first.mean);
        loop {
            let lower = Place { mean: mean.next_down(), name: self.no_name.clone(), agent: 0 };
            let next = group.range((Bound::Included(lower), Bound::Unbounded)).next();
            let Some(next) = next.filter(|next| bound(next) == score) else { return Some((score, first)) };
            mean = next.mean;
            if next.name < first.name {
                first = next;
            }
        }
    }

    /// Takes an agent out for a while.
    pub fn draw(&mut self, runs: u32, place: &Place) {
        let Some(group) = self.groups.get_mut(&runs) else { return };
        group.remove(place);
        if group.is_empty() {
            self.groups.remove(&runs);
        }
    }

    /// Puts one back that was taken out.
    pub fn put_back(&mut self, runs: u32, place: Place) {
        self.groups.entry(runs).or_default().insert(place);
    }
}

/// Whether a score and a name come before others.
pub fn precedes(one: (f64, &str), other: (f64, &str)) -> bool {
    one.0 > other.0 || (one.0 == other.0 && one.1 < other.1)
}
