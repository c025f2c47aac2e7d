//! What must hold of permissions, whatever is asked in whatever order.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use runtape::{
    clock::Stopwatch,
    consumers::REGISTRY,
    event,
    fold::{Emitted, Intake, Place, Slot},
    policy::{InForce, Policy},
    subject::Subject,
    view::Row,
};
use serde_json::{Value, json};

use super::{cases, reborn};

/// A fold of one line after the other, whose consumers may be saved and loaded in between.
struct Stand {
    intake: Intake,
    slots: Vec<Box<dyn Slot>>,
    lines: u64,
}

impl Stand {
    fn new(policy: &str) -> Stand {
        let policy = Policy::from_toml(policy).expect("a policy");
        let intake = Intake::new(Arc::new(InForce::new(policy)));
        Stand { intake, slots: REGISTRY.iter().map(|r| (r.new)()).collect(), lines: 0 }
    }

    /// Folds a line; control lines get an event id of their own.
    fn line(&mut self, mut line: Value) -> Vec<Emitted> {
        if line.get("kind").is_some() {
            line["event_id"] = format!("e{}", self.lines).into();
        }
        let place = Place { stream: "control".into(), file: "f".into(), offset: self.lines };
        let mut batch = self.intake.begin();
        self.lines += 1;
        self.intake.line(event::decode(line.to_string().as_bytes(), 1 << 20).as_ref(), &place, None, &mut batch);
        let mut all: Vec<Emitted> = Vec::new();
        for slot in &mut self.slots {
            // Whoever is heard stands earlier, in list order.
            let of = |name: &&str| all.iter().filter(|e| e.decision.consumer == *name).cloned().collect();
            let hears = REGISTRY.iter().map(|r| r.name).filter(|name| slot.hears().contains(name));
            let voices: Vec<Vec<Emitted>> = hears.map(|name| of(&name)).collect();
            let heard: Vec<&[Emitted]> = voices.iter().map(Vec::as_slice).collect();
            all.extend(slot.step(&batch, &heard));
        }
        all
    }

    fn crash(&mut self) {
        self.slots = self.slots.iter().map(|slot| reborn(slot.as_ref(), REGISTRY)).collect();
    }

    fn row(&self, subject: Subject) -> Row {
        let mut row = Row::new();
        self.slots.iter().for_each(|slot| slot.row(subject, &mut row));
        row
    }
}

/// A step of somebody who uses the budget.
#[derive(Clone, Debug)]
enum Step {
    Reserve { agent: u8, run: u8, cents: u16 },
    Run { agent: u8, run: u8, cents: u16 },
    Release { run: u8 },
    Check,
    Wait { minutes: u16 },
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3u8, 0..12u8, 0..200u16).prop_map(|(agent, run, cents)| Step::Reserve { agent, run, cents }),
        4 => (0..3u8, 0..12u8, 0..120u16).prop_map(|(agent, run, cents)| Step::Run { agent, run, cents }),
        2 => (0..12u8).prop_map(|run| Step::Release { run }),
        1 => Just(Step::Check),
        2 => (0..400u16).prop_map(|minutes| Step::Wait { minutes }),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What should be open and spent, kept as plainly as can be. Cents.
#[derive(Default)]
struct Model {
    /// By run and agent.
    open: BTreeMap<(String, String), i64>,
    spent: BTreeMap<(i64, String), i64>,
}

impl Model {
    fn committed(&self, day: i64, agent: Option<&str>) -> i64 {
        let of = |name: &String| agent.is_none_or(|agent| name == agent);
        let open: i64 = self.open.iter().filter(|((_, name), _)| of(name)).map(|(_, cents)| cents).sum();
        open + self.spent.iter().filter(|((d, name), _)| *d == day && of(name)).map(|(_, cents)| cents).sum::<i64>()
    }

    /// Takes in what the ledger said; what it granted must have been there to be granted.
    fn take(&mut self, emitted: &[Emitted], minute: i64) {
        for line in emitted.iter().map(Emitted::line).filter(|line| line.consumer == "budget") {
            let run = line.reason.get("run_id").and_then(Value::as_str).unwrap_or_default().to_owned();
            match line.verdict.as_str() {
                "granted" => {
                    let cents = (line.reason["amount_usd"].as_f64().expect("an amount") * 100.0).round() as i64;
                    let known = self.open.insert((run, line.subject.clone()), cents);
                    assert_eq!(known, None, "an agent has one reservation for a run");
                    let day = minute.div_euclid(1440);
                    assert!(self.committed(day, None) <= 490, "the fleet's day is overspent");
                    let own = self.committed(day, Some(&line.subject));
                    assert!(line.subject != "agent-0" || own <= 190, "an agent's day is overspent");
                }
                "denied" => {
                    let cents = (line.reason["amount_usd"].as_f64().expect("an amount") * 100.0).round() as i64;
                    let day = minute.div_euclid(1440);
                    let own = line.subject == "agent-0" && self.committed(day, Some("agent-0")) + cents > 190;
                    assert!(own || self.committed(day, None) + cents > 490, "there was room for {cents} cents");
                }
                "settled" | "released" | "expired" => {
                    let of = (run, line.subject.clone());
                    assert!(self.open.remove(&of).is_some(), "{of:?} was open");
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn the_budget_is_never_overspent_by_what_it_granted(steps in steps()) {
        let mut stand = Stand::new("[budget.agents]\nagent-0 = 2.0");
        let (mut model, mut minute) = (Model::default(), 29_500_000_i64);
        for step in steps {
            let ts = minute * 60;
            let line = match step {
                Step::Reserve { agent, run, cents } => json!({
                    "kind": "reserve", "ts": ts, "agent": format!("agent-{agent}"), "run_id": format!("r{run}"),
                    "amount_usd": f64::from(cents) / 100.0,
                }),
                Step::Run { agent, run, cents } => {
                    // What a run really costs is beyond the ledger: here it keeps within what was reserved.
                    let (name, agent) = (format!("r{run}"), format!("agent-{agent}"));
                    let most = model.open.get(&(name.clone(), agent.clone())).copied().unwrap_or(0);
                    let cents = i64::from(cents).min(most);
                    *model.spent.entry((minute.div_euclid(1440), agent.clone())).or_default() += cents;
                    json!({ "ts": ts, "agent": agent, "run_id": name, "cost_usd": cents as f64 / 100.0 })
                }
                Step::Release { run } => json!({ "kind": "release", "ts": ts, "run_id": format!("r{run}") }),
                Step::Check => json!({ "kind": "check", "ts": ts, "agent": "agent-1" }),
                Step::Wait { minutes } => {
                    minute += i64::from(minutes);
                    continue;
                }
                Step::Crash => {
                    stand.crash();
                    continue;
                }
            };
            let emitted = stand.line(line);
            model.take(&emitted, minute);
        }
        let open: i64 = model.open.values().sum();
        let budget = stand.slots.iter().find_map(|slot| slot.summary(None)).map(|(_, value)| value);
        let reserved = budget.and_then(|budget| budget["reserved_usd"].as_f64());
        if let Some(reserved) = reserved {
            prop_assert_eq!((reserved * 100.0).round() as i64, open);
        }
    }

    #[test]
    fn runs_given_out_keep_to_their_sum_and_bounds(
        events in proptest::collection::vec((0..6u32, -2.0..2.0f64, 0..20u8, 0..12u8), 1..150),
        total in 0..40u32,
        least in 0..4u32,
        most in 0..9u32,
    ) {
        let policy = format!(
            "[allocation]\ntotal_runs = {total}\ndefault_min_runs = {least}\n[allocation.max_runs]\nagent-1 = {most}\n\
             [quarantine]\ndrawdown_limit = -2.0\nclear_drawdown = -2.0"
        );
        let (mut stand, mut minute) = (Stand::new(&policy), 29_500_000_i64);
        for (agent, reward, wait, order) in events {
            minute += i64::from(wait);
            let (ts, name) = (minute * 60, format!("agent-{agent}"));
            stand.line(json!({ "ts": ts, "agent": name, "reward": reward }));
            let action = ["kill", "revive", "pause", "resume", "quarantine", "clear"].get(usize::from(order));
            if let Some(action) = action {
                stand.line(json!({ "kind": "command", "ts": ts, "agent": name, "action": action, "actor": "x" }));
            }
            if order == 11 {
                stand.crash();
            }
            let rows: Vec<Row> = (0..stand.intake.subjects().agents.len() as u32)
                .map(|id| stand.row(Subject::Agent(id)))
                .collect();
            let mut sum = 0;
            for (id, row) in rows.iter().enumerate() {
                let runs = row["allocation"]["runs_per_period"].as_u64().expect("a count") as u32;
                let reasons = row["verdict"]["reasons"].as_array().expect("a list");
                let held = |word: &str| reasons.iter().any(|reason| reason == word);
                prop_assert!(!(held("killed") || held("paused")) || runs == 0, "{:?}", row["verdict"]);
                prop_assert!(!held("quarantined") || runs <= least, "quarantined: at most the minimum");
                let name = &stand.intake.subjects().agents[id];
                prop_assert!(**name != *"agent-1" || runs <= most);
                sum += runs;
            }
            prop_assert!(sum <= total, "{sum} of {total}");
        }
    }

    #[test]
    fn the_desk_denies_whenever_an_input_is_missing(given in proptest::collection::vec(any::<bool>(), 6)) {
        let policy = "[desk]\npaper_only = false\nlive_requires_promotion = false";
        let mut stand = Stand::new(policy);
        stand.line(json!({ "agent": "a", "errors": 0 }));
        let fields = ["symbol", "notional_usd", "expected_edge_bps", "spread_bps", "slippage_bps", "data_age_sec"];
        let values = [json!("BTC"), json!(10), json!(9), json!(1), json!(1), json!(1)];
        let mut check = json!({ "kind": "check", "agent": "a" });
        for ((field, value), _) in fields.iter().zip(&values).zip(&given).filter(|(_, given)| **given) {
            check[*field] = value.clone();
        }
        let answer = stand.line(check)[0].line();
        let missing: Vec<String> = fields.iter().zip(&given).filter(|(_, g)| !**g).map(|(f, _)| format!("missing:{f}")).collect();
        prop_assert_eq!(&answer.verdict, if missing.is_empty() { "allow" } else { "deny" });
        prop_assert_eq!(&answer.reason["reasons"], &json!(missing));
    }

    #[test]
    fn confidence_and_gates_equal_a_plain_recount(
        events in proptest::collection::vec((0..30u8, -60.0..60.0f64, any::<u8>()), 1..160),
        window in 0..12usize,
        rolling in 12..30usize,
    ) {
        let policy = format!("[rolling]\nwindow = {rolling}\n[confidence]\nwindow = {window}\n[gates]\nwindow = 12\nmin_runs = 6\n[gates.promote]\nmin_pnl_bps = 40.0");
        let (mut stand, mut plain) = (Stand::new(&policy), Plain::default());
        for (run, value, kind) in events {
            let name = format!("r{run}");
            if kind % 3 == 0 {
                let (failed, latency) = (kind % 21 == 0, f64::from(kind) * 6.0);
                stand.line(json!({ "agent": "a", "errors": failed, "latency_ms": latency }));
                plain.runs.push((failed, latency));
            } else {
                let value = value.round();
                stand.line(json!({ "agent": "a", "run_id": name, "realized_pnl_bps": value }));
                add(&mut plain.pnl, &name, value, rolling.max(13));
                add(&mut plain.counted, &name, value, if window == 0 { rolling } else { window });
            }
            plain.judge();
            let row = stand.row(Subject::Agent(0));
            prop_assert_eq!(row["gate"]["state"].as_str(), Some(plain.state()));
            let got = row["confidence"].as_f64().expect("a number");
            prop_assert!((got - plain.confidence(window)).abs() < 1e-12, "{got} {}", plain.confidence(window));
        }
    }
}

#[test]
fn a_pause_of_the_fleet_denies_all_of_many_at_its_own_position() {
    let mut stand = Stand::new("");
    for agent in 0..5_000 {
        stand.line(json!({ "agent": format!("agent-{agent}"), "errors": 0 }));
    }
    let watch = Stopwatch::start();
    let decided = stand.line(json!({ "kind": "command", "action": "pause", "fleet": true, "actor": "ann" }));
    let took = watch.elapsed();
    assert_eq!(decided.len(), 1, "one decision is enough for all");
    for agent in 0..5_000 {
        assert_eq!(stand.row(Subject::Agent(agent))["verdict"]["reasons"], json!(["fleet_paused"]));
    }
    eprintln!("the line of a pause, folded by all consumers for 5000 agents: {took:?}");
}

/// Everything an agent did, looked at from the start each time.
#[derive(Default)]
struct Plain {
    runs: Vec<(bool, f64)>,
    pnl: Vec<(String, f64)>,
    /// As confidence keeps them.
    counted: Vec<(String, f64)>,
    promoted: bool,
    killed: bool,
}

/// A further record of a run among the last so many changes it in place; of another it is an entry of its own.
fn add(list: &mut Vec<(String, f64)>, run: &str, value: f64, window: usize) {
    let from = list.len().saturating_sub(window);
    match list[from..].iter_mut().find(|(name, _)| *name == run) {
        Some((_, sum)) => *sum += value,
        None => list.push((run.to_owned(), value)),
    }
}

impl Plain {
    fn judge(&mut self) {
        let last = |count: usize| self.pnl[self.pnl.len().saturating_sub(count)..].iter().map(|(_, x)| x).sum::<f64>();
        let runs = &self.runs[self.runs.len().saturating_sub(12)..];
        let rate = runs.iter().filter(|(failed, _)| *failed).count() as f64 / runs.len().max(1) as f64;
        let mut latencies: Vec<f64> = runs.iter().map(|(_, latency)| *latency).collect();
        latencies.sort_by(f64::total_cmp);
        let middle = latencies.len() / 2;
        let median = match latencies.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => latencies[middle],
            _ => (latencies[middle - 1] + latencies[middle]) / 2.0,
        };
        let enough = runs.len() >= 6;
        self.killed |= (self.pnl.len() >= 5 && last(5) < -100.0) || (enough && rate > 0.2);
        self.promoted |= !self.killed && enough && rate <= 0.0 && median < 700.0 && last(12) > 40.0;
    }

    fn state(&self) -> &'static str {
        match (self.killed, self.promoted) {
            (true, _) => "killed",
            (_, true) => "promoted",
            _ => "candidate",
        }
    }

    fn confidence(&self, window: usize) -> f64 {
        let skip = if window == 0 { 0 } else { self.counted.len().saturating_sub(window) };
        let factor = |x: f64| {
            if x < -20.0 {
                0.85
            } else if x < 0.0 {
                0.95
            } else {
                1.0
            }
        };
        self.counted[skip..].iter().map(|(_, x)| factor(*x)).product()
    }
}
