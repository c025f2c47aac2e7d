use std::collections::BTreeSet;

use foldhash::HashMap;
use serde_json::Value;

use super::{Held, Run, Runs, standings::Standings};
use crate::{
    decision::Decision,
    event::{Key, money, time},
    fold::{Batch, Body, Emitted, Engine, Entry, Intake, batch},
    policy::RewardBasis,
    stats::Window,
    subject::{PerSubject, Subject},
    view::Row,
};

/// Runs that are let go of together: those that stay are moved each time.
const CLOSED_AT_ONCE: usize = 1 << 16;

/// So many words may always be held.
const WORDS_MIN: usize = 1 << 16;

/// Joins the lines of each run, and notes what held when it began. Hears decisions as a consumer would: those of a
/// position come after its events.
#[derive(Debug, Default)]
pub struct Recorder {
    pub(super) runs: Runs,
    /// The number of each open run, by `run_id` and agent: who uses the id of another has a run of its own.
    pub(super) places: HashMap<(Key, u32), u64>,
    /// The number of the first open run.
    pub(super) first: u64,
    /// Whether PnL without a run is a row as well.
    pub(super) every_record: bool,
    pub(super) standings: Standings,
    /// The last strategy that a run or signal of each agent named: as the desk knows it.
    pub(super) strategies: PerSubject<Option<u32>>,
    /// Rewards by agent, as quarantine looks at them.
    pub(super) rewards: PerSubject<Window>,
    /// Days, by their dates, on which runs began that got lines since somebody asked.
    pub(super) changed: BTreeSet<Option<i64>>,
}

impl Recorder {
    /// From where intake and consumers stand: with nothing, or where history begins after it was pruned.
    pub fn begin(engine: &Engine, intake: &Intake) -> Recorder {
        let mut recorder = Recorder::default();
        let subjects = intake.subjects();
        recorder.runs.agents.extend(subjects.agents.iter().cloned());
        recorder.runs.strategies.extend(subjects.strategies.iter().cloned());
        recorder.standings = Standings::begin(engine, intake);
        for subject in subjects.all() {
            let mut row = Row::new();
            engine.slots().iter().filter(|slot| slot.name() == "desk").for_each(|desk| desk.row(subject, &mut row));
            let name = row.get("strategy").and_then(Value::as_str);
            let id = name.and_then(|name| subjects.strategies.iter().position(|known| **known == *name));
            if let (Some(last), Some(id)) = (recorder.strategies.entry(subject), id) {
                *last = Some(id as u32);
            }
        }
        recorder
    }

    /// The same, where PnL without a run is not only added up, but has a row of its own: the run that it names may follow.
    pub fn of_every_record(engine: &Engine, intake: &Intake) -> Recorder {
        Recorder { every_record: true, ..Recorder::begin(engine, intake) }
    }

    /// Lets go of the oldest runs when more than `keep` are open by far, each shown once before: what comes later under
    /// its `run_id` begins another. With 0 it lets go of all.
    pub fn close<E>(&mut self, keep: usize, mut each: impl FnMut(&Runs, &Run) -> Result<(), E>) -> Result<u64, E> {
        let open = self.runs.all.len();
        if keep > 0 && open < keep + CLOSED_AT_ONCE {
            return Ok(0);
        }
        let closed = open.saturating_sub(keep);
        for run in &self.runs.all[..closed] {
            each(&self.runs, run)?;
            if let Some(id) = &run.id {
                self.places.remove(&(Key::of(id), run.agent));
            }
        }
        self.runs.all.drain(..closed);
        self.first += closed as u64;
        if self.runs.words.texts().len() > WORDS_MIN.max(self.runs.all.len() * 8) {
            self.forget_words();
        }
        Ok(closed as u64)
    }

    /// Keeps only the words of open runs.
    fn forget_words(&mut self) {
        let old = std::mem::take(&mut self.runs.words);
        for run in &mut self.runs.all {
            for word in [&mut run.model, &mut run.symbol, &mut run.regime] {
                *word = word.map(|word| self.runs.words.word(old.text(word)));
            }
        }
    }

    /// Takes in a batch and the decisions made in it, ordered by position.
    pub fn step(&mut self, batch: &Batch, emitted: &[Emitted]) {
        self.runs.agents.extend(batch.new_agents.iter().cloned());
        self.runs.strategies.extend(batch.new_strategies.iter().cloned());
        let mut decisions = emitted.iter().map(|emitted| &emitted.decision).peekable();
        for entry in &batch.entries {
            while let Some(decision) = decisions.next_if(|decision| decision.cause < entry.position) {
                self.hear(decision);
            }
            self.entry(batch, entry);
        }
        decisions.for_each(|decision| self.hear(decision));
    }

    /// The days, by their dates, on which runs began that got lines since the last call; none for runs of no known time.
    pub fn take_changed(&mut self) -> BTreeSet<Option<i64>> {
        std::mem::take(&mut self.changed)
    }

    /// What was recorded.
    pub fn finish(self) -> Runs {
        self.runs
    }

    /// What was recorded so far.
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    fn hear(&mut self, decision: &Decision) {
        if let (Subject::Agent(agent), "gates", "revived") = (decision.subject, decision.consumer, decision.verdict) {
            self.runs.revived(agent);
        }
        self.standings.hear(decision);
    }

    fn entry(&mut self, batch: &Batch, entry: &Entry) {
        let event = &entry.event;
        let Some(agent) = event.agent else { return };
        match &event.body {
            Body::Run(line) => {
                let at = self.place(batch, entry, agent);
                let model = line.model.map(|model| self.runs.words.word(batch.text(model)));
                let ran = self.runs.tally(agent, |tally| &mut tally.ran);
                self.runs.all[at].add_run(line, model, ran);
                self.reward(batch, entry, agent, line);
            }
            Body::Alpha(line) => {
                let at = self.place(batch, entry, agent);
                let mut word = |text: Option<batch::Text>| text.map(|text| self.runs.words.word(batch.text(text)));
                let (symbol, regime) = (word(line.symbol), word(line.regime));
                let run = &mut self.runs.all[at];
                run.signals += 1;
                run.score = line.score_final.or(run.score);
                run.symbol = symbol.or(run.symbol);
                run.regime = regime.or(run.regime);
                run.direction = line.direction.or(run.direction);
            }
            Body::Pnl(line) => self.pnl(batch, entry, agent, line),
            _ => {}
        }
    }

    /// PnL belongs to the run that it names; without one it is only added up.
    fn pnl(&mut self, batch: &Batch, entry: &Entry, agent: u32, line: &batch::Pnl) {
        let event = &entry.event;
        let known =
            event.run.and_then(|run| self.places.get(&(run, agent)).map(|number| (number - self.first) as usize));
        let Some(at) = known.or_else(|| self.every_record.then(|| self.place(batch, entry, agent))) else {
            self.runs.tally(agent, |tally| &mut tally.earned);
            self.runs.loose.0 += 1;
            self.runs.loose.1 += line.realized_pnl_bps;
            return;
        };
        let symbol = line.symbol.map(|symbol| self.runs.words.word(batch.text(symbol)));
        if self.runs.all[at].records == 0 {
            self.runs.all[at].earned = Some(self.runs.tally(agent, |tally| &mut tally.earned));
        }
        self.note(at);
        let run = &mut self.runs.all[at];
        run.records += 1;
        run.pnl_bps = Some(run.pnl_bps.unwrap_or(0.0) + line.realized_pnl_bps);
        run.symbol = run.symbol.or(symbol);
        run.entry_price = line.entry_price.or(run.entry_price);
        run.exit_price = line.exit_price.or(run.exit_price);
    }

    /// Where the run of an event stands; it begins here when this is its first line.
    fn place(&mut self, batch: &Batch, entry: &Entry, agent: u32) -> usize {
        let event = &entry.event;
        let next = self.runs.all.len();
        let number = self.first + next as u64;
        let number = event.run.map_or(number, |run| *self.places.entry((run, agent)).or_insert(number));
        let at = (number - self.first) as usize;
        let last = self.strategies.entry(Subject::Agent(agent));
        let named = event.strategy.filter(|_| !matches!(event.body, Body::Pnl(_)));
        let strategy = last.and_then(|last| {
            *last = named.or(*last);
            *last
        });
        if at == next {
            let id = event.run_id.map(|id| batch.text(id).into());
            let held = self.held(agent, strategy);
            self.runs.all.push(Run { began_under: strategy, ..Run::begin(id, agent, entry, held) });
        }
        if let Some(strategy) = event.strategy {
            self.runs.all[at].strategy = Some(strategy);
        }
        self.note(at);
        at
    }

    /// A run gets a line.
    fn note(&mut self, at: usize) {
        let day = self.runs.all[at].time.map(|time| time.div_euclid(time::DAY));
        self.changed.insert(day);
    }

    fn held(&self, agent: u32, strategy: Option<u32>) -> Held {
        let (own, strategy, fleet) = self.standings.of(agent, strategy);
        let drawdown = self.rewards.get(Subject::Agent(agent)).map_or(0.0, Window::drawdown);
        Held { own, strategy, fleet, drawdown }
    }

    fn reward(&mut self, batch: &Batch, entry: &Entry, agent: u32, line: &batch::Run) {
        let rules = &batch.policy_at(entry.position).policy.rolling;
        let reward = match rules.reward_basis {
            RewardBasis::Plain => line.reward,
            RewardBasis::Capital => line.capital_reward,
        };
        if let Some((reward, window)) = reward.zip(self.rewards.entry(Subject::Agent(agent))) {
            window.set_capacity(rules.window);
            window.push(reward);
        }
    }
}

impl Run {
    fn begin(id: Option<Box<str>>, agent: u32, entry: &Entry, held: Held) -> Run {
        Run {
            id,
            agent,
            strategy: entry.event.strategy,
            began_under: None,
            position: entry.position,
            time: entry.event.time,
            runs: 0,
            ran: None,
            earned: None,
            signals: 0,
            records: 0,
            latency_ms: None,
            tokens_in: 0,
            tokens_out: 0,
            cost_usd: None,
            reward: None,
            failures: 0,
            score: None,
            model: None,
            symbol: None,
            regime: None,
            direction: None,
            pnl_bps: None,
            entry_price: None,
            exit_price: None,
            held,
        }
    }

    fn add_run(&mut self, line: &batch::Run, model: Option<super::Word>, ran: u64) {
        self.runs += 1;
        self.ran = Some(ran);
        self.latency_ms = line.latency_ms.or(self.latency_ms);
        self.tokens_in += line.tokens_in;
        self.tokens_out += line.tokens_out;
        if line.cost_known {
            self.cost_usd = Some(self.cost_usd.unwrap_or(0.0) + money::to_usd(line.cost));
        }
        self.reward = line.reward.or(self.reward);
        self.failures += u32::from(line.failed);
        self.model = model.or(self.model);
    }
}
