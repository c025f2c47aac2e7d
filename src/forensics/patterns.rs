//! Where losses cluster: conditions found on the first half of the runs, tested on the other.
//!
//! Runs are compared with runs of the same agent: an agent that loses whatever it does is a finding about the agent, and
//! would make patterns of all that is peculiar to it.

/// The half that is searched.
mod half;

use std::collections::BTreeMap;

use self::half::Half;
use super::{Run, Runs};
use crate::{
    event::{Nanos, time},
    stats::{
        evidence::multiple::benjamini_hochberg,
        fisher::{Stratum, stratified_greater},
        subgroups::{Bits, quality},
    },
};

/// Conditions on numbers: their names, and how a run answers.
type Number = (&'static str, fn(&Run) -> Option<f64>);

const NUMBERS: [Number; 4] = [
    ("latency_ms", |run| run.latency_ms),
    ("tokens_in", |run| (run.runs > 0).then_some(run.tokens_in as f64)),
    ("tokens_out", |run| (run.runs > 0).then_some(run.tokens_out as f64)),
    ("cost_usd", |run| run.cost_usd),
];

/// Conditions on words.
const WORDS: [&str; 6] = ["model", "symbol", "direction", "regime", "hour", "strategy"];

/// In the order of the binomial test: with the full weight of its size a dilute half of all runs would win.
const WEIGHT: f64 = 0.5;
/// Runs with PnL below which nothing is searched.
pub const LEAST_RUNS: usize = 40;
/// A pattern's runs in either half at least.
const LEAST: u64 = 8;

/// One condition of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Above(&'static str, f64),
    UpTo(&'static str, f64),
    Is(&'static str, String),
}

/// Conditions under which runs lose more often than the others, in the half of the log where nobody looked for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    pub conditions: Vec<Condition>,
    /// Runs that meet them, and those of them that lost, over the whole history.
    pub runs: u64,
    pub lost: u64,
    /// Loss rate of these runs by that of the others.
    pub lift: f64,
    /// Their share of all that was lost, 0 to 1.
    pub share: f64,
    /// What they earned, bps: less than 0 says what skipping them would have saved.
    pub pnl_bps: f64,
    /// The same two figures of the second half alone, and the false discovery rate at which it confirms them.
    pub tested: u64,
    pub tested_lost: u64,
    pub q: f64,
}

/// What a search gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patterns {
    /// Runs with PnL.
    pub runs: u64,
    pub lost: u64,
    /// Patterns that were tested.
    pub tested: u64,
    /// Those that survived, the best first.
    pub found: Vec<Pattern>,
}

/// Searches the runs with PnL, in the order of time. `q` is the share of false patterns among those reported that is
/// accepted on average (Benjamini and Hochberg 1995, over all that were tested).
pub fn patterns<'a>(runs: &Runs, of: impl Iterator<Item = &'a Run>, q: f64) -> Patterns {
    let rows: Vec<&Run> = of.filter(|run| run.pnl_bps.is_some()).collect();
    let lost = rows.iter().filter(|run| loses(run)).count() as u64;
    let none = Patterns { runs: rows.len() as u64, lost, tested: 0, found: Vec::new() };
    if rows.len() < LEAST_RUNS {
        return none;
    }
    let (first, rest) = rows.split_at(rows.len() / 2);
    let searched = Half::new(runs, first);
    let candidates = searched.candidates();
    let tests: Vec<(u64, u64, f64)> = candidates.iter().map(|rule| test(runs, rest, rule)).collect();
    let p_values: Vec<f64> = tests.iter().map(|(_, _, p)| *p).collect();
    let adjusted = benjamini_hochberg(&p_values).unwrap_or_default();
    let mut found: Vec<Pattern> = Vec::new();
    for ((conditions, (tested, tested_lost, _)), adjusted) in candidates.iter().zip(tests).zip(adjusted) {
        if adjusted <= q {
            found.push(Pattern { tested, tested_lost, q: adjusted, ..measure(runs, &rows, conditions) });
        }
    }
    let gains = gains(rest);
    let inside = |pattern: &Pattern| {
        Bits::of(rest.len(), |row| pattern.conditions.iter().all(|condition| meets(runs, rest[row], condition)))
    };
    let mut judged: Vec<(f64, Pattern)> =
        found.into_iter().map(|pattern| (quality(&inside(&pattern), &gains, WEIGHT), pattern)).collect();
    judged.sort_by(|a, b| b.0.total_cmp(&a.0));
    let found = judged.into_iter().map(|(_, pattern)| pattern).collect();
    Patterns { tested: candidates.len() as u64, found, ..none }
}

/// Whether each run lost, less how often its agent loses.
fn gains(rows: &[&Run]) -> Vec<f64> {
    let mut agents = BTreeMap::<u32, (f64, f64)>::new();
    for run in rows {
        let agent = agents.entry(run.agent).or_default();
        *agent = (agent.0 + f64::from(loses(run)), agent.1 + 1.0);
    }
    rows.iter()
        .map(|run| f64::from(loses(run)) - agents.get(&run.agent).map_or(0.0, |(lost, all)| lost / all))
        .collect()
}

fn loses(run: &Run) -> bool {
    run.pnl_bps.is_some_and(|pnl| pnl < 0.0)
}

/// The word of a run for one of [`WORDS`].
fn word<'a>(runs: &'a Runs, run: &Run, kind: &str) -> Option<std::borrow::Cow<'a, str>> {
    let text = |word: Option<super::Word>| word.map(|word| runs.words.text(word).into());
    match kind {
        "model" => text(run.model),
        "symbol" => text(run.symbol),
        "regime" => text(run.regime),
        "direction" => run.direction.map(|direction| direction.name().into()),
        "hour" => run.time.map(|at| format!("{:02}", hour(at)).into()),
        _ => run.strategy.and_then(|id| runs.strategies.get(id as usize)).map(|name| (**name).into()),
    }
}

/// The hour of the day, UTC.
pub(super) fn hour(at: Nanos) -> i64 {
    at.div_euclid(3600 * time::SECOND).rem_euclid(24)
}

fn meets(runs: &Runs, run: &Run, condition: &Condition) -> bool {
    let number = |name: &str| NUMBERS.iter().find(|(known, _)| *known == name).and_then(|(_, of)| of(run));
    match condition {
        Condition::Above(name, cut) => number(name).is_some_and(|x| x > *cut),
        Condition::UpTo(name, cut) => number(name).is_some_and(|x| x <= *cut),
        Condition::Is(kind, want) => word(runs, run, kind).is_some_and(|word| word == want.as_str()),
    }
}

/// Runs of some rows that meet a rule, those of them that lost, and the odds that so many or more of them did by chance.
fn test(runs: &Runs, rows: &[&Run], rule: &[Condition]) -> (u64, u64, f64) {
    let mut strata = BTreeMap::<u32, Stratum>::new();
    for run in rows {
        let (inside, hit) = (rule.iter().all(|condition| meets(runs, run, condition)), loses(run));
        let stratum = strata.entry(run.agent).or_default();
        stratum.size += 1;
        stratum.hits += u64::from(hit);
        stratum.size_in += u64::from(inside);
        stratum.hits_in += u64::from(inside && hit);
    }
    let strata: Vec<Stratum> = strata.into_values().collect();
    let (size, hits) = (strata.iter().map(|s| s.size_in).sum(), strata.iter().map(|s| s.hits_in).sum());
    (size, hits, if size < LEAST { 1.0 } else { stratified_greater(&strata) })
}

/// The figures of a rule over the whole history.
fn measure(runs: &Runs, rows: &[&Run], rule: &[Condition]) -> Pattern {
    let (mut inside, mut outside) = ((0, 0, 0.0), (0_u64, 0_u64));
    let (mut loss, mut loss_inside) = (0.0, 0.0);
    for run in rows {
        let pnl = run.pnl_bps.unwrap_or(0.0);
        let hit = u64::from(pnl < 0.0);
        loss += pnl.min(0.0);
        if rule.iter().all(|condition| meets(runs, run, condition)) {
            inside = (inside.0 + 1, inside.1 + hit, inside.2 + pnl);
            loss_inside += pnl.min(0.0);
        } else {
            outside = (outside.0 + 1, outside.1 + hit);
        }
    }
    let rate = |hits: u64, size: u64| hits as f64 / size.max(1) as f64;
    let (rate_in, rate_out) = (rate(inside.1, inside.0), rate(outside.1, outside.0));
    Pattern {
        conditions: rule.to_vec(),
        runs: inside.0,
        lost: inside.1,
        lift: if rate_out > 0.0 { rate_in / rate_out } else { f64::INFINITY },
        share: if loss < 0.0 { loss_inside / loss } else { 0.0 },
        pnl_bps: inside.2,
        tested: 0,
        tested_lost: 0,
        q: 1.0,
    }
}
