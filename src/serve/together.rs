use std::thread;

use crate::render::exposition::{Task, Writers};

/// More processors than this are left to the fold, whoever asks.
const MOST: usize = 4;

/// From so many lines on it is worth the while to begin a thread.
const MANY: usize = 2_000;

/// Threads that write a page together: at most so many.
#[derive(Clone, Copy, Debug)]
pub struct Threads(usize);

impl Default for Threads {
    /// As many as there are processors. It takes a while to find out.
    fn default() -> Threads {
        Threads(thread::available_parallelism().map_or(1, usize::from).min(MOST))
    }
}

impl Writers for Threads {
    fn tasks(&self, lines: usize) -> usize {
        if lines < MANY { 1 } else { self.0 }
    }

    /// The first is done in this thread.
    fn write(&self, tasks: Vec<Task>) {
        let mut tasks = tasks.into_iter();
        let own = tasks.next();
        thread::scope(|scope| {
            for task in tasks {
                scope.spawn(task);
            }
            if let Some(own) = own {
                own();
            }
        });
    }
}
