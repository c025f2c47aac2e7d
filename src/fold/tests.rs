//! Lines in, events and counts out.

use std::sync::Arc;

use super::{
    Body, Intake, Place,
    lines::{Oddity, Outcome},
};
use crate::{
    event,
    policy::{InForce, Policy},
    subject::Subject,
};

/// Feeds lines to an intake under a policy; the events as `position:origin agent/strategy what`, then the counts that
/// are not 0.
fn check(policy: &str, stream: &str, lines: &[&str], want: &str) {
    let policy = Policy::from_toml(policy).expect("a policy");
    let mut intake = Intake::new(Arc::new(InForce::new(policy)));
    let place = Place { stream: stream.into(), file: "f1".into(), offset: 0 };
    let mut batch = intake.begin();
    let sealed_at = event::time::parse_text("2026-03-01T12:00:00Z");
    for line in lines {
        intake.line(event::decode(line.as_bytes(), 1 << 20).as_ref(), &place, sealed_at, &mut batch);
    }
    let subjects = intake.subjects();
    let mut got: Vec<String> = Vec::new();
    for entry in &batch.entries {
        let event = &entry.event;
        let agent = event.agent.map_or("-", |id| subjects.name(Subject::Agent(id)));
        let strategy = event.strategy.map_or("-", |id| subjects.name(Subject::Strategy(id)));
        let what = match &event.body {
            Body::Run(run) => format!("run {}", run.reward.unwrap_or(0.0)),
            Body::Alpha(_) => "alpha".to_owned(),
            Body::Pnl(pnl) => format!("pnl {}", pnl.realized_pnl_bps),
            Body::Price(price) => format!("price {}", price.price),
            other => format!("{other:?}"),
        };
        let time = event.time.map_or("-".to_owned(), event::time::format);
        got.push(format!("{}:{} {agent}/{strategy} {what} {time}", entry.position, event.origin));
    }
    let outcomes = Outcome::all().map(|outcome| (outcome.name(), intake.lines().total(outcome)));
    let oddities = Oddity::ALL.into_iter().map(|oddity| (oddity.name(), intake.lines().oddity(oddity)));
    let more = [("waiting", intake.waiting() as u64), ("dropped", intake.waiting_dropped())];
    let counts = outcomes.chain(oddities).chain(more).filter(|(_, count)| *count > 0);
    got.push(counts.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "));
    assert_eq!(got.join("\n"), want);
}

#[test]
fn pnl_waits_for_its_run_and_is_applied_after_the_claim() {
    check(
        "",
        "events",
        &[
            r#"{"run_id":"r1","realized_pnl_bps":5}"#,
            r#"{"run_id":"r1","realized_pnl_bps":-2}"#,
            r#"{"run_id":"r2","realized_pnl_bps":1}"#,
            r#"{"run_id":"r1","agent":"a","strategy":"s","reward":1}"#,
            r#"{"run_id":"r1","agent":"b","reward":2}"#,
            r#"{"run_id":"r1","realized_pnl_bps":7}"#,
            r#"{"run_id":"r1","agent":"b","realized_pnl_bps":9}"#,
        ],
        "3:3 a/s run 1 -\n3:0 a/s pnl 5 -\n3:1 a/s pnl -2 -\n4:4 b/s run 2 -\n5:5 a/s pnl 7 -\n6:6 b/s pnl 9 -\n\
         run 2, pnl 5, waiting 1",
    );
}

#[test]
fn what_waits_is_bounded_and_the_oldest_goes_first() {
    check(
        "[limits]\nwaiting_pnl = 1",
        "events",
        &[
            r#"{"run_id":"r1","realized_pnl_bps":5}"#,
            r#"{"run_id":"r2","realized_pnl_bps":6}"#,
            r#"{"run_id":"r1","agent":"a","reward":1}"#,
            r#"{"run_id":"r2","agent":"a","reward":1}"#,
        ],
        "2:2 a/- run 1 -\n3:3 a/- run 1 -\n3:1 a/- pnl 6 -\nrun 2, pnl 2, dropped 1",
    );
}

#[test]
fn agents_and_strategies_are_bounded_and_the_known_ones_served() {
    check(
        "[limits]\nagents = 1",
        "events",
        &[
            r#"{"agent":"a","strategy":"s","reward":1}"#,
            r#"{"agent":"b","reward":2}"#,
            r#"{"agent":"b","realized_pnl_bps":3}"#,
            r#"{"agent":"a","strategy":"t","reward":4}"#,
        ],
        "0:0 a/s run 1 -\n3:3 a/- run 4 -\nrun 3, pnl 1, agents_overflow 2",
    );
}

#[test]
fn time_moves_by_usable_lines_that_are_not_too_far_ahead() {
    check(
        "",
        "events",
        &[
            r#"{"agent":"a","reward":1}"#,
            r#"{"agent":"a","reward":2,"ts":"2026-03-01T11:00:00Z"}"#,
            r#"{"agent":"a","reward":3,"ts":"2026-03-01T10:00:00Z"}"#,
            r#"{"agent":"a","reward":4,"ts":"2026-03-01T13:00:00Z"}"#,
            r#"{"agent":"a","reward":5,"ts":"2026-03-01T13:00:01Z"}"#,
            r#"{"agent":"a","reward":6,"ts":"1999-12-31T23:59:59Z"}"#,
            r#"{"agent":"a","reward":7,"ts":"2026-03-01T13:00:00Z","event_id":"x"}"#,
            r#"{"agent":"a","reward":8,"ts":"2026-03-01T11:00:00Z","event_id":"x"}"#,
        ],
        "0:0 a/- run 1 -\n1:1 a/- run 2 2026-03-01T11:00:00Z\n2:2 a/- run 3 2026-03-01T10:00:00Z\n\
         3:3 a/- run 4 2026-03-01T13:00:00Z\n4:4 a/- run 5 2026-03-01T13:00:00Z\n\
         5:5 a/- run 6 2026-03-01T13:00:00Z\n6:6 a/- run 7 2026-03-01T13:00:00Z\n\
         run 7, duplicate 1, skewed 1, ts_unusable 1",
    );
}

#[test]
fn control_lines_count_only_in_the_control_stream() {
    let lines = [r#"{"kind":"command","action":"kill","agent":"a","event_id":"1"}"#, r#"{"kind":"policy"}"#];
    check("", "events", &lines, "refused_control 2");
    check("", "control", &lines, "malformed 2");
}

#[test]
fn lines_that_name_no_agent_are_counted_and_not_folded() {
    check(
        "",
        "events",
        &[
            r#"{"run_id":"r1","reward":1}"#,
            r#"{"direction":"LONG"}"#,
            r#"{"agent":"a","symbol":"X","price":3}"#,
            r#"{"kind":"weather"}"#,
        ],
        "2:2 -/- price 3 -\nrun 1, alpha 1, price 1, unknown 1, without_agent 2",
    );
}

#[test]
fn a_line_dated_ahead_does_not_begin_the_next_day() {
    let mut intake = Intake::new(Arc::default());
    let place = Place { stream: "events".into(), file: "f1".into(), offset: 0 };
    let sealed_at = event::time::parse_text("2026-03-01T23:30:00Z");
    let mut batch = intake.begin();
    for ts in ["2026-03-01T23:00:00Z", "2026-03-02T00:10:00Z", "2026-03-01T23:05:00Z"] {
        let line = format!(r#"{{"agent":"a","reward":1,"ts":"{ts}"}}"#);
        intake.line(event::decode(line.as_bytes(), 1 << 20).as_ref(), &place, sealed_at, &mut batch);
    }
    let times = |of: fn(&crate::fold::Entry) -> Option<event::Nanos>| -> Vec<String> {
        batch.entries.iter().filter_map(of).map(event::time::format).collect()
    };
    assert_eq!(times(|entry| entry.tape_time)[1..], ["2026-03-02T00:10:00Z", "2026-03-02T00:10:00Z"]);
    assert_eq!(times(|entry| entry.now)[1..], ["2026-03-01T23:30:00Z", "2026-03-01T23:30:00Z"]);
}
