use serde_json::Value;

use super::gaps_of;
use crate::{
    consumers::REGISTRY,
    forensics::{Recorder, Runs},
    policy::Gates,
    replay::{ReplayError, Walk, Watch},
    tape::{Directory, Until},
};

/// Every run of a directory, where the fold ended, and what could not be read.
pub struct Recorded<'a> {
    pub runs: Runs,
    pub walk: Walk<'a>,
}

impl Recorded<'_> {
    /// # Errors
    /// The history cannot be read.
    pub fn of<'d>(directory: &'d Directory, watch: &'d Watch) -> Result<Recorded<'d>, ReplayError> {
        let mut walk = Walk::begin(directory, REGISTRY)?.watched(watch);
        let mut recorder = Recorder::begin(&walk.engine, &walk.intake);
        walk.to(Until::End, |batch, emitted| recorder.step(batch, &emitted))?;
        Ok(Recorded { runs: recorder.finish(), walk })
    }

    /// The rules of the gates at its end.
    pub fn rules(&self) -> &Gates {
        &self.walk.intake.policy().policy.gates
    }

    pub fn position(&self) -> u64 {
        self.walk.intake.position()
    }

    /// Where the history begins and what is missing of it, for the answer.
    pub fn history(&self, directory: &Directory) -> [(String, Value); 3] {
        [
            ("position".to_owned(), self.position().into()),
            ("from".to_owned(), directory.first_position().into()),
            ("gaps".to_owned(), gaps_of(&self.walk.gaps)),
        ]
    }
}
