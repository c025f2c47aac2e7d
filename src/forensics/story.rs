//! What one run has to show for itself: a finding, with its evidence.

use super::{Run, Runs};
use crate::event::Direction;
use crate::stats::order;

/// Runs of the same agent below which no comparison says anything.
const LEAST: usize = 10;

/// What a run was, and by which figures. A run may be several things at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `failed`, `against_verdict`, `wrong_direction`, `wrong_regime`, `slow`, `costly` or `unexplained`.
    pub what: &'static str,
    pub evidence: String,
}

/// The findings about a run, in the order in which a person should read them; none for one that did not lose.
pub fn findings(runs: &Runs, run: &Run) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |what: &'static str, evidence: Option<String>| {
        found.extend(evidence.map(|evidence| Finding { what, evidence }));
    };
    let earlier: Vec<&Run> =
        runs.all.iter().filter(|other| other.agent == run.agent && other.position < run.position).collect();
    find("failed", run.failed().then(|| "a line of it reports errors".to_owned()));
    find("against_verdict", against(run));
    if run.pnl_bps.is_some_and(|pnl| pnl < 0.0) {
        find("wrong_direction", wrong_direction(run));
        find("wrong_regime", wrong_regime(runs, run, &earlier));
        find("slow", beyond(&earlier, run, "latency", " ms", |run| run.latency_ms));
        find("costly", beyond(&earlier, run, "cost", " USD", |run| run.cost_usd));
        if found.is_empty() {
            let evidence = "it lost, and nothing about it stands out against the agent's earlier runs".to_owned();
            found.push(Finding { what: "unexplained", evidence });
        }
    }
    found
}

/// It ran although its agent might not trade.
fn against(run: &Run) -> Option<String> {
    let reasons = run.held.reasons();
    let traded = run.signals > 0 || run.records > 0;
    (traded && !reasons.is_empty()).then(|| format!("its agent was denied when it began: {}", reasons.join(", ")))
}

/// The price went against the signal.
fn wrong_direction(run: &Run) -> Option<String> {
    let (entry, exit, direction) = (run.entry_price?, run.exit_price?, run.direction?);
    let against = match direction {
        Direction::Long => exit < entry,
        Direction::Short => exit > entry,
        Direction::Flat => false,
    };
    let word = direction.name();
    against.then(|| format!("{word}, and the price went from {} to {}", figure(entry), figure(exit)))
}

/// Its agent loses in this regime and earns in the others.
fn wrong_regime(runs: &Runs, run: &Run, earlier: &[&Run]) -> Option<String> {
    let regime = run.regime?;
    let (mut here, mut elsewhere) = ((0_usize, 0.0), (0_usize, 0.0));
    for other in earlier {
        if let Some((other, pnl)) = other.regime.zip(other.pnl_bps) {
            let sums = if other == regime { &mut here } else { &mut elsewhere };
            *sums = (sums.0 + 1, sums.1 + pnl);
        }
    }
    let mean = |(count, sum): (usize, f64)| (count >= LEAST).then(|| sum / count as f64);
    let (here_mean, elsewhere_mean) = (mean(here)?, mean(elsewhere)?);
    (here_mean < 0.0 && elsewhere_mean > here_mean).then(|| {
        format!(
            "regime {}: its agent had {} bps a run there over {} runs, and {} bps in the others",
            runs.words.text(regime),
            figure(here_mean),
            here.0,
            figure(elsewhere_mean)
        )
    })
}

/// A figure of it lies beyond 19 in 20 of the agent's earlier ones.
fn beyond(earlier: &[&Run], run: &Run, what: &str, unit: &str, of: fn(&Run) -> Option<f64>) -> Option<String> {
    let own = of(run)?;
    let mut values: Vec<f64> = earlier.iter().filter_map(|run| of(run)).collect();
    if values.len() < LEAST {
        return None;
    }
    let (median, p95) = (order::median(&mut values)?, order::percentile(&mut values, 950)?);
    (own > p95).then(|| {
        let (own, p95, median) = (figure(own), figure(p95), figure(median));
        format!("{what} {own}{unit}, where 19 in 20 of its agent's earlier runs stay within {p95}{unit} (median {median}{unit})")
    })
}

/// Four significant digits at most.
fn figure(x: f64) -> String {
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    format!("{rounded}")
}
