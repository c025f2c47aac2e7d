use serde_json::{Map, Value, json};

use super::{
    Depth, Report, Unanswered,
    plots::Shown,
    promotion,
    recorded::{Recorded, about},
    words,
};
use crate::{
    forensics::{
        Run, Runs,
        breakdown::{BY, breakdown},
        patterns::{LEAST_RUNS, patterns},
        shifts::shifts,
    },
    render::{Table, figures, human, near::near},
    replay::Watch,
    stats::Exact,
    tape::Directory,
};

/// Why an agent lost money.
///
/// # Errors
/// Nobody of that name had a run, or the history cannot be read.
pub fn agent(directory: &Directory, name: &str, depth: &Depth, watch: &Watch) -> Result<Report, Unanswered> {
    let recorded = Recorded::of(directory, watch, about(name))?;
    let runs = &recorded.runs;
    let Some(agent) = runs.agent_of(name) else { return Err(stranger(runs, name)) };
    let own: Vec<&Run> = runs.all.iter().filter(|run| run.agent == agent).collect();
    let mut told = Map::from_iter(recorded.history(directory));
    told.insert("agent".to_owned(), json!(name));
    told.extend(figures_of(&recorded, &own, depth));
    told.insert("shifts".to_owned(), words::shifts(&shifts(&own)));
    told.insert("promotion".to_owned(), promotion::of(&recorded, agent, &own));
    let shown = Shown { runs, own: &own, one: None, decided: &recorded.decided };
    Ok(Report { plots: shown.plots(), answer: told.into(), gaps: recorded.walk.gaps })
}

/// The same of the whole fleet.
///
/// # Errors
/// The history cannot be read.
pub fn fleet(directory: &Directory, depth: &Depth, watch: &Watch) -> Result<Report, Unanswered> {
    let recorded = Recorded::of(directory, watch, |emitted| {
        matches!(emitted.decision.consumer, "gates" | "quarantine" | "budget")
    })?;
    let all: Vec<&Run> = recorded.runs.all.iter().collect();
    let mut told = Map::from_iter(recorded.history(directory));
    told.extend(figures_of(&recorded, &all, depth));
    told.insert("agents".to_owned(), agents(&recorded.runs));
    let shown = Shown { runs: &recorded.runs, own: &all, one: None, decided: &recorded.decided };
    Ok(Report { plots: shown.plots(), answer: told.into(), gaps: recorded.walk.gaps })
}

/// Nobody of that name had a run; who is meant, perhaps.
fn stranger(runs: &Runs, name: &str) -> Unanswered {
    let hint = match near(name, runs.agents.iter().map(|known| &**known)) {
        Some(near) => format!("did you mean {}?", human::visible(near)),
        None if runs.agents.is_empty() => "there is no agent yet".to_owned(),
        None => "`runtape agents` lists those there are".to_owned(),
    };
    Unanswered::Stranger(format!("there is no agent {}: {hint}", human::visible(name)))
}

/// What is said of any set of runs.
fn figures_of(recorded: &Recorded, of: &[&Run], depth: &Depth) -> Map<String, Value> {
    let (runs, rules) = (&recorded.runs, recorded.rules());
    let earned = || of.iter().filter_map(|run| run.pnl_bps);
    let sum = earned().fold(Exact::default(), |mut sum, pnl| {
        sum += pnl;
        sum
    });
    let mut worst: Vec<&&Run> = of.iter().filter(|run| run.pnl_bps.is_some_and(|pnl| pnl < 0.0)).collect();
    worst.sort_by(|a, b| {
        a.pnl_bps.unwrap_or(0.0).total_cmp(&b.pnl_bps.unwrap_or(0.0)).then(a.position.cmp(&b.position))
    });
    let worst: Vec<Value> = worst.into_iter().take(depth.worst).map(|run| words::run_row(runs, run, rules)).collect();
    let by = BY.iter().map(|by| ((*by).to_owned(), words::groups(breakdown(runs, of.iter().copied(), by))));
    Map::from_iter([
        ("runs".to_owned(), of.len().into()),
        ("with_pnl".to_owned(), earned().count().into()),
        ("lost".to_owned(), earned().filter(|pnl| *pnl < 0.0).count().into()),
        ("pnl_bps".to_owned(), sum.to_f64().into()),
        ("pnl_without_run".to_owned(), json!({ "records": runs.loose.0, "pnl_bps": runs.loose.1 })),
        ("worst".to_owned(), worst.into()),
        ("patterns".to_owned(), words::patterns(&patterns(runs, of.iter().copied(), depth.q))),
        ("by".to_owned(), Value::Object(by.collect())),
    ])
}

/// What changed first, agent by agent, where something did.
fn agents(runs: &Runs) -> Value {
    let mut of: Vec<Vec<&Run>> = vec![Vec::new(); runs.agents.len()];
    for run in &runs.all {
        if let Some(own) = of.get_mut(run.agent as usize) {
            own.push(run);
        }
    }
    let named = runs.agents.iter().zip(&of);
    let rows = named.map(|(name, own)| (name.to_string(), words::shifts(&shifts(own))["first"].clone()));
    Value::Object(rows.filter(|(_, first)| !first.is_null()).collect())
}

/// An answer in words.
pub fn page(who: &str, answer: &Value) -> String {
    let lines = |of: Vec<String>| of.iter().map(|line| format!("  {line}\n")).collect::<String>();
    let mut text = format!("{who} {}\n", headline(answer));
    text += "\nwhere losses cluster\n";
    text += &lines(clusters(&answer["patterns"]));
    text += "\nwhat changed first\n";
    text += &lines(changed(answer));
    text += &promotion::page(&answer["promotion"]);
    text += "\nworst runs\n";
    text += &worst(answer);
    for by in BY {
        text += &format!("\nby {by}\n");
        text += &group_table(by, &answer["by"][by]);
    }
    text
}

/// How many runs there were, and what they came to.
pub fn headline(answer: &Value) -> String {
    let mut text = format!(
        "at position {}: {} runs, {} with PnL, {} of them lost; {} bps in all",
        answer["position"],
        figures::count(&answer["runs"]),
        figures::count(&answer["with_pnl"]),
        figures::count(&answer["lost"]),
        figures::short(&answer["pnl_bps"]),
    );
    if answer["with_pnl"] == 0 {
        let loose = &answer["pnl_without_run"]["records"];
        text += &format!("\nno PnL names a run of it; {} PnL records name no run that is known", figures::count(loose));
    }
    text
}

/// A sentence for each pattern, or why there is none.
pub fn clusters(patterns: &Value) -> Vec<String> {
    let rows = patterns["found"].as_array().map_or(&[][..], |rows| rows);
    let runs = patterns["runs"].as_u64().unwrap_or(0);
    if runs < LEAST_RUNS as u64 {
        return vec![format!("{runs} runs with PnL are too few to say; {LEAST_RUNS} are needed")];
    }
    if rows.is_empty() {
        let tested = patterns["tested"].as_u64().unwrap_or(0) as usize;
        return vec![format!(
            "no pattern survives: {} found in the first half, none confirmed by the second",
            figures::some(tested, "candidate")
        )];
    }
    rows.iter().map(|row| row["sentence"].as_str().unwrap_or("").to_owned()).collect()
}

/// What changed before performance did, a sentence each.
pub fn changed(answer: &Value) -> Vec<String> {
    let told: Vec<String> = match answer["agents"].as_object() {
        Some(agents) => {
            let sentence = |first: &Value| first.as_str().unwrap_or("").to_owned();
            agents.iter().map(|(name, first)| format!("{}: {}", human::visible(name), sentence(first))).collect()
        }
        None => answer["shifts"]["first"].as_str().map(str::to_owned).into_iter().collect(),
    };
    if told.is_empty() { vec!["nothing that came before a fall of PnL".to_owned()] } else { told }
}

fn worst(answer: &Value) -> String {
    let mut table =
        Table::new(&["pnl bps", "run", "agent", "symbol", "side", "regime", "latency", "tokens in", "cost", "denied"]);
    for row in answer["worst"].as_array().into_iter().flatten() {
        table.row(vec![
            figures::short(&row["pnl_bps"]),
            figures::text(&row["run_id"]).into_owned(),
            figures::text(&row["agent"]).into_owned(),
            figures::text(&row["symbol"]).into_owned(),
            figures::text(&row["direction"]).into_owned(),
            figures::text(&row["regime"]).into_owned(),
            figures::short(&row["latency_ms"]),
            figures::count(&row["tokens_in"]),
            figures::usd(&row["cost_usd"]),
            figures::list(&row["held"]["reasons"]),
        ]);
    }
    if table.is_empty() { "  no run lost\n".to_owned() } else { table.render(false) }
}

fn group_table(by: &str, groups: &Value) -> String {
    let mut table = Table::new(&[by, "runs", "lost", "pnl bps"]);
    for group in groups.as_array().into_iter().flatten() {
        let name = figures::text(&group["name"]).into_owned();
        table.row(vec![
            name,
            figures::count(&group["runs"]),
            figures::count(&group["lost"]),
            figures::short(&group["pnl_bps"]),
        ]);
    }
    if table.is_empty() { "  no run has PnL\n".to_owned() } else { table.render(false) }
}
