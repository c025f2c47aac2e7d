//! At each reward of an agent: enter on drawdown, on Sharpe, or (when switched on) on the drawdown of PnL; leave when
//! the drawdown recovered, no other rule holds, and the minimum dwell is over. An operator may do both.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    decision::Numbers,
    event::{Action, Key, Nanos, time},
    fold::{
        At, Body, Consumer, Decisions, Event,
        batch::{Command, Pnl, Run},
        orders::{Refusal, done},
    },
    policy::{self, RewardBasis},
    stats::{KeyedWindow, Window},
    subject::{PerSubject, Subject},
    view::{Family, MetricType, Row, Samples},
};

/// Per agent: its rewards in the window, and whether it is quarantined.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Quarantine {
    agents: PerSubject<Agent>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Agent {
    rewards: Window,
    /// Kept only while the PnL rule is on.
    pnl: KeyedWindow<Key>,
    held: Option<Held>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Held {
    since_position: u64,
    since: Option<Nanos>,
    rule: Rule,
    /// The operator who did it.
    actor: Option<Box<str>>,
    /// Rewards since it was entered.
    rewards: u64,
}

/// The rule that put an agent into quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Rule {
    Drawdown,
    Sharpe,
    PnlDrawdown,
    /// Left only by an operator.
    Operator,
}

impl Rule {
    fn name(self) -> &'static str {
        match self {
            Rule::Drawdown => "drawdown",
            Rule::Sharpe => "sharpe",
            Rule::PnlDrawdown => "pnl_drawdown",
            Rule::Operator => "operator",
        }
    }
}

/// What the rules look at after a reward.
struct Look {
    count: usize,
    drawdown: f64,
    pnl_drawdown_bps: Option<f64>,
}

const QUARANTINED: usize = 0;

impl Consumer for Quarantine {
    const NAME: &'static str = "quarantine";
    const VERSION: u32 = 2;
    const FAMILIES: &'static [Family] =
        &[Family::new("quarantined", MetricType::Gauge, "Whether the agent is quarantined: 1 or 0.")];

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        if let Body::Command(command) = &event.body {
            return self.command(at, command, out);
        }
        let Some(subject) = event.agent.map(Subject::Agent) else { return };
        let Some(agent) = self.agents.entry(subject) else { return };
        match &event.body {
            Body::Run(run) => agent.reward(at, subject, run, out),
            Body::Pnl(pnl) => agent.pnl(at, event.run, pnl),
            _ => {}
        }
    }

    #[inline]
    fn fetch(&self, subject: Subject, event: &Event) {
        if let (Body::Run(_), Some(agent)) = (&event.body, self.agents.get(subject)) {
            agent.rewards.fetch();
        }
    }

    #[inline]
    fn fetch_behind(&self, subject: Subject, event: &Event) {
        if let (Body::Run(_), Some(agent)) = (&event.body, self.agents.get(subject)) {
            agent.rewards.fetch_behind();
        }
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        if matches!(subject, Subject::Agent(_)) {
            let held = self.agents.get(subject).is_some_and(|agent| agent.held.is_some());
            out.number(QUARANTINED, f64::from(u8::from(held)));
        }
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        if matches!(subject, Subject::Agent(_)) {
            let held = self.agents.get(subject).and_then(|agent| agent.held.as_ref());
            let row = json!({
                "active": held.is_some(),
                "reason": held.map(|held| held.rule.name()),
                "since_position": held.map(|held| held.since_position),
                "since": held.and_then(|held| held.since).map(time::unix_seconds),
                "actor": held.and_then(|held| held.actor.as_deref()),
            });
            out.insert("quarantine".to_owned(), row);
        }
    }
}

impl Quarantine {
    /// Obeys or refuses an order about a quarantine; others are somebody else's.
    fn command(&mut self, at: &At, command: &Command, out: &mut Decisions) {
        if !matches!(command.action, Action::Quarantine | Action::Clear) {
            return;
        }
        let agent = command.single().and_then(|subject| match subject {
            Subject::Agent(_) => self.agents.entry(subject).ok_or(Refusal::UNKNOWN),
            _ => Err(Refusal::AGENTS_ONLY),
        });
        match agent.and_then(|agent| agent.order(at, command)) {
            Ok(()) => out.obey(at, command, done(command.action), Vec::new()),
            Err(why) => out.refuse(at, command, why),
        }
    }
}

const ALREADY_HELD: Refusal =
    Refusal { rule: "already quarantined by an operator", way_out: "nothing is to be done; clear undoes it" };
const NOT_HELD: Refusal = Refusal { rule: "not quarantined", way_out: "nothing is to be done" };

impl Agent {
    fn order(&mut self, at: &At, command: &Command) -> Result<(), Refusal> {
        let by_operator = self.held.as_ref().is_some_and(|held| held.rule == Rule::Operator);
        match command.action {
            Action::Quarantine if by_operator => return Err(ALREADY_HELD),
            Action::Quarantine => {
                let actor = Some(at.text(command.actor).into());
                self.held = Some(Held {
                    since_position: at.position,
                    since: at.tape_time,
                    rule: Rule::Operator,
                    actor,
                    rewards: 0,
                });
            }
            _ if self.held.is_none() => return Err(NOT_HELD),
            _ => {
                // From here on the rules look at what comes after, and at nothing that was cleared.
                self.held = None;
                self.rewards.clear();
                self.pnl = KeyedWindow::default();
            }
        }
        Ok(())
    }

    fn reward(&mut self, at: &At, subject: Subject, run: &Run, out: &mut Decisions) {
        let policy = at.policy();
        let reward = match policy.rolling.reward_basis {
            RewardBasis::Plain => run.reward,
            RewardBasis::Capital => run.capital_reward,
        };
        let Some(reward) = reward else { return };
        self.rewards.set_capacity(policy.rolling.window);
        self.rewards.push(reward);
        let rules = &policy.quarantine;
        let numbers = self.numbers(rules);
        let broken = self.broken_rule(&numbers, rules);
        if let Some(held) = &mut self.held {
            held.rewards += 1;
            let may_leave = held.rewards > rules.min_dwell_runs && numbers.drawdown > rules.clear_drawdown;
            if held.rule != Rule::Operator && broken.is_none() && may_leave {
                let since = held.since_position;
                self.held = None;
                let mut list = numbers.list(self.rewards.sharpe(), rules);
                list.push(("since_position", since.into()));
                out.emit(subject, "cleared", "recovered", list);
            }
        } else if let Some(rule) = broken {
            self.held = Some(Held { since_position: at.position, since: at.tape_time, rule, actor: None, rewards: 0 });
            out.emit(subject, "quarantined", rule.name(), numbers.list(self.rewards.sharpe(), rules));
        }
    }

    fn pnl(&mut self, at: &At, run: Option<Key>, pnl: &Pnl) {
        let policy = at.policy();
        if policy.quarantine.pnl_drawdown_limit_bps.is_some() {
            self.pnl.set_capacity(policy.rolling.window);
            self.pnl.add(run, pnl.realized_pnl_bps);
        }
    }

    /// The first rule that holds, in the order of the policy. The Sharpe ratio costs the most, and is only asked for when
    /// it decides.
    fn broken_rule(&self, numbers: &Look, rules: &policy::Quarantine) -> Option<Rule> {
        if numbers.drawdown <= rules.drawdown_limit {
            return Some(Rule::Drawdown);
        }
        if numbers.count >= rules.sharpe_min_runs && self.rewards.sharpe_is_below(rules.sharpe_floor) {
            return Some(Rule::Sharpe);
        }
        let (drawdown, limit) = (numbers.pnl_drawdown_bps?, rules.pnl_drawdown_limit_bps?);
        (drawdown <= limit).then_some(Rule::PnlDrawdown)
    }

    fn numbers(&self, rules: &policy::Quarantine) -> Look {
        Look {
            count: self.rewards.len(),
            drawdown: self.rewards.drawdown(),
            pnl_drawdown_bps: rules.pnl_drawdown_limit_bps.map(|_| self.pnl.drawdown()),
        }
    }
}

impl Look {
    /// For the decision: each number beside the threshold it was held against.
    fn list(&self, sharpe: f64, rules: &policy::Quarantine) -> Numbers {
        let mut list: Numbers = vec![
            ("drawdown", self.drawdown.into()),
            ("drawdown_limit", rules.drawdown_limit.into()),
            ("sharpe", sharpe.into()),
            ("sharpe_floor", rules.sharpe_floor.into()),
            ("rewards", self.count.into()),
            ("sharpe_min_runs", rules.sharpe_min_runs.into()),
        ];
        if let (Some(drawdown), Some(limit)) = (self.pnl_drawdown_bps, rules.pnl_drawdown_limit_bps) {
            list.push(("pnl_drawdown_bps", drawdown.into()));
            list.push(("pnl_drawdown_limit_bps", Value::from(limit)));
        }
        list
    }
}
