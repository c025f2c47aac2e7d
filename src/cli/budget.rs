use std::{fmt::Write as _, io::Write};

use clap::Args;
use serde_json::{Value, json};

use super::{
    Found, Output,
    desk::{State, Way},
    figures, reading,
};
use crate::render::{Table, human};

#[derive(Debug, Args)]
pub struct Budget {
    #[command(flatten)]
    way: Way,
    /// Days to show, the newest first
    #[arg(long, default_value_t = 7)]
    days: usize,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Budget {
    pub fn run(self) -> anyhow::Result<Found> {
        let state = self.way.open()?.state()?;
        let report = report(&state, self.days);
        let mut out = reading::stdout();
        match self.output {
            Output::Text => write!(out, "{}", words(&report, reading::color()))?,
            Output::Jsonl => writeln!(out, "{report}")?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut out, &report)?;
                writeln!(out)?;
            }
        }
        out.flush()?;
        let exhausted = report["budget"]["allowed"] == false;
        Ok(if exhausted { Found::Something } else { Found::Nothing })
    }
}

/// What of the state is about money.
fn report(state: &State, days: usize) -> Value {
    let by_day: Vec<&Value> = state["fleet"]["spent_by_day"].as_array().into_iter().flatten().take(days).collect();
    let agents = state["agents"].as_object().into_iter().flatten();
    let own =
        agents.filter(|(_, row)| row["budget"].is_object()).map(|(name, row)| (name.clone(), row["budget"].clone()));
    json!({
        "position": state["position"],
        "budget": state["budget"],
        "spent_by_day": by_day,
        "agents": Value::Object(own.collect()),
    })
}

fn words(report: &Value, color: bool) -> String {
    let today = &report["budget"];
    let mut text = format!(
        "fleet, {}: {} spent of {}, {} reserved, {} left{}\n",
        today["day"].as_str().map_or("no day yet".into(), human::visible),
        figures::usd(&today["spent_usd"]),
        figures::usd(&today["daily_usd"]),
        figures::usd(&today["reserved_usd"]),
        figures::usd(&today["remaining_usd"]),
        if today["allowed"] == false { ": EXHAUSTED until the next UTC day" } else { "" },
    );
    let mut days = Table::new(&["day", "spent"]);
    for day in report["spent_by_day"].as_array().into_iter().flatten() {
        days.row(vec![figures::text(&day["day"]).into_owned(), figures::usd(&day["spent_usd"])]);
    }
    let mut own = Table::new(&["agent", "spent", "budget", "reserved", "left", ""]);
    for (name, row) in report["agents"].as_object().into_iter().flatten() {
        own.row(vec![
            name.clone(),
            figures::usd(&row["spent_usd"]),
            figures::usd(&row["daily_usd"]),
            figures::usd(&row["reserved_usd"]),
            figures::usd(&row["remaining_usd"]),
            if row["allowed"] == false { "exhausted".to_owned() } else { String::new() },
        ]);
    }
    for table in [days, own].iter().filter(|table| !table.is_empty()) {
        let _ = write!(text, "\n{}", table.render(color));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_told_by_day_and_by_agent() {
        let state = json!({
            "position": 9,
            "budget": { "day": "2026-03-02", "spent_usd": 4.95, "remaining_usd": 0.05, "reserved_usd": 0.0,
                        "daily_usd": 5.0, "allowed": false },
            "fleet": { "spent_by_day": [ { "day": "2026-03-02", "spent_usd": 4.95 },
                                         { "day": "2026-03-01", "spent_usd": 12.5 },
                                         { "day": "2026-02-28", "spent_usd": 1.0 } ] },
            "agents": { "a": { "budget": { "spent_usd": 0.5, "daily_usd": 1.0, "reserved_usd": 0.25,
                                           "remaining_usd": 0.25, "allowed": true } }, "b": {} },
        });
        let want = "\
fleet, 2026-03-02: $4.95 spent of $5.00, $0.00 reserved, $0.05 left: EXHAUSTED until the next UTC day

day          spent
2026-03-02   $4.95
2026-03-01  $12.50

agent  spent  budget  reserved   left
a      $0.50   $1.00     $0.25  $0.25
";
        assert_eq!(words(&report(&state, 2), false), want);
        let empty = json!({ "budget": { "day": null, "spent_usd": 0.0, "daily_usd": 5.0, "reserved_usd": 0.0,
                                        "remaining_usd": 5.0, "allowed": true } });
        assert_eq!(
            words(&report(&empty, 7), false),
            "fleet, no day yet: $0.00 spent of $5.00, $0.00 reserved, $5.00 left\n"
        );
    }
}
