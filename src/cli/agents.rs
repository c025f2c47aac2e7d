use std::io::Write;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Found, Output, desk::Way, figures, reading, select, select::Condition};
use crate::render::Table;

#[derive(Debug, Args)]
pub struct Agents {
    #[command(flatten)]
    way: Way,
    /// Only those with this verdict: allow or deny
    #[arg(long, value_name = "VERDICT")]
    verdict: Option<String>,
    /// Only those whose gate is candidate, promoted or killed
    #[arg(long, value_name = "STATE")]
    gate: Option<String>,
    /// Only those of this strategy
    #[arg(long, value_name = "NAME")]
    strategy: Option<String>,
    /// By name, or the largest figure first
    #[arg(long, value_enum, default_value = "name")]
    sort: Sort,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// What agents are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    Name,
    Size,
    Runs,
    Errors,
    Cost,
    Sharpe,
    Pnl,
    Latency,
}

impl Sort {
    /// Where the figure stands in a row.
    fn figure(self) -> Option<&'static str> {
        match self {
            Sort::Name => None,
            Sort::Size => Some("/verdict/size_multiplier"),
            Sort::Runs => Some("/runs"),
            Sort::Errors => Some("/errors"),
            Sort::Cost => Some("/cost_usd"),
            Sort::Sharpe => Some("/reward/sharpe"),
            Sort::Pnl => Some("/pnl_bps/sum"),
            Sort::Latency => Some("/latency_ms/median"),
        }
    }
}

impl Agents {
    pub fn run(self) -> anyhow::Result<Found> {
        let asked = [("verdict", &self.verdict), ("gate", &self.gate), ("strategy", &self.strategy)];
        let given = asked.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let conditions: Vec<Condition> =
            given.map(|(key, value)| Condition::new(key, value)).collect::<Result<_, _>>()?;
        let mut desk = self.way.open()?;
        let state = desk.state()?;
        let names = select::agents(&state, &conditions)?;
        let rows = sorted(&state["agents"], &names, self.sort);
        let mut out = reading::stdout();
        match self.output {
            Output::Text => {
                write!(out, "{}", table(&rows).render(reading::color()))?;
                let (shown, all) = (rows.len(), state["agents"].as_object().map_or(0, Map::len));
                let of = if shown == all { String::new() } else { format!(" of {all}") };
                writeln!(out, "{}{of} at position {}", figures::some(shown, "agent"), state["position"])?;
            }
            Output::Json => {
                let rows: Map<String, Value> =
                    rows.into_iter().map(|(name, row)| (name.to_owned(), row.clone())).collect();
                serde_json::to_writer_pretty(&mut out, &json!({ "position": state["position"], "agents": rows }))?;
                writeln!(out)?;
            }
            Output::Jsonl => {
                for (name, row) in rows {
                    let mut whole = Map::from_iter([("agent".to_owned(), name.into())]);
                    whole.extend(row.as_object().cloned().unwrap_or_default());
                    writeln!(out, "{}", Value::Object(whole))?;
                }
            }
        }
        out.flush()?;
        Ok(Found::Nothing)
    }
}

/// The rows of those names, the largest figure first; those without one last.
fn sorted<'a>(rows: &'a Value, names: &'a [String], sort: Sort) -> Vec<(&'a str, &'a Value)> {
    let mut list: Vec<(&str, &Value)> = names.iter().map(|name| (name.as_str(), &rows[name.as_str()])).collect();
    if let Some(figure) = sort.figure() {
        let of = |row: &Value| row.pointer(figure).and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY);
        list.sort_by(|(_, a), (_, b)| of(b).total_cmp(&of(a)));
    }
    list
}

fn table(rows: &[(&str, &Value)]) -> Table {
    let mut table = Table::new(&[
        "agent", "verdict", "why", "live", "size", "gate", "runs", "errors", "cost", "sharpe", "pnl bps", "latency",
    ]);
    for (name, row) in rows {
        let verdict = &row["verdict"];
        let live = if verdict["live"].as_bool().unwrap_or(false) { "yes" } else { "no" };
        table.row(vec![
            (*name).to_owned(),
            figures::text(&verdict["verdict"]).into_owned(),
            figures::list(&verdict["reasons"]),
            live.to_owned(),
            figures::short(&verdict["size_multiplier"]),
            figures::text(&row["gate"]["state"]).into_owned(),
            figures::count(&row["runs"]),
            figures::count(&row["errors"]),
            figures::usd(&row["cost_usd"]),
            figures::short(&row["reward"]["sharpe"]),
            figures::short(&row["pnl_bps"]["sum"]),
            figures::short(&row["latency_ms"]["median"]),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_stand_in_a_table() {
        let rows = json!({
            "a": { "verdict": { "verdict": "deny", "reasons": ["killed", "quarantined"], "live": false,
                   "size_multiplier": 0.0 }, "gate": { "state": "killed" }, "runs": 1204, "errors": 3,
                   "cost_usd": 1.5, "reward": { "sharpe": -0.71234 }, "pnl_bps": { "sum": -120.04 },
                   "latency_ms": { "median": 250.5 } },
            "b\u{1b}": { "verdict": { "verdict": "allow", "reasons": [], "live": true, "size_multiplier": 0.95 },
                   "gate": { "state": "promoted" }, "runs": 7, "errors": 0, "cost_usd": 0.0042,
                   "reward": { "sharpe": null }, "pnl_bps": { "sum": 5.0 }, "latency_ms": { "median": null } },
        });
        let names = ["a".to_owned(), "b\u{1b}".to_owned()];
        let want = "\
agent    verdict  why                  live  size  gate       runs  errors     cost  sharpe  pnl bps  latency
b\\u{1b}  allow    -                    yes   0.95  promoted      7       0  $0.0042       -        5        -
a        deny     killed, quarantined  no       0  killed    1,204       3    $1.50  -0.712     -120      250
";
        assert_eq!(table(&sorted(&rows, &names, Sort::Pnl)).render(false), want);
        assert_eq!(sorted(&rows, &names, Sort::Runs)[0].0, "a");
        assert_eq!(sorted(&rows, &names, Sort::Sharpe)[1].0, "b\u{1b}", "none comes last");
    }
}
