//! Lines and a policy in, decisions and rows out.

/// Commands, requests and what the desk makes of them.
mod control;

/// Signals and prices, and what they earn.
mod reconcile;
/// Money and runs, given out and taken back.
mod shares;

use std::sync::Arc;

use serde_json::Value;

use super::REGISTRY;
use crate::{
    event,
    fold::{Emitted, Engine, Intake, Place},
    policy::{InForce, Policy},
    subject::Subject,
    view::Row,
};

/// The fold of lines under a policy, with its decisions.
fn folded(policy: &str, lines: &[String]) -> (Engine, Vec<Emitted>) {
    let policy = Policy::from_toml(policy).expect("a policy");
    let mut intake = Intake::new(Arc::new(InForce::new(policy)));
    let place = Place { stream: "control".into(), file: "f1".into(), offset: 0 };
    let mut batch = intake.begin();
    for line in lines {
        intake.line(event::decode(line.as_bytes(), 1 << 20).as_ref(), &place, None, &mut batch);
    }
    let mut engine = Engine::new(REGISTRY);
    let decisions = engine.step(&batch);
    (engine, decisions)
}

/// The same, each decision in words.
fn fold(policy: &str, lines: &[String]) -> (Engine, Vec<String>) {
    let (engine, decisions) = folded(policy, lines);
    let words = decisions.iter().map(|emitted| {
        let line = emitted.line();
        let rule = line.reason.get("rule").and_then(Value::as_str).unwrap_or("-");
        format!("{} {} {} {} ({rule})", line.cause, line.consumer, line.subject, line.verdict)
    });
    (engine, words.collect())
}

/// The decisions of one consumer.
fn check(policy: &str, lines: &[String], consumer: &str, want: &[&str]) {
    let (_, words) = fold(policy, lines);
    let of_consumer = format!(" {consumer} ");
    let got: Vec<&str> = words.iter().map(String::as_str).filter(|word| word.contains(&of_consumer)).collect();
    assert_eq!(got, want);
}

fn row(policy: &str, lines: &[String], subject: Subject) -> Row {
    let (engine, _) = fold(policy, lines);
    let mut row = Row::new();
    engine.slots().iter().for_each(|slot| slot.row(subject, &mut row));
    row
}

fn rewards(values: &[f64]) -> Vec<String> {
    values.iter().map(|x| format!(r#"{{"agent":"a","reward":{x}}}"#)).collect()
}

fn pnls(values: &[f64]) -> Vec<String> {
    let line = |(n, x)| format!(r#"{{"agent":"a","run_id":"r{n}","realized_pnl_bps":{x}}}"#);
    values.iter().enumerate().map(line).collect()
}

#[test]
fn quarantine_stays_for_its_dwell_and_leaves_above_the_clear_line() {
    let lines = rewards(&[-4.0, 5.0, 1.0, 1.0, 1.0]);
    let policy = "[rolling]\nwindow = 3\n[quarantine]\nclear_drawdown = -1.0";
    check(
        policy,
        &lines,
        "quarantine",
        &["0 quarantine a quarantined (drawdown)", "3 quarantine a cleared (recovered)"],
    );
    let dwell = format!("{policy}\nmin_dwell_runs = 3");
    check(
        &dwell,
        &lines,
        "quarantine",
        &["0 quarantine a quarantined (drawdown)", "4 quarantine a cleared (recovered)"],
    );
}

#[test]
fn quarantine_may_look_at_pnl_and_at_capital_weighted_reward() {
    let mut lines = pnls(&[10.0, -200.0]);
    lines.extend(rewards(&[0.0]));
    check("", &lines, "quarantine", &[]);
    let by_pnl = "[quarantine]\npnl_drawdown_limit_bps = -150";
    check(by_pnl, &lines, "quarantine", &["2 quarantine a quarantined (pnl_drawdown)"]);
    let capital = "[rolling]\nreward_basis = \"capital\"\n[capital]\nenabled = true\ncapital_usd = 20000\nmax_loss_usd = 0\nfill_prob = 1";
    check(capital, &rewards(&[-1.6]), "quarantine", &["0 quarantine a quarantined (drawdown)"]);
}

#[test]
fn confidence_forgets_losses_only_with_a_window() {
    let values = [-1.0, -30.0, 5.0, 5.0];
    let all = row("", &pnls(&values), Subject::Agent(0));
    assert_eq!(all["confidence"], 0.95 * 0.85);
    let windowed = row("[confidence]\nwindow = 2", &pnls(&values), Subject::Agent(0));
    assert_eq!(windowed["confidence"], 1.0);
    let floored = row("[confidence]\nfloor = 0.9", &pnls(&values), Subject::Agent(0));
    assert_eq!(floored["confidence"], 0.9);
}

#[test]
fn a_further_record_changes_the_runs_loss_in_place() {
    let mut lines = pnls(&[-30.0]);
    lines.push(r#"{"agent":"a","run_id":"r0","realized_pnl_bps":25}"#.to_owned());
    let small = row("", &lines, Subject::Agent(0));
    assert_eq!((&small["confidence"], &small["pnl_bps"]["count"]), (&0.95.into(), &1.into()));
    lines.push(r#"{"agent":"a","run_id":"r0","realized_pnl_bps":6}"#.to_owned());
    assert_eq!(row("", &lines, Subject::Agent(0))["confidence"], 1.0);
}

/// So many runs that end well and fast, with so much PnL each.
fn good_runs(count: usize, pnl_bps: f64) -> Vec<String> {
    let run = |n| format!(r#"{{"agent":"a","run_id":"r{n}","latency_ms":100,"errors":0}}"#);
    let pnl = |n| format!(r#"{{"run_id":"r{n}","realized_pnl_bps":{pnl_bps}}}"#);
    (0..count).flat_map(|n| [run(n), pnl(n)]).collect()
}

#[test]
fn a_promotion_is_by_rule_by_evidence_or_by_both() {
    let rule = ["38 gates a promoted (pnl, errors and latency)"];
    check("", &good_runs(40, 8.0), "gates", &rule);
    check("[gates.promote]\nmode = \"both\"", &good_runs(40, 8.0), "gates", &[]);
    let (_, words) = fold("[gates.promote]\nmode = \"evidence\"", &good_runs(100, 8.0));
    assert!(words.iter().any(|word| word.ends_with("gates a promoted (evidence)")), "{words:?}");
    let (_, words) = fold("[gates.promote]\nmode = \"both\"", &good_runs(100, 8.0));
    assert!(words.iter().any(|word| word.contains("gates a promoted")), "{words:?}");
}

#[test]
fn a_kill_is_final_and_comes_before_a_promotion() {
    let mut lines = good_runs(19, 30.0);
    lines.extend((0..5).map(|n| format!(r#"{{"agent":"a","run_id":"x{n}","realized_pnl_bps":-25}}"#)));
    lines.extend(good_runs(40, 100.0));
    check("", &lines, "gates", &["42 gates a killed (last 5 pnl)"]);
    let errors: Vec<String> = (0..20).map(|n| format!(r#"{{"agent":"a","errors":{}}}"#, n % 4 / 3)).collect();
    check("", &errors, "gates", &["19 gates a killed (error rate)"]);
}

#[test]
fn a_day_is_spent_by_the_fleet_and_by_agents_with_a_budget() {
    let cost = |agent: &str, day: u32, usd: f64| {
        format!(r#"{{"agent":"{agent}","ts":"2026-03-{day:02}T10:00:00Z","cost_usd":{usd}}}"#)
    };
    let lines = [cost("a", 1, 0.8), cost("a", 1, 0.2), cost("b", 1, 3.95), cost("b", 2, 0.1), cost("a", 1, 9.0)];
    check(
        "[budget.agents]\na = 1.0",
        &lines,
        "budget",
        &[
            "1 budget a exhausted (daily budget)",
            "2 budget fleet exhausted (daily budget)",
            "3 budget a restored (daily budget)",
            "3 budget fleet restored (daily budget)",
        ],
    );
}

#[test]
fn tokens_are_priced_by_model_and_day() {
    let run = |day: u32, more: &str| {
        format!(r#"{{"agent":"a","ts":"2026-03-{day:02}T10:00:00Z","tokens_in":1000000,"tokens_out":100000{more}}}"#)
    };
    let policy = "[[prices.opus]]\ninput = 10\noutput = 50\n[[prices.opus]]\ninput = 4\noutput = 20\ncached = 1\nfrom = \"2026-03-02\"";
    let cost = |line: String| row(policy, &[line], Subject::Agent(0))["cost_usd"].clone();
    assert_eq!(cost(run(1, "")), 7.5);
    assert_eq!(cost(run(1, r#","model":"opus""#)), 15.0);
    assert_eq!(cost(run(2, r#","model":"opus""#)), 6.0);
    assert_eq!(cost(run(2, r#","model":"opus","cached_tokens":500000"#)), 4.5);
    assert_eq!(cost(run(2, r#","model":"opus","cost_usd":0.25"#)), 0.25);
}

#[test]
fn the_gate_forgets_what_left_its_window_however_long_the_others_are() {
    for rolling in [5, 20, 21, 500] {
        let rules = format!(
            "[rolling]\nwindow = {rolling}\n[gates]\nwindow = 20\nmin_runs = 5\n[gates.kill]\nmax_error_rate = 1.0"
        );
        let mut lines: Vec<String> =
            (0..30).map(|n| format!(r#"{{"agent":"a","run_id":"e{n}","errors":1}}"#)).collect();
        lines.truncate(4);
        lines.extend(pnls(&[9.0; 40]));
        lines.extend((0..40).map(|n| format!(r#"{{"agent":"a","run_id":"z{n}","realized_pnl_bps":-0.5}}"#)));
        lines.extend(good_runs(20, 0.0));
        check(&rules, &lines, "gates", &[]);
    }
}
