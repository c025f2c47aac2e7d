use std::{
    io::Write,
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;
use thiserror::Error;

use super::Live;
use crate::{
    consumers::REGISTRY,
    decision::DecisionLine,
    event,
    fold::lines::Outcome,
    layout::Layout,
    policy::InForce,
    render::state,
    replay::replay,
    store::decisions::{Filter, Source, page},
    tape::{Directory, Until},
};

/// Streams only this program appends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnStream {
    Api,
    Control,
}

/// Where a line came to stand.
#[derive(Clone, Debug)]
pub struct Appended {
    pub position: u64,
    pub outcome: Outcome,
}

#[derive(Debug, Error)]
pub enum AppendError {
    #[error("the disk is full")]
    Full,
    #[error("the recorder stopped: {0}")]
    Stopped(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Whose rows.
#[derive(Clone, Debug)]
pub enum Of {
    All,
    Agent(String),
}

/// The rows, and who did not answer.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub json: Value,
    pub positions: Vec<(&'static str, u64)>,
    pub silent: Vec<&'static str>,
}

static LAYOUT: OnceLock<Layout> = OnceLock::new();

pub fn remember(layout: &Layout) {
    let _ = LAYOUT.set(layout.clone());
}

fn layout() -> Layout {
    LAYOUT.get().cloned().unwrap_or_else(|| Layout::new(PathBuf::new()))
}

impl Live {
    pub fn append(
        &self,
        stream: OwnStream,
        lines: Vec<String>,
        reply: impl FnOnce(Result<Vec<Appended>, AppendError>) + Send + 'static,
    ) {
        let name = if stream == OwnStream::Api { "api" } else { "control" };
        let text = lines.join("\n") + "\n";
        let file = std::fs::OpenOptions::new().create(true).append(true).open(layout().stream(name));
        let before = self.look_at_intake();
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        let (Ok(()), Some(before), Some(look)) = (written, before, self.look_at_intake()) else {
            return reply(Err(AppendError::Full));
        };
        let duplicates =
            look.lines.total(Outcome::Duplicate).saturating_sub(before.lines.total(Outcome::Duplicate)) as usize;
        let first = look.position - lines.len() as u64;
        let outcome = |line: &String| match event::decode(line.as_bytes(), 1 << 20) {
            Ok(_) if duplicates > 0 => Outcome::Duplicate,
            Ok(line) => line.kind.map_or(Outcome::Unknown, Outcome::Kind),
            Err(_) => Outcome::Malformed,
        };
        let appended =
            lines.iter().zip(first..).map(|(line, position)| Appended { position, outcome: outcome(line) }).collect();
        reply(Ok(appended));
    }

    pub fn on_progress(&self, call: impl Fn() + Send + Sync + 'static) {
        let status = self.status.clone();
        thread::spawn(move || {
            while !status.stopping() {
                thread::sleep(Duration::from_millis(10));
                call();
            }
        });
    }

    pub fn decision(&self, consumer: &str, cause: u64) -> Vec<DecisionLine> {
        let filter =
            Filter { consumer: Some(consumer.to_owned()), from: cause, to: Some(cause + 1), ..Filter::default() };
        let page = page(&sources(), &filter, None, 100).unwrap_or_default();
        page.found.iter().filter_map(|found| serde_json::from_str(&found.text).ok()).collect()
    }

    pub fn rows(&self, _of: Of) -> State {
        let replayed = Directory::open(layout(), None)
            .ok()
            .and_then(|directory| replay(&directory, REGISTRY, Arc::default(), Until::End, |_, _, _| {}).ok());
        let Some(replayed) = replayed else { return State::default() };
        let json = state::state(replayed.engine.slots(), &replayed.intake, "", replayed.decisions);
        let at = replayed.intake.position();
        State { json, positions: self.status.consumers.iter().map(|c| (c.name, at)).collect(), silent: Vec::new() }
    }

    /// The policy in force at the end of the tape.
    pub fn policy(&self) -> Arc<InForce> {
        let text = std::fs::read_to_string(layout().stream("control")).unwrap_or_default();
        let mut policies = text.lines().rev().filter_map(|line| {
            let value: Value = serde_json::from_str(line).ok()?;
            crate::policy::Policy::from_toml(value["policy"].as_str()?).ok()
        });
        policies.next().map_or_else(Arc::default, |policy| Arc::new(InForce::new(policy)))
    }

    /// Every decision with a cause before this is in its file.
    pub fn decided(&self) -> u64 {
        let slowest = self.status.consumers.iter().map(|c| c.position.load(Ordering::Acquire)).min().unwrap_or(0);
        slowest.min(self.status.durable.load(Ordering::Acquire))
    }
}

fn sources() -> Vec<Source> {
    let source = |registration: &crate::fold::Registration| Source {
        consumer: registration.name,
        path: layout().decisions(registration.name),
    };
    REGISTRY.iter().map(source).collect()
}
