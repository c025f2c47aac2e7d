use serde::{Deserialize, Serialize};

use super::{Recorder, Run, Runs, Words, runs::Tally, standings::Standings};
use crate::{event::Key, stats::Window, subject::PerSubject};

/// Everything but the runs that are open.
#[derive(Serialize, Deserialize)]
struct Head<T, W> {
    agents: T,
    strategies: T,
    words: W,
    tallies: Vec<Tally>,
    loose: (u64, f64),
    first: u64,
    every_record: bool,
    open: u64,
    standings: Standings,
    strategies_of: PerSubject<Option<u32>>,
    rewards: PerSubject<Window>,
}

impl Recorder {
    /// Hands on the state in records, in order: its size is that of the runs that are open, and none is held twice.
    ///
    /// # Errors
    /// Those of `record`.
    pub fn save<E>(&self, mut record: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Runs { agents, strategies, words, all, tallies, loose } = &self.runs;
        let head = Head {
            agents,
            strategies,
            words: words.texts(),
            tallies: tallies.clone(),
            loose: *loose,
            first: self.first,
            every_record: self.every_record,
            open: all.len() as u64,
            standings: self.standings.clone(),
            strategies_of: self.strategies.clone(),
            rewards: self.rewards.clone(),
        };
        record(&bytes(&head))?;
        all.iter().try_for_each(|run| record(&bytes(run)))
    }

    /// The state from the same records; none when they are not those of a recorder.
    pub fn load(mut next: impl FnMut() -> Option<Vec<u8>>) -> Option<Recorder> {
        let head: Head<Vec<_>, Vec<String>> = postcard::from_bytes(&next()?).ok()?;
        let mut recorder = Recorder {
            first: head.first,
            every_record: head.every_record,
            standings: head.standings,
            strategies: head.strategies_of,
            rewards: head.rewards,
            ..Recorder::default()
        };
        let mut words = Words::default();
        for text in &head.words {
            words.word(text);
        }
        let (agents, strategies, tallies, loose) = (head.agents, head.strategies, head.tallies, head.loose);
        recorder.runs = Runs { agents, strategies, words, all: Vec::new(), tallies, loose };
        for number in head.first..head.first + head.open {
            let run: Run = postcard::from_bytes(&next()?).ok()?;
            if let Some(id) = &run.id {
                recorder.places.insert((Key::of(id), run.agent), number);
            }
            recorder.runs.all.push(run);
        }
        Some(recorder)
    }
}

fn bytes(state: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(state).expect("state in memory always serialises")
}
