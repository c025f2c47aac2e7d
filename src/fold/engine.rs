use std::vec::IntoIter;

use crate::{decision::DecisionLine, view::Family};

use super::{Batch, Consumer, Emitted, Slot, slot::Held};

/// The line of a consumer's own stream that a decision becomes.
pub type LineOf = fn(&DecisionLine) -> Option<String>;

/// A consumer's entry in the list: all that the shells need to know before one exists.
#[derive(Clone, Copy)]
pub struct Registration {
    pub name: &'static str,
    pub hears: &'static [&'static str],
    /// Its own stream, and how a decision becomes a line of it.
    pub stream: Option<(&'static str, LineOf)>,
    /// The metric families it serves, and whether it may hide subjects from those of everybody.
    pub families: &'static [Family],
    pub hides: bool,
    pub new: fn() -> Box<dyn Slot>,
}

impl Registration {
    pub const fn of<C: Consumer>() -> Registration {
        let stream = match C::STREAM {
            Some(name) => Some((name, C::line as LineOf)),
            None => None,
        };
        let new = || -> Box<dyn Slot> { Box::new(Held::<C>::default()) };
        Registration { name: C::NAME, hears: C::HEARS, stream, families: C::FAMILIES, hides: C::HIDES, new }
    }
}

/// What the consumers concluded of a batch so far, in list order.
#[derive(Default)]
pub struct Said(Vec<(&'static str, Vec<Emitted>)>);

impl Said {
    /// All decisions, ordered by position, then list order, then ordinal.
    pub fn all(self) -> Vec<Emitted> {
        let mut all = Vec::with_capacity(self.0.iter().map(|(_, list)| list.len()).sum());
        let mut lists: Vec<IntoIter<Emitted>> = self.0.into_iter().map(|(_, list)| list.into_iter()).collect();
        lists.retain(|list| list.len() > 0);
        // Each list is sorted, and of two at one position the first comes first.
        let cause = |list: &IntoIter<Emitted>| list.as_slice().first().map_or(u64::MAX, |first| first.decision.cause);
        while let Some(first) = lists.iter_mut().min_by_key(|list| cause(list)).and_then(Iterator::next) {
            all.push(first);
        }
        all
    }
}

/// Some of the consumers, which stand together in the list.
pub type Group = Vec<Box<dyn Slot>>;

/// Lets a group fold a batch and hear what was said of it by those before; adds what it says itself.
pub fn step(group: &mut Group, batch: &Batch, said: &mut Said) {
    for slot in group {
        let heard: Vec<&[Emitted]> =
            said.0.iter().filter(|(name, _)| slot.hears().contains(name)).map(|(_, list)| list.as_slice()).collect();
        let emitted = slot.step(batch, &heard);
        said.0.push((slot.name(), emitted));
    }
}

/// Every consumer of a list, stepped together: the fold of replay, verify, tests and benches.
pub struct Engine {
    slots: Group,
}

impl Engine {
    /// One fresh slot per registration, in list order.
    pub fn new(registry: &[Registration]) -> Engine {
        Engine { slots: registry.iter().map(|registration| (registration.new)()).collect() }
    }

    /// Slots that stand somewhere already, in list order.
    pub fn of(slots: Vec<Box<dyn Slot>>) -> Engine {
        Engine { slots }
    }

    pub fn slots(&self) -> &[Box<dyn Slot>] {
        &self.slots
    }

    /// The same, to be asked who changed.
    pub fn slots_mut(&mut self) -> &mut [Box<dyn Slot>] {
        &mut self.slots
    }

    /// Folds a batch; returns its decisions ordered by position, then list order, then ordinal.
    pub fn step(&mut self, batch: &Batch) -> Vec<Emitted> {
        let mut said = Said::default();
        step(&mut self.slots, batch, &mut said);
        said.all()
    }

    /// Its consumers in groups of these sizes, in list order; what is over makes one more.
    pub fn into_groups(self, sizes: &[usize]) -> Vec<Group> {
        let mut slots = self.slots.into_iter();
        let mut list: Vec<Group> = sizes.iter().map(|size| slots.by_ref().take(*size).collect()).collect();
        if slots.len() > 0 {
            list.push(slots.collect());
        }
        list
    }

    /// The same consumers together again.
    pub fn of_groups(groups: Vec<Group>) -> Engine {
        Engine { slots: groups.into_iter().flatten().collect() }
    }

    /// BLAKE3 over the name, version, position and state of every consumer: equal folds have equal hashes.
    pub fn state_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for slot in &self.slots {
            hasher.update(slot.name().as_bytes());
            hasher.update(&slot.version().to_le_bytes());
            hasher.update(&slot.position().to_le_bytes());
            let state = slot.save();
            hasher.update(&(state.len() as u64).to_le_bytes());
            hasher.update(&state);
        }
        format!("b3:{}", hasher.finalize().to_hex())
    }
}
