use std::{
    panic,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, ScopedJoinHandle},
};

use super::{ReplayError, read};
use crate::{
    fold::{
        Batch, Emitted, Engine, Intake,
        engine::{self, Group, Said},
    },
    tape::{Directory, Until},
};

/// Batches between two threads at most: enough that neither waits for a hiccup of the other, few enough to stay in the
/// cache.
const QUEUE: usize = 4;

/// A batch on its way, and what was said of it so far.
struct Work {
    batch: Batch,
    said: Said,
}

/// Folds a directory in a chain of threads: the first reads, decodes and takes in, each further one holds a group of
/// consumers, and the caller's is the last. A batch goes from thread to thread in tape order, so every consumer sees and
/// hears what it would in one thread. Returns where all stand at the end.
pub fn fold(
    directory: &Directory,
    engine: Engine,
    mut intake: Intake,
    until: Until,
    threads: usize,
    sink: &mut dyn FnMut(&Batch, Vec<Emitted>),
) -> Result<(Engine, Intake), ReplayError> {
    let mut groups = engine.into_groups(threads - 1);
    let mut last = groups.pop().unwrap_or_default();
    thread::scope(|scope| {
        let (to_next, mut inbox) = sync_channel(QUEUE);
        let reader = scope.spawn(move || {
            // Whoever is gone at the other end has failed; that is told when it is waited for.
            let result = read(directory, &mut intake, until, &mut |batch| {
                let _ = to_next.send(Work { batch, said: Said::default() });
            });
            result.map(|()| intake)
        });
        let mut stages = Vec::new();
        for group in groups {
            let (to_next, next) = sync_channel(QUEUE);
            let before = std::mem::replace(&mut inbox, next);
            stages.push(scope.spawn(move || pass(group, &before, &to_next)));
        }
        for mut work in inbox {
            engine::step(&mut last, &work.batch, &mut work.said);
            sink(&work.batch, work.said.all());
        }
        let intake = joined(reader)?;
        let groups = stages.into_iter().map(joined).chain([last]).collect();
        Ok((Engine::of_groups(groups), intake))
    })
}

/// Folds what comes in and hands it on.
fn pass(mut group: Group, inbox: &Receiver<Work>, next: &SyncSender<Work>) -> Group {
    while let Ok(mut work) = inbox.recv() {
        engine::step(&mut group, &work.batch, &mut work.said);
        if next.send(work).is_err() {
            break;
        }
    }
    group
}

/// The result of a thread; its panic goes on in this one.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|why| panic::resume_unwind(why))
}
