use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::Clock,
    consumers::REGISTRY,
    files::{Files, simulated::Simulated},
    layout::Layout,
    live::{AppendError, Cadence, Config, OwnStream, StartError, Steps},
};

/// The directory on every simulated disk.
pub const DIR: &str = "/events";

/// A line that the program answered for: where it said it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub position: u64,
    pub stream: &'static str,
    pub text: String,
}

/// The answers of a program, as clients have them.
pub type Answers = Arc<Mutex<Vec<Answer>>>;

/// The program between two power cuts.
pub struct Life {
    pub steps: Steps,
    pub layout: Layout,
    /// What was durable before it began.
    before: u64,
    /// The time of the world, Unix nanoseconds.
    pub now: Arc<AtomicI64>,
    pub answers: Answers,
}

pub fn layout(disk: &Simulated) -> Layout {
    Layout::on(Files::of(disk.clone()), Path::new(DIR))
}

impl Life {
    pub fn begin(disk: &Simulated, now: i64, before: u64, answers: Answers) -> Result<Life, StartError> {
        let now = Arc::new(AtomicI64::new(now));
        let time = now.clone();
        let layout = layout(disk);
        let config = Config {
            layout: layout.clone(),
            registry: REGISTRY,
            clock: Clock::simulated(move || time.load(Ordering::Acquire)),
            cadence: Cadence { poll: Duration::ZERO, coalesce: Duration::ZERO, snapshot: Duration::from_millis(40) },
            quarantine_file: None,
        };
        Ok(Life { steps: Steps::start(config)?, layout, before, now, answers })
    }

    /// The promises of the program, for whoever takes an image of its disk.
    pub fn witness(&self) -> Arc<dyn Fn() -> (u64, usize) + Send + Sync> {
        let (status, before, answers) = (self.steps.status().clone(), self.before, self.answers.clone());
        let durable = AtomicU64::new(before);
        Arc::new(move || {
            let now = status.durable.load(Ordering::Acquire);
            let durable = durable.fetch_max(now, Ordering::AcqRel).max(now);
            (durable, answers.lock().unwrap_or_else(PoisonError::into_inner).len())
        })
    }

    /// Appends lines; how many were answered for, and how many were refused.
    pub fn append(&mut self, orders: Vec<(OwnStream, Vec<String>)>) -> (u64, u64, Vec<AppendError>) {
        let (answers, kept) = (self.answers.clone(), orders.clone());
        let counts = Arc::new(Mutex::new((0, 0, Vec::new())));
        let told = counts.clone();
        self.steps.append(orders, move |nth, result| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(appended) => {
                    told.0 += 1;
                    let (stream, lines) = &kept[nth];
                    let answer = |(text, appended): (&String, &crate::live::Appended)| Answer {
                        position: appended.position,
                        stream: stream.name(),
                        text: text.clone(),
                    };
                    let mut all = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    all.extend(lines.iter().zip(&appended).map(answer));
                }
                Err(error) => {
                    told.1 += 1;
                    told.2.push(error);
                }
            }
        });
        let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }

    /// Goes on until nothing is left to do. False when it does not come to rest.
    pub fn rest(&mut self) -> bool {
        // A copy that holds a part of something is looked at for a while before it counts as what it is.
        let mut idle = 0;
        for _ in 0..400 {
            idle = if self.steps.look() { 0 } else { idle + 1 };
            self.steps.fold_all();
            self.steps.keep();
            self.now.fetch_add(10_000_000, Ordering::AcqRel);
            if self.steps.failed().is_some() {
                return false;
            }
            if idle > 24 && self.steps.is_settled() {
                return true;
            }
        }
        false
    }
}
