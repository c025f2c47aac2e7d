//! How much of its size an agent may use: a factor below 1 for every run that lost, a smaller one for large losses.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    event::Key,
    fold::{At, Body, Consumer, Decisions, Event, batch::Pnl},
    policy,
    stats::KeyedWindow,
    subject::{PerSubject, Subject},
    view::{Family, MetricType, Row, Samples},
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Confidence {
    subjects: PerSubject<Losses>,
}

/// The losing runs of a subject.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Losses {
    /// PnL of the runs that may still change, bps.
    pnl: KeyedWindow<Key>,
    /// Losses among them, and among those that left the window and still count.
    recent: Count,
    settled: Count,
    /// The threshold the counts were made with.
    large_loss_bps: f64,
    multiplier: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    large: u64,
    small: u64,
}

const MULTIPLIER: usize = 0;

impl Consumer for Confidence {
    const NAME: &'static str = "confidence";
    const VERSION: u32 = 1;
    const FAMILIES: &'static [Family] = &[Family::new(
        "confidence_multiplier",
        MetricType::Gauge,
        "Share of its size a subject may use, from its losing runs.",
    )];

    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        let Body::Pnl(pnl) = &event.body else { return };
        let policy = at.policy();
        let subjects = [event.agent.map(Subject::Agent), event.strategy.map(Subject::Strategy)];
        for subject in subjects.into_iter().flatten() {
            let Some(losses) = self.subjects.entry(subject) else { continue };
            let before = losses.multiplier.unwrap_or(policy.confidence.cap.min(1.0));
            losses.record(event.run, pnl, policy);
            let after = losses.multiplier(&policy.confidence);
            losses.multiplier = Some(after);
            if after != before && matches!(subject, Subject::Agent(_)) {
                let total = losses.total();
                let numbers = vec![
                    ("multiplier", after.into()),
                    ("before", before.into()),
                    ("large_losses", total.large.into()),
                    ("small_losses", total.small.into()),
                ];
                out.emit(subject, "confidence", "losses", numbers);
            }
        }
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        out.number(MULTIPLIER, self.shown(subject));
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        if subject != Subject::Fleet {
            out.insert("confidence".to_owned(), Value::from(self.shown(subject)));
        }
    }
}

impl Confidence {
    fn shown(&self, subject: Subject) -> f64 {
        self.subjects.get(subject).and_then(|losses| losses.multiplier).unwrap_or(1.0)
    }
}

impl Losses {
    fn record(&mut self, run: Option<Key>, pnl: &Pnl, policy: &policy::Policy) {
        let rules = &policy.confidence;
        let all = rules.window == 0;
        self.pnl.set_capacity(if all { policy.rolling.window } else { rules.window });
        let change = self.pnl.add(run, pnl.realized_pnl_bps);
        if self.large_loss_bps != rules.large_loss_bps {
            self.large_loss_bps = rules.large_loss_bps;
            self.recent = self.pnl.values().fold(Count::default(), |count, x| count.with(x, rules));
            return;
        }
        self.recent = self.recent.with(change.after, rules);
        for gone in [change.before, change.evicted].into_iter().flatten() {
            self.recent = self.recent.without(gone, rules);
        }
        if let Some(evicted) = change.evicted.filter(|_| all) {
            self.settled = self.settled.with(evicted, rules);
        }
    }

    fn total(&self) -> Count {
        Count { large: self.recent.large + self.settled.large, small: self.recent.small + self.settled.small }
    }

    fn multiplier(&self, rules: &policy::Confidence) -> f64 {
        let total = self.total();
        let factor = power(rules.large_loss_factor, total.large) * power(rules.loss_factor, total.small);
        factor.max(rules.floor).min(rules.cap)
    }
}

impl Count {
    fn with(mut self, pnl_bps: f64, rules: &policy::Confidence) -> Count {
        self.large += u64::from(pnl_bps < rules.large_loss_bps);
        self.small += u64::from(pnl_bps >= rules.large_loss_bps && pnl_bps < 0.0);
        self
    }

    fn without(mut self, pnl_bps: f64, rules: &policy::Confidence) -> Count {
        let one = Count::default().with(pnl_bps, rules);
        self.large = self.large.saturating_sub(one.large);
        self.small = self.small.saturating_sub(one.small);
        self
    }
}

/// `base` to a whole power by squaring: the same bits everywhere, unlike the power function of a platform.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result *= base;
        }
        base *= base;
        exponent /= 2;
    }
    result
}
