use serde_json::{Value, json};

use crate::{
    event::{Direction, time},
    forensics::{
        Run, Runs,
        breakdown::Group,
        patterns::{Condition, Pattern, Patterns},
        promotion::{Counts, counts},
        shifts::{Measure, Shift, first_cause},
    },
    policy::Gates,
    render::{figures, human},
};

/// Runs between a cause and a fall of PnL beyond which the two have nothing to do with each other.
const CAUSE_WITHIN: u64 = 100;

/// A run as JSON: what it was, and what held when it began.
pub fn run_row(runs: &Runs, run: &Run, rules: &Gates) -> Value {
    let word = |word: Option<crate::forensics::Word>| word.map(|word| runs.words.text(word));
    json!({
        "run_id": run.id,
        "agent": runs.agent(run),
        "strategy": runs.strategy(run),
        "position": run.position,
        "ts": run.time.map(time::unix_seconds),
        "pnl_bps": run.pnl_bps,
        "records": run.records,
        "latency_ms": run.latency_ms,
        "tokens_in": run.tokens_in,
        "tokens_out": run.tokens_out,
        "cost_usd": run.cost_usd,
        "reward": run.reward,
        "failed": run.failed(),
        "model": word(run.model),
        "symbol": word(run.symbol),
        "direction": run.direction.map(Direction::name),
        "regime": word(run.regime),
        "promotion": counts(runs, run, rules).name(),
        "held": {
            "reasons": run.held.reasons(),
            "promoted": run.held.own.promoted,
            "confidence": run.held.own.confidence,
            "drawdown": run.held.drawdown,
        },
    })
}

/// What a run was, as [`run_row`] has it: names and values, in the order of telling.
pub fn facts(run: &Value) -> Vec<(&'static str, String)> {
    let (held, text) = (&run["held"], |key: &str| figures::text(&run[key]).into_owned());
    let denied = held["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty());
    let verdict = if denied { format!("denied: {}", figures::list(&held["reasons"])) } else { "allowed".to_owned() };
    let tokens = |key: &str| figures::count(&run[key]);
    let counts = Counts::ALL.into_iter().find(|counts| run["promotion"] == counts.name());
    vec![
        ("agent", text("agent")),
        ("strategy", text("strategy")),
        ("began", figures::moment(&run["ts"])),
        ("verdict then", verdict),
        ("confidence then", figures::short(&held["confidence"])),
        ("drawdown then", figures::short(&held["drawdown"])),
        ("trade", format!("{} {}", text("symbol"), text("direction"))),
        ("regime", text("regime")),
        ("model", text("model")),
        ("latency", format!("{} ms", figures::short(&run["latency_ms"]))),
        ("tokens", format!("{} in, {} out", tokens("tokens_in"), tokens("tokens_out"))),
        ("cost", figures::usd(&run["cost_usd"])),
        ("PnL", format!("{} bps in {} records", figures::short(&run["pnl_bps"]), run["records"])),
        ("towards promotion", counts.map_or("", |counts| counts.words()).to_owned()),
    ]
}

/// What a search for patterns gave, each with its sentence.
pub fn patterns(found: &Patterns) -> Value {
    let rows: Vec<Value> = found.found.iter().map(pattern).collect();
    json!({ "runs": found.runs, "lost": found.lost, "tested": found.tested, "found": rows })
}

fn pattern(pattern: &Pattern) -> Value {
    let conditions: Vec<Value> = pattern.conditions.iter().map(condition).collect();
    json!({
        "sentence": sentence(pattern),
        "conditions": conditions,
        "runs": pattern.runs,
        "lost": pattern.lost,
        "lift": pattern.lift.is_finite().then_some(pattern.lift),
        "share_of_loss": pattern.share,
        "pnl_bps": pattern.pnl_bps,
        "tested": { "runs": pattern.tested, "lost": pattern.tested_lost, "q": pattern.q },
    })
}

fn condition(condition: &Condition) -> Value {
    match condition {
        Condition::Above(field, cut) => json!({ "field": field, "above": cut }),
        Condition::UpTo(field, cut) => json!({ "field": field, "up_to": cut }),
        Condition::Is(field, word) => json!({ "field": field, "is": word }),
    }
}

/// A pattern as a person would say it, and act on it.
fn sentence(pattern: &Pattern) -> String {
    let conditions: Vec<String> = pattern.conditions.iter().map(condition_words).collect();
    let lift = if pattern.lift.is_finite() {
        format!("{} times as often as the others", figures::three(pattern.lift))
    } else {
        "and no other did".to_owned()
    };
    format!(
        "losses cluster when {}: {} of {} runs lost, {lift}, with {} % of the total loss; without them the PnL were {} bps {}; {} of {} in the half where nobody looked, q = {}",
        conditions.join(" and "),
        human::count(pattern.lost),
        human::count(pattern.runs),
        figures::three(pattern.share * 100.0),
        figures::three(pattern.pnl_bps.abs()),
        if pattern.pnl_bps < 0.0 { "higher" } else { "lower" },
        human::count(pattern.tested_lost),
        human::count(pattern.tested),
        figures::three(pattern.q),
    )
}

fn condition_words(condition: &Condition) -> String {
    let (field, sign, cut) = match condition {
        Condition::Is(field, word) => return format!("{field} is {}", human::visible(word)),
        Condition::Above(field, cut) => (*field, ">", *cut),
        Condition::UpTo(field, cut) => (*field, "<=", *cut),
    };
    match field {
        "latency_ms" => format!("latency {sign} {} ms", figures::three(cut)),
        "cost_usd" => format!("cost {sign} {}", human::usd(cut)),
        field => format!("{field} {sign} {}", human::number(cut.floor())),
    }
}

/// Shifts of an agent, and in words which came first.
pub fn shifts(found: &[Shift]) -> Value {
    let rows: Vec<Value> = found.iter().map(shift).collect();
    let first = first_cause(found, CAUSE_WITHIN).map(|(cause, fall)| {
        let runs = figures::some((fall.run - cause.run) as usize, "run");
        format!("{}; {runs} later {}", shift_words(cause), shift_words(fall))
    });
    json!({ "all": rows, "first": first })
}

fn shift(shift: &Shift) -> Value {
    json!({
        "measure": shift.measure.name(),
        "run": shift.run,
        "position": shift.position,
        "ts": shift.time.map(time::unix_seconds),
        "before": shift.before,
        "after": shift.after,
        "worse": shift.worse(),
        "sentence": shift_words(shift),
    })
}

fn shift_words(shift: &Shift) -> String {
    let (what, unit) = match shift.measure {
        Measure::Cost => ("cost per run", " USD"),
        Measure::Latency => ("latency", " ms"),
        Measure::Pnl => ("PnL per run", " bps"),
    };
    let moved = if shift.after > shift.before { "rose" } else { "fell" };
    let when = shift.time.map_or(String::new(), |at| format!(", {}", time::format(at - at.rem_euclid(time::SECOND))));
    format!(
        "{what} {moved} from {} to {}{unit} at its run {} (position {}{when})",
        figures::three(shift.before),
        figures::three(shift.after),
        human::count(shift.run + 1),
        shift.position
    )
}

/// The groups of a breakdown.
pub fn groups(groups: Vec<Group>) -> Value {
    let row =
        |group: Group| json!({ "name": group.name, "runs": group.runs, "lost": group.lost, "pnl_bps": group.pnl_bps });
    groups.into_iter().map(row).collect()
}
