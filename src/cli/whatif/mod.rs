//! The same facts under other policies.

/// Thresholds that would have served better.
pub mod suggest;
/// Values of a threshold, one after the other.
mod sweep;

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use serde_json::{Map, Value, json};

use self::sweep::{Sweep, frontier};
use super::{
    Events, Found, Output, Usage, answer, figures,
    reading::{self, Progress},
};
use crate::{
    forensics::{
        Runs,
        trial::{Differs, Effect, Outcome, Said},
    },
    policy::{InForce, Policy},
    render::{Table, human},
    replay::{in_force, trials},
    report::gaps_of,
};

/// What nobody can know from a log.
const UNKNOWABLE: &str = "A replay can stop runs that happened; it cannot invent those that did not. Agents are judged here as if they had gone on, on what is on record: what they did after they were stopped in truth, or would have done instead, nobody knows.";
/// Agents of a policy that are told in words.
const TOLD: usize = 10;

#[derive(Debug, Args)]
pub struct WhatIf {
    #[command(flatten)]
    events: Events,
    /// Policy files to try
    #[arg(long, value_name = "FILE", num_args = 1.., action = clap::ArgAction::Append)]
    policy: Vec<PathBuf>,
    /// Values of one threshold to try, the others as they are in force at the end: KEY=FROM..TO:COUNT
    #[arg(long, value_name = "KEY=A..B:N", value_parser = Sweep::parse, allow_hyphen_values = true)]
    sweep: Vec<Sweep>,
    /// Threads to use; by default as many as there are processors. The result is the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// A policy that is tried.
struct Tried {
    name: String,
    policy: Arc<InForce>,
    /// One of a sweep.
    swept: bool,
}

impl WhatIf {
    pub fn run(self) -> anyhow::Result<Found> {
        if self.policy.is_empty() && self.sweep.is_empty() {
            let what = "nothing to try: give --policy FILE, or --sweep quarantine.drawdown_limit=-1..-10:10";
            return Err(Usage(what.to_owned()).into());
        }
        let mut tried = Vec::new();
        for file in &self.policy {
            let Some(policy) = reading::policy(Some(file))? else { continue };
            tried.push(Tried { name: file.display().to_string(), policy, swept: false });
        }
        let directory = reading::open(&self.events)?;
        let base = if self.sweep.is_empty() { Arc::default() } else { in_force(&directory)? };
        for sweep in &self.sweep {
            tried.extend(swept(sweep, &base.policy)?);
        }
        let policies: Vec<Arc<InForce>> = tried.iter().map(|tried| tried.policy.clone()).collect();
        let bar = Progress::new(None, "trying", false);
        let threads = self.threads.map_or_else(super::replay::processors, usize::from);
        let trials = trials(&directory, &policies, threads, &mut |lines| bar.inc(lines))?;
        bar.finish();
        let points = |at: usize| {
            let whole = &trials.outcomes[at].whole;
            (whole.loss_avoided_bps, whole.profit_forgone_bps)
        };
        let of_sweep: Vec<usize> = (0..tried.len()).filter(|at| tried[*at].swept).collect();
        let best = frontier(&of_sweep.iter().map(|at| points(*at)).collect::<Vec<_>>());
        let on_frontier = |at: usize| of_sweep.iter().position(|swept| *swept == at).map(|nth| best[nth]);
        let rows =
            tried.iter().zip(&trials.outcomes).enumerate().map(|(at, (tried, outcome))| {
                row(&trials.runs, &tried.name, &tried.policy.hash, outcome, on_frontier(at))
            });
        let (hash, outcome) = (&trials.in_force.0.hash, &trials.in_force.1);
        let told = json!({
            "position": trials.position,
            "from": directory.first_position(),
            "gaps": gaps_of(&trials.gaps),
            "runs": trials.runs.all.len(),
            "in_force": row(&trials.runs, "in force", hash, outcome, None),
            "policies": rows.collect::<Vec<_>>(),
            "unknowable": UNKNOWABLE,
        });
        answer::print(self.output, &told, page)?;
        Ok(answer::found(&trials.gaps))
    }
}

fn swept(sweep: &Sweep, base: &Policy) -> anyhow::Result<Vec<Tried>> {
    let policies = sweep.policies(base)?.into_iter();
    Ok(policies.map(|(name, policy)| Tried { name, policy: Arc::new(InForce::new(policy)), swept: true }).collect())
}

/// What a policy comes to, as JSON.
fn row(runs: &Runs, name: &str, hash: &str, outcome: &Outcome, on_frontier: Option<bool>) -> Value {
    let mut row = effect(&outcome.whole);
    row.insert("agents".to_owned(), agents(runs, outcome));
    let head = [("name", json!(name)), ("policy", json!(hash)), ("frontier", json!(on_frontier))];
    Value::Object(head.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(row).collect())
}

/// Agents to whom it does anything.
fn agents(runs: &Runs, outcome: &Outcome) -> Value {
    let idle = Effect::default();
    let named = runs.agents.iter().zip(&outcome.agents).filter(|(_, done)| **done != idle);
    let one = |(name, done): (&Arc<str>, &Effect)| {
        let mut row = effect(done);
        if let Some(Differs { position, here, there }) = done.differs {
            let said = |said: Option<Said>| said.map(|said| said.verdict);
            row.insert(
                "differs".to_owned(),
                json!({ "position": position, "here": said(here), "in_force": said(there) }),
            );
        }
        if let Some(lives) = &done.lives {
            let lives = json!({ "killed_at": lives.killed_at, "runs": lives.runs, "pnl_bps": lives.pnl_bps });
            row.insert("lives".to_owned(), lives);
        }
        (name.to_string(), row.into())
    };
    Value::Object(named.map(one).collect())
}

fn effect(effect: &Effect) -> Map<String, Value> {
    let row = json!({
        "kills": effect.kills,
        "quarantines": effect.quarantines,
        "promotions": effect.promotions,
        "budgets_exhausted": effect.exhausted,
        "runs_denied": effect.denied,
        "loss_avoided_bps": effect.loss_avoided_bps,
        "profit_forgone_bps": effect.profit_forgone_bps,
        "net_bps": effect.net_bps(),
        "cost_saved_usd": effect.cost_saved_usd,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

fn page(answer: &Value) -> String {
    let mut text = format!(
        "{} runs before position {}; bps of runs that began while their agent was denied\n",
        figures::count(&answer["runs"]),
        answer["position"]
    );
    let mut table = Table::new(&[
        "policy",
        "kills",
        "quarantines",
        "promotions",
        "denied",
        "loss avoided",
        "profit forgone",
        "net",
        "cost saved",
        "",
    ]);
    let policies = answer["policies"].as_array().map_or(&[][..], |rows| rows);
    for row in std::iter::once(&answer["in_force"]).chain(policies) {
        table.row(vec![
            figures::text(&row["name"]).into_owned(),
            figures::count(&row["kills"]),
            figures::count(&row["quarantines"]),
            figures::count(&row["promotions"]),
            figures::count(&row["runs_denied"]),
            figures::short(&row["loss_avoided_bps"]),
            figures::short(&row["profit_forgone_bps"]),
            figures::short(&row["net_bps"]),
            figures::usd(&row["cost_saved_usd"]),
            if row["frontier"] == true { "frontier".to_owned() } else { String::new() },
        ]);
    }
    text += &table.render(false);
    let parts = policies.iter().filter(|row| row["frontier"].is_null()).map(parting);
    text += &parts.collect::<String>();
    text + "\n" + UNKNOWABLE + "\n"
}

/// Where a policy parts from what was in force, agent by agent.
fn parting(row: &Value) -> String {
    let mut text = format!("\n{}: where it first says something else\n", figures::text(&row["name"]));
    let agents = row["agents"].as_object().into_iter().flatten();
    let differing: Vec<(&String, &Value)> = agents.filter(|(_, agent)| agent["differs"].is_object()).collect();
    for (name, agent) in differing.iter().take(TOLD) {
        let said = |key: &str| agent["differs"][key].as_str().unwrap_or("nothing").to_owned();
        let (name, position) = (human::visible(name), &agent["differs"]["position"]);
        text +=
            &format!("  {name} at position {position}: {}, where in force it was {}\n", said("here"), said("in_force"));
        if let Some(lives) = agent["lives"].as_object() {
            text += &format!(
                "    it lives on: {} runs after position {} earned {} bps\n",
                figures::count(&lives["runs"]),
                lives["killed_at"],
                figures::short(&lives["pnl_bps"])
            );
        }
    }
    match differing.len() {
        0 => text + "  nowhere\n",
        more if more > TOLD => text + &format!("  and {} more agents\n", more - TOLD),
        _ => text,
    }
}
