use std::sync::{Arc, atomic::Ordering};

use super::{SealedBatch, hearing::Voice, keeper::ToKeeper, worker::Worker};
use crate::{fold::Emitted, store::journal::Mark};

impl Worker {
    /// Decisions go to those who hear, to those who ask, and to the file once they are durable.
    pub(super) fn tell(&self, sealed: &SealedBatch, emitted: Vec<Emitted>) {
        let emitted = Arc::new(emitted);
        if !emitted.is_empty() {
            self.memory.add(&emitted);
            if let Some(status) = self.status() {
                status.told.fetch_add(1, Ordering::AcqRel);
            }
            let lines = emitted.iter().map(|e| (Mark::of(&e.decision), e.line().written(&sealed.digest))).collect();
            let _ = self.keeper.send(ToKeeper::Lines { file: self.index, lines });
            if let Some((file, line)) = self.stream {
                let line = |e: &Emitted| Some((Mark::of(&e.decision), line(&e.line())?));
                let lines = emitted.iter().filter_map(line).collect();
                let _ = self.keeper.send(ToKeeper::Lines { file, lines });
            }
        }
        for hearer in &self.speaks_to {
            let _ = hearer.send(Voice { upto: sealed.batch.next, emitted: emitted.to_vec() });
        }
    }
}
