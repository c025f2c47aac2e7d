use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Found, Output, Usage, answer, figures, reading::Progress};
use crate::{
    consumers::REGISTRY,
    policy::InForce,
    render::{
        decision,
        difference::{self, changes},
        human,
    },
    replay::Walk,
    report::gaps_of,
    tape::{Directory, Until},
};

/// Prints what changed between two moments, agent by agent.
pub fn answer(
    directory: &Directory,
    policy: Option<Arc<InForce>>,
    (from, to): (Until, Until),
    output: Output,
) -> anyhow::Result<Found> {
    let backwards = match (from, to) {
        (Until::Position(from), Until::Position(to)) => to < from,
        (Until::Time(from), Until::Time(to)) => to < from,
        _ => false,
    };
    if backwards {
        return Err(Usage("--diff wants the earlier moment first".to_owned()).into());
    }
    let mut walk = match policy {
        Some(policy) => {
            let mut walk = Walk::begin(directory, REGISTRY)?;
            walk.intake.fix(policy);
            walk
        }
        None => Walk::nearest(directory, REGISTRY, from)?,
    };
    let bar = Progress::new(None, "replaying", false);
    walk.to(from, |batch, _| bar.inc(batch.next - batch.first))?;
    let before = walk.state();
    let mut decided: Vec<Value> = Vec::new();
    walk.to(to, |batch, emitted| {
        bar.inc(batch.next - batch.first);
        decided.extend(emitted.iter().map(|emitted| json!(emitted.line())));
    })?;
    bar.finish();
    let after = walk.state();
    let rows = |of: &str| {
        let none = Map::new();
        let later = after[of].as_object().unwrap_or(&none).iter();
        let changed = later.map(|(name, after)| (name.clone(), difference::row(changes(&before[of][name], after))));
        Value::Object(changed.filter(|(_, row)| row.as_object().is_some_and(|row| !row.is_empty())).collect())
    };
    let told = json!({
        "from": before["position"],
        "to": after["position"],
        "gaps": gaps_of(&walk.gaps),
        "agents": rows("agents"),
        "strategies": rows("strategies"),
        "fleet": difference::row(changes(&before["fleet"], &after["fleet"])),
        "budget": difference::row(changes(&before["budget"], &after["budget"])),
        "decisions": decided,
    });
    answer::print(output, &told, page)?;
    Ok(answer::found(&walk.gaps))
}

fn page(answer: &Value) -> String {
    let mut text =
        format!("what changed from before position {} to before position {}\n", answer["from"], answer["to"]);
    for (kind, rows) in [("agent", "agents"), ("strategy", "strategies")] {
        for (name, row) in answer[rows].as_object().into_iter().flatten() {
            text += &format!("\n{kind} {}\n{}", human::visible(name), told(row));
        }
    }
    for whole in ["fleet", "budget"] {
        if answer[whole].as_object().is_some_and(|row| !row.is_empty()) {
            text += &format!("\n{whole}\n{}", told(&answer[whole]));
        }
    }
    let decided = answer["decisions"].as_array().map_or(&[][..], |all| all);
    text += &format!("\n{}\n", figures::some(decided.len(), "decision"));
    text + &decided.iter().map(|line| format!("  {}\n", decision::line(line))).collect::<String>()
}

fn told(row: &Value) -> String {
    let rows = row.as_object().into_iter().flatten();
    let changed: Vec<_> = rows.map(|(path, pair)| (path.clone(), pair[0].clone(), pair[1].clone())).collect();
    difference::told(&changed)
}
