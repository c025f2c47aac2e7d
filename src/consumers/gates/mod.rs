//! Who is promoted and who is killed, and by which numbers: per agent and per strategy, at each run, then at each PnL.
//! Kill is judged before promotion, and is final until revived.

/// What a gate looks at.
mod window;

use serde::{Deserialize, Serialize};
use serde_json::json;

use self::window::{GateWindow, Measured};
use crate::{
    decision::Numbers,
    fold::{At, Body, Consumer, Decisions, Event},
    policy,
    subject::{PerSubject, Subject},
    view::{Family, MetricType, Row, Samples},
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Gates {
    subjects: PerSubject<Gate>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Gate {
    window: GateWindow,
    state: State,
    since_position: Option<u64>,
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
    const VERSION: u32 = 1;
    const FAMILIES: &'static [Family] = &[
        Family::new("gate_state", MetricType::Gauge, "Where a subject stands: 1 for its state, 0 for the others.")
            .with_labels(&["state"]),
        Family::new("gate_evaluations_total", MetricType::Counter, "Evaluations by gate and result.")
            .with_labels(&["gate_type", "result"]),
    ];

    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        let policy = at.policy();
        let subjects = [event.agent.map(Subject::Agent), event.strategy.map(Subject::Strategy)];
        for subject in subjects.into_iter().flatten() {
            let Some(gate) = self.subjects.entry(subject) else { continue };
            match &event.body {
                Body::Run(run) => gate.window.run(run, policy),
                Body::Pnl(pnl) => gate.window.pnl(event.run, pnl, policy),
                Body::Alpha(_) | Body::Price(_) => continue,
            }
            gate.judge(at, subject, out);
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
        let row = json!({ "state": gate.state.name(), "since_position": gate.since_position });
        out.insert("gate".to_owned(), row);
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
        let kill = kill_rule(&measured, rules);
        self.evaluations.kill[kill.0 as usize] += 1;
        if let (Verdict::Fail, Some(rule)) = kill {
            return self.enter(State::Killed, at, subject, rule, measured.kill_numbers(rules), out);
        }
        if self.state != State::Candidate {
            return;
        }
        let (verdict, median) = promote_rule(&measured, &self.window, rules);
        self.evaluations.promote[verdict as usize] += 1;
        if let (Verdict::Pass, Some(median)) = (verdict, median) {
            let numbers = measured.promote_numbers(median, rules);
            self.enter(State::Promoted, at, subject, "pnl, errors and latency", numbers, out);
        }
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
        self.state = state;
        self.since_position = Some(at.position);
        out.emit(subject, state.name(), rule, numbers);
    }
}

/// Whether an agent survives: fail names the rule that kills it.
fn kill_rule(measured: &Measured, rules: &policy::Gates) -> (Verdict, Option<&'static str>) {
    if measured.last_5_pnl_bps.is_some_and(|sum| sum < rules.kill.last_5_pnl_bps) {
        return (Verdict::Fail, Some("last 5 pnl"));
    }
    let enough_runs = measured.runs >= rules.min_runs;
    if enough_runs && measured.error_rate > rules.kill.max_error_rate {
        return (Verdict::Fail, Some("error rate"));
    }
    if !enough_runs && measured.last_5_pnl_bps.is_none() {
        return (Verdict::Inconclusive, None);
    }
    (Verdict::Pass, None)
}

/// Whether a candidate passes, with the median latency where it was looked at: it costs the most, and is only asked for
/// when everything else holds.
fn promote_rule(measured: &Measured, window: &GateWindow, rules: &policy::Gates) -> (Verdict, Option<f64>) {
    if measured.runs < rules.min_runs || measured.with_latency == 0 {
        return (Verdict::Inconclusive, None);
    }
    let earns = measured.pnl_bps > rules.promote.min_pnl_bps;
    if !earns || measured.error_rate > rules.promote.max_error_rate {
        return (Verdict::Fail, None);
    }
    let median = window.median_latency_ms();
    let fast = median.is_some_and(|median| median < rules.promote.max_median_latency_ms);
    (if fast { Verdict::Pass } else { Verdict::Fail }, median)
}
