//! What a UTC day costs, of the fleet and of agents with a budget of their own, whether there is any left, and what of it
//! is reserved. Money is nano-USD throughout.

/// One subject's spending and what it is held against.
mod account;
/// Spending by day.
mod days;
/// Open reservations.
mod ledger;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::{
    account::{Account, Limit, day},
    ledger::{Ledger, Reservation},
};
use crate::{
    decision::Numbers,
    event::{Key, Nanos, money},
    fold::{
        At, Body, Consumer, Decisions, Event, Followed,
        batch::{Named, Release, Reserve},
        orders::REFUSED,
    },
    policy,
    subject::{PerSubject, Subject},
    view::{Family, Load, MetricType, Row, Samples},
};

/// Days of spending kept per agent; the fleet's are kept for ever.
const AGENT_DAYS: usize = 35;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Budget {
    /// The day of the tape time, in days since 1970; none before any time is known.
    today: Option<i64>,
    fleet: Account,
    agents: PerSubject<Account>,
    ledger: Ledger,
    /// Agents whose own budget is exhausted.
    exhausted: BTreeSet<u32>,
    /// Agents that spent before any time was known.
    undated: BTreeSet<u32>,
    #[serde(skip)]
    followed: Followed,
    /// Reservations denied because too many were open, since the program began: for a look, not for the fold.
    #[serde(skip)]
    crowded: u64,
}

const REMAINING: usize = 0;
const RESERVED: usize = 1;
const DAILY: usize = 2;

const UNSETTLED: &str = "settled, released, expired or never granted: nothing is to be done";

impl Consumer for Budget {
    const NAME: &'static str = "budget";
    const VERSION: u32 = 3;
    const FAMILIES: &'static [Family] = &[
        Family::new(
            "budget_remaining_usd",
            MetricType::Gauge,
            "What is left of today's budget in US dollars: of an agent with one of its own, without label of the fleet.",
        ),
        Family::new(
            "budget_reserved_usd",
            MetricType::Gauge,
            "What is reserved and not yet settled in US dollars: of an agent with a budget of its own, without label of the fleet.",
        ),
        Family::new(
            "budget_daily_usd",
            MetricType::Gauge,
            "The budget of a day in US dollars: of an agent with one of its own, without label of the fleet.",
        ),
    ];

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        let another = self.followed.is_another(at);
        if another {
            let rules = &at.policy().budget;
            self.fleet.limit = Some(Limit::of(rules.daily_usd, rules));
        }
        let turned = self.turn(at.now);
        // Nothing else is money.
        let moved = !matches!(event.body, Body::Alpha(_) | Body::Pnl(_) | Body::Price(_) | Body::Command(_));
        match &event.body {
            Body::Run(run) => {
                if let Some(agent) = event.agent {
                    self.settle(at, event.run, agent, run.cost, out);
                    self.spend(agent, event.time, run.cost);
                    self.judge_agent(agent, at, out);
                }
            }
            Body::Check(_) => self.expire(at, event, out),
            Body::Reserve(reserve) => {
                self.expire(at, event, out);
                self.reserve(at, event, reserve, out);
            }
            Body::Release(release) => {
                self.expire(at, event, out);
                self.release(at, event, release, out);
            }
            Body::Policy => {
                let agents: Vec<u32> = self.agents.agents().filter_map(|(subject, _)| id(subject)).collect();
                agents.into_iter().for_each(|agent| self.judge_agent(agent, at, out));
            }
            _ => {}
        }
        if turned {
            for agent in self.exhausted.clone() {
                self.judge_agent(agent, at, out);
            }
        }
        if moved || turned || another {
            self.fleet.reserved = self.ledger.total();
            if let Some(verdict) = self.fleet.judge(self.today) {
                out.emit(Subject::Fleet, verdict, "daily budget", self.fleet.numbers(self.today));
            }
        }
        out.touch(Subject::Fleet);
    }

    #[inline]
    fn fetch(&self, subject: Subject, event: &Event) {
        if let (Body::Run(_), Some(account)) = (&event.body, self.agents.get(subject)) {
            account.fetch();
        }
    }

    #[inline]
    fn fetch_behind(&self, subject: Subject, event: &Event) {
        if let (Body::Run(_), Some(account)) = (&event.body, self.agents.get(subject)) {
            account.fetch_behind();
        }
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        let account = self.account(subject).filter(|account| account.limit.is_some());
        out.maybe(REMAINING, account.and_then(|account| account.remaining(self.today)).map(money::to_usd));
        out.maybe(RESERVED, account.map(|account| money::to_usd(account.reserved)));
        out.maybe(DAILY, account.and_then(|account| account.limit.as_ref()).map(|limit| money::to_usd(limit.daily)));
    }

    fn loads(&self, limits: &policy::Limits) -> Vec<Load> {
        vec![Load::new("reservations", limits.reservations, self.ledger.len(), self.crowded)]
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        let Some(account) = self.account(subject) else { return };
        if subject == Subject::Fleet {
            out.insert("spent_by_day".to_owned(), account.days());
        } else if account.limit.is_some() {
            out.insert("budget".to_owned(), account.row(self.today));
        }
    }

    fn summary(&self, now: Option<Nanos>) -> Option<(&'static str, Value)> {
        let today = now.map(day).or(self.today);
        let defaults = policy::Budget::default();
        let fallback = Account::under(Limit::of(defaults.daily_usd, &defaults));
        let account = if self.fleet.limit.is_some() { &self.fleet } else { &fallback };
        Some(("budget", account.row(today)))
    }
}

impl Budget {
    /// Goes on to the day of a time; true when it is another one.
    fn turn(&mut self, now: Option<Nanos>) -> bool {
        let Some(now) = now.map(day).filter(|now| Some(*now) != self.today) else { return false };
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
            account.by_day.keep(AGENT_DAYS);
        }
        if day.is_none() {
            self.undated.insert(agent);
        }
    }

    fn judge_agent(&mut self, agent: u32, at: &At, out: &mut Decisions) {
        let (subject, rules) = (Subject::Agent(agent), &at.policy().budget);
        let name = at.name(subject);
        let Some(account) = self.agents.entry(subject) else { return };
        account.limit = rules.agents.get(name).map(|daily| Limit::of(*daily, rules));
        account.reserved = self.ledger.of(name);
        let Some(verdict) = account.judge(self.today) else { return };
        if account.exhausted {
            self.exhausted.insert(agent);
        } else {
            self.exhausted.remove(&agent);
        }
        out.emit(subject, verdict, "daily budget", account.numbers(self.today));
    }

    /// The first run line of a run ends what its agent reserved for it; what the run cost is spent instead.
    fn settle(&mut self, at: &At, run: Option<Key>, agent: u32, cost: i128, out: &mut Decisions) {
        let subject = Subject::Agent(agent);
        let Some(reservation) = run.and_then(|run| self.ledger.close(run, at.name(subject))) else { return };
        let mut numbers = reservation.numbers();
        numbers.push(("cost_usd", money::to_usd(cost).into()));
        numbers.push(("above_reservation", (cost > reservation.amount).into()));
        out.emit(subject, "settled", "run", numbers);
    }

    fn expire(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        for reservation in self.ledger.advance(event.time) {
            out.emit_named(reservation.subject, &reservation.agent, "expired", "ttl", reservation.numbers());
            if let Some(agent) = id(reservation.subject) {
                self.judge_agent(agent, at, out);
            }
        }
    }

    fn reserve(&mut self, at: &At, event: &Event, reserve: &Reserve, out: &mut Decisions) {
        let Some((run, run_id)) = event.run.zip(event.run_id) else { return };
        let (name, run_id, policy) = (at.text(reserve.name), at.text(run_id), at.policy());
        self.fleet.reserved = self.ledger.total();
        let mut own = Account::default();
        let account = match reserve.agent {
            Named::Known(subject) => self.agents.entry(subject),
            Named::Stranger(..) => Some(&mut own),
        };
        let Some(account) = account else { return };
        account.limit = policy.budget.agents.get(name).map(|daily| Limit::of(*daily, &policy.budget));
        account.reserved = self.ledger.of(name);
        let (fleet, own) = (self.fleet.available(self.today), account.available(self.today));
        let exceeds = |available: Option<i128>| available.is_some_and(|available| reserve.amount > available);
        let (verdict, rule, way_out) = if self.ledger.is_open(run, name) {
            (REFUSED, "already reserved", "release it first, or use another run_id")
        } else if self.ledger.len() >= policy.limits.reservations {
            self.crowded += 1;
            ("denied", "too many reservations", "settle or release some, or raise limits.reservations")
        } else if exceeds(fleet) {
            ("denied", "fleet budget", "ask for less, or wait for the next UTC day")
        } else if exceeds(own) {
            ("denied", "agent budget", "ask for less, or wait for the next UTC day")
        } else {
            ("granted", "budget", "")
        };
        let usd = |nano: Option<i128>| Value::from(nano.map(money::to_usd));
        let mut numbers: Numbers = vec![
            ("run_id", run_id.into()),
            ("amount_usd", usd(Some(reserve.amount))),
            ("available_usd", usd(fleet)),
            ("agent_available_usd", usd(own)),
        ];
        if verdict == "granted" {
            let ttl_sec = policy.budget.reservation_ttl_sec;
            numbers.push(("ttl_sec", ttl_sec.into()));
            self.ledger.open(run, run_id, name, reserve.agent.subject(), reserve.amount, ttl_sec);
        } else {
            numbers.push(("way_out", way_out.into()));
        }
        out.answer(at, reserve.agent, verdict, rule, numbers);
        if let Some(agent) = id(reserve.agent.subject()) {
            self.judge_agent(agent, at, out);
        }
    }

    fn release(&mut self, at: &At, event: &Event, release: &Release, out: &mut Decisions) {
        let Some((run, run_id)) = event.run.zip(event.run_id) else { return };
        let of_run: Vec<Box<str>> = self.ledger.agents_of(run).map(Box::from).take(2).collect();
        let agent: Option<Box<str>> = match (release.agent, &of_run[..]) {
            (Some((_, name)), _) => Some(at.text(name).into()),
            (None, [only]) => Some(only.clone()),
            _ => None,
        };
        let (rule, way_out) = match (of_run.first(), &agent) {
            (Some(_), Some(_)) => ("reserved by another agent", "name the agent that reserved it"),
            (Some(_), None) => ("reserved by several agents", "name the agent whose reservation it is"),
            (None, _) => ("not open", UNSETTLED),
        };
        let Some(reservation) = agent.and_then(|agent| self.ledger.close(run, &agent)) else {
            let named = release.agent.map_or(Named::Known(Subject::Fleet), |(named, _)| named);
            let numbers = vec![("run_id", at.text(run_id).into()), ("way_out", way_out.into())];
            return out.answer(at, named, REFUSED, rule, numbers);
        };
        out.emit_named(reservation.subject, &reservation.agent, "released", "request", reservation.numbers());
        if let Some(agent) = id(reservation.subject) {
            self.judge_agent(agent, at, out);
        }
    }

    fn account(&self, subject: Subject) -> Option<&Account> {
        if subject == Subject::Fleet { Some(&self.fleet) } else { self.agents.get(subject) }
    }
}

impl Reservation {
    fn numbers(&self) -> Numbers {
        vec![("run_id", (*self.run_id).into()), ("amount_usd", money::to_usd(self.amount).into())]
    }
}

fn id(subject: Subject) -> Option<u32> {
    match subject {
        Subject::Agent(id) => Some(id),
        _ => None,
    }
}
