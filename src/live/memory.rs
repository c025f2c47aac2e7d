use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{decision::DecisionLine, fold::Emitted, view::Load};

/// Decisions remembered of a consumer, about: the oldest go by whole batches.
const DECISIONS_MAX: usize = 65_536;

/// The newest decisions of one consumer, for whoever asks what came of a position.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Newest>);

#[derive(Debug, Default)]
struct Newest {
    /// In order of cause and ordinal; none is empty.
    lists: VecDeque<Arc<Vec<Emitted>>>,
    count: usize,
    /// Those that went, since the program began.
    forgotten: u64,
}

impl Memory {
    /// Remembers decisions that ascend by cause. Those of a consumer that was restarted and says again what it said
    /// before are known.
    pub fn add(&self, emitted: &Arc<Vec<Emitted>>) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = newest.lists.back().and_then(|list| list.last()).map(place);
        let known = last.map_or(0, |last| emitted.partition_point(|emitted| place(emitted) <= last));
        let list = match &emitted[known..] {
            [] => return,
            new if known > 0 => Arc::new(new.to_vec()),
            _ => emitted.clone(),
        };
        newest.count += list.len();
        newest.lists.push_back(list);
        while let Some(oldest) = newest.lists.front().map(|list| list.len())
            && newest.count - oldest >= DECISIONS_MAX
        {
            newest.lists.pop_front();
            newest.count -= oldest;
            newest.forgotten += oldest as u64;
        }
    }

    /// How many are remembered, and how many were forgotten.
    pub fn load(&self) -> Load {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest go by whole batches: a few more may be there.
        Load::new("decisions", DECISIONS_MAX, newest.count.min(DECISIONS_MAX), newest.forgotten)
    }

    /// What was decided because of a position, by ordinal.
    pub fn of(&self, cause: u64) -> Vec<DecisionLine> {
        let found: Vec<Emitted> = {
            let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let at = newest.lists.partition_point(|list| list.last().is_some_and(|last| last.decision.cause < cause));
            // A consumer that stopped within a position says the rest of it in a list of its own.
            let lists = newest.lists.range(at..).take_while(|list| list[0].decision.cause <= cause);
            lists.flat_map(|list| within(list, cause)).cloned().collect()
        };
        found.iter().map(Emitted::line).collect()
    }
}

fn within(list: &[Emitted], cause: u64) -> &[Emitted] {
    let from = list.partition_point(|emitted| emitted.decision.cause < cause);
    let len = list[from..].partition_point(|emitted| emitted.decision.cause == cause);
    &list[from..from + len]
}

fn place(emitted: &Emitted) -> (u64, u32) {
    (emitted.decision.cause, emitted.decision.ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decision::Decision, subject::Subject};

    fn emitted(cause: u64, ordinal: u32) -> Emitted {
        let decision = Decision {
            cause,
            ordinal,
            tape_time: None,
            consumer: "speaker",
            version: 1,
            subject: Subject::Fleet,
            stranger: None,
            verdict: "said",
            rule: "test",
            numbers: Vec::new(),
        };
        Emitted::new(decision, "fleet".into(), Arc::default())
    }

    #[test]
    fn the_newest_are_remembered_once() {
        let memory = Memory::default();
        memory.add(&Arc::new(vec![emitted(3, 0), emitted(3, 1), emitted(5, 0)]));
        memory.add(&Arc::new(vec![emitted(3, 1), emitted(5, 0), emitted(8, 0)]));
        let ordinals = |cause| memory.of(cause).iter().map(|line| line.ordinal).collect::<Vec<_>>();
        assert_eq!([ordinals(3), ordinals(4), ordinals(5), ordinals(8)], [vec![0, 1], vec![], vec![0], vec![0]]);
        for batch in 0..70 {
            memory.add(&Arc::new((0..1000).map(|n| emitted(10 + batch * 1000 + n, 0)).collect()));
        }
        assert!(ordinals(3).is_empty());
        assert_eq!(ordinals(10 + 69_999), [0]);
        assert_eq!(ordinals(10 + 69_999 - 65_000), [0]);
        let count = memory.0.lock().expect("nobody failed").count;
        assert!((DECISIONS_MAX..DECISIONS_MAX + 1000).contains(&count), "{count}");
    }
}
