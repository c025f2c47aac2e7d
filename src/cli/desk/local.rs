use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};

use super::{Answer, Asking, Desk, InForceNow, Look, Order, State};
use crate::{
    cli::{
        Events,
        reading::{self, Progress},
    },
    clock::Clock,
    consumers::REGISTRY,
    decision::DecisionLine,
    event::{
        Kind,
        control::{self, Mint},
    },
    fold::{Batch, Emitted, Intake, Registration, intake::CONTROL_STREAM, lines::Outcome},
    render::state::{Asked, Head, shown},
    replay::{Replayed, replay, replay_through},
    store::{
        Lock,
        decisions::{self, Filter, Source},
    },
    streams::Appender,
    tape::Until,
};

/// Between two looks at the decisions files.
const POLL: Duration = Duration::from_millis(250);
const PAGE: usize = 1000;

/// A desk in the directory itself: the right to write its files is the authority, a replay gives the answers.
pub struct Local {
    events: Events,
    clock: Clock,
    /// What was looked at last, and how the files were then.
    looked: Option<(Asking, Vec<Sight>)>,
}

/// Name, length and time of a file: where these are as they were, so is what is in it.
type Sight = (PathBuf, u64, Option<SystemTime>);

/// An appended line on the tape.
struct Stands {
    position: u64,
    outcome: Outcome,
    /// What was decided at its position.
    decisions: Vec<DecisionLine>,
}

impl Local {
    pub fn new(events: Events) -> Local {
        Local { events, clock: Clock::system(), looked: None }
    }

    fn fold(
        &self,
        registry: &[Registration],
        track: bool,
        sink: impl FnMut(&Batch, Vec<Emitted>),
    ) -> anyhow::Result<Replayed> {
        let directory = reading::open(&self.events)?;
        let prepare = |intake: &mut Intake| {
            if track {
                intake.track(&[CONTROL_STREAM]);
            }
        };
        let bar = Progress::new(None, "replaying", false);
        let mut sink = sink;
        let replayed = replay_through(&directory, registry, prepare, Until::End, 1, |batch, emitted| {
            bar.inc(batch.next - batch.first);
            sink(batch, emitted);
        })?;
        bar.finish();
        Ok(replayed)
    }

    /// Appends lines to the control stream and says where they begin. The lock is held meanwhile, so that no server
    /// starts in between.
    ///
    /// # Errors
    /// Somebody holds the directory, or the file cannot be written.
    pub fn append(&self, lines: &[String]) -> anyhow::Result<Vec<u64>> {
        let layout = self.events.layout();
        let _lock = Lock::take(&layout.files, &layout.lock())?;
        let mut appender = Appender::own(layout.files.clone(), layout.stream(CONTROL_STREAM));
        let appended = appender.append(lines).and_then(|written| appender.sync().map(|()| written.offsets));
        appended.with_context(|| {
            format!("cannot append to {}; nothing is certain to be in force", appender.path().display())
        })
    }

    /// Appends lines, and says where each came to stand and what was decided there.
    fn carry_out(&self, lines: &[String], registry: &[Registration]) -> anyhow::Result<Vec<Stands>> {
        let offsets = self.append(lines)?;
        let mut stands: BTreeMap<u64, Stands> = BTreeMap::new();
        self.fold(registry, true, |batch, emitted| {
            // An older file of the stream may have a line at the same offset: the last one is ours.
            for placed in batch.placed.iter().filter(|placed| offsets.contains(&placed.offset)) {
                let at = emitted.iter().filter(|emitted| emitted.decision.cause == placed.position);
                let decisions = at.map(Emitted::line).collect();
                let position = placed.position;
                stands.insert(placed.offset, Stands { position, outcome: placed.outcome, decisions });
            }
        })?;
        let lost = || anyhow!("the appended line is not on the tape: run `runtape verify`");
        offsets.iter().map(|offset| stands.remove(offset).ok_or_else(lost)).collect()
    }

    /// The streams and the tape as they lie there.
    fn sights(&self) -> io::Result<Vec<Sight>> {
        let layout = self.events.layout();
        let mut sights = Vec::new();
        for entry in fs::read_dir(&layout.dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_file() {
                sights.push((entry.path(), meta.len(), meta.modified().ok()));
            }
        }
        if let Ok(meta) = fs::metadata(layout.tape()) {
            sights.push((layout.tape(), meta.len(), meta.modified().ok()));
        }
        sights.sort();
        Ok(sights)
    }

    /// Folds the directory without a word to the terminal, and keeps the last decisions.
    fn see(&self, asking: &Asking) -> anyhow::Result<Look> {
        let directory = reading::quietly(&self.events)?;
        let own = asking.about.as_deref().map(Filter::of_agent);
        let (mut last, mut about) = (VecDeque::new(), VecDeque::new());
        let keep = |list: &mut VecDeque<DecisionLine>, line: DecisionLine, most: usize| {
            list.push_back(line);
            list.drain(..list.len().saturating_sub(most));
        };
        let replayed = replay(&directory, REGISTRY, None, Until::End, 1, |_, emitted| {
            // Of a batch only the end can matter for the list of all.
            let first = emitted.len().saturating_sub(asking.decisions);
            for emitted in &emitted[first..] {
                keep(&mut last, emitted.line(), asking.decisions);
            }
            if let Some(filter) = &own {
                for line in emitted.iter().map(Emitted::line).filter(|line| passes(filter, line)) {
                    keep(&mut about, line, asking.lines);
                }
            }
        })?;
        let in_force = replayed.intake.policy();
        let policy = InForceNow { hash: in_force.hash.clone(), policy: in_force.policy.clone() };
        let values =
            |list: VecDeque<DecisionLine>| list.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
        let (decisions, about) = (values(last)?, values(about)?);
        let state = state_of(&replayed, &Asked::Lately(replayed.intake.now(), asking.recent));
        Ok(Look { state, policy, health: None, decisions, about })
    }

    fn mint<'a>(&self, event_id: &'a str) -> Mint<'a> {
        Mint { event_id, ts: self.clock.now() }
    }

    fn sources(&self) -> Vec<Source> {
        let layout = self.events.layout();
        REGISTRY
            .iter()
            .map(|r| Source { consumer: r.name, files: layout.files.clone(), path: layout.decisions(r.name) })
            .collect()
    }
}

impl Stands {
    /// The decision of a consumer at its position, without those that other consumers made there.
    fn answer(&self, consumer: &str) -> anyhow::Result<Answer> {
        let decision = self.decisions.iter().find(|decision| decision.consumer == consumer);
        let decision = decision.map(serde_json::to_value).transpose()?;
        match (&decision, self.outcome) {
            (None, Outcome::Duplicate) | (Some(_), _) => Ok(Answer { position: Some(self.position), decision }),
            (None, outcome) => Err(anyhow!(
                "the line at position {} was taken for {} and decided nothing: run `runtape tail -n 1 --kind malformed`",
                self.position,
                outcome.name()
            )),
        }
    }
}

/// What a replay shows.
fn state_of(replayed: &Replayed, asked: &Asked) -> State {
    shown(&replayed.engine, &replayed.intake, Head::of(&replayed.intake), asked)
}

/// Whether a decision passes a filter.
fn passes(filter: &Filter, line: &DecisionLine) -> bool {
    let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
    is(&filter.consumer, &line.consumer)
        && is(&filter.subject, &line.subject)
        && is(&filter.subject_kind, &line.subject_kind)
        && is(&filter.verdict, &line.verdict)
        && line.cause >= filter.from
        && filter.to.is_none_or(|to| line.cause < to)
}

impl Desk for Local {
    fn state(&mut self) -> anyhow::Result<State> {
        let replayed = self.fold(REGISTRY, false, |_, _| {})?;
        Ok(state_of(&replayed, &Asked::All(replayed.intake.now())))
    }

    fn look(&mut self, asking: &Asking) -> anyhow::Result<Option<Look>> {
        // Seen before it is read: what comes meanwhile is a change.
        let sights = self.sights()?;
        let known = (asking.clone(), sights);
        if self.looked.as_ref() == Some(&known) {
            return Ok(None);
        }
        let look = self.see(asking)?;
        self.looked = Some(known);
        Ok(Some(look))
    }

    fn policy(&mut self) -> anyhow::Result<InForceNow> {
        // Policies come from the lines alone: no consumer is needed to find the last one.
        let replayed = self.fold(&[], false, |_, _| {})?;
        let in_force = replayed.intake.policy();
        Ok(InForceNow { hash: in_force.hash.clone(), policy: in_force.policy.clone() })
    }

    fn health(&mut self) -> anyhow::Result<Option<Value>> {
        Ok(None)
    }

    fn newest(&mut self, filter: &Filter, limit: usize) -> anyhow::Result<Vec<Value>> {
        let directory = reading::open(&self.events)?;
        if directory.rounds > 0 && !directory.has_unsealed() {
            let page = decisions::newest(&self.sources(), filter, limit)?;
            return Ok(page.found.iter().map(|found| serde_json::from_str(&found.text)).collect::<Result<_, _>>()?);
        }
        let mut last: VecDeque<DecisionLine> = VecDeque::new();
        self.fold(REGISTRY, false, |_, emitted| {
            last.extend(emitted.iter().map(Emitted::line).filter(|line| passes(filter, line)));
            last.drain(..last.len().saturating_sub(limit));
        })?;
        Ok(last.iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    }

    fn follow(&mut self, filter: &Filter, each: &mut dyn FnMut(Value) -> io::Result<()>) -> anyhow::Result<()> {
        let sources = self.sources();
        let mut after = decisions::newest(&sources, &Filter::default(), 1)?.found.pop().map(|found| found.at);
        loop {
            let page = decisions::page(&sources, filter, after.as_ref(), PAGE)?;
            for found in page.found {
                each(serde_json::from_str(&found.text)?)?;
                after = Some(found.at);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => thread::sleep(POLL),
            }
        }
    }

    fn order(&mut self, orders: &[Order]) -> anyhow::Result<Vec<Answer>> {
        let line = |order: &Order| {
            let mint = self.mint(&order.event_id);
            control::command(mint, order.action, order.subject.about(), &order.actor, order.reason.as_deref())
        };
        let stands = self.carry_out(&orders.iter().map(line).collect::<Vec<_>>(), REGISTRY)?;
        stands.iter().zip(orders).map(|(stands, order)| stands.answer(order.action.consumer())).collect()
    }

    fn check(&mut self, fields: Map<String, Value>) -> anyhow::Result<Value> {
        let event_id = uuid::Uuid::new_v4().to_string();
        let stands = self.carry_out(&[control::check(self.mint(&event_id), fields)], REGISTRY)?;
        let first = stands.first().ok_or_else(|| anyhow!("the check is not on the tape"))?;
        let answer = first.answer("desk")?;
        let decision = answer.decision.clone().unwrap_or_default();
        let reason = &decision["reason"];
        Ok(json!({
            "verdict": answer.verdict(),
            "position": answer.position,
            "reasons": reason["reasons"],
            "size_multiplier": reason["size_multiplier"],
            "mode": reason["mode"],
            "decision": decision,
        }))
    }

    fn enforce(&mut self, toml: &str, actor: &str, reason: Option<&str>) -> anyhow::Result<Option<u64>> {
        let event_id = uuid::Uuid::new_v4().to_string();
        let stands = self.carry_out(&[control::policy(self.mint(&event_id), toml, actor, reason)], &[])?;
        match stands.first() {
            Some(stands) if stands.outcome == Outcome::Kind(Kind::Policy) => Ok(Some(stands.position)),
            other => Err(anyhow!(
                "the policy is not in force: its line counts as {}; see `runtape tail -n 5 --kind malformed`",
                other.map_or("lost", |stands| stands.outcome.name())
            )),
        }
    }
}
