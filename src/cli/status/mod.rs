//! Is everything fine, and if not, what first.

/// Where a policy leaves agents no way forward.
mod corners;
/// What is wrong, the most urgent first.
pub mod problems;

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};

use self::problems::Problem;
use super::{
    Found, Output,
    desk::{DeskError, InForceNow, State, Way},
    figures, reading, wrap,
};
use crate::{
    render::{decision, human},
    store::decisions::Filter,
};

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    way: Way,
    /// The last decisions too, with their times
    #[arg(long, value_name = "DECISIONS", default_value_t = 0, hide_default_value = true)]
    history: usize,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Status {
    pub fn run(self) -> anyhow::Result<Found> {
        let mut desk = match self.way.open() {
            Ok(desk) => desk,
            Err(error) => return self.unreachable(error),
        };
        let looked = desk.health().and_then(|health| {
            let state = desk.state().or_else(|error| without_rows(health.as_ref(), error))?;
            let last = if self.history == 0 { Vec::new() } else { desk.newest(&Filter::default(), self.history)? };
            Ok((health, state, desk.policy()?, last))
        });
        let (health, state, policy, last) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.unreachable(error),
        };
        let mut problems = problems::all(health.as_ref(), &state);
        problems.extend(state[UNKNOWN].as_str().map(|why| {
            Problem::new(
                format!("what stands with the agents is not known: {why}"),
                "ask again, or for one: `runtape agent NAME`",
            )
        }));
        let corners = corners::all(&state, &policy.policy);
        let mut report = json!({
            "fine": problems.is_empty() && corners.is_empty(),
            "problems": problems,
            "corners": corners,
            "served": health.is_some(),
            "position": state["position"],
            "tape_time": state["tape_time"],
            "policy": policy.hash,
            "agents": problems::tally(&state),
            "budget": state["budget"],
            "lines": state["lines"],
            "waiting": state["waiting"],
        });
        let mut below = summary(health.as_ref(), &state, &policy);
        if self.history > 0 {
            below += &history(&last);
            report["history"] = last.into();
        }
        self.print(&report, &below)
    }

    /// A server that does not answer is the first problem there is.
    fn unreachable(&self, error: anyhow::Error) -> anyhow::Result<Found> {
        match error.downcast_ref::<DeskError>() {
            Some(DeskError::Silent { url, what, way_out }) => {
                let problem = Problem::new(format!("the server {url} does not answer: {what}"), way_out);
                self.print(&json!({ "fine": false, "problems": [problem], "corners": [] }), "")
            }
            _ => Err(error),
        }
    }

    fn print(&self, report: &Value, summary: &str) -> anyhow::Result<Found> {
        let mut out = reading::stdout();
        match self.output {
            Output::Text => write!(out, "{}", wrap::printed(&(words(report) + summary), 3))?,
            Output::Jsonl => writeln!(out, "{report}")?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut out, report)?;
                writeln!(out)?;
            }
        }
        out.flush()?;
        Ok(if report["fine"] == true { Found::Nothing } else { Found::Something })
    }
}

/// Why nothing is known of the agents.
const UNKNOWN: &str = "unknown";

/// What a server says of itself is told also when it has no time for the rows of all agents.
///
/// # Errors
/// There is no server, or it does not answer at all.
fn without_rows(health: Option<&Value>, error: anyhow::Error) -> anyhow::Result<State> {
    if let (Some(health), Some(DeskError::Answered { status: 503, .. })) = (health, error.downcast_ref::<DeskError>()) {
        let of = |name: &str| health[name].clone();
        return Ok(json!({
            "position": of("position"), "tape_time": of("tape_time"), "lines": of("lines"), "waiting": of("waiting"),
            UNKNOWN: format!("{error:#}"),
        }));
    }
    Err(error)
}

/// The problems one by one, then the corners, or that there are none.
fn words(report: &Value) -> String {
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    let (problems, corners) = (list("problems"), list("corners"));
    let mut text = String::new();
    for (number, problem) in problems.iter().enumerate() {
        let (what, way_out) = (figures::text(&problem["what"]), figures::text(&problem["way_out"]));
        text += &format!("{}. {what}: {way_out}\n", number + 1);
    }
    for corner in &corners {
        text += &format!("policy: {}\n", figures::text(corner));
    }
    if text.is_empty() { "everything is fine\n".to_owned() } else { text }
}

/// Where things stand, in a few lines.
fn summary(health: Option<&Value>, state: &State, policy: &InForceNow) -> String {
    let tally = problems::tally(state);
    let of = |name: &str| format!("{} {name}", figures::count(&tally[name]));
    let words = ["allow", "deny", "promoted", "killed", "quarantined"].map(of).join(", ");
    let durable = health.map_or("no server".to_owned(), |health| format!("durable to {}", health["durable"]));
    let version = health
        .and_then(|health| health["version"].as_str())
        .map_or(String::new(), |version| format!(", server {}", human::visible(version)));
    format!(
        "\nposition {} ({durable}{version}), tape time {}\nagents {}: {words}\nbudget {} left of {}\npolicy {}\n",
        state["position"],
        figures::moment(&state["tape_time"]),
        figures::count(&tally["all"]),
        figures::usd(&state["budget"]["remaining_usd"]),
        figures::usd(&state["budget"]["daily_usd"]),
        human::visible(&policy.hash),
    )
}

/// What was decided last, and when, the oldest first.
fn history(decisions: &[Value]) -> String {
    let mut text = "\nlast decisions\n".to_owned();
    for decision in decisions {
        text += &format!("{:<20} {}\n", figures::moment(&decision["tape_time"]), decision::line(decision));
    }
    if decisions.is_empty() { text + "none yet\n" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_in_order_and_fine_is_fine() {
        let report = json!({
            "problems": [ { "what": "the fleet is paused", "way_out": "resume it" } ],
            "corners": ["a\u{7} cannot recover"],
        });
        assert_eq!(words(&report), "1. the fleet is paused: resume it\npolicy: a\\u{7} cannot recover\n");
        assert_eq!(words(&json!({ "problems": [], "corners": [] })), "everything is fine\n");
        let killed = json!({ "tape_time": 1_772_375_400.25, "cause": 7, "consumer": "gates", "subject": "a",
                             "verdict": "killed", "reason": { "rule": "error_rate" } });
        let want = "\nlast decisions\n2026-03-01T14:30:00Z         7  gates        a                        killed       rule=\"error_rate\"\n";
        assert_eq!(history(&[killed]), want);
        assert_eq!(history(&[]), "\nlast decisions\nnone yet\n");
    }
}
