use std::{
    panic,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, ScopedJoinHandle},
};

use super::{ReplayError, read};
use crate::{
    event::Decoder,
    fold::{
        Batch, Emitted, Engine, Intake,
        engine::{self, Group, Said},
    },
    tape::{Directory, Readahead, Reading, Until, read_round_ahead},
};

/// Batches between two threads at most: enough that neither waits for a hiccup of the other, few enough to stay in the
/// cache.
const QUEUE: usize = 4;

/// A batch on its way, and what was said of it so far.
struct Work {
    batch: Batch,
    said: Said,
}

/// Folds a directory in a chain of threads: the first takes lines in and holds the first consumers, each further one holds a
/// group of them, and the caller's is the last. A batch goes from thread to thread in tape order, so every consumer sees and
/// hears what it would in one thread. Lines are decoded before their turn by whoever would otherwise wait for the thread
/// before or behind, or has no consumer. Returns where all stand at the end.
pub fn fold(
    directory: &Directory,
    engine: Engine,
    mut intake: Intake,
    until: Until,
    threads: usize,
    sink: &mut dyn FnMut(&Batch, Vec<Emitted>),
) -> Result<(Engine, Intake), ReplayError> {
    let shares = shares(engine.slots().len(), threads);
    // Threads for which there is no consumer only decode.
    let idle = threads.saturating_sub(shares.len()).min(Readahead::HELPERS);
    let mut groups = engine.into_groups(&shares).into_iter();
    let mut first = groups.next().unwrap_or_default();
    let mut last = groups.next_back().unwrap_or_default();
    let readahead = Arc::<Readahead>::default();
    thread::scope(|scope| {
        let (to_next, mut inbox) = sync_channel(QUEUE);
        let mut helper = Helper::of(&readahead);
        // Before anybody waits for its end: should a thread not be had, it ends as well.
        let reading = Reading::of(&readahead);
        for _ in 0..idle {
            let mut helper = Helper::of(&readahead);
            scope.spawn(move || helper.readahead.help_on(&mut helper.decoder));
        }
        let reader = scope.spawn(move || {
            let readahead = helper.readahead.clone();
            let _reading = reading;
            let mut sink = |batch| {
                let mut said = Said::default();
                engine::step(&mut first, &batch, &mut said);
                // Whoever is gone at the other end has failed; that is told when it is waited for.
                helper.send(&to_next, Work { batch, said });
            };
            let mut round = |source: &_| read_round_ahead(source, &mut intake, until, &readahead, &mut sink);
            let result = read(directory, &mut round);
            result.map(|()| (first, intake))
        });
        let mut stages = Vec::new();
        for group in groups {
            let (to_next, next) = sync_channel(QUEUE);
            let before = std::mem::replace(&mut inbox, next);
            let helper = Helper::of(&readahead);
            stages.push(scope.spawn(move || pass(group, &before, &to_next, helper)));
        }
        let mut helper = Helper::of(&readahead);
        while let Some(mut work) = helper.receive(&inbox) {
            engine::step(&mut last, &work.batch, &mut work.said);
            sink(&work.batch, work.said.all());
        }
        // Why a stage broke off tells more than that nothing could be read after that.
        let stages: Vec<Group> = stages.into_iter().map(joined).collect();
        let (first, intake) = joined(reader)?;
        let groups = [first].into_iter().chain(stages).chain([last]).collect();
        Ok((Engine::of_groups(groups), intake))
    })
}

/// A thread that decodes lines before their turn while it has nothing else to do.
struct Helper {
    readahead: Arc<Readahead>,
    decoder: Decoder,
}

impl Helper {
    fn of(readahead: &Arc<Readahead>) -> Helper {
        Helper { readahead: readahead.clone(), decoder: Decoder::default() }
    }

    fn help(&mut self) -> bool {
        self.readahead.help(&mut self.decoder)
    }

    /// The next batch; none when no more will come.
    fn receive(&mut self, inbox: &Receiver<Work>) -> Option<Work> {
        loop {
            match inbox.try_recv() {
                Ok(work) => return Some(work),
                Err(TryRecvError::Empty) if self.help() => {}
                Err(_) => return inbox.recv().ok(),
            }
        }
    }

    /// Hands a batch on; false when nobody is there any more.
    fn send(&mut self, next: &SyncSender<Work>, mut work: Work) -> bool {
        loop {
            match next.try_send(work) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if self.help() => work = back,
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => return next.send(back).is_ok(),
            }
        }
    }
}

/// What taking a line in takes, in consumers of the usual kind.
const INTAKE: usize = 3;

/// How many consumers each thread holds, in list order, so that all have about as much to do. The first one also takes in.
fn shares(consumers: usize, threads: usize) -> Vec<usize> {
    let threads = threads.clamp(2, consumers.max(1) + 1);
    let (mut work, mut left, mut shares) = (consumers + INTAKE, consumers, Vec::with_capacity(threads));
    for thread in 0..threads {
        let fair = work.div_ceil(threads - thread);
        let intake = if thread == 0 { INTAKE } else { 0 };
        // Whoever comes after has at least one.
        let most = left.saturating_sub(threads - thread - 1);
        let share = if thread + 1 == threads { left } else { fair.saturating_sub(intake).min(most) };
        shares.push(share);
        left -= share;
        work -= share + intake;
    }
    shares
}

/// Folds what comes in and hands it on.
fn pass(mut group: Group, inbox: &Receiver<Work>, next: &SyncSender<Work>, mut helper: Helper) -> Group {
    while let Some(mut work) = helper.receive(inbox) {
        engine::step(&mut group, &work.batch, &mut work.said);
        if !helper.send(next, work) {
            break;
        }
    }
    group
}

/// The result of a thread; its panic goes on in this one.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|why| panic::resume_unwind(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_consumer_has_a_thread_and_every_thread_but_the_first_a_consumer() {
        let of = |consumers| [2, 3, 4, 99].map(|threads| shares(consumers, threads));
        assert_eq!(of(9)[..3], [vec![3, 6], vec![1, 4, 4], vec![0, 3, 3, 3]]);
        assert_eq!(of(2)[..2], [vec![0, 2], vec![0, 1, 1]]);
        assert_eq!(of(0)[0], [0, 0]);
        for consumers in 0..20 {
            for shares in of(consumers) {
                assert_eq!(shares.iter().sum::<usize>(), consumers);
                assert!(consumers == 0 || shares[1..].iter().all(|share| *share > 0), "{shares:?}");
            }
        }
    }
}
