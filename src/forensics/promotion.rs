//! Which runs count towards promotion, which do not, and why.

use super::{Run, Runs};
use crate::policy::Gates;

/// Whether the gate looks at a run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counts {
    /// Errors, latency and PnL.
    Whole,
    /// Errors and latency; it has no PnL yet.
    NoPnl,
    /// Errors and latency; its PnL is older than the window.
    OldPnl,
    /// PnL; its run line is older than the window, or there is none.
    PnlOnly,
    /// Its run line and PnL are older than the window.
    Old,
    /// The agent was revived after it, with nothing held against it.
    BeforeRevival,
    /// Neither a run line nor PnL.
    SignalOnly,
}

impl Counts {
    pub const ALL: [Counts; 7] = [
        Counts::Whole,
        Counts::NoPnl,
        Counts::OldPnl,
        Counts::PnlOnly,
        Counts::Old,
        Counts::BeforeRevival,
        Counts::SignalOnly,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Counts::Whole => "counts",
            Counts::NoPnl => "no_pnl",
            Counts::OldPnl => "old_pnl",
            Counts::PnlOnly => "pnl_only",
            Counts::Old => "old",
            Counts::BeforeRevival => "before_revival",
            Counts::SignalOnly => "signal_only",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Counts::Whole => "it counts",
            Counts::NoPnl => "its errors and latency count; it has no PnL yet",
            Counts::OldPnl => "its errors and latency count; its PnL is older than the window",
            Counts::PnlOnly => "its PnL counts; its run line is older than the window, or there is none",
            Counts::Old => "it does not: it is older than the window",
            Counts::BeforeRevival => "it does not: its agent was revived later, with nothing held against it",
            Counts::SignalOnly => "it does not: there is neither a run line nor PnL",
        }
    }
}

/// Whether a run counts at the end of what was recorded, under the rules in force there.
pub fn counts(runs: &Runs, run: &Run, rules: &Gates) -> Counts {
    let tally = runs.tally_of(run.agent);
    let within = |place: Option<u64>, all: u64, before: u64| {
        place.is_some_and(|place| place > before && place + rules.window as u64 > all)
    };
    let ran = within(run.ran, tally.ran, tally.before.0);
    let earned = within(run.earned, tally.earned, tally.before.1);
    let revived = |place: Option<u64>, before: u64| place.is_none_or(|place| place <= before);
    match (ran, earned) {
        (true, true) => Counts::Whole,
        (true, false) if run.earned.is_none() => Counts::NoPnl,
        (true, false) => Counts::OldPnl,
        (false, true) => Counts::PnlOnly,
        (false, false) if run.ran.is_none() && run.earned.is_none() => Counts::SignalOnly,
        (false, false) if revived(run.ran, tally.before.0) && revived(run.earned, tally.before.1) => {
            Counts::BeforeRevival
        }
        (false, false) => Counts::Old,
    }
}
