use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    fold::Batch,
    subject::{Subject, Subjects},
};

/// Every name on the tape so far and its id, so that one subject is found without asking for all.
#[derive(Debug, Default)]
pub struct Names(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    subjects: Subjects,
    agents: HashMap<Arc<str>, u32>,
    strategies: HashMap<Arc<str>, u32>,
}

impl Names {
    pub fn new(subjects: &Subjects) -> Names {
        let ids = |names: &[Arc<str>]| names.iter().cloned().zip(0..).collect();
        let (agents, strategies) = (ids(&subjects.agents), ids(&subjects.strategies));
        Names(RwLock::new(Known { subjects: subjects.clone(), agents, strategies }))
    }

    /// Learns the names that a batch gives for the first time.
    pub fn learn(&self, batch: &Batch) {
        if batch.new_agents.is_empty() && batch.new_strategies.is_empty() {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Known { subjects, agents, strategies } = &mut *known;
        add(&mut subjects.agents, agents, batch.agents_before, &batch.new_agents);
        add(&mut subjects.strategies, strategies, batch.strategies_before, &batch.new_strategies);
    }

    /// The subject of a kind (`agent`, `strategy`, `fleet`) that has this name.
    pub fn find(&self, kind: &str, name: &str) -> Option<Subject> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match kind {
            "agent" => known.agents.get(name).copied().map(Subject::Agent),
            "strategy" => known.strategies.get(name).copied().map(Subject::Strategy),
            "fleet" => Some(Subject::Fleet),
            _ => None,
        }
    }

    /// A look at all names.
    pub fn with<T>(&self, look: impl FnOnce(&Subjects) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner).subjects)
    }
}

fn add(names: &mut Vec<Arc<str>>, ids: &mut HashMap<Arc<str>, u32>, before: usize, new: &[Arc<str>]) {
    for name in new.iter().skip(names.len().saturating_sub(before)) {
        ids.insert(name.clone(), names.len() as u32);
        names.push(name.clone());
    }
}
