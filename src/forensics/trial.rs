//! What another policy would have made of the same facts. A replay can stop a run that happened; it cannot invent one that
//! did not.

use std::collections::BTreeMap;

use super::{Run, Runs, standings::Standings};
use crate::{
    decision::Decision,
    fold::{Emitted, Engine, Intake},
    stats::Exact,
    subject::Subject,
};

/// The consumers whose decisions a trial compares.
pub const COMPARED: [&str; 3] = ["quarantine", "gates", "budget"];
/// Whose decisions follow from orders, whatever the thresholds.
pub const ORDERED: &str = "desk";

/// A decision, as far as two policies may differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    pub cause: u64,
    pub consumer: &'static str,
    pub verdict: &'static str,
}

/// A policy on its way through the facts.
#[derive(Debug, Default)]
pub struct Trial {
    standings: Standings,
    /// Whether each run's agent was denied when it began; by the place of the run.
    denied: Vec<bool>,
    said: BTreeMap<Subject, Vec<Said>>,
}

impl Trial {
    /// From where consumers stand.
    pub fn begin(engine: &Engine, intake: &Intake) -> Trial {
        Trial { standings: Standings::begin(engine, intake), ..Trial::default() }
    }

    /// Takes in the runs that began in a batch, its own decisions, and those that follow from orders; all by position.
    pub fn step(&mut self, began: &[Run], own: &[Emitted], ordered: &[Emitted]) {
        let compared = own.iter().map(|emitted| &emitted.decision).filter(|d| COMPARED.contains(&d.consumer));
        let ordered = ordered.iter().map(|emitted| &emitted.decision).filter(|d| d.consumer == ORDERED);
        let mut decisions: Vec<&Decision> = compared.chain(ordered).collect();
        decisions.sort_by_key(|decision| decision.cause);
        let mut decisions = decisions.into_iter().peekable();
        for run in began {
            while let Some(decision) = decisions.next_if(|decision| decision.cause < run.position) {
                self.hear(decision);
            }
            let (own, strategy, fleet) = self.standings.of(run.agent, run.began_under);
            self.denied.push(!own.reasons(&strategy, &fleet).is_empty());
        }
        decisions.for_each(|decision| self.hear(decision));
    }

    fn hear(&mut self, decision: &Decision) {
        self.standings.hear(decision);
        let Decision { cause, consumer, verdict, subject, .. } = decision;
        if COMPARED.contains(consumer) {
            let said = Said { cause: *cause, consumer, verdict };
            self.said.entry(*subject).or_default().push(said);
        }
    }

    /// What it comes to.
    pub fn outcome(&self, runs: &Runs, in_force: &Trial) -> Outcome {
        let mut agents: Vec<Effect> = vec![Effect::default(); runs.agents.len()];
        for (at, run) in runs.all.iter().enumerate() {
            let Some(effect) = agents.get_mut(run.agent as usize) else { continue };
            if self.denied.get(at) == Some(&true) {
                effect.deny(run);
            }
        }
        let of = |trial: &Trial, subject| trial.said.get(&subject).cloned().unwrap_or_default();
        for (id, effect) in agents.iter_mut().enumerate() {
            let subject = Subject::Agent(id as u32);
            let (here, there) = (of(self, subject), of(in_force, subject));
            here.iter().for_each(|said| effect.count(said));
            effect.differs = differs(&here, &there);
            let killed = |list: &[Said]| list.iter().find(|said| said.verdict == "killed").map(|said| said.cause);
            if let (Some(at), None) = (killed(&there), killed(&here)) {
                let later = runs.all.iter().filter(|run| run.agent == id as u32 && run.position > at);
                effect.lives = Some(Lives::of(at, later));
            }
        }
        let mut whole = Effect::default();
        agents.iter().for_each(|effect| whole.add(effect));
        Outcome { whole, agents }
    }
}

/// Where two lists of decisions part: the position, and what either says there.
fn differs(here: &[Said], there: &[Said]) -> Option<Differs> {
    let at = here.iter().zip(there).take_while(|(here, there)| here == there).count();
    let (here, there) = (here.get(at).copied(), there.get(at).copied());
    let position = [here, there].into_iter().flatten().map(|said| said.cause).min()?;
    let at = |said: Option<Said>| said.filter(|said| said.cause == position);
    Some(Differs { position, here: at(here), there: at(there) })
}

/// The first place where a policy says something else than what was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differs {
    pub position: u64,
    /// What the policy says there, and what was said.
    pub here: Option<Said>,
    pub there: Option<Said>,
}

/// An agent that was killed, and under this policy is not.
#[derive(Clone, Debug, PartialEq)]
pub struct Lives {
    /// Where it was killed.
    pub killed_at: u64,
    /// What is on record after that.
    pub runs: u64,
    pub pnl_bps: f64,
}

impl Lives {
    fn of<'a>(killed_at: u64, later: impl Iterator<Item = &'a Run>) -> Lives {
        let (mut runs, mut sum) = (0, Exact::default());
        for run in later {
            runs += 1;
            sum += run.pnl_bps.unwrap_or(0.0);
        }
        Lives { killed_at, runs, pnl_bps: sum.to_f64() }
    }
}

/// What a policy does to an agent, or to all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effect {
    pub kills: u64,
    pub quarantines: u64,
    pub promotions: u64,
    /// Times a budget was exhausted.
    pub exhausted: u64,
    /// Runs that began while their agent was denied.
    pub denied: u64,
    /// Losses of those, more than 0; their profits; their cost.
    pub loss_avoided_bps: f64,
    pub profit_forgone_bps: f64,
    pub cost_saved_usd: f64,
    pub differs: Option<Differs>,
    pub lives: Option<Lives>,
}

impl Effect {
    fn deny(&mut self, run: &Run) {
        let pnl = run.pnl_bps.unwrap_or(0.0);
        self.denied += 1;
        self.loss_avoided_bps += (-pnl).max(0.0);
        self.profit_forgone_bps += pnl.max(0.0);
        self.cost_saved_usd += run.cost_usd.unwrap_or(0.0);
    }

    fn count(&mut self, said: &Said) {
        let counter = match said.verdict {
            "killed" => &mut self.kills,
            "quarantined" => &mut self.quarantines,
            "promoted" => &mut self.promotions,
            "exhausted" => &mut self.exhausted,
            _ => return,
        };
        *counter += 1;
    }

    fn add(&mut self, other: &Effect) {
        self.kills += other.kills;
        self.quarantines += other.quarantines;
        self.promotions += other.promotions;
        self.exhausted += other.exhausted;
        self.denied += other.denied;
        self.loss_avoided_bps += other.loss_avoided_bps;
        self.profit_forgone_bps += other.profit_forgone_bps;
        self.cost_saved_usd += other.cost_saved_usd;
    }

    /// Losses avoided less profits forgone.
    pub fn net_bps(&self) -> f64 {
        self.loss_avoided_bps - self.profit_forgone_bps
    }
}

/// What a policy comes to: for all agents together, and for each by number.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub whole: Effect,
    pub agents: Vec<Effect>,
}
