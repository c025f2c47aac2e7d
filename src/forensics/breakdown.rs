//! Sums of PnL by what a run has in common with others.

use std::collections::BTreeMap;

use super::{Run, Runs, patterns::hour};
use crate::stats::Exact;

/// PnL of the runs of one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    pub name: String,
    /// Runs with PnL, and those of them that lost.
    pub runs: u64,
    pub lost: u64,
    /// Basis points.
    pub pnl_bps: f64,
}

/// By what runs are grouped.
pub const BY: [&str; 4] = ["symbol", "regime", "direction", "hour"];

/// The groups of the runs with PnL by one of [`BY`], by name; runs that do not say stand under `-`.
pub fn breakdown<'a>(runs: &Runs, of: impl Iterator<Item = &'a Run>, by: &str) -> Vec<Group> {
    let mut groups = BTreeMap::<String, (u64, u64, Exact)>::new();
    for run in of {
        let Some(pnl) = run.pnl_bps else { continue };
        let name = match by {
            "symbol" => run.symbol.map(|word| runs.words.text(word).to_owned()),
            "regime" => run.regime.map(|word| runs.words.text(word).to_owned()),
            "direction" => run.direction.map(|direction| direction.name().to_owned()),
            _ => run.time.map(|at| format!("{:02}", hour(at))),
        };
        let group = groups.entry(name.unwrap_or_else(|| "-".to_owned())).or_default();
        group.0 += 1;
        group.1 += u64::from(pnl < 0.0);
        group.2 += pnl;
    }
    let group =
        |(name, (runs, lost, sum)): (String, (u64, u64, Exact))| Group { name, runs, lost, pnl_bps: sum.to_f64() };
    groups.into_iter().map(group).collect()
}
