//! How much of its size an agent may use: a factor below 1 for every run that lost, a smaller one for large losses.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    event::Key,
    fold::{At, Body, Consumer, Decisions, Event, batch::Pnl},
    policy,
    stats::{KeyedWindow, near},
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
    /// The terms the counts were made under.
    terms: Option<Terms>,
    multiplier: Option<f64>,
}

/// What makes a loss count, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Terms {
    large_loss_bps: f64,
    /// All losses count, also those that left the window.
    all: bool,
    capacity: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    large: u64,
    small: u64,
}

const MULTIPLIER: usize = 0;

impl Consumer for Confidence {
    const NAME: &'static str = "confidence";
    const VERSION: u32 = 2;
    const FAMILIES: &'static [Family] = &[Family::new(
        "confidence_multiplier",
        MetricType::Gauge,
        "Share of its size a subject may use, from its losing runs.",
    )];

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        match &event.body {
            Body::Pnl(pnl) => {
                let terms = Terms::of(at.policy());
                event.each_subject(|subject| {
                    let Some(losses) = self.subjects.entry(subject) else { return };
                    losses.come_under(terms);
                    losses.record(event.run, pnl);
                    losses.judge(subject, at, "losses", out);
                });
            }
            // Another policy may judge the same losses otherwise.
            Body::Policy => {
                for (subject, losses) in self.subjects.agents_mut() {
                    losses.come_under(Terms::of(at.policy()));
                    losses.judge(subject, at, "policy", out);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn fetch(&self, subject: Subject, event: &Event) {
        if let (Body::Pnl(_), Some(losses)) = (&event.body, self.subjects.get(subject)) {
            losses.pnl.fetch();
            near::fetch(&losses.recent);
            near::fetch(&losses.terms);
        }
    }

    #[inline]
    fn fetch_behind(&self, subject: Subject, event: &Event) {
        if let (Body::Pnl(_), Some(losses)) = (&event.body, self.subjects.get(subject)) {
            losses.pnl.fetch_behind(event.run);
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
    /// Counts anew what is still known, where other terms than before hold.
    fn come_under(&mut self, terms: Terms) {
        if self.terms == Some(terms) {
            return;
        }
        let before: Vec<f64> = self.pnl.values().collect();
        self.pnl.set_capacity(terms.capacity);
        let (gone, kept) = before.split_at(before.len() - self.pnl.len());
        let count = |values: &[f64]| values.iter().fold(Count::default(), |count, x| count.with(*x, &terms));
        self.recent = count(kept);
        let settled = if self.terms.is_some_and(|terms| terms.all) { self.settled } else { Count::default() };
        self.settled = if terms.all { settled.and(count(gone)) } else { Count::default() };
        self.terms = Some(terms);
    }

    fn record(&mut self, run: Option<Key>, pnl: &Pnl) {
        let Some(terms) = self.terms else { return };
        let change = self.pnl.add(run, pnl.realized_pnl_bps);
        self.recent = self.recent.with(change.after, &terms);
        for gone in [change.before, change.evicted].into_iter().flatten() {
            self.recent = self.recent.without(gone, &terms);
        }
        if let Some(evicted) = change.evicted.filter(|_| terms.all) {
            self.settled = self.settled.with(evicted, &terms);
        }
    }

    /// Says so when the multiplier of an agent changed.
    fn judge(&mut self, subject: Subject, at: &At, rule: &'static str, out: &mut Decisions) {
        let rules = &at.policy().confidence;
        let before = self.multiplier.unwrap_or(1.0);
        let after = self.multiplier(rules);
        self.multiplier = Some(after);
        if after != before && matches!(subject, Subject::Agent(_)) {
            let total = self.total();
            let numbers = vec![
                ("multiplier", after.into()),
                ("before", before.into()),
                ("large_losses", total.large.into()),
                ("small_losses", total.small.into()),
            ];
            out.emit(subject, "confidence", rule, numbers);
        }
    }

    fn total(&self) -> Count {
        Count { large: self.recent.large + self.settled.large, small: self.recent.small + self.settled.small }
    }

    fn multiplier(&self, rules: &policy::Confidence) -> f64 {
        let total = self.total();
        let of_large = power(rules.large_loss_factor, total.large, rules.floor);
        let of_small = power(rules.loss_factor, total.small, rules.floor);
        (of_large * of_small).max(rules.floor).min(rules.cap)
    }
}

impl Terms {
    fn of(policy: &policy::Policy) -> Terms {
        let rules = &policy.confidence;
        let all = rules.window == 0;
        let capacity = if all { policy.rolling.window } else { rules.window };
        Terms { large_loss_bps: rules.large_loss_bps, all, capacity }
    }
}

impl Count {
    fn with(mut self, pnl_bps: f64, terms: &Terms) -> Count {
        self.large += u64::from(pnl_bps < terms.large_loss_bps);
        self.small += u64::from(pnl_bps >= terms.large_loss_bps && pnl_bps < 0.0);
        self
    }

    fn and(self, other: Count) -> Count {
        Count { large: self.large + other.large, small: self.small + other.small }
    }

    fn without(mut self, pnl_bps: f64, terms: &Terms) -> Count {
        let one = Count::default().with(pnl_bps, terms);
        self.large = self.large.saturating_sub(one.large);
        self.small = self.small.saturating_sub(one.small);
        self
    }
}

/// `base`, of 0 to 1, to a whole power by squaring: the same bits everywhere, unlike the power function of a platform. What
/// will be at most `least` is not worked out any further, as no factor makes it more: it is at most `least` then, and no
/// more is known of it.
fn power(mut base: f64, mut exponent: u64, least: f64) -> f64 {
    let mut result = 1.0_f64;
    while exponent > 0 {
        let most = result.min(base);
        if most <= least {
            return most;
        }
        if exponent % 2 == 1 {
            result *= base;
        }
        base *= base;
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same without an early end.
    fn whole(base: f64, exponent: u64) -> f64 {
        power(base, exponent, -1.0)
    }

    fn share() -> impl Strategy<Value = f64> {
        prop_oneof![prop::sample::select(vec![0.0, -0.0, 1e-300, 0.5, 0.95, 1.0]), 0.0..=1.0]
    }

    proptest! {
        #[test]
        fn a_power_that_ends_early_comes_to_the_same_share(
            bases in (share(), share()), losses in (0..20_000_u64, 0..400_u64), floor in share(),
        ) {
            let early = power(bases.0, losses.0, floor) * power(bases.1, losses.1, floor);
            let late = whole(bases.0, losses.0) * whole(bases.1, losses.1);
            prop_assert_eq!(early.max(floor), late.max(floor));
        }
    }
}
