use serde_json::{Value, json};

use super::{
    Report, Unanswered, gaps_of,
    plots::Shown,
    recorded::{Decided, about},
    words,
};
use crate::{
    consumers::REGISTRY,
    forensics::{Recorder, Run, Runs, story},
    render::{
        decision,
        difference::{self, changes},
        figures, human,
    },
    replay::{
        Gap, ReplayError, Walk, Watch,
        lookup::{Lines, Told, each_of_all},
    },
    tape::{Directory, Until},
};

/// Ids that are suggested for one that does not exist.
const SUGGESTED: usize = 3;

/// The lines of a run, without a fold.
pub fn lines(run_id: &str, found: &Lines) -> Report {
    let rows: Vec<Value> = found.told.iter().map(row).collect();
    let answer = json!({ "run_id": run_id, "gaps": gaps_of(&found.gaps), "lines": rows });
    Report { answer, gaps: found.gaps.clone(), plots: Vec::new() }
}

/// Why there is no story of a run without lines.
///
/// # Errors
/// The history cannot be read, or nobody waits any more.
pub fn stranger(directory: &Directory, run_id: &str, watch: &Watch) -> Result<Unanswered, ReplayError> {
    let shown = human::visible(run_id);
    let near = nearest(directory, run_id, watch)?;
    if near.is_empty() {
        let way_out = "`runtape forensics fleet` lists the worst runs";
        return Ok(Unanswered::Stranger(format!("no line names a run {shown}: {way_out}")));
    }
    let near: Vec<_> = near.iter().map(|id| human::visible(id)).collect();
    Ok(Unanswered::Stranger(format!("no line names a run {shown}: did you mean {}?", near.join(" or "))))
}

/// The story of a run: its lines, what held before the first and after the last of them, and why it lost.
///
/// # Errors
/// The history cannot be read.
pub fn story(directory: &Directory, run_id: &str, found: &Lines, watch: &Watch) -> Result<Report, Unanswered> {
    let (Some(first), Some(last)) = (found.told.first(), found.told.last()) else {
        return Ok(lines(run_id, found));
    };
    let (first, last) = (first.position, last.position);
    let mut walk = Walk::begin(directory, REGISTRY)?.watched(watch);
    let mut recorder = Recorder::begin(&walk.engine, &walk.intake);
    let agent = found.told.iter().find_map(|told| agent_of(&told.line)).unwrap_or_default();
    let shown = about(&agent);
    let mut heard: Vec<Decided> = Vec::new();
    walk.to(Until::Position(first), |batch, emitted| {
        heard.extend(emitted.iter().filter(|one| shown(one)).map(Decided::of));
        recorder.step(batch, &emitted);
    })?;
    let before = walk.state();
    let mut decisions: Vec<Value> = Vec::new();
    let caused = |cause: u64| found.told.iter().any(|line| line.position == cause);
    walk.to(Until::Position(last + 1), |batch, emitted| {
        heard.extend(emitted.iter().filter(|one| shown(one)).map(Decided::of));
        recorder.step(batch, &emitted);
        let own = emitted.iter().filter(|emitted| caused(emitted.decision.cause));
        decisions.extend(own.map(|emitted| json!(emitted.line())));
    })?;
    let after = walk.state();
    // What an index spares to read may be damaged all the same.
    let unknown = walk.gaps.iter().filter(|gap| found.gaps.iter().all(|known| known.from != gap.from));
    let gaps: Vec<Gap> = found.gaps.iter().chain(unknown).cloned().collect();
    let runs = recorder.finish();
    let run = runs.all.iter().find(|run| run.id.as_deref() == Some(run_id));
    let rules = &walk.intake.policy().policy.gates;
    let answer = json!({
        "run_id": run_id,
        "from": directory.first_position(),
        "gaps": gaps_of(&gaps),
        "lines": found.told.iter().map(row).collect::<Vec<_>>(),
        "run": run.map(|run| words::run_row(&runs, run, rules)),
        "findings": run.map(|run| findings(&runs, run)),
        "before": run.map(|run| row_of(&before, runs.agent(run))),
        "after": run.map(|run| row_of(&after, runs.agent(run))),
        "decisions": decisions,
    });
    let plots = run.map_or_else(Vec::new, |run| {
        let own: Vec<&Run> = runs.all.iter().filter(|other| other.agent == run.agent).collect();
        Shown { runs: &runs, own: &own, one: Some(run), decided: &heard }.plots()
    });
    Ok(Report { answer, gaps, plots })
}

/// Whom a line names.
fn agent_of(line: &[u8]) -> Option<String> {
    let line: Value = serde_json::from_slice(line).ok()?;
    line["agent"].as_str().map(str::to_owned)
}

fn row(told: &Told) -> Value {
    let Told { position, stream, file, offset, line } = told;
    let line = String::from_utf8_lossy(line);
    let line = serde_json::from_str(&line).unwrap_or_else(|_| Value::from(line.into_owned()));
    json!({ "position": position, "stream": stream, "file": file, "offset": offset, "line": line })
}

/// The ids that look most like one that does not exist.
fn nearest(directory: &Directory, run_id: &str, watch: &Watch) -> Result<Vec<String>, ReplayError> {
    let mut best: Vec<(usize, String)> = Vec::new();
    each_of_all(directory, watch, &mut |_, id, _, _| {
        // A distance costs much; only what begins or ends alike can be near.
        let alike = id.bytes().zip(run_id.bytes()).take_while(|(a, b)| a == b).count()
            + id.bytes().rev().zip(run_id.bytes().rev()).take_while(|(a, b)| a == b).count();
        if alike * 2 < run_id.len() || best.iter().any(|(_, known)| known == id) {
            return;
        }
        best.push((strsim::damerau_levenshtein(id, run_id), id.to_owned()));
        best.sort();
        best.truncate(SUGGESTED);
    })?;
    Ok(best.into_iter().map(|(_, id)| id).collect())
}

fn findings(runs: &Runs, run: &Run) -> Value {
    let row = |found: story::Finding| json!({ "what": found.what, "evidence": found.evidence });
    story::findings(runs, run).into_iter().map(row).collect()
}

/// What each consumer held of an agent, where a fold ended.
fn row_of(state: &Value, agent: &str) -> Value {
    json!({ "position": state["position"], "agent": state["agents"][agent], "budget": state["budget"] })
}

/// The lines of a run in words.
pub fn lines_page(answer: &Value) -> String {
    let mut text = format!("run {}\n\nlines\n", figures::text(&answer["run_id"]));
    for line in answer["lines"].as_array().into_iter().flatten() {
        let place = format!("{}:{}", figures::text(&line["stream"]), line["offset"]);
        let said = human::visible(&line["line"].to_string()).into_owned();
        text += &format!("  {:>9}  {place:<18} {said}\n", line["position"]);
    }
    text
}

/// The story in words.
pub fn page(answer: &Value) -> String {
    let mut text = lines_page(answer);
    if answer["run"].is_null() {
        return text + "\nno line of it was folded: none names an agent\n";
    }
    text += &format!("\nwhat it was\n{}", told(&answer["run"]));
    text += "\nwhy\n";
    let findings = answer["findings"].as_array().map_or(&[][..], |all| all);
    if findings.is_empty() {
        text += if answer["run"]["pnl_bps"].is_null() { "  it has no PnL yet\n" } else { "  it did not lose\n" };
    }
    for found in findings {
        text += &format!("  {:<16} {}\n", figures::text(&found["what"]), figures::text(&found["evidence"]));
    }
    let (from, to) = (&answer["before"]["position"], &answer["after"]["position"]);
    text += &format!("\nwhat was held of its agent before position {from} and before {to}\n");
    text += &difference::told(&changes(&answer["before"]["agent"], &answer["after"]["agent"]));
    text += "\ndecisions it caused\n";
    let decisions = answer["decisions"].as_array().map_or(&[][..], |all| all);
    text += &decisions.iter().map(|line| format!("  {}\n", decision::line(line))).collect::<String>();
    if decisions.is_empty() {
        text += "  none\n";
    }
    text
}

fn told(run: &Value) -> String {
    words::facts(run).iter().map(|(name, text)| format!("  {name:<17} {text}\n")).collect()
}
