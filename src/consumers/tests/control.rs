use serde_json::{Value, json};

use super::{check, fold, good_runs, rewards, row};
use crate::subject::Subject;

/// Lines in order, each with an event id of its own where it is a control line.
pub(super) fn log(parts: &[&[String]]) -> Vec<String> {
    let number = |(n, line): (usize, &String)| line.replacen("EVENT", &format!("e{n}"), 1);
    parts.iter().flat_map(|part| part.iter()).enumerate().map(number).collect()
}

pub(super) fn command(action: &str, subject: &str) -> Vec<String> {
    let subject = match subject.split_once(':') {
        Some(("strategy", name)) => format!(r#""strategy":"{name}""#),
        Some((_, name)) => format!(r#""agent":"{name}""#),
        None => r#""fleet":true"#.to_owned(),
    };
    vec![format!(
        r#"{{"kind":"command","event_id":"EVENT","action":"{action}",{subject},"actor":"ann","reason":"drill"}}"#
    )]
}

fn policy(toml: &str) -> Vec<String> {
    let line = json!({ "kind": "policy", "event_id": "EVENT", "actor": "ann", "policy": toml });
    vec![line.to_string()]
}

pub(super) fn run(agent: &str, more: &str) -> Vec<String> {
    vec![format!(r#"{{"agent":"{agent}"{more}}}"#)]
}

pub(super) fn request(kind: &str, more: &str) -> Vec<String> {
    vec![format!(r#"{{"kind":"{kind}","event_id":"EVENT"{more}}}"#)]
}

const ORDER: &str =
    r#","symbol":"BTC","notional_usd":1000,"expected_edge_bps":9,"spread_bps":2,"slippage_bps":1,"data_age_sec":5"#;

fn question(agent: &str, more: &str) -> Vec<String> {
    request("check", &format!(r#","agent":"{agent}"{ORDER}{more}"#))
}

fn verdict(rules: &str, lines: &[String], agent: u32) -> Value {
    row(rules, lines, Subject::Agent(agent))["verdict"].clone()
}

#[test]
fn every_command_is_obeyed_once_or_refused_with_a_way_out() {
    let agent = |action: &str| command(action, "agent:a");
    let lines =
        log(&[&run("a", r#","errors":0"#), &agent("kill"), &agent("kill"), &agent("promote"), &agent("revive")]);
    let killed = ["1 gates a killed (command)", "2 gates a refused (already killed)", "3 gates a refused (killed)"];
    check("", &lines, "gates", &[&killed[..], &["4 gates a revived (command)"]].concat());
    let lines = log(&[
        &run("a", r#","errors":0"#),
        &agent("revive"),
        &agent("promote"),
        &agent("promote"),
        &agent("demote"),
        &agent("demote"),
        &command("kill", "fleet"),
        &command("kill", "agent:ghost"),
        &command("kill", "strategy:ghost"),
    ]);
    let want = [
        "1 gates a refused (not killed)",
        "2 gates a promoted (command)",
        "3 gates a refused (already promoted)",
        "4 gates a demoted (command)",
        "5 gates a refused (already demoted)",
        "6 gates fleet refused (not for the fleet)",
        "7 gates ghost refused (unknown subject)",
        "8 gates ghost refused (unknown subject)",
    ];
    check("", &lines, "gates", &want);
    let lines = log(&[
        &run("a", r#","strategy":"s","errors":0"#),
        &agent("resume"),
        &agent("pause"),
        &agent("pause"),
        &agent("retire"),
        &agent("resume"),
        &command("pause", "fleet"),
        &command("retire", "fleet"),
        &command("pause", "agent:ghost"),
    ]);
    let want = [
        "1 desk a refused (neither paused nor retired)",
        "2 desk a paused (command)",
        "3 desk a refused (already paused)",
        "4 desk a retired (command)",
        "5 desk a resumed (command)",
        "6 desk fleet paused (command)",
        "7 desk fleet refused (not for the fleet)",
        "8 desk ghost refused (unknown subject)",
    ];
    check("", &lines, "desk", &want);
    let lines = log(&[
        &run("a", r#","strategy":"s","errors":0"#),
        &agent("clear"),
        &agent("quarantine"),
        &agent("quarantine"),
        &command("quarantine", "strategy:s"),
        &rewards(&[9.0, 9.0]),
        &agent("clear"),
    ]);
    let want = [
        "1 quarantine a refused (not quarantined)",
        "2 quarantine a quarantined (command)",
        "3 quarantine a refused (already quarantined by an operator)",
        "4 quarantine s refused (for agents only)",
        "7 quarantine a cleared (command)",
    ];
    check("", &lines, "quarantine", &want);
}

#[test]
fn a_command_sent_twice_counts_once() {
    let kill = |id: &str| vec![command("kill", "agent:a")[0].replace("EVENT", id)];
    let lines = log(&[&run("a", r#","errors":0"#), &kill("same"), &kill("same"), &kill("other")]);
    check("", &lines, "gates", &["1 gates a killed (command)", "3 gates a refused (already killed)"]);
}

#[test]
fn after_an_operators_clear_the_rules_look_at_what_comes_after() {
    let lines = log(&[&rewards(&[-4.0]), &command("clear", "agent:a"), &rewards(&[0.5, -2.0, -2.0])]);
    let want = [
        "0 quarantine a quarantined (drawdown)",
        "1 quarantine a cleared (command)",
        "4 quarantine a quarantined (drawdown)",
    ];
    check("", &lines, "quarantine", &want);
}

#[test]
fn the_demoted_are_promoted_by_operators_only_and_the_revived_begin_anew() {
    let lines = log(&[&command("demote", "agent:a"), &good_runs(60, 8.0)]);
    check(
        "",
        &lines,
        "gates",
        &["0 gates a refused (unknown subject)", "39 gates a promoted (pnl, errors and latency)"],
    );
    let lines = log(&[&run("a", r#","errors":0"#), &command("demote", "agent:a"), &good_runs(60, 8.0)]);
    check("", &lines, "gates", &["1 gates a demoted (command)"]);
    let errors: Vec<String> = (0..20).map(|_| r#"{"agent":"a","errors":1}"#.to_owned()).collect();
    let lines = log(&[&errors, &command("revive", "agent:a"), &errors[..19], &errors[..1]]);
    let want = ["19 gates a killed (error rate)", "20 gates a revived (command)", "40 gates a killed (error rate)"];
    check("", &lines, "gates", &want);
}

#[test]
fn the_verdict_has_every_reason_in_a_fixed_order() {
    let meet = run("a", r#","strategy":"s","reward":-5,"cost_usd":9"#);
    let lines = log(&[&meet]);
    let first = json!({"verdict": "deny", "live": false, "size_multiplier": 0.0,
        "reasons": ["quarantined", "budget_exhausted"], "since_position": 0});
    assert_eq!(verdict("", &lines, 0), first);
    let lines = log(&[
        &meet,
        &command("kill", "agent:a"),
        &command("kill", "strategy:s"),
        &command("pause", "fleet"),
        &command("pause", "strategy:s"),
        &command("pause", "agent:a"),
        &command("retire", "agent:a"),
        &command("retire", "strategy:s"),
        &policy("[budget.agents]\na = 1.0"),
    ]);
    let all = [
        "killed",
        "strategy_killed",
        "retired",
        "strategy_retired",
        "quarantined",
        "paused",
        "strategy_paused",
        "fleet_paused",
        "agent_budget_exhausted",
        "budget_exhausted",
    ];
    assert_eq!(verdict("", &lines, 0)["reasons"], json!(all));
    assert_eq!(verdict("", &lines, 7)["reasons"], json!(["unknown_agent"]), "never met");
}

#[test]
fn only_the_promoted_trade_live_and_never_on_paper_only() {
    let lines = log(&[&run("a", r#","errors":0"#)]);
    let live = |rules: &str, lines: &[String]| verdict(rules, lines, 0)["live"].clone();
    assert_eq!(live("", &lines), false);
    assert_eq!(live("[desk]\npaper_only = false", &lines), false);
    assert_eq!(live("[desk]\npaper_only = false\nlive_requires_promotion = false", &lines), true);
    let promoted = log(&[&lines, &command("promote", "agent:a")]);
    assert_eq!(live("", &promoted), false);
    assert_eq!(live("[desk]\npaper_only = false", &promoted), true);
    let killed = log(&[&promoted, &command("kill", "agent:a")]);
    assert_eq!(live("[desk]\npaper_only = false", &killed), false);
}

/// The answers to checks: position, result and reasons.
fn answers(rules: &str, lines: &[String]) -> Vec<String> {
    let (_, emitted) = super::folded(rules, lines);
    let of_desk = emitted.iter().map(crate::fold::Emitted::line).filter(|line| line.consumer == "desk");
    of_desk.map(|line| format!("{} {} {}", line.cause, line.verdict, line.reason["reasons"])).collect()
}

#[test]
fn a_check_is_answered_with_every_reason_that_applies() {
    const LIVE: &str = "[desk]\npaper_only = false\nlive_requires_promotion = false\nmax_notional_usd = 2000";
    let lines = log(&[
        &run("a", r#","errors":0"#),
        &question("a", ""),
        &request("check", r#","agent":"a""#),
        &question("ghost", ""),
        &request("check", &format!(r#","agent":"a"{}"#, ORDER.replace(":1000", ":-2001"))),
        &request("check", &format!(r#","agent":"a"{}"#, ORDER.replace(":9,", ":3,"))),
        &request("check", &format!(r#","agent":"a"{}"#, ORDER.replace("sec\":5", "sec\":61"))),
        &rewards(&[-4.0]),
        &question("a", ""),
        &question("a", r#","paper":true"#),
        &question("a", r#","reduce":true"#),
    ]);
    let missing = r#"["missing:symbol","missing:notional_usd","missing:expected_edge_bps","missing:spread_bps","missing:slippage_bps","missing:data_age_sec"]"#;
    let want = [
        "1 allow []",
        &format!("2 deny {missing}"),
        r#"3 deny ["unknown_agent","notional"]"#,
        r#"4 deny ["notional"]"#,
        r#"5 deny ["edge"]"#,
        r#"6 deny ["stale_data"]"#,
        r#"8 deny ["quarantined","notional"]"#,
        "9 allow []",
        "10 allow []",
    ];
    assert_eq!(answers(LIVE, &lines), want);
    let paper =
        answers("", &log(&[&run("a", r#","errors":0"#), &question("a", ""), &question("a", r#","paper":true"#)]));
    assert_eq!(paper, [r#"1 deny ["paper_only"]"#, "2 allow []"]);
    let observed = answers("[desk]\nmode = \"observe\"", &lines);
    assert_eq!(observed[0], r#"1 allow ["paper_only"]"#);
    assert!(observed.iter().all(|answer| answer.contains(" allow ")), "{observed:?}");
}

#[test]
fn what_was_lost_today_holds_orders_back() {
    const LIVE: &str = "[desk]\npaper_only = false\nlive_requires_promotion = false\ndaily_loss_limit_usd = 10";
    let at = |day: u32, more: &str| vec![format!(r#"{{"agent":"a","ts":"2026-03-0{day}T10:00:00Z"{more}}}"#)];
    let lines = log(&[
        &at(1, r#","run_id":"r","direction":"LONG","notional_usd":2000"#),
        &at(1, r#","run_id":"r","realized_pnl_bps":-50"#),
        &question("a", ""),
        &at(1, r#","realized_pnl_bps":-1,"notional_usd":100"#),
        &question("a", ""),
        &at(2, r#","errors":0"#),
        &question("a", ""),
        &at(2, r#","realized_pnl_bps":-5"#),
        &question("a", ""),
        &at(2, r#","realized_pnl_bps":5"#),
        &question("a", ""),
    ]);
    let want = ["2 allow []", r#"4 deny ["daily_loss"]"#, "6 allow []", r#"8 deny ["daily_loss"]"#, "10 allow []"];
    let got: Vec<String> = answers(LIVE, &lines);
    assert_eq!(got, want);
}

#[test]
fn a_policy_is_in_force_from_its_own_position() {
    let cost = run("a", r#","ts":"2026-03-01T10:00:00Z","cost_usd":4.95"#);
    let lines = log(&[
        &cost,
        &policy("[budget]\ndaily_usd = 6"),
        &policy("[budget]\ndaily_usd = -6"),
        &policy("[budget]\nbuffer_usd = 1.5\ndaily_usd = 6"),
        &run("a", r#","realized_pnl_bps":-30"#),
        &policy("[budget]\nbuffer_usd = 1.5\ndaily_usd = 6\n[confidence]\nfloor = 0.9"),
    ]);
    let (engine, words) = fold("", &lines);
    let want = [
        "0 budget fleet exhausted (daily budget)",
        "1 budget fleet restored (daily budget)",
        "3 budget fleet exhausted (daily budget)",
        "4 confidence a confidence (losses)",
        "5 confidence a confidence (policy)",
    ];
    assert_eq!(words, want);
    drop(engine);
}

#[test]
fn a_late_profit_does_not_move_an_agent_to_another_strategy() {
    let lines = log(&[
        &run("a", r#","run_id":"old","strategy":"s","errors":0"#),
        &run("a", r#","run_id":"new","strategy":"t","errors":0"#),
        &command("pause", "strategy:t"),
        &run("a", r#","run_id":"old","realized_pnl_bps":1"#),
    ]);
    assert_eq!(verdict("", &lines, 0)["reasons"], json!(["strategy_paused"]));
}

#[test]
fn losses_beyond_all_bounds_stay_losses() {
    let most = r#"{"agent":"a","realized_pnl_bps":-9007199254740992,"notional_usd":9007199254740992}"#.to_owned();
    let lines = log(&[&run("a", r#","errors":0"#), &vec![most; 40], &question("a", r#","paper":true"#)]);
    let answers = answers("[gates.kill]\nlast_5_pnl_bps = -1e15\nmode = \"evidence\"\nalpha = 1e-9", &lines);
    assert!(answers[0].contains("daily_loss"), "{answers:?}");
}
