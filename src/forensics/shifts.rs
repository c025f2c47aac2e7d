//! What changed first: when cost, latency and PnL of an agent moved from one level to another.

use super::Run;
use crate::{event::Nanos, stats::segments::segments};

/// Runs of a level at least.
const LEAST: usize = 10;
/// The last runs of an agent that are looked at.
const MOST: usize = 5_000;

/// What may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Cost,
    Latency,
    Pnl,
}

impl Measure {
    pub const ALL: [Measure; 3] = [Measure::Cost, Measure::Latency, Measure::Pnl];

    pub fn name(self) -> &'static str {
        match self {
            Measure::Cost => "cost_usd",
            Measure::Latency => "latency_ms",
            Measure::Pnl => "pnl_bps",
        }
    }

    fn of(self, run: &Run) -> Option<f64> {
        match self {
            Measure::Cost => run.cost_usd,
            Measure::Latency => run.latency_ms,
            Measure::Pnl => run.pnl_bps,
        }
    }

    /// Cost and latency change by factors, and have long tails.
    fn scaled(self, x: f64) -> f64 {
        if self == Measure::Pnl { x } else { libm::log1p(x * if self == Measure::Cost { 1e6 } else { 1.0 }) }
    }
}

/// A measure moved from one level to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    pub measure: Measure,
    /// The first run of the new level: its place among the agent's runs, its position and time.
    pub run: u64,
    pub position: u64,
    pub time: Option<Nanos>,
    /// Mean before and after, in the unit of the measure.
    pub before: f64,
    pub after: f64,
}

impl Shift {
    /// For the worse: dearer, slower, or earning less.
    pub fn worse(&self) -> bool {
        (self.measure == Measure::Pnl) == (self.after < self.before)
    }
}

/// The shifts of an agent's runs, in their order.
pub fn shifts(runs: &[&Run]) -> Vec<Shift> {
    let first = runs.len().saturating_sub(MOST);
    let mut found: Vec<Shift> = Measure::ALL.into_iter().flat_map(|measure| of_measure(measure, runs, first)).collect();
    found.sort_by_key(|shift| shift.run);
    found
}

fn of_measure(measure: Measure, runs: &[&Run], first: usize) -> Vec<Shift> {
    let known: Vec<(usize, f64)> =
        runs.iter().enumerate().skip(first).filter_map(|(at, run)| Some((at, measure.of(run)?))).collect();
    let scaled: Vec<f64> = known.iter().map(|(_, x)| measure.scaled(*x)).collect();
    let levels = segments(&scaled, LEAST);
    let mean = |from: usize, to: usize| known[from..to].iter().map(|(_, x)| x).sum::<f64>() / (to - from) as f64;
    let shift = |pair: &[crate::stats::segments::Segment]| {
        let (at, _) = known[pair[1].from];
        let run = runs[at];
        Shift {
            measure,
            run: at as u64,
            position: run.position,
            time: run.time,
            before: mean(pair[0].from, pair[0].to),
            after: mean(pair[1].from, pair[1].to),
        }
    };
    levels.windows(2).map(shift).collect()
}

/// The last fall of PnL, and the last time before it that cost or latency had become worse, within so many runs.
pub fn first_cause(shifts: &[Shift], within: u64) -> Option<(&Shift, &Shift)> {
    let at = shifts.iter().rposition(|shift| shift.measure == Measure::Pnl && shift.worse())?;
    let fall = &shifts[at];
    let cause = shifts[..at].iter().rev().find(|shift| shift.measure != Measure::Pnl && shift.worse())?;
    (fall.run - cause.run <= within).then_some((cause, fall))
}
