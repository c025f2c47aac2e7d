use serde_json::{Value, json};

use super::folded;
use crate::fold::Emitted;

const RULES: &str = "[reconcile]\nenabled = true\nhorizon_min = 60\nstop_bps = 50\nfee_bps = 1\nslippage_bps = 1";

fn signal(minute: u32, run: &str, direction: &str) -> String {
    json!({ "ts": at(minute), "run_id": run, "agent": "a", "symbol": "X", "direction": direction }).to_string()
}

fn price(minute: u32, price: f64) -> String {
    json!({ "ts": at(minute), "symbol": "X", "price": price }).to_string()
}

fn at(minute: u32) -> String {
    format!("2026-03-01T{:02}:{:02}:00Z", 10 + minute / 60, minute % 60)
}

/// What signals and prices earn: `run why pnl`.
#[track_caller]
fn check(lines: &[String], want: &[&str]) -> Value {
    let (engine, emitted) = folded(RULES, lines);
    let lines = emitted.iter().map(Emitted::line).filter(|line| line.consumer == "reconcile");
    let got: Vec<String> = lines
        .map(|line| {
            let reason = &line.reason;
            let pnl = reason["realized_pnl_bps"].as_f64().expect("a number");
            format!("{} {} {pnl:.2}", reason["run_id"].as_str().unwrap_or("-"), reason["rule"].as_str().unwrap_or("-"))
        })
        .collect();
    assert_eq!(got, want);
    let summary = engine.slots().iter().filter_map(|slot| slot.summary(None)).find(|(name, _)| *name == "reconcile");
    summary.expect("it is switched on").1
}

#[test]
fn positions_are_left_at_a_signal_a_stop_or_the_horizon() {
    let lines = [signal(0, "r", "LONG"), price(1, 100.0), price(2, 101.0), signal(3, "q", "SHORT"), price(4, 100.2)];
    check(&lines, &["r signal 16.00"]);
    let lines = [signal(0, "r", "SHORT"), price(1, 100.0), signal(3, "q", "FLAT"), price(4, 99.0)];
    check(&lines, &["r signal 96.00"]);
    let lines = [signal(0, "r", "LONG"), price(1, 100.0), price(2, 99.6), price(3, 99.4), price(4, 120.0)];
    check(&lines, &["r stop -64.00"]);
    let lines = [signal(0, "r", "LONG"), price(1, 100.0), price(60, 101.0), price(61, 100.5), price(62, 90.0)];
    check(&lines, &["r horizon 46.00"]);
}

#[test]
fn no_price_from_before_the_signal_is_used() {
    let late =
        [price(0, 50.0), signal(5, "r", "LONG"), price(3, 60.0), price(6, 100.0), price(4, 1.0), price(70, 101.0)];
    check(&late, &["r horizon 96.00"]);
    let same_time = [signal(5, "r", "LONG"), price(5, 100.0), signal(5, "q", "FLAT"), price(5, 100.2)];
    check(&same_time, &["r signal 16.00"]);
}

#[test]
fn what_cannot_be_priced_is_counted() {
    let lines = [signal(0, "r", "LONG"), price(1, 0.0), price(2, -3.0)];
    let summary = check(&lines, &[]);
    assert_eq!((&summary["unpriced"], &summary["worthless_prices"]), (&json!({ "X": 1 }), &json!(2)));
    let lines = [signal(0, "r", "LONG"), signal(1, "q", "FLAT"), price(2, 100.0), price(90, 200.0)];
    let summary = check(&lines, &[]);
    assert_eq!((&summary["unfilled"], &summary["open"]), (&json!(1), &json!(0)));
}

#[test]
fn a_run_whose_producer_reports_is_left_to_him() {
    let own = json!({ "run_id": "r", "realized_pnl_bps": 5 }).to_string();
    let lines = [signal(0, "r", "LONG"), price(1, 100.0), own, price(70, 101.0)];
    let summary = check(&lines, &[]);
    assert_eq!((&summary["reported"], &summary["closed"]), (&json!(1), &json!(0)));
    // Our own line that comes back is nobody's report: the run's second signal goes on.
    let back =
        json!({ "kind": "pnl", "agent": "a", "run_id": "r", "realized_pnl_bps": 16.000000000000014 }).to_string();
    let first = [signal(0, "r", "LONG"), price(1, 100.0), signal(2, "q", "FLAT"), price(3, 100.2)];
    let (_, emitted) = folded(RULES, &first);
    let closed = emitted.iter().map(Emitted::line).find(|line| line.consumer == "reconcile").expect("it is closed");
    let back = back.replace("16.000000000000014", &closed.reason["realized_pnl_bps"].to_string());
    let mut lines = first.to_vec();
    lines.extend([signal(4, "r", "LONG"), price(5, 100.0), back, price(70, 101.0)]);
    check(&lines, &["r signal 16.00", "r horizon 96.00"]);
}
