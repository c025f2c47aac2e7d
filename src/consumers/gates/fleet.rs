use serde_json::{Map, Value, json};

use super::Gate;
use crate::{
    policy,
    stats::evidence::{Moments, SharpeRatio, e_bh, expected_max},
    subject::{PerSubject, Subjects},
};

/// What is proved of single agents once one remembers that the best of many is looked at: whose evidence survives the
/// e-BH procedure (Wang and Ramdas 2022), and each one's deflated Sharpe ratio (Bailey and Lopez de Prado 2014), where
/// every agent with PnL counts as a trial. Linear in agents times window: for a page, not for a scrape.
pub fn evidence(gates: &PerSubject<Gate>, rules: &policy::Gates, subjects: &Subjects) -> Value {
    let with_pnl = gates.agents().filter(|(_, gate)| gate.evidence.records() > 0);
    let mut trials: Vec<(&str, &Gate)> = with_pnl.map(|(agent, gate)| (subjects.name(agent), gate)).collect();
    trials.sort_unstable_by_key(|(name, _)| *name);
    let e_values: Vec<f64> = trials.iter().map(|(_, gate)| gate.evidence.judge(rules).promote).collect();
    let ratios: Vec<Option<SharpeRatio>> = trials.iter().map(|(_, gate)| sharpe(gate, rules)).collect();
    let known: Vec<f64> = ratios.iter().flatten().map(|ratio| ratio.ratio).collect();
    let variance = Moments::of(&known).map(|moments| moments.std * moments.std);
    let count = known.len() as f64;
    let survives = e_bh(&e_values, rules.promote.alpha);
    let deflated = |ratio: &Option<SharpeRatio>| ratio.as_ref()?.deflated(variance?, count);
    let rows = trials.iter().zip(&e_values).zip(&ratios).zip(&survives);
    let agents: Map<String, Value> = rows
        .map(|((((name, _), e_value), ratio), survives)| {
            let row = json!({ "e_value": e_value, "survives": survives, "deflated_sharpe": deflated(ratio) });
            ((*name).to_owned(), row)
        })
        .collect();
    json!({
        "alpha": rules.promote.alpha,
        "trials": trials.len(),
        "survivors": survives.iter().filter(|survives| **survives).count(),
        "expected_best_sharpe": variance.and_then(|variance| expected_max(variance, count)),
        "agents": agents,
    })
}

fn sharpe(gate: &Gate, rules: &policy::Gates) -> Option<SharpeRatio> {
    SharpeRatio::of(&Moments::of(&gate.window.pnl_values())?, rules.promote.hurdle_bps)
}
