use serde_json::json;

use super::{
    check,
    control::{command, log, request, run},
    row,
};
use crate::subject::Subject;

#[test]
fn budget_is_reserved_settled_released_and_expires() {
    let reserve = |run: &str, usd: f64, sec: u32| {
        request(
            "reserve",
            &format!(r#","agent":"a","run_id":"{run}","amount_usd":{usd},"ts":"2026-03-01T10:{sec:02}:00Z""#),
        )
    };
    let release = |run: &str, agent: &str| request("release", &format!(r#","run_id":"{run}","agent":"{agent}""#));
    let lines = log(&[
        &reserve("r1", 3.0, 0),
        &reserve("r2", 1.91, 1),
        &reserve("r2", 1.9, 2),
        &reserve("r2", 0.0, 3),
        &run("a", r#","run_id":"r1","cost_usd":2.5"#),
        &run("a", r#","run_id":"r1","cost_usd":0.1"#),
        &release("r1", "a"),
        &release("r2", "b"),
        &release("r2", "a"),
        &reserve("r3", 2.3, 4),
        &reserve("r4", 0.1, 5),
        &reserve("r4", 0.1, 19),
    ]);
    let want = [
        "0 budget a granted (budget)",
        "1 budget a denied (fleet budget)",
        "2 budget a granted (budget)",
        "3 budget a refused (already reserved)",
        "4 budget a settled (run)",
        "6 budget a refused (not open)",
        "7 budget b refused (reserved by another agent)",
        "8 budget a released (request)",
        "9 budget a granted (budget)",
        "10 budget a denied (fleet budget)",
        "11 budget a expired (ttl)",
        "11 budget a granted (budget)",
    ];
    check("", &lines, "budget", &want);
    let own = "[budget.agents]\na = 1.0";
    check(
        own,
        &log(&[&reserve("r1", 0.91, 0), &reserve("r1", 0.9, 0)]),
        "budget",
        &["0 budget a denied (agent budget)", "1 budget a granted (budget)"],
    );
}

#[test]
fn nobodys_run_settles_what_another_reserved() {
    let reserve = |agent: &str| request("reserve", &format!(r#","agent":"{agent}","run_id":"r","amount_usd":1"#));
    let release = request("release", r#","run_id":"r""#);
    let lines = log(&[
        &reserve("b"),
        &run("a", r#","run_id":"r","cost_usd":0"#),
        &reserve("a"),
        &release,
        &run("b", r#","run_id":"r","cost_usd":0.5"#),
        &release,
    ]);
    let want = [
        "0 budget b granted (budget)",
        "2 budget a granted (budget)",
        "3 budget fleet refused (reserved by several agents)",
        "4 budget b settled (run)",
        "5 budget a released (request)",
    ];
    check("", &lines, "budget", &want);
}

#[test]
fn runs_are_given_out_at_each_period_and_taken_back_at_once() {
    let at = |minute: u32, agent: &str| {
        vec![format!(r#"{{"agent":"{agent}","reward":0.5,"ts":"2026-03-01T10:{minute:02}:00Z"}}"#)]
    };
    let lines = log(&[
        &at(0, "a"),
        &at(1, "b"),
        &at(15, "a"),
        &command("kill", "agent:a"),
        &command("quarantine", "agent:b"),
        &at(30, "b"),
        &command("clear", "agent:b"),
        &command("pause", "fleet"),
        &command("resume", "fleet"),
        &at(45, "b"),
    ]);
    let want = [
        "2 allocation a allocated (period)",
        "2 allocation b allocated (period)",
        "3 allocation a allocated (held back)",
        "4 allocation b allocated (held back)",
        "7 allocation b allocated (held back)",
        "9 allocation b allocated (period)",
    ];
    check("", &lines, "allocation", &want);
    let share = |upto: usize, agent: u32| row("", &lines[..upto], Subject::Agent(agent))["allocation"].clone();
    assert_eq!(share(3, 0)["runs_per_period"], 15);
    assert_eq!(share(3, 1)["interval_min"], 1);
    assert_eq!(
        share(5, 1),
        json!({"runs_per_period": 1, "interval_min": 15, "score": share(5, 1)["score"], "paper": true})
    );
    assert_eq!(share(10, 1)["runs_per_period"], 30);
    assert_eq!(share(10, 0)["runs_per_period"], 0);
}
