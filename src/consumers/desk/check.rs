use serde_json::Value;

use super::{Desk, Verdict};
use crate::{
    decision::Numbers,
    event::money,
    fold::{
        At, Decisions,
        batch::{Check, Named},
    },
    policy::{self, DeskMode},
    subject::Subject,
};

impl Desk {
    /// Answers a check with every reason that applies. To make a position smaller is always allowed.
    pub(super) fn check(&mut self, at: &At, check: &Check, out: &mut Decisions) {
        let subject = check.agent.subject();
        let (verdict, rules) = (self.verdict(subject), &at.policy().desk);
        let loss_usd = -money::to_usd(self.losses.today(subject));
        let size = self.size(&verdict, check);
        let mut reasons = self.verdict_reasons(&verdict, check);
        reasons.extend(order_reasons(check, rules, size, loss_usd));
        if check.reduce {
            reasons.clear();
        }
        let observing = rules.mode == DeskMode::Observe;
        let allowed = reasons.is_empty() || observing;
        let word = |allowed: bool| if allowed { "allow" } else { "deny" };
        let first = reasons.first().copied().unwrap_or("allowed");
        let mut numbers: Numbers = vec![("reasons", reasons.clone().into()), ("mode", mode_name(rules.mode).into())];
        if observing {
            numbers.push(("would", word(reasons.is_empty()).into()));
        }
        numbers.extend(self.numbers(at, check, rules, size, loss_usd));
        numbers.push(("live", (verdict.reasons.is_empty() && verdict.paper.is_none()).into()));
        let checks = self.standings.entry(subject).map_or(&mut self.strangers, |standing| &mut standing.checks);
        *checks.entry((allowed, first.to_owned())).or_default() += 1;
        out.answer(at, check.agent, word(allowed), first, numbers);
        if matches!(check.agent, Named::Stranger(..)) {
            out.touch(Subject::Fleet);
        }
    }

    /// On paper nothing is lost: an agent in quarantine may trade there, and so recover.
    fn verdict_reasons(&self, verdict: &Verdict, check: &Check) -> Vec<&'static str> {
        let mut reasons = verdict.reasons.clone();
        if check.paper {
            reasons.retain(|reason| *reason != "quarantined");
        } else {
            reasons.extend(verdict.paper);
        }
        reasons
    }

    fn size(&self, verdict: &Verdict, check: &Check) -> f64 {
        let held_on_market_only = check.paper && verdict.reasons == ["quarantined"];
        match self.standings.get(check.agent.subject()) {
            Some(standing) if held_on_market_only => self.confidence(standing),
            _ => verdict.size_multiplier,
        }
    }

    fn numbers(&self, at: &At, check: &Check, rules: &policy::Desk, size: f64, loss_usd: f64) -> Numbers {
        vec![
            ("symbol", check.symbol.map(|symbol| at.text(symbol)).into()),
            ("size_multiplier", size.into()),
            ("notional_usd", check.notional_usd.into()),
            ("max_notional_usd", (rules.max_notional_usd * size).into()),
            ("net_edge_bps", net_edge_bps(check).into()),
            ("min_net_edge_bps", rules.min_net_edge_bps.into()),
            ("data_age_sec", check.data_age_sec.into()),
            ("max_data_age_sec", rules.max_data_age_sec.into()),
            ("loss_today_usd", loss_usd.max(0.0).into()),
            ("daily_loss_limit_usd", rules.daily_loss_limit_usd.into()),
            ("paper", check.paper.into()),
            ("reduce", Value::from(check.reduce)),
        ]
    }
}

/// What speaks against the order itself.
fn order_reasons(check: &Check, rules: &policy::Desk, size: f64, loss_usd: f64) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    let fields = [
        ("missing:symbol", check.symbol.is_some()),
        ("missing:notional_usd", check.notional_usd.is_some()),
        ("missing:expected_edge_bps", check.expected_edge_bps.is_some()),
        ("missing:spread_bps", check.spread_bps.is_some()),
        ("missing:slippage_bps", check.slippage_bps.is_some()),
        ("missing:data_age_sec", check.data_age_sec.is_some()),
    ];
    reasons.extend(fields.into_iter().filter(|(_, given)| !given).map(|(reason, _)| reason));
    // A short order is as large as a long one.
    if check.notional_usd.is_some_and(|notional| notional.abs() > rules.max_notional_usd * size) {
        reasons.push("notional");
    }
    if net_edge_bps(check).is_some_and(|edge| edge <= rules.min_net_edge_bps) {
        reasons.push("edge");
    }
    if check.data_age_sec.is_some_and(|age| age > rules.max_data_age_sec) {
        reasons.push("stale_data");
    }
    if loss_usd > rules.daily_loss_limit_usd {
        reasons.push("daily_loss");
    }
    reasons
}

/// What is expected to be left after spread and slippage.
fn net_edge_bps(check: &Check) -> Option<f64> {
    Some(check.expected_edge_bps? - check.spread_bps? - check.slippage_bps?)
}

fn mode_name(mode: DeskMode) -> &'static str {
    match mode {
        DeskMode::Enforce => "enforce",
        DeskMode::Observe => "observe",
    }
}
