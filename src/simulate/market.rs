//! The world the agents trade in: a regime that switches, and one random walk per symbol.

use super::draws::Draws;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Regime {
    Trend,
    Range,
    Volatile,
}

impl Regime {
    pub const ALL: [Regime; 3] = [Regime::Trend, Regime::Range, Regime::Volatile];

    pub fn name(self) -> &'static str {
        match self {
            Regime::Trend => "trend",
            Regime::Range => "range",
            Regime::Volatile => "volatile",
        }
    }

    pub fn index(self) -> usize {
        self as usize
    }

    /// Basis points a price moves in one step.
    fn step_bps(self) -> f64 {
        match self {
            Regime::Trend => 2.5,
            Regime::Range => 1.5,
            Regime::Volatile => 5.0,
        }
    }

    /// How much wider outcomes scatter than in a quiet market.
    pub fn scatter(self) -> f64 {
        match self {
            Regime::Trend => 1.0,
            Regime::Range => 0.8,
            Regime::Volatile => 1.4,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    pub name: &'static str,
    /// As part of an agent's name.
    pub short: &'static str,
    pub base: f64,
    pub decimals: u32,
}

pub(super) const SYMBOLS: [Symbol; 8] = [
    Symbol { name: "BTC-USD", short: "btc", base: 64_000.0, decimals: 2 },
    Symbol { name: "ETH-USD", short: "eth", base: 3_100.0, decimals: 2 },
    Symbol { name: "SOL-USD", short: "sol", base: 145.0, decimals: 3 },
    Symbol { name: "XRP-USD", short: "xrp", base: 0.62, decimals: 5 },
    Symbol { name: "ADA-USD", short: "ada", base: 0.45, decimals: 5 },
    Symbol { name: "LINK-USD", short: "link", base: 17.5, decimals: 4 },
    Symbol { name: "AVAX-USD", short: "avax", base: 36.0, decimals: 3 },
    Symbol { name: "DOGE-USD", short: "doge", base: 0.13, decimals: 6 },
];

/// Walks are pulled this far towards their base price per step, so that a tape of any length stays plausible.
const PULL_PER_STEP: f64 = 0.0002;
/// Basis points per step of a trend, at its strongest.
const TREND_BPS: f64 = 0.3;
/// Beyond this many steps without a look a walk is treated as if it had been this many.
const LONGEST_GAP_STEPS: f64 = 1000.0;

#[derive(Debug, Clone)]
struct Walk {
    price: f64,
    drift_bps: f64,
    looked_at: i64,
}

/// A step is the mean time between two runs of the fleet, so that markets are as lively at any density of the tape.
#[derive(Debug, Clone)]
pub(super) struct Market {
    step_ns: f64,
    mean_regime_steps: f64,
    regime: Regime,
    switches_at: i64,
    walks: [Walk; SYMBOLS.len()],
}

impl Market {
    pub fn new(draws: &mut Draws, start: i64, step_ns: f64, mean_regime_steps: f64) -> Self {
        let walks = SYMBOLS.map(|symbol| Walk {
            price: symbol.base * draws.between(0.97, 1.03),
            drift_bps: 0.0,
            looked_at: start,
        });
        let mut market = Self { step_ns, mean_regime_steps, regime: Regime::Range, switches_at: start, walks };
        market.switch(draws, Regime::Trend, start);
        market
    }

    fn switch(&mut self, draws: &mut Draws, to: Regime, at: i64) {
        self.regime = to;
        // Half of the stay is certain: a regime of three runs would be noise.
        let steps = self.mean_regime_steps / 2.0 + draws.exponential(self.mean_regime_steps / 2.0);
        self.switches_at = at.saturating_add((steps * self.step_ns) as i64).saturating_add(1);
        for walk in &mut self.walks {
            let strength = draws.between(-TREND_BPS, TREND_BPS);
            walk.drift_bps = if to == Regime::Trend { strength } else { 0.0 };
        }
    }

    /// The regime at `now`; `now` never goes back.
    pub fn regime(&mut self, draws: &mut Draws, now: i64) -> Regime {
        while now >= self.switches_at && self.switches_at < i64::MAX {
            let others = Regime::ALL.map(|r| (r != self.regime).then_some(r));
            let mut others = others.into_iter().flatten();
            let next = if draws.chance(0.5) { others.next() } else { others.nth(1) };
            self.switch(draws, next.unwrap_or(Regime::Range), self.switches_at);
        }
        self.regime
    }

    pub fn price(&mut self, draws: &mut Draws, symbol: usize, now: i64) -> f64 {
        let (base, walk) = (SYMBOLS[symbol].base, &mut self.walks[symbol]);
        let steps = (now.saturating_sub(walk.looked_at).max(0) as f64 / self.step_ns).min(LONGEST_GAP_STEPS);
        let noise_bps = self.regime.step_bps() * steps.sqrt() * draws.normal();
        let pull = PULL_PER_STEP * steps * (base - walk.price) / base;
        let change = (noise_bps + walk.drift_bps * steps) / 1e4 + pull;
        walk.price *= 1.0 + change.clamp(-0.2, 0.2);
        walk.looked_at = now;
        walk.price
    }
}
