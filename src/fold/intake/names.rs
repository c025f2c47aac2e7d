use std::sync::Arc;

use foldhash::HashMap;

use super::Intake;
use crate::fold::batch::Batch;

impl Intake {
    /// The id of an agent, given at its first line; none beyond the limit of agents.
    pub(super) fn agent_id(&mut self, name: &str, batch: &mut Batch) -> Option<u32> {
        if let Some(id) = self.agent_ids.get(name) {
            return Some(*id);
        }
        if self.state.subjects.agents.len() >= self.policy.policy.limits.agents {
            return None;
        }
        Some(intern(name, &mut self.agent_ids, &mut self.state.subjects.agents, &mut batch.new_agents))
    }

    /// The id of a strategy; none beyond the limit of agents, which bounds strategies too.
    pub(super) fn strategy_id(&mut self, name: &str, batch: &mut Batch) -> Option<u32> {
        if let Some(id) = self.strategy_ids.get(name) {
            return Some(*id);
        }
        if self.state.subjects.strategies.len() >= self.policy.policy.limits.agents {
            self.strategies_beyond += 1;
            return None;
        }
        Some(intern(name, &mut self.strategy_ids, &mut self.state.subjects.strategies, &mut batch.new_strategies))
    }
}

fn intern(name: &str, ids: &mut HashMap<Arc<str>, u32>, names: &mut Vec<Arc<str>>, new: &mut Vec<Arc<str>>) -> u32 {
    let (id, name) = (names.len() as u32, Arc::<str>::from(name));
    ids.insert(name.clone(), id);
    names.push(name.clone());
    new.push(name);
    id
}
