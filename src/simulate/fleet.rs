//! The fleet at work: who runs when, and which line comes next.

use super::agent::Agent;
use super::draws::Draws;
use super::market::{Market, SYMBOLS};
use super::queue::{Pending, Queue};
use super::{lines, roster, run};

const NANOS_PER_MS: f64 = 1e6;
/// Timestamps are written to the microsecond.
const RESOLUTION_NS: i64 = 1000;
/// One price line for so many runs.
const RUNS_PER_PRICE: f64 = 3.0;
/// 2026-01-05T00:00:00Z, a Monday.
const DEFAULT_START: i64 = 1_767_571_200_000_000_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub seed: u64,
    /// At least one; the first five carry the traits of [`super::planted`].
    pub agents: usize,
    /// Unix nanoseconds of the simulated beginning.
    pub start: i64,
    /// Simulated time between two runs of the whole fleet, a microsecond at least.
    pub mean_gap_ms: f64,
    /// How many runs of the fleet pass, on average, between a trade and its PnL.
    pub mean_hold_runs: f64,
    /// Whether there is a `prices` stream.
    pub prices: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { seed: 0, agents: 12, start: DEFAULT_START, mean_gap_ms: 60_000.0, mean_hold_runs: 30.0, prices: true }
    }
}

/// One line of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimLine<'a> {
    /// `runs`, `alpha`, `pnl` or `prices`.
    pub stream: &'static str,
    /// Unix nanoseconds, the same instant as the line's own `ts`.
    pub ts: i64,
    /// The JSON object and its newline.
    pub bytes: &'a [u8],
}

impl SimLine<'_> {
    /// The JSON object without its newline.
    pub fn json(&self) -> &[u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes)
    }
}

/// An endless source of lines, in order of simulated time.
#[derive(Debug, Clone)]
pub struct Fleet {
    draws: Draws,
    market: Market,
    agents: Vec<Agent>,
    /// Running sums of the agents' weights.
    shares: Vec<f64>,
    gap_ns: f64,
    hold_ns: f64,
    next_run: i64,
    next_price: Option<i64>,
    priced: usize,
    queue: Queue,
    line: Vec<u8>,
}

impl Fleet {
    pub fn new(config: &Config) -> Self {
        let mut draws = Draws::new(config.seed);
        let agents = roster::recruit(&mut draws, config.agents.max(1));
        let shares = agents
            .iter()
            .scan(0.0, |sum, agent| {
                *sum += agent.weight;
                Some(*sum)
            })
            .collect();
        // f64::max answers the other side for not-a-number, so that any gap is a usable one.
        let gap_ns = (config.mean_gap_ms * NANOS_PER_MS).max(RESOLUTION_NS as f64);
        // Long enough for every agent to meet a regime several times.
        let regime_runs = (12 * agents.len()).max(60) as f64;
        let market = Market::new(&mut draws, config.start, gap_ns, regime_runs);
        Self {
            draws,
            market,
            agents,
            shares,
            gap_ns,
            hold_ns: config.mean_hold_runs.max(0.0) * gap_ns,
            next_run: config.start,
            next_price: config.prices.then_some(config.start),
            priced: 0,
            queue: Queue::default(),
            line: Vec::with_capacity(512),
        }
    }

    /// The next line. It is borrowed from the fleet's own buffer: copy what is to be kept.
    pub fn next_line(&mut self) -> SimLine<'_> {
        self.line.clear();
        loop {
            // Queued lines stand on the grid of written timestamps and the two clocks do not: what is queued from here
            // on cannot come before what is due now.
            let until = self.next_run.min(self.next_price.unwrap_or(i64::MAX));
            if let Some((ts, line)) = self.queue.pop_due(until) {
                let stream = self.write(&line, ts);
                return SimLine { stream, ts, bytes: &self.line };
            }
            match self.next_price {
                Some(at) if at <= self.next_run => {
                    let ts = self.quote(at);
                    return SimLine { stream: "prices", ts, bytes: &self.line };
                }
                _ => self.start_run(),
            }
        }
    }

    fn write(&mut self, line: &Pending, ts: i64) -> &'static str {
        let out = &mut self.line;
        match line {
            Pending::Alpha(line) => {
                lines::alpha(out, line, &self.agents[line.agent], ts);
                "alpha"
            }
            Pending::Run(line) => {
                lines::run(out, line, &self.agents[line.agent], ts);
                "runs"
            }
            Pending::Pnl(line) => {
                lines::pnl(out, line, &self.agents[line.agent], ts);
                "pnl"
            }
        }
    }

    fn quote(&mut self, at: i64) -> i64 {
        let symbol = self.priced % SYMBOLS.len();
        self.priced += 1;
        self.market.regime(&mut self.draws, at);
        let price = self.market.price(&mut self.draws, symbol, at);
        let ts = on_grid(at);
        lines::price(&mut self.line, symbol, price, ts);
        let wait = self.draws.between(0.5, 1.5) * RUNS_PER_PRICE * self.gap_ns;
        self.next_price = Some(later(at, wait));
        ts
    }

    /// Decides a whole run and queues its lines: the signal when it is thought, the run when it is logged, the PnL
    /// when the position is closed.
    fn start_run(&mut self) {
        let now = self.next_run;
        let wait = self.draws.exponential(self.gap_ns);
        self.next_run = later(now, wait);
        let regime = self.market.regime(&mut self.draws, now);
        let index = self.choose_agent();
        let draws = &mut self.draws;
        let agent = &mut self.agents[index];
        let mut line = run::think(draws, agent, index);
        let thought = later(now, line.latency_ms * NANOS_PER_MS);
        let logged = later(thought, draws.between(0.5, 4.0) * NANOS_PER_MS);
        if line.failed() {
            self.queue.push(on_grid(logged), Pending::Run(line));
            return;
        }
        let trade = run::trade(draws, agent, &line, regime);
        line.reward = Some(run::reward(draws, &trade));
        let alpha = run::alpha(draws, agent, &line, &trade, regime);
        self.queue.push(on_grid(thought), Pending::Alpha(alpha));
        if trade.side != 0.0 {
            let entry_price = self.market.price(draws, trade.symbol, now);
            let (first, second) = run::settle(draws, &line, &trade, entry_price);
            let mean_hold = self.hold_ns * agent.patience;
            let mut closed = later(logged, 0.2 * mean_hold + draws.exponential(0.8 * mean_hold));
            self.queue.push(on_grid(closed), Pending::Pnl(first));
            if let Some(second) = second {
                closed = later(closed, draws.exponential(0.3 * mean_hold));
                self.queue.push(on_grid(closed), Pending::Pnl(second));
            }
        }
        self.queue.push(on_grid(logged), Pending::Run(line));
    }

    fn choose_agent(&mut self) -> usize {
        let total = self.shares.last().copied().unwrap_or(0.0);
        let point = self.draws.unit() * total;
        self.shares.partition_point(|share| *share <= point).min(self.agents.len() - 1)
    }
}

fn later(ts: i64, nanos: f64) -> i64 {
    ts.saturating_add(nanos as i64)
}

/// The latest instant that a timestamp can say and that is not after `ts`.
fn on_grid(ts: i64) -> i64 {
    ts.saturating_sub(ts.rem_euclid(RESOLUTION_NS))
}
