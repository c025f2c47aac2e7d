use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::window::GateWindow;
use crate::{
    decision::Numbers,
    fold::batch::{Pnl, Run},
    policy,
    stats::evidence::{AnytimeT, Betting, Moments, SharpeRatio, Terms, bernoulli, betting, remaining_runs},
};

/// Width of the anytime-valid t-test's prior over the effect size.
const T_PRIOR: f64 = 0.04;

/// What the runs of a subject prove, whenever one looks: wealth from bets on and against its mean PnL, and counts of
/// errors and of fast runs. Every PnL record is one observation.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// The terms of the bets; other terms begin anew.
    terms: Option<(f64, f64)>,
    promote: Betting,
    kill: Betting,
    runs: u64,
    failed: u64,
    with_latency: u64,
    fast: u64,
    /// What counted as fast; another limit begins the count anew.
    fast_below_ms: f64,
}

/// E-values of one moment; a test that cannot be made has none.
pub struct Judgement {
    /// Against "the mean PnL is at most the hurdle".
    pub promote: f64,
    /// Against "errors are as frequent as the limit".
    pub few_errors: Option<f64>,
    /// Against "the median latency is at or above the limit".
    pub fast: Option<f64>,
    /// Against "the mean PnL is at least the hurdle".
    pub kill: f64,
    /// Against "errors are at most as frequent as the limit".
    pub many_errors: Option<f64>,
}

impl Evidence {
    pub fn run(&mut self, run: &Run, rules: &policy::Gates) {
        self.runs += 1;
        self.failed += u64::from(run.failed);
        if let Some(latency) = run.latency_ms {
            let limit = rules.promote.max_median_latency_ms;
            if self.fast_below_ms != limit {
                (self.fast_below_ms, self.with_latency, self.fast) = (limit, 0, 0);
            }
            self.with_latency += 1;
            self.fast += u64::from(latency < limit);
        }
    }

    pub fn pnl(&mut self, pnl: &Pnl, rules: &policy::Gates) {
        let (floor, hurdle) = (rules.promote.loss_floor_bps, rules.promote.hurdle_bps);
        if self.terms != Some((floor, hurdle)) {
            self.terms = Some((floor, hurdle));
            (self.promote, self.kill) = Default::default();
        }
        if let Some(terms) = Terms::promote(floor, floor, hurdle, betting::HALF) {
            self.promote.step(pnl.realized_pnl_bps, &terms);
        }
        if let Some(terms) = Terms::kill(floor, floor, hurdle, betting::HALF) {
            self.kill.step(pnl.realized_pnl_bps, &terms);
        }
    }

    pub fn judge(&self, rules: &policy::Gates) -> Judgement {
        Judgement {
            promote: self.promote.wealth(),
            few_errors: bernoulli::rate_below(self.failed, self.runs, rules.promote.max_error_rate),
            fast: bernoulli::median_below(self.fast, self.with_latency),
            kill: self.kill.wealth(),
            many_errors: bernoulli::rate_above(self.failed, self.runs, rules.kill.max_error_rate),
        }
    }

    /// PnL records bet on.
    pub fn records(&self) -> u64 {
        self.promote.runs()
    }

    /// PnL records until the bets would have proved enough, if they go on as they did.
    pub fn runs_needed(&self, rules: &policy::Gates) -> Option<u64> {
        remaining_runs(self.promote.wealth(), self.promote.runs(), 1.0 / rules.promote.alpha)
    }

    /// Shown beside every rule: the e-values, what they need, and the classical figures for one look.
    pub fn row(&self, rules: &policy::Gates, window: &GateWindow) -> Value {
        let judgement = self.judge(rules);
        let moments = Moments::of(&window.pnl_values());
        let sharpe = moments.as_ref().and_then(|moments| SharpeRatio::of(moments, rules.promote.hurdle_bps));
        let t = moments.as_ref().and_then(|moments| {
            AnytimeT::of_moments(moments.count, moments.mean, moments.std, rules.promote.hurdle_bps, T_PRIOR)
        });
        json!({
            "promote": judgement.promote,
            "promote_needed": 1.0 / rules.promote.alpha,
            "few_errors": judgement.few_errors,
            "fast": judgement.fast,
            "kill": judgement.kill,
            "kill_needed": 1.0 / rules.kill.alpha,
            "many_errors": judgement.many_errors,
            "records": self.records(),
            "records_needed": self.runs_needed(rules),
            "anytime_t_above": t.as_ref().map(AnytimeT::above),
            "anytime_t_below": t.as_ref().map(AnytimeT::below),
            "psr": sharpe.as_ref().and_then(|sharpe| sharpe.probability_above(0.0)),
            "min_track_record": sharpe.as_ref().and_then(|s| s.min_track_record(0.0, 1.0 - rules.promote.alpha)),
        })
    }
}

impl Judgement {
    /// Enough for a promotion: a mean above the hurdle, few errors, a fast median. With a limit of no errors at all no
    /// number of runs is proof, so the rule alone speaks of errors.
    pub fn promotes(&self, rules: &policy::Gates, failed: bool) -> bool {
        let needed = 1.0 / rules.promote.alpha;
        let few_errors = match self.few_errors {
            Some(e) => e >= needed,
            None => !failed,
        };
        self.promote >= needed && few_errors && self.fast.is_some_and(|e| e >= needed)
    }

    /// Enough to kill: a mean below the hurdle, or too many errors.
    pub fn kills(&self, rules: &policy::Gates) -> bool {
        let needed = 1.0 / rules.kill.alpha;
        self.kill >= needed || self.many_errors.is_some_and(|e| e >= needed)
    }

    pub fn promote_numbers(&self, rules: &policy::Gates, records_needed: Option<u64>) -> Numbers {
        vec![
            ("evidence", self.promote.into()),
            ("evidence_needed", (1.0 / rules.promote.alpha).into()),
            ("evidence_few_errors", self.few_errors.into()),
            ("evidence_fast", self.fast.into()),
            ("records_needed", records_needed.into()),
        ]
    }

    pub fn kill_numbers(&self, rules: &policy::Gates) -> Numbers {
        vec![
            ("evidence", self.kill.into()),
            ("evidence_needed", (1.0 / rules.kill.alpha).into()),
            ("evidence_many_errors", self.many_errors.into()),
        ]
    }
}
