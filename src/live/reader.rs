use std::sync::Arc;

use super::SealedBatch;
use crate::{
    fold::Intake,
    layout::Layout,
    replay::restore::Survey,
    streams::Follower,
    tape::{
        Known, Round, TapeError, Until, directory,
        journal::{Rounds, Seam},
        read_round,
    },
};

/// Reads the sealed history through an intake of its own, beside the tailer, and goes on while the tape grows.
pub struct Reader {
    layout: Layout,
    known: Known,
    /// The next round that `known` has not seen.
    new_from: u64,
    follower: Follower,
    rounds: Rounds,
    intake: Intake,
}

impl Reader {
    /// Reads from where `intake` stands, which is the end of a round.
    ///
    /// # Errors
    /// The tape cannot be opened.
    pub fn open(layout: &Layout, survey: Survey, intake: Intake, seam: &Seam) -> Result<Reader, TapeError> {
        Ok(Reader {
            rounds: Rounds::open_at(&layout.files, &layout.tape(), seam)?,
            follower: follower(layout, &survey.known),
            new_from: survey.end.next_round,
            known: survey.known,
            layout: layout.clone(),
            intake,
        })
    }

    /// Hands on the rounds on the tape that begin before a position; `sink` says whether to go on.
    ///
    /// # Errors
    /// The history cannot be read as it was sealed.
    pub fn read(&mut self, before: u64, sink: &mut dyn FnMut(SealedBatch) -> bool) -> Result<(), String> {
        let mut on = true;
        while on && self.intake.position() < before {
            let Some(round) = self.rounds.next() else { return Ok(()) };
            let round = round.map_err(|error| error.to_string())?;
            self.meet(&round);
            let source = directory::source(&self.follower, &round);
            let digest: Arc<str> = round.digest.as_str().into();
            read_round(&source, &mut self.intake, Until::End, &mut |batch| {
                on = on && sink(SealedBatch { batch, round: round.round, digest: digest.clone() });
            })
            .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn meet(&mut self, round: &Round) {
        if round.round < self.new_from {
            return;
        }
        self.known.add(round);
        self.new_from = round.round + 1;
        if !round.files.is_empty() {
            self.follower = follower(&self.layout, &self.known);
        }
    }
}

/// A follower that is only asked where the files of the tape are.
fn follower(layout: &Layout, known: &Known) -> Follower {
    let mut follower = Follower::new(layout.files.clone(), layout.dir.clone(), None, known.clone().generations(layout));
    // What cannot be found is reported when it is read.
    let _ = follower.recover(&|file| crate::tape::extents_of(layout, file));
    follower
}
