//! Evidence that holds at whatever moment one looks.
//!
//! A rule like "the last hundred runs earned more than 150" that is looked at after every run passes an agent without
//! any edge sooner or later. The e-processes here do not: under the null hypothesis the chance that one **ever**
//! reaches `1 / alpha` is at most `alpha` (Ville 1939). Those that start at one and multiply are called wealth.
//!
//! | question | null hypothesis | file |
//! |---|---|---|
//! | is the mean above a hurdle, whatever the distribution? | mean at most the hurdle | [`betting`] |
//! | is a rate above a limit? is a median below one? | rate at most the limit | [`bernoulli`] |
//! | is the Sharpe ratio above zero, for nearly normal values? | ratio at most zero | [`anytime_t`] |
//! | between which limits does a mean or a rate lie? | | [`confidence`] |
//!
//! [`sharpe`] gives the classical figures for one look, [`multiple`] corrects for many agents, [`sequential`] has the
//! older charts and tests. Everything is a pure function or a small `Copy` state, and total.

/// The anytime-valid t-test.
pub mod anytime_t;
/// Rates and medians: the uniform mixture of Bernoulli likelihood ratios.
pub mod bernoulli;
/// The mean of values with a bounded loss: wealth from bets against the null hypothesis.
pub mod betting;
/// Bounds that hold at all times at once.
pub mod confidence;
/// Skewness and kurtosis of a finished sequence.
pub mod moments;
/// Many hypotheses at once.
pub mod multiple;
/// Wald's sequential test and cumulative sum charts.
pub mod sequential;
/// Sharpe ratios with their uncertainty.
pub mod sharpe;

/// How often rules and evidence promote agents without an edge.
#[cfg(test)]
mod calibration;

pub use anytime_t::AnytimeT;
pub use betting::{Betting, Terms, remaining_runs};
pub use moments::Moments;
pub use multiple::e_bh;
pub use sharpe::{SharpeRatio, expected_max};

/// `exp(ln)`, kept finite.
fn exp_capped(ln: f64) -> f64 {
    libm::exp(ln).min(f64::MAX)
}
