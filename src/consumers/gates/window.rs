use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{
    decision::Numbers,
    event::Key,
    fold::batch::{Pnl, Run},
    policy::{self, Policy},
    stats::{Exact, KeyedWindow, near, order, ring},
};

/// The last runs of a subject, and the PnL of the last runs that had any, with what the gates need of them kept up.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct GateWindow {
    runs: VecDeque<Outcome>,
    failed: usize,
    with_latency: usize,
    /// As long as a run's PnL may still change.
    pnl: KeyedWindow<Key>,
    capacity: usize,
    /// How many of the newest PnL count, and their exact sum.
    counted: usize,
    pnl_sum: Exact,
    /// The sum and that of the newest five, rounded, as every run asks for them; found again when they are wanted.
    #[serde(skip)]
    rounded: Option<(f64, Option<f64>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Outcome {
    failed: bool,
    latency_ms: Option<f64>,
}

/// What the gates look at, but for the median latency.
pub struct Measured {
    pub runs: usize,
    /// 0 without runs.
    pub error_rate: f64,
    pub with_latency: usize,
    /// Sum over the window.
    pub pnl_bps: f64,
    pub last_5_pnl_bps: Option<f64>,
}

impl GateWindow {
    pub fn run(&mut self, run: &Run, policy: &Policy) {
        while self.runs.len() >= policy.gates.window {
            let Some(old) = self.runs.pop_front() else { break };
            self.failed -= usize::from(old.failed);
            self.with_latency -= usize::from(old.latency_ms.is_some());
        }
        self.failed += usize::from(run.failed);
        self.with_latency += usize::from(run.latency_ms.is_some());
        ring::make_room(&mut self.runs, policy.gates.window);
        self.runs.push_back(Outcome { failed: run.failed, latency_ms: run.latency_ms });
    }

    pub fn pnl(&mut self, run: Option<Key>, pnl: &Pnl, policy: &Policy) {
        // One more than is counted, so that what ceases to count can still be taken off the sum.
        let capacity = policy.rolling.window.max(policy.gates.window + 1);
        if capacity != self.capacity {
            // Another policy: what is no longer kept must not be counted on.
            self.capacity = capacity;
            self.pnl.set_capacity(capacity);
            self.counted = self.counted.min(self.pnl.len());
            self.pnl_sum = (1..=self.counted).filter_map(|nth| self.pnl.nth_last(nth)).sum();
        }
        let change = self.pnl.add(run, pnl.realized_pnl_bps);
        if change.before.is_none() {
            self.pnl_sum += pnl.realized_pnl_bps;
            self.counted += 1;
        } else if change.age <= self.counted {
            self.pnl_sum += pnl.realized_pnl_bps;
        }
        while self.counted > policy.gates.window {
            if let Some(old) = self.pnl.nth_last(self.counted) {
                self.pnl_sum -= &old;
            }
            self.counted -= 1;
        }
        self.rounded = Some(self.rounded());
    }

    /// Fetches into the cache what [`Self::run`] looks at.
    #[inline]
    pub fn fetch_for_run(&self) {
        near::fetch(&self.runs);
        near::fetch(&self.rounded);
    }

    /// Fetches what lies behind that.
    #[inline]
    pub fn fetch_behind_for_run(&self) {
        near::fetch_next(&self.runs);
    }

    /// Fetches what [`Self::pnl`] looks at.
    #[inline]
    pub fn fetch_for_pnl(&self) {
        self.pnl.fetch();
        near::fetch(&self.pnl_sum);
        near::fetch(&self.rounded);
    }

    /// Fetches what lies behind that: the entry of the run, the one that ceases to count, and the last five, two of which
    /// share a cache line.
    #[inline]
    pub fn fetch_behind_for_pnl(&self, run: Option<Key>) {
        self.pnl.fetch_behind(run);
        [self.counted, 2, 4].into_iter().for_each(|nth| self.pnl.fetch_nth_last(nth));
    }

    fn rounded(&self) -> (f64, Option<f64>) {
        (self.pnl_sum.to_f64(), self.pnl.sum_of_last(5))
    }

    pub fn error_rate(&self) -> Option<f64> {
        (!self.runs.is_empty()).then(|| self.failed as f64 / self.runs.len() as f64)
    }

    /// PnL of the runs in the window, oldest first, bps.
    pub fn pnl_values(&self) -> Vec<f64> {
        self.pnl.values().skip(self.pnl.len().saturating_sub(self.counted)).collect()
    }

    pub fn measure(&self) -> Measured {
        let (pnl_bps, last_5_pnl_bps) = self.rounded.unwrap_or_else(|| self.rounded());
        Measured {
            runs: self.runs.len(),
            error_rate: self.error_rate().unwrap_or(0.0),
            with_latency: self.with_latency,
            pnl_bps,
            last_5_pnl_bps,
        }
    }

    /// Median latency of the runs in the window; linear in it.
    pub fn median_latency_ms(&self) -> Option<f64> {
        let mut latencies: Vec<f64> = self.runs.iter().filter_map(|run| run.latency_ms).collect();
        order::median(&mut latencies)
    }
}

impl Measured {
    pub fn kill_numbers(&self, rules: &policy::Gates) -> Numbers {
        vec![
            ("last_5_pnl_bps", self.last_5_pnl_bps.into()),
            ("last_5_pnl_bps_limit", rules.kill.last_5_pnl_bps.into()),
            ("error_rate", self.error_rate.into()),
            ("max_error_rate", rules.kill.max_error_rate.into()),
            ("runs", self.runs.into()),
            ("min_runs", rules.min_runs.into()),
        ]
    }

    pub fn promote_numbers(&self, median_latency_ms: Option<f64>, rules: &policy::Gates) -> Numbers {
        vec![
            ("pnl_bps", self.pnl_bps.into()),
            ("min_pnl_bps", rules.promote.min_pnl_bps.into()),
            ("error_rate", self.error_rate.into()),
            ("max_error_rate", rules.promote.max_error_rate.into()),
            ("median_latency_ms", median_latency_ms.into()),
            ("max_median_latency_ms", rules.promote.max_median_latency_ms.into()),
            ("runs", self.runs.into()),
            ("min_runs", rules.min_runs.into()),
        ]
    }
}
