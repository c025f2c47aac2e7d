//! Who may trade now, at what size, and why: hears what the others concluded, obeys operators, and answers checks.

/// Answers to requests, with every reason that applies.
mod check;
/// What was lost today.
mod losses;
/// What holds somebody back.
mod standing;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::{losses::Losses, standing::Standing};
use crate::{
    decision::Decision,
    event::{Action, money},
    fold::{
        At, Body, Consumer, Decisions, Event, Followed,
        batch::{Command, Named},
        orders::{Refusal, done},
    },
    policy::{self, DeskMode},
    subject::{PerSubject, Subject},
    view::{Family, MetricType, Row, Samples},
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Desk {
    standings: PerSubject<Standing>,
    fleet: Standing,
    losses: Losses,
    /// Checks of agents that nobody knows, by result and first reason.
    strangers: Checks,
    /// The rules in force at the last event: what is shown is held against them.
    rules: Option<Rules>,
    #[serde(skip)]
    followed: Followed,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Rules {
    desk: policy::Desk,
    /// Nobody trades at a larger share of its size.
    confidence_cap: f64,
}

/// Checks by result and first reason.
type Checks = BTreeMap<(bool, String), u64>;

/// What the desk says of an agent.
struct Verdict {
    reasons: Vec<&'static str>,
    /// Why it may not trade live, beside the reasons.
    paper: Option<&'static str>,
    size_multiplier: f64,
    since_position: Option<u64>,
}

const VERDICT: usize = 0;
const SIZE: usize = 1;
const CHECKS: usize = 2;

const ALREADY_PAUSED: Refusal = Refusal { rule: "already paused", way_out: "nothing is to be done; resume undoes it" };
const ALREADY_RETIRED: Refusal =
    Refusal { rule: "already retired", way_out: "nothing is to be done; resume undoes it" };
const NOT_PAUSED: Refusal = Refusal {
    rule: "neither paused nor retired",
    way_out: "what holds it back, if anything does, is another reason of its verdict",
};

impl Consumer for Desk {
    const NAME: &'static str = "desk";
    const VERSION: u32 = 1;
    const HEARS: &'static [&'static str] = &["quarantine", "confidence", "gates", "budget"];
    const FAMILIES: &'static [Family] = &[
        Family::new("verdict", MetricType::Gauge, "Whether the agent may trade: 1 for its verdict, 0 for the others.")
            .with_labels(&["verdict"]),
        Family::new("size_multiplier", MetricType::Gauge, "Share of its full size the agent may trade."),
        Family::new("checks_total", MetricType::Counter, "Checks by result and first reason.")
            .with_labels(&["result", "reason"]),
    ];
    const HIDES: bool = true;

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        self.come_under(at, out);
        if let Some(agent) = event.agent.map(Subject::Agent)
            && let Some(standing) = self.standings.entry(agent)
        {
            // A profit that comes late says nothing of where the agent belongs now.
            let belongs = matches!(event.body, Body::Run(_) | Body::Alpha(_));
            standing.meet(at, event.strategy.filter(|_| belongs));
        }
        match &event.body {
            Body::Alpha(alpha) => {
                self.losses.signal(event.run, alpha.notional_usd, at.policy().limits.join_runs);
            }
            Body::Pnl(pnl) => {
                let fallback = at.policy().desk.max_notional_usd;
                if let Some(agent) = event.agent {
                    self.losses.realize(agent, event, pnl, fallback);
                }
            }
            Body::Command(command) => self.command(at, command, out),
            Body::Check(check) => self.check(at, check, out),
            _ => {}
        }
    }

    fn hear(&mut self, _at: &At, decision: &Decision, out: &mut Decisions) {
        let standing = match decision.subject {
            Subject::Fleet => Some(&mut self.fleet),
            subject => self.standings.entry(subject),
        };
        let changed = standing.is_some_and(|standing| standing.hear(decision));
        if changed {
            self.touch(decision.subject, out);
        }
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        out.hidden = self.standings.get(subject).is_some_and(|standing| standing.retired.is_some());
        match subject {
            Subject::Agent(_) => {
                let verdict = self.verdict(subject);
                let word = self.word(&verdict);
                for state in ["allow", "deny", "hold"] {
                    out.labelled(VERDICT, &[state], f64::from(u8::from(state == word)), None);
                }
                out.number(SIZE, verdict.size_multiplier);
                let checks = self.standings.get(subject).map(|standing| &standing.checks);
                checks.into_iter().for_each(|checks| checks_samples(checks, out));
            }
            Subject::Fleet => checks_samples(&self.strangers, out),
            _ => {}
        }
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        match subject {
            Subject::Agent(_) => {
                let verdict = self.verdict(subject);
                let strategy = self.standings.get(subject).and_then(|standing| standing.strategy_name.as_deref());
                out.insert("strategy".to_owned(), strategy.into());
                out.insert("verdict".to_owned(), self.verdict_row(&verdict));
                out.insert("pnl_today_usd".to_owned(), money::to_usd(self.losses.today(subject)).into());
            }
            Subject::Fleet => {
                let row = json!({
                    "mode": self.mode(),
                    "paused": self.fleet.paused.is_some(),
                    "since_position": self.fleet.since(),
                    "budget_exhausted": self.fleet.exhausted.is_some(),
                });
                out.insert("desk".to_owned(), row);
            }
            _ => {
                let standing = self.standings.get(subject);
                let paused = standing.is_some_and(|standing| standing.paused.is_some());
                let retired = standing.is_some_and(|standing| standing.retired.is_some());
                out.insert("desk".to_owned(), json!({ "paused": paused, "retired": retired }));
            }
        }
    }
}

impl Desk {
    /// Follows the policy; another one changes what everybody is shown as.
    fn come_under(&mut self, at: &At, out: &mut Decisions) {
        self.losses.turn(at.now);
        if !self.followed.is_another(at) {
            return;
        }
        let policy = at.policy();
        let rules = Some(Rules { desk: policy.desk.clone(), confidence_cap: policy.confidence.cap });
        if self.rules != rules {
            self.rules = rules;
            self.touch(Subject::Fleet, out);
        }
    }

    /// Marks everybody whose verdict a change of this subject may change.
    fn touch(&self, subject: Subject, out: &mut Decisions) {
        out.touch(subject);
        for (agent, standing) in self.standings.agents() {
            let concerned = match subject {
                Subject::Fleet => true,
                Subject::Strategy(id) => standing.strategy == Some(id),
                _ => return,
            };
            if concerned {
                out.touch(agent);
            }
        }
    }

    fn mode(&self) -> DeskMode {
        self.rules.as_ref().map_or(DeskMode::Enforce, |rules| rules.desk.mode)
    }

    /// Obeys or refuses an order about trading; others are somebody else's.
    fn command(&mut self, at: &At, command: &Command, out: &mut Decisions) {
        if !matches!(command.action, Action::Pause | Action::Resume | Action::Retire) {
            return;
        }
        let standing = match command.subject {
            Named::Known(Subject::Fleet) if command.action == Action::Retire => Err(Refusal::NO_FLEET),
            Named::Known(Subject::Fleet) => Ok(&mut self.fleet),
            Named::Known(subject) => self.standings.entry(subject).ok_or(Refusal::UNKNOWN),
            Named::Stranger(..) => Err(Refusal::UNKNOWN),
        };
        match standing.and_then(|standing| standing.order(command.action, at.position)) {
            Ok(()) => {
                out.obey(at, command, done(command.action), Vec::new());
                self.touch(command.subject.subject(), out);
            }
            Err(why) => out.refuse(at, command, why),
        }
    }

    /// What holds for an agent, by what was heard up to now. Whoever is not known is denied.
    fn verdict(&self, subject: Subject) -> Verdict {
        let Some(own) = self.standings.get(subject).filter(|standing| standing.known()) else {
            let reasons = vec!["unknown_agent"];
            return Verdict { reasons, paper: None, size_multiplier: 0.0, since_position: None };
        };
        let strategy = own.strategy.and_then(|id| self.standings.get(Subject::Strategy(id)));
        let reasons = standing::reasons(own, strategy, &self.fleet);
        let paper = match &self.rules {
            Some(rules) if rules.desk.paper_only => Some("paper_only"),
            Some(rules) if rules.desk.live_requires_promotion && !own.promoted => Some("not_promoted"),
            Some(_) => None,
            None => Some("paper_only"),
        };
        let since_position = match reasons.iter().filter_map(|(_, since)| *since).min() {
            Some(since) => Some(since),
            None => [Some(own), strategy, Some(&self.fleet)].into_iter().flatten().map(|s| s.free_since).max(),
        };
        let reasons: Vec<&'static str> = reasons.into_iter().map(|(reason, _)| reason).collect();
        let free = reasons.is_empty() || self.mode() == DeskMode::Observe;
        let size_multiplier = if free { self.confidence(own) } else { 0.0 };
        Verdict { reasons, paper, size_multiplier, since_position }
    }

    fn confidence(&self, standing: &Standing) -> f64 {
        let cap = self.rules.as_ref().map_or(1.0, |rules| rules.confidence_cap);
        standing.confidence.unwrap_or(1.0).min(cap)
    }

    fn word(&self, verdict: &Verdict) -> &'static str {
        if verdict.reasons.is_empty() || self.mode() == DeskMode::Observe { "allow" } else { "deny" }
    }

    fn verdict_row(&self, verdict: &Verdict) -> Value {
        let mut row = json!({
            "verdict": self.word(verdict),
            "live": verdict.reasons.is_empty() && verdict.paper.is_none(),
            "size_multiplier": verdict.size_multiplier,
            "reasons": verdict.reasons,
            "since_position": verdict.since_position,
        });
        if self.mode() == DeskMode::Observe {
            row["would"] = if verdict.reasons.is_empty() { "allow" } else { "deny" }.into();
        }
        row
    }
}

fn checks_samples(checks: &Checks, out: &mut Samples) {
    for ((allowed, reason), count) in checks {
        let result = if *allowed { "allow" } else { "deny" };
        out.labelled(CHECKS, &[result, reason], *count as f64, None);
    }
}
