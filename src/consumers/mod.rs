//! Floor 3: the consumers, one file (or folder) each. None imports another; one that needs another's conclusions hears
//! its decisions.

use crate::fold::Registration;

/// Which agent runs how often in a period.
mod allocation;
/// What a day costs, and whether any of it is left.
mod budget;
/// How much of its size an agent may use.
mod confidence;
/// Who may trade, at what size, and why.
mod desk;
/// Who is promoted, who is killed.
mod gates;
/// When rewards turn against an agent: quarantined until they recover.
mod quarantine;
/// Signals and prices to realized profit.
mod reconcile;
/// What the last runs were like: rewards, PnL, latency over windows.
mod rolling;
/// What was done in all: runs, failures, tokens, cost, histograms.
mod runs;

/// Lines and a policy in, decisions and rows out.
#[cfg(test)]
mod tests;

/// Every consumer, in the order in which they hear.
pub const REGISTRY: &[Registration] = &[
    Registration::of::<runs::Runs>(),
    Registration::of::<rolling::Rolling>(),
    Registration::of::<quarantine::Quarantine>(),
    Registration::of::<confidence::Confidence>(),
    Registration::of::<gates::Gates>(),
    Registration::of::<budget::Budget>(),
    Registration::of::<desk::Desk>(),
    Registration::of::<allocation::Allocation>(),
    Registration::of::<reconcile::Reconcile>(),
];
