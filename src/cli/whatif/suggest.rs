use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::{Tried, sweep::Sweep, swept};
use crate::{
    cli::{
        Events, Found, Output, answer, figures,
        reading::{self, Progress},
    },
    forensics::trial::Outcome,
    policy::InForce,
    render::Table,
    replay::{Trials, in_force, trials},
    report::gaps_of,
};

/// Thresholds that are tried, from one end to the other.
const TRIED: [(&str, f64, f64, usize); 4] = [
    ("quarantine.drawdown_limit", -0.5, -8.0, 16),
    ("gates.kill.last_5_pnl_bps", -25.0, -400.0, 16),
    ("gates.kill.max_error_rate", 0.05, 0.5, 10),
    ("quarantine.sharpe_floor", -0.5, 0.0, 11),
];

/// Try thresholds on the history of a directory, and say which would have served better: whom each would have stopped, and
/// what that would have saved and cost
#[derive(Debug, Args)]
pub struct Suggest {
    #[command(flatten)]
    events: Events,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Suggest {
    pub fn run(self) -> anyhow::Result<Found> {
        let directory = reading::open(&self.events)?;
        let base = in_force(&directory)?;
        let mut all: Vec<(&str, Vec<Tried>)> = Vec::new();
        for (key, from, to, count) in TRIED {
            all.push((key, swept(&Sweep::new(key, from, to, count), &base.policy)?));
        }
        let policies: Vec<Arc<InForce>> =
            all.iter().flat_map(|(_, tried)| tried).map(|tried| tried.policy.clone()).collect();
        let bar = Progress::new(None, "trying", false);
        let threads = crate::cli::replay::processors();
        let tested = trials(&directory, &policies, threads, &mut |lines| bar.inc(lines))?;
        bar.finish();
        let now: Value = serde_json::to_value(&base.policy)?;
        let mut outcomes = tested.outcomes.iter();
        let mut rows = Vec::new();
        for (key, tried) in &all {
            let of: Vec<(&Tried, &Outcome)> = tried.iter().zip(outcomes.by_ref()).collect();
            let standing = now.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
            rows.push(suggestion(&tested, key, standing, &of));
        }
        let told = json!({
            "position": tested.position,
            "gaps": gaps_of(&tested.gaps),
            "suggestions": rows,
            "unknowable": super::UNKNOWABLE,
        });
        answer::print(self.output, &told, page)?;
        Ok(answer::found(&tested.gaps))
    }
}

/// The value of a threshold that would have left most, and whom it would have stopped.
fn suggestion(tested: &Trials, key: &str, now: Option<Value>, of: &[(&Tried, &Outcome)]) -> Value {
    let in_force = &tested.in_force.1.whole;
    // Of values that come to the same, the one in the middle of them is the least of an accident.
    let most = of.iter().map(|(_, outcome)| outcome.whole.net_bps()).fold(f64::NEG_INFINITY, f64::max);
    let best: Vec<_> = of.iter().filter(|(_, outcome)| outcome.whole.net_bps() >= most).collect();
    let Some((tried, outcome)) = best.get(best.len() / 2) else { return Value::Null };
    let value = tried.name.split_once('=').and_then(|(_, value)| value.parse::<f64>().ok());
    let stopped = tested.runs.agents.iter().zip(&outcome.agents).filter(|(_, effect)| effect.denied > 0);
    let stopped: Vec<Value> = stopped
        .map(|(name, effect)| json!({ "agent": name, "runs": effect.denied, "net_bps": effect.net_bps() }))
        .collect();
    json!({
        "key": key,
        "now": now,
        "try": (outcome.whole.net_bps() > in_force.net_bps()).then_some(value),
        "net_bps_now": in_force.net_bps(),
        "net_bps": outcome.whole.net_bps(),
        "loss_avoided_bps": outcome.whole.loss_avoided_bps,
        "profit_forgone_bps": outcome.whole.profit_forgone_bps,
        "cost_saved_usd": outcome.whole.cost_saved_usd,
        "stopped": stopped,
    })
}

fn page(answer: &Value) -> String {
    let mut table =
        Table::new(&["threshold", "now", "try", "net now", "net", "loss avoided", "profit forgone", "stops"]);
    for row in answer["suggestions"].as_array().into_iter().flatten() {
        let stopped = row["stopped"].as_array().into_iter().flatten();
        let better = row["try"].is_number();
        table.row(vec![
            figures::text(&row["key"]).into_owned(),
            figures::short(&row["now"]),
            if better { figures::short(&row["try"]) } else { "as it is".to_owned() },
            figures::short(&row["net_bps_now"]),
            figures::short(&row["net_bps"]),
            figures::short(&row["loss_avoided_bps"]),
            figures::short(&row["profit_forgone_bps"]),
            figures::names(stopped.filter_map(|stopped| stopped["agent"].as_str())),
        ]);
    }
    format!(
        "thresholds one by one on the history before position {}, bps of runs that would have been denied\n{}\nWhat served best on the past fits it: try it on other months with `runtape whatif`, then apply it.\n{}\n",
        answer["position"],
        table.render(false),
        super::UNKNOWABLE
    )
}
