use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    event::{Direction, Key, Nanos, time},
    policy,
};

/// Positions open at once; signals beyond are counted, and not reconciled.
pub const OPEN_MAX: usize = 100_000;

/// Profits written by us that did not come back yet, kept at most.
const WRITTEN_MAX: usize = 100_000;

/// All open positions.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Book {
    /// By the position of their signal, which is unique.
    positions: BTreeMap<u64, Position>,
    by_symbol: BTreeMap<Box<str>, BTreeSet<u64>>,
    by_run: BTreeMap<Key, BTreeSet<u64>>,
    /// Profits closed here, by run and bits: their lines come back, and are nobody else's report.
    written: BTreeMap<(Key, u64), u32>,
}

/// A signal on its way to a profit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Position {
    /// Position of its signal on the tape.
    pub alpha: u64,
    pub agent: u32,
    pub run: Option<Key>,
    pub run_id: Option<Box<str>>,
    pub long: bool,
    pub notional_usd: Option<f64>,
    pub signal_time: Option<Nanos>,
    /// Price and its time.
    pub entry: Option<(f64, Option<Nanos>)>,
    /// Leaves at the first price at or after this, once a signal said so.
    pub exit_from: Option<Nanos>,
    pub exit_due: bool,
}

/// A position that was left.
pub struct Closed {
    pub position: Position,
    pub symbol: Box<str>,
    pub entry_price: f64,
    pub entry_time: Option<Nanos>,
    pub exit_price: f64,
    pub exit_time: Option<Nanos>,
    pub gross_bps: f64,
    /// After fees and slippage of both ways.
    pub net_bps: f64,
    pub why: &'static str,
}

impl Book {
    /// Positions that are open.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Opens a position; false when there are too many.
    pub fn open(&mut self, symbol: &str, position: Position) -> bool {
        if self.positions.len() >= OPEN_MAX {
            return false;
        }
        let alpha = position.alpha;
        self.by_symbol.entry(symbol.into()).or_default().insert(alpha);
        if let Some(run) = position.run {
            self.by_run.entry(run).or_default().insert(alpha);
        }
        self.positions.insert(alpha, position);
        true
    }

    /// A signal of an agent on a symbol: what stands against it leaves at the next price. Returns positions that never
    /// had a price to enter at.
    pub fn turn(&mut self, agent: u32, symbol: &str, direction: Direction, now: Option<Nanos>) -> Vec<Position> {
        let mut unfilled = Vec::new();
        for alpha in self.of_symbol(symbol) {
            let Some(position) = self.positions.get_mut(&alpha) else { continue };
            let against = match direction {
                Direction::Flat => true,
                Direction::Long => !position.long,
                Direction::Short => position.long,
            };
            if position.agent != agent || !against || position.exit_due {
                continue;
            }
            if position.entry.is_none() {
                unfilled.extend(self.remove(symbol, alpha));
            } else {
                (position.exit_due, position.exit_from) = (true, now);
            }
        }
        unfilled
    }

    /// A price of a symbol: positions enter, and leave.
    pub fn price(&mut self, symbol: &str, price: f64, now: Option<Nanos>, rules: &policy::Reconcile) -> Vec<Closed> {
        let mut closed = Vec::new();
        for alpha in self.of_symbol(symbol) {
            let Some(position) = self.positions.get_mut(&alpha) else { continue };
            let Some((entry_price, entry_time)) = position.entry else {
                if !is_before(now, position.signal_time) {
                    position.entry = Some((price, now));
                }
                continue;
            };
            // A price that comes late is from before, and tells nothing of now.
            if is_before(now, entry_time) {
                continue;
            }
            let side = if position.long { 1.0 } else { -1.0 };
            let gross_bps = side * (price / entry_price - 1.0) * 10_000.0;
            let Some(why) = position.leaves(gross_bps, now, entry_time, rules) else { continue };
            let net_bps = gross_bps - 2.0 * (rules.fee_bps + rules.slippage_bps);
            if let Some(position) = self.remove(symbol, alpha) {
                self.expect(position.run, net_bps);
                let symbol = symbol.into();
                let (exit_price, exit_time) = (price, now);
                closed.push(Closed {
                    position,
                    symbol,
                    entry_price,
                    entry_time,
                    exit_price,
                    exit_time,
                    gross_bps,
                    net_bps,
                    why,
                });
            }
        }
        closed
    }

    /// A profit of a run: one of ours that came back, or its producer's own, which ends our positions of that run.
    pub fn reported(&mut self, run: Key, pnl_bps: f64) -> Vec<Position> {
        if let Some(count) = self.written.get_mut(&(run, pnl_bps.to_bits())) {
            *count -= 1;
            if *count == 0 {
                self.written.remove(&(run, pnl_bps.to_bits()));
            }
            return Vec::new();
        }
        let alphas: Vec<u64> = self.by_run.get(&run).map_or(Vec::new(), |alphas| alphas.iter().copied().collect());
        let symbols = &self.by_symbol;
        let symbol_of =
            |alpha: u64| symbols.iter().find(|(_, of)| of.contains(&alpha)).map(|(symbol, _)| symbol.clone());
        let found: Vec<(u64, Box<str>)> = alphas.into_iter().filter_map(|a| Some((a, symbol_of(a)?))).collect();
        found.into_iter().filter_map(|(alpha, symbol)| self.remove(&symbol, alpha)).collect()
    }

    /// Signals that wait for a first price, by symbol.
    pub fn unpriced(&self) -> Map<String, Value> {
        let waits = |alpha: &&u64| self.positions.get(alpha).is_some_and(|position| position.entry.is_none());
        let counts = self.by_symbol.iter().map(|(symbol, alphas)| (symbol, alphas.iter().filter(waits).count()));
        counts.filter(|(_, count)| *count > 0).map(|(symbol, count)| (symbol.to_string(), count.into())).collect()
    }

    fn of_symbol(&self, symbol: &str) -> Vec<u64> {
        self.by_symbol.get(symbol).map_or(Vec::new(), |alphas| alphas.iter().copied().collect())
    }

    fn expect(&mut self, run: Option<Key>, pnl_bps: f64) {
        if let Some(run) = run.filter(|_| self.written.len() < WRITTEN_MAX) {
            // As it is read back from its line: minus zero is zero.
            *self.written.entry((run, (pnl_bps + 0.0).to_bits())).or_default() += 1;
        }
    }

    fn remove(&mut self, symbol: &str, alpha: u64) -> Option<Position> {
        let position = self.positions.remove(&alpha)?;
        if let Some(alphas) = self.by_symbol.get_mut(symbol) {
            alphas.remove(&alpha);
            if alphas.is_empty() {
                self.by_symbol.remove(symbol);
            }
        }
        if let Some(run) = position.run
            && let Some(alphas) = self.by_run.get_mut(&run)
        {
            alphas.remove(&alpha);
            if alphas.is_empty() {
                self.by_run.remove(&run);
            }
        }
        Some(position)
    }
}

impl Position {
    /// Why it leaves at a price, if it does.
    fn leaves(
        &self,
        gross_bps: f64,
        now: Option<Nanos>,
        entry: Option<Nanos>,
        rules: &policy::Reconcile,
    ) -> Option<&'static str> {
        let horizon = (rules.horizon_min * 60.0 * time::SECOND as f64) as Nanos;
        if self.exit_due && !is_before(now, self.exit_from) {
            Some("signal")
        } else if rules.stop_bps > 0.0 && gross_bps <= -rules.stop_bps {
            Some("stop")
        } else if entry.zip(now).is_some_and(|(entry, now)| now >= entry.saturating_add(horizon)) {
            Some("horizon")
        } else {
            None
        }
    }
}

/// Whether a time is known to lie before another.
fn is_before(time: Option<Nanos>, other: Option<Nanos>) -> bool {
    time.zip(other).is_some_and(|(time, other)| time < other)
}
