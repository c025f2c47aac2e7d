//! What a UTC day costs, of the fleet and of agents with a budget of their own, and whether there is any left. Money is
//! nano-USD throughout.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    decision::Numbers,
    event::{Nanos, money, time},
    fold::{At, Body, Consumer, Decisions, Event},
    policy,
    subject::{PerSubject, Subject},
    view::{Family, MetricType, Row, Samples},
};

/// Days of spending kept per agent; the fleet's are kept for ever.
const AGENT_DAYS: usize = 35;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Budget {
    /// The day of the tape time, in days since 1970; none before any time is known.
    today: Option<i64>,
    fleet: Account,
    agents: PerSubject<Account>,
    /// Agents whose own budget is exhausted.
    exhausted: BTreeSet<u32>,
    /// Agents that spent before any time was known.
    undated: BTreeSet<u32>,
}

/// One subject's spending.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Account {
    by_day: BTreeMap<i64, i128>,
    /// Spent before any time was known: of the first day that is.
    undated: i128,
    exhausted: bool,
    /// The limit it was last held against; none for an agent without a budget of its own.
    limit: Option<Limit>,
}

/// A day's budget and what is kept back of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Limit {
    daily: i128,
    buffer: i128,
}

const REMAINING: usize = 0;

impl Consumer for Budget {
    const NAME: &'static str = "budget";
    const VERSION: u32 = 1;
    const FAMILIES: &'static [Family] = &[Family::new(
        "budget_remaining_usd",
        MetricType::Gauge,
        "What is left of today's budget in US dollars: of an agent with one of its own, without label of the fleet.",
    )];

    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        let rules = &at.policy().budget;
        let turned = self.turn(at.tape_time);
        if let (Some(agent), Body::Run(run)) = (event.agent, &event.body) {
            self.spend(agent, event.time, run.cost);
            self.judge_agent(agent, at, rules, out);
        }
        if turned {
            for agent in self.exhausted.clone() {
                self.judge_agent(agent, at, rules, out);
            }
        }
        self.fleet.limit = Some(Limit::of(rules.daily_usd, rules));
        if let Some(verdict) = self.fleet.judge(self.today) {
            out.emit(Subject::Fleet, verdict, "daily budget", self.fleet.numbers(self.today));
        }
        out.touch(Subject::Fleet);
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        out.maybe(
            REMAINING,
            self.account(subject).and_then(|account| account.remaining(self.today)).map(money::to_usd),
        );
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        let Some(account) = self.account(subject).filter(|account| account.limit.is_some()) else { return };
        if subject != Subject::Fleet {
            out.insert("budget".to_owned(), account.row(self.today));
        }
    }

    fn summary(&self, tape_time: Option<Nanos>) -> Option<(&'static str, Value)> {
        let today = tape_time.map(day).or(self.today);
        let defaults = policy::Budget::default();
        let fallback = Account { limit: Some(Limit::of(defaults.daily_usd, &defaults)), ..Account::default() };
        let account = if self.fleet.limit.is_some() { &self.fleet } else { &fallback };
        Some(("budget", account.row(today)))
    }
}

impl Budget {
    /// Goes on to the day of the tape time; true when it is another one.
    fn turn(&mut self, tape_time: Option<Nanos>) -> bool {
        let Some(now) = tape_time.map(day).filter(|now| Some(*now) != self.today) else { return false };
        if self.today.is_none() {
            self.fleet.date(now);
            for agent in std::mem::take(&mut self.undated) {
                if let Some(account) = self.agents.entry(Subject::Agent(agent)) {
                    account.date(now);
                }
            }
        }
        self.today = Some(now);
        true
    }

    fn spend(&mut self, agent: u32, time: Option<Nanos>, cost: i128) {
        let day = time.map(day);
        self.fleet.spend(day, cost);
        if let Some(account) = self.agents.entry(Subject::Agent(agent)) {
            account.spend(day, cost);
            while account.by_day.len() > AGENT_DAYS {
                account.by_day.pop_first();
            }
        }
        if day.is_none() {
            self.undated.insert(agent);
        }
    }

    fn judge_agent(&mut self, agent: u32, at: &At, rules: &policy::Budget, out: &mut Decisions) {
        let subject = Subject::Agent(agent);
        let limit = rules.agents.get(at.name(subject)).map(|daily| Limit::of(*daily, rules));
        let Some(account) = self.agents.entry(subject) else { return };
        account.limit = limit;
        let Some(verdict) = account.judge(self.today) else { return };
        if account.exhausted {
            self.exhausted.insert(agent);
        } else {
            self.exhausted.remove(&agent);
        }
        out.emit(subject, verdict, "daily budget", account.numbers(self.today));
    }

    fn account(&self, subject: Subject) -> Option<&Account> {
        if subject == Subject::Fleet { Some(&self.fleet) } else { self.agents.get(subject) }
    }
}

impl Account {
    fn spend(&mut self, day: Option<i64>, cost: i128) {
        match day {
            Some(day) => *self.by_day.entry(day).or_default() += cost,
            None => self.undated += cost,
        }
    }

    fn date(&mut self, day: i64) {
        let undated = std::mem::take(&mut self.undated);
        self.spend(Some(day), undated);
    }

    fn spent(&self, today: Option<i64>) -> i128 {
        today.map_or(self.undated, |today| self.by_day.get(&today).copied().unwrap_or(0))
    }

    fn remaining(&self, today: Option<i64>) -> Option<i128> {
        Some(self.limit?.daily - self.spent(today))
    }

    fn allowed(&self, today: Option<i64>) -> bool {
        self.limit.is_none_or(|limit| limit.daily - self.spent(today) >= limit.buffer)
    }

    /// What changed, if anything did.
    fn judge(&mut self, today: Option<i64>) -> Option<&'static str> {
        let exhausted = !self.allowed(today);
        if exhausted == self.exhausted {
            return None;
        }
        self.exhausted = exhausted;
        Some(if exhausted { "exhausted" } else { "restored" })
    }

    fn numbers(&self, today: Option<i64>) -> Numbers {
        let usd = |nano: Option<i128>| Value::from(nano.map(money::to_usd));
        vec![
            ("day", day_text(today)),
            ("spent_usd", usd(Some(self.spent(today)))),
            ("remaining_usd", usd(self.remaining(today))),
            ("buffer_usd", usd(self.limit.map(|limit| limit.buffer))),
        ]
    }

    fn row(&self, today: Option<i64>) -> Value {
        json!({
            "day": day_text(today),
            "spent_usd": money::to_usd(self.spent(today)),
            "remaining_usd": self.remaining(today).map(money::to_usd),
            "allowed": self.allowed(today),
        })
    }
}

impl Limit {
    fn of(daily_usd: f64, rules: &policy::Budget) -> Limit {
        Limit { daily: money::nano_usd(daily_usd), buffer: money::nano_usd(rules.buffer_usd) }
    }
}

/// The UTC day of a time, in days since 1970.
fn day(nanos: Nanos) -> i64 {
    nanos.div_euclid(time::DAY)
}

fn day_text(day: Option<i64>) -> Value {
    day.map(|day| time::day_text(day * time::DAY)).into()
}
