//! Who is promoted and who is killed, and by which numbers: per agent and per strategy, at each run, then at each PnL.
//! Kill is judged before promotion, and is final until revived.

/// What runs prove, whenever one looks.
mod evidence;
/// What runs prove of the best of many.
mod fleet;
/// What operators do to a gate.
mod orders;
/// What a gate's rules look at.
mod window;

use serde::{Deserialize, Serialize};
use serde_json::json;

use self::{
    evidence::Evidence,
    window::{GateWindow, Measured},
};
use crate::{
    decision::Numbers,
    fold::{At, Body, Consumer, Decisions, Event, Followed},
    policy::{self, GateMode},
    stats::near,
    subject::{PerSubject, Subject, Subjects},
    view::{Family, MetricType, Row, Samples},
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Gates {
    subjects: PerSubject<Gate>,
    /// The rules in force at the last event: what is shown is held against them.
    rules: Option<policy::Gates>,
    #[serde(skip)]
    followed: Followed,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Gate {
    window: GateWindow,
    evidence: Evidence,
    state: State,
    since_position: Option<u64>,
    /// The policy it came into its state under.
    since_policy: Option<Box<str>>,
    /// Demoted by an operator: only an operator promotes it again.
    demoted: bool,
    evaluations: Evaluations,
}

/// Where a subject stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    #[default]
    Candidate,
    Promoted,
    Killed,
}

impl State {
    const ALL: [State; 3] = [State::Candidate, State::Promoted, State::Killed];

    fn name(self) -> &'static str {
        match self {
            State::Candidate => "candidate",
            State::Promoted => "promoted",
            State::Killed => "killed",
        }
    }
}

/// Evaluations by gate and result: pass, fail, inconclusive.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Evaluations {
    promote: [u64; 3],
    kill: [u64; 3],
}

/// The result of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Fail,
    /// Too little data for any of the gate's rules.
    Inconclusive,
}

const RESULTS: [&str; 3] = ["pass", "fail", "inconclusive"];

const STATE: usize = 0;
const EVALUATIONS: usize = 1;

impl Consumer for Gates {
    const NAME: &'static str = "gates";
    const VERSION: u32 = 3;
    const FAMILIES: &'static [Family] = &[
        Family::new("gate_state", MetricType::Gauge, "Where a subject stands: 1 for its state, 0 for the others.")
            .with_labels(&["state"]),
        Family::new("gate_evaluations_total", MetricType::Counter, "Evaluations by gate and result.")
            .with_labels(&["gate_type", "result"]),
    ];

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        let policy = at.policy();
        if let Body::Command(command) = &event.body {
            return orders::command(&mut self.subjects, at, command, out);
        }
        if self.followed.is_another(at) && self.rules.as_ref() != Some(&policy.gates) {
            self.rules = Some(policy.gates.clone());
        }
        event.each_subject(|subject| {
            let Some(gate) = self.subjects.entry(subject) else { return };
            match &event.body {
                Body::Run(run) => {
                    gate.window.run(run, policy);
                    gate.evidence.run(run, &policy.gates);
                }
                Body::Pnl(pnl) => {
                    gate.window.pnl(event.run, pnl, policy);
                    gate.evidence.pnl(pnl, &policy.gates);
                }
                _ => return,
            }
            gate.judge(at, subject, out);
        });
    }

    #[inline]
    fn fetch(&self, subject: Subject, event: &Event) {
        let Some(gate) = self.subjects.get(subject) else { return };
        match event.body {
            Body::Run(_) => gate.window.fetch_for_run(),
            Body::Pnl(_) => gate.window.fetch_for_pnl(),
            _ => return,
        }
        near::fetch(&gate.evidence);
        near::fetch(&gate.evaluations);
    }

    #[inline]
    fn fetch_behind(&self, subject: Subject, event: &Event) {
        let Some(gate) = self.subjects.get(subject) else { return };
        match event.body {
            Body::Run(_) => gate.window.fetch_behind_for_run(),
            Body::Pnl(_) => gate.window.fetch_behind_for_pnl(event.run),
            _ => {}
        }
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        let none = Gate::default();
        let gate = self.subjects.get(subject).unwrap_or(&none);
        for state in State::ALL {
            out.labelled(STATE, &[state.name()], f64::from(u8::from(state == gate.state)), None);
        }
        for (gate_type, counts) in [("promote", gate.evaluations.promote), ("kill", gate.evaluations.kill)] {
            for (result, count) in RESULTS.iter().zip(counts) {
                out.labelled(EVALUATIONS, &[gate_type, result], count as f64, None);
            }
        }
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        if subject == Subject::Fleet {
            return;
        }
        let none = Gate::default();
        let gate = self.subjects.get(subject).unwrap_or(&none);
        out.insert("error_rate".to_owned(), gate.window.error_rate().into());
        let rules = self.rules.clone().unwrap_or_default();
        let evidence = gate.evidence.row(&rules, &gate.window);
        let row = json!({
            "state": gate.state.name(),
            "since_position": gate.since_position,
            "policy": gate.since_policy,
            "demoted": gate.demoted,
            "evidence": evidence,
        });
        out.insert("gate".to_owned(), row);
    }

    fn fleet(&self, subjects: &Subjects, out: &mut Row) {
        let rules = self.rules.clone().unwrap_or_default();
        out.insert("evidence".to_owned(), fleet::evidence(&self.subjects, &rules, subjects));
    }
}

impl Gate {
    /// One look at both gates. Nobody is judged after death.
    fn judge(&mut self, at: &At, subject: Subject, out: &mut Decisions) {
        if self.state == State::Killed {
            return;
        }
        let rules = &at.policy().gates;
        let measured = self.window.measure();
        let (verdict, rule) = self.kill_verdict(&measured, rules);
        self.evaluations.kill[verdict as usize] += 1;
        if verdict == Verdict::Fail {
            let mut numbers = measured.kill_numbers(rules);
            numbers.extend(self.evidence.judge(rules).kill_numbers(rules));
            return self.enter(State::Killed, at, subject, rule, numbers, out);
        }
        if self.state != State::Candidate || self.demoted {
            return;
        }
        let (verdict, rule) = self.promote_verdict(&measured, rules);
        self.evaluations.promote[verdict as usize] += 1;
        if verdict == Verdict::Pass {
            let mut numbers = measured.promote_numbers(self.window.median_latency_ms(), rules);
            let needed = self.evidence.runs_needed(rules);
            numbers.extend(self.evidence.judge(rules).promote_numbers(rules, needed));
            self.enter(State::Promoted, at, subject, rule, numbers, out);
        }
    }

    /// Whether a subject survives, by rule, by evidence, or killed only by both.
    fn kill_verdict(&self, measured: &Measured, rules: &policy::Gates) -> (Verdict, &'static str) {
        let (by_rule, rule) = match rules.kill.mode {
            GateMode::Evidence => (Verdict::Inconclusive, "evidence"),
            GateMode::Rule | GateMode::Both => kill_rule(measured, rules),
        };
        match rules.kill.mode {
            GateMode::Rule => (by_rule, rule),
            GateMode::Both if by_rule != Verdict::Fail => (by_rule, rule),
            GateMode::Both if self.evidence.judge(rules).kills(rules) => (Verdict::Fail, rule),
            GateMode::Evidence if self.evidence.judge(rules).kills(rules) => (Verdict::Fail, rule),
            GateMode::Both | GateMode::Evidence => (Verdict::Inconclusive, rule),
        }
    }

    /// Whether a candidate is promoted, by rule, by evidence, or only by both.
    fn promote_verdict(&self, measured: &Measured, rules: &policy::Gates) -> (Verdict, &'static str) {
        let rule = match rules.promote.mode {
            GateMode::Evidence => "evidence",
            GateMode::Rule | GateMode::Both => "pnl, errors and latency",
        };
        let by_rule = match rules.promote.mode {
            GateMode::Evidence => Verdict::Pass,
            GateMode::Rule | GateMode::Both => promote_rule(measured, &self.window, rules),
        };
        if rules.promote.mode == GateMode::Rule || by_rule != Verdict::Pass {
            return (by_rule, rule);
        }
        let proved = self.evidence.judge(rules).promotes(rules, measured.error_rate > 0.0);
        (if proved { Verdict::Pass } else { Verdict::Inconclusive }, rule)
    }

    fn stand(&mut self, state: State, at: &At) {
        self.state = state;
        self.since_position = Some(at.position);
        self.since_policy = Some(at.policy_hash().into());
    }

    fn enter(
        &mut self,
        state: State,
        at: &At,
        subject: Subject,
        rule: &'static str,
        numbers: Numbers,
        out: &mut Decisions,
    ) {
        self.stand(state, at);
        out.emit(subject, state.name(), rule, numbers);
    }
}

/// Whether a subject survives the rules: fail names the one that kills it.
fn kill_rule(measured: &Measured, rules: &policy::Gates) -> (Verdict, &'static str) {
    if measured.last_5_pnl_bps.is_some_and(|sum| sum < rules.kill.last_5_pnl_bps) {
        return (Verdict::Fail, "last 5 pnl");
    }
    let enough_runs = measured.runs >= rules.min_runs;
    if enough_runs && measured.error_rate > rules.kill.max_error_rate {
        return (Verdict::Fail, "error rate");
    }
    let judged = enough_runs || measured.last_5_pnl_bps.is_some();
    (if judged { Verdict::Pass } else { Verdict::Inconclusive }, "rules")
}

/// Whether a candidate passes the rules. The median latency costs the most, and is only asked for when all else holds.
fn promote_rule(measured: &Measured, window: &GateWindow, rules: &policy::Gates) -> Verdict {
    if measured.runs < rules.min_runs || measured.with_latency == 0 {
        return Verdict::Inconclusive;
    }
    let earns = measured.pnl_bps > rules.promote.min_pnl_bps;
    if !earns || measured.error_rate > rules.promote.max_error_rate {
        return Verdict::Fail;
    }
    let limit = rules.promote.max_median_latency_ms;
    let fast = window.median_latency_ms().is_some_and(|median| median < limit);
    if fast { Verdict::Pass } else { Verdict::Fail }
}
