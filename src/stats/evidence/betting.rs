//! The mean of values with a bounded loss: wealth from bets against the null hypothesis.
//!
//! Waudby-Smith and Ramdas (2024, "Estimating means of bounded random variables by betting"). Start with a wealth of
//! one. Before each value stake a part of it that may depend on the past only; the value then multiplies the wealth by
//! `1 + stake * (value - hurdle)`. If the mean given the past is at most the hurdle and the factor cannot be negative,
//! the wealth is a non-negative supermartingale: it ever reaches `1 / alpha` with probability at most `alpha`, whatever
//! the distribution and however the values depend on each other.

use serde::{Deserialize, Serialize};

use crate::stats::admit;

/// The part of the largest possible stake that is used when nothing else is said.
pub const HALF: f64 = 0.5;

/// What is bet on: the side, the enforced floor, the cap, the hurdle and the largest stake. Units are those of the values.
///
/// For promotion the null hypothesis is "mean at most `hurdle`" and the caller enforces `x >= -floor`; for a kill it is
/// "mean at least `hurdle`" and the bound is `x <= floor`, the mirror image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// -1 turns values and hurdle round, so that one process serves both sides.
    sign: f64,
    floor: f64,
    cap: f64,
    hurdle: f64,
    /// Largest stake, `share / (floor + hurdle)`: what would lose `share` of the wealth at the floor.
    most: f64,
}

impl Terms {
    /// Bets that the mean is above `hurdle`.
    ///
    /// Losses are at most `floor > 0`, gains count up to `cap`, and `0 < share < 1`. `None` when the hurdle is not
    /// strictly between `-floor` and `cap` (nothing could be won or lost) or an argument is not finite.
    pub fn promote(floor: f64, cap: f64, hurdle: f64, share: f64) -> Option<Terms> {
        Terms::of(1.0, floor, cap, hurdle, share)
    }

    /// Bets that the mean is below `hurdle`: gains are at most `ceiling > 0` and losses count up to `cap`.
    pub fn kill(ceiling: f64, cap: f64, hurdle: f64, share: f64) -> Option<Terms> {
        Terms::of(-1.0, ceiling, cap, 0.0 - hurdle, share)
    }

    fn of(sign: f64, floor: f64, cap: f64, hurdle: f64, share: f64) -> Option<Terms> {
        let finite = [floor, cap, hurdle, share].iter().all(|x| x.is_finite());
        let possible = floor > 0.0 && -floor < hurdle && hurdle < cap && share > 0.0 && share < 1.0;
        let most = share / (floor + hurdle);
        (finite && possible && most.is_finite()).then_some(Terms { sign, floor, cap, hurdle, most })
    }

    /// A value as gain over the hurdle. Clipping a gain lowers the mean, so it keeps the guarantee.
    fn gain(&self, x: f64) -> f64 {
        (self.sign * admit(x)).min(self.cap) - self.hurdle
    }
}

/// Wealth so far, and what the next stake is computed from: the gains over the hurdle, their sum and sum of squares.
///
/// Only `+ - * /` in the order of the values, so every platform computes the same bits. A state belongs to one
/// [`Terms`]; other terms need a new one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Betting {
    wealth: f64,
    runs: u64,
    sum: f64,
    sum_sq: f64,
}

impl Default for Betting {
    fn default() -> Betting {
        Betting { wealth: 1.0, runs: 0, sum: 0.0, sum_sq: 0.0 }
    }
}

impl Betting {
    /// Wealth, in `0..=f64::MAX`: an e-value at any time.
    pub fn wealth(&self) -> f64 {
        self.wealth
    }

    /// Values so far.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The stake on the next value, in `0..=most`.
    ///
    /// The aGRAPA rule m / (v + m^2) with one imagined value of variance `(floor / 4)^2`: with m = S / (n + 1) and
    /// v + m^2 = (floor^2 / 16 + Q) / (n + 1) it is S / (floor^2 / 16 + Q). S and Q are of past gains only.
    pub fn stake(&self, terms: &Terms) -> f64 {
        (self.sum / (terms.floor * terms.floor / 16.0 + self.sum_sq)).clamp(0.0, terms.most)
    }

    /// Bets on one value and learns from it.
    ///
    /// A loss beyond the floor enters as it is. It keeps the guarantee as long as the factor stays positive, that is
    /// down to `hurdle - (floor + hurdle) / share` (twice the floor for half shares and no hurdle). Beyond that the
    /// promise the bets rely on was broken, and such a loss may leave no wealth at all, for good: clipping it at the
    /// floor instead would let an agent be promoted on losses that are not counted.
    pub fn step(&mut self, x: f64, terms: &Terms) {
        let gain = terms.gain(x);
        let factor = (1.0 + self.stake(terms) * gain).max(0.0);
        self.wealth = (self.wealth * factor).min(f64::MAX);
        self.runs = self.runs.saturating_add(1);
        self.sum += gain;
        self.sum_sq += gain * gain;
    }

    /// [`remaining_runs`] until the wealth reaches `target`.
    pub fn remaining_runs(&self, target: f64) -> Option<u64> {
        remaining_runs(self.wealth, self.runs, target)
    }
}

/// A rough estimate of how many more runs an e-process needs to reach `target`, at its mean logarithmic growth so far.
///
/// Zero when it is there, `None` when it has not grown: then there is nothing to extrapolate.
pub fn remaining_runs(wealth: f64, runs: u64, target: f64) -> Option<u64> {
    if wealth >= target {
        return Some(0);
    }
    let growth = libm::log(wealth) / runs as f64;
    if !(growth > 0.0 && target.is_finite()) {
        return None;
    }
    // The cast saturates.
    Some(((libm::log(target) - libm::log(wealth)) / growth).ceil().max(1.0) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: [f64; 10] = [12.0, -5.0, 8.0, 20.0, -3.0, 7.0, 15.0, -9.0, 11.0, 4.0];

    fn after(values: &[f64], terms: &Terms) -> Betting {
        let mut state = Betting::default();
        values.iter().for_each(|&x| state.step(x, terms));
        state
    }

    /// Wealth with the same stake all the time.
    fn fixed(values: &[f64], stake: f64) -> f64 {
        values.iter().map(|x| 1.0 + stake * x).product()
    }

    fn terms() -> Terms {
        Terms::promote(50.0, 50.0, 0.0, HALF).expect("possible")
    }

    /// Waudby-Smith and Ramdas 2024: one fixed stake, the adaptive stake, and a mixture of twelve fixed ones.
    #[test]
    fn reference_values() {
        let close = |actual: f64, expected: f64| assert!((actual - expected).abs() < 2e-15, "{actual} {expected}");
        close(fixed(&TEN, 0.5 / 50.0), 1.729010744936617);
        close(after(&TEN, &terms()).wealth(), 1.543759593693408);
        let stakes = (0..12_u32).map(|j| {
            let half = if j % 2 == 0 { 1.0 } else { std::f64::consts::FRAC_1_SQRT_2 };
            0.5 / 50.0 * half / f64::from(1 << (j / 2))
        });
        close(stakes.map(|stake| fixed(&TEN, stake)).sum::<f64>() / 12.0, 1.189345319179165);
    }

    #[test]
    fn the_first_stake_is_nothing() {
        let state = Betting::default();
        assert_eq!((state.wealth(), state.runs(), state.stake(&terms())), (1.0, 0, 0.0));
        assert_eq!(after(&[50.0], &terms()).wealth(), 1.0);
    }

    #[test]
    fn gains_are_capped_and_losses_are_not() {
        let terms = terms();
        assert_eq!(after(&[10.0, 500.0], &terms), after(&[10.0, 50.0], &terms));
        let (floor, beyond) = (after(&[50.0, -50.0], &terms), after(&[50.0, -99.0], &terms));
        assert!(0.0 < beyond.wealth() && beyond.wealth() < floor.wealth());
        let mut broken = after(&[50.0; 20], &terms);
        broken.step(-101.0, &terms);
        (0..1000).for_each(|_| broken.step(50.0, &terms));
        assert_eq!(broken.wealth(), 0.0, "a broken promise is not made up for");
    }

    #[test]
    fn wealth_stays_finite() {
        let state = after(&[50.0; 5000], &terms());
        assert_eq!(state.wealth(), f64::MAX);
        let state = after(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX], &terms());
        assert!((0.0..=f64::MAX).contains(&state.wealth()) && state.stake(&terms()) >= 0.0);
    }

    #[test]
    fn impossible_terms_are_refused() {
        for (floor, cap, hurdle, share) in [
            (0.0, 50.0, 0.0, 0.5),
            (-1.0, 50.0, 0.0, 0.5),
            (50.0, 0.0, 0.0, 0.5),
            (50.0, 50.0, -50.0, 0.5),
            (50.0, 50.0, 50.0, 0.5),
            (50.0, 50.0, 0.0, 0.0),
            (50.0, 50.0, 0.0, 1.0),
            (f64::NAN, 50.0, 0.0, 0.5),
            (50.0, f64::INFINITY, 0.0, 0.5),
        ] {
            assert_eq!(Terms::promote(floor, cap, hurdle, share), None, "{floor} {cap} {hurdle} {share}");
        }
    }

    #[test]
    fn runs_still_needed() {
        assert_eq!(remaining_runs(20.0, 7, 20.0), Some(0));
        assert_eq!(remaining_runs(1.0, 7, 20.0), None);
        assert_eq!(remaining_runs(0.5, 7, 20.0), None);
        assert_eq!(remaining_runs(0.0, 7, 20.0), None);
        assert_eq!(remaining_runs(f64::NAN, 0, 20.0), None);
        assert_eq!(remaining_runs(2.0, 10, 4.0), Some(10));
        assert_eq!(remaining_runs(2.0, 10, 1024.0), Some(90));
        assert_eq!(remaining_runs(1.0 + f64::EPSILON, u64::MAX, f64::MAX), Some(u64::MAX));
        assert_eq!(after(&TEN, &terms()).remaining_runs(20.0), Some(59));
    }

    /// The mean wealth, and the chance that it ever reached `1 / alpha`, over all sequences of `left` more values.
    fn tree(values: &[(f64, f64)], terms: &Terms, state: Betting, left: u32, alpha: f64, reached: bool) -> (f64, f64) {
        let reached = reached || state.wealth() >= 1.0 / alpha;
        if left == 0 {
            return (state.wealth(), f64::from(u8::from(reached)));
        }
        values.iter().fold((0.0, 0.0), |(mean, chance), &(x, p)| {
            let mut next = state;
            next.step(x, terms);
            let (m, c) = tree(values, terms, next, left - 1, alpha, reached);
            (mean + p * m, chance + p * c)
        })
    }

    fn whole_tree(values: &[(f64, f64)], terms: &Terms, runs: u32, alpha: f64) -> (f64, f64) {
        tree(values, terms, Betting::default(), runs, alpha, false)
    }

    #[test]
    fn the_mean_wealth_is_one_at_the_edge_of_the_null_hypothesis() {
        let cases: [&[(f64, f64)]; 4] = [
            &[(1.0, 0.5), (-1.0, 0.5)],
            &[(2.0, 0.95), (-38.0, 0.05)],
            &[(50.0, 0.25), (0.0, 0.25), (-25.0, 0.5)],
            &[(-2.0, 0.9), (18.0, 0.1)],
        ];
        for values in cases {
            let runs = if values.len() == 2 { 12 } else { 8 };
            for alpha in [0.5, 0.2, 0.05] {
                let (mean, chance) = whole_tree(values, &terms(), runs, alpha);
                assert!((mean - 1.0).abs() < 1e-12, "{values:?}: {mean}");
                assert!(chance <= alpha, "{values:?}: reached 1 / {alpha} with probability {chance}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Two values with a mean at most the hurdle, gains above the cap and losses down to twice the floor included.
        #[test]
        fn the_mean_wealth_is_at_most_one(
            down in 0.0..1.0_f64, up in 0.01..3.0_f64, hurdle in -0.5..0.5_f64, shift in 0.0..0.3_f64, runs in 1_u32..=11
        ) {
            let terms = Terms::promote(1.0, 1.0, hurdle, HALF).expect("possible");
            // The factor stays positive down to hurdle - 2 (1 + hurdle).
            let deepest = 2.0 * (1.0 + hurdle);
            let (low, high) = (hurdle - shift - down * (deepest - shift), hurdle + up);
            let p = (hurdle - shift - low) / (high - low);
            let (mean, chance) = whole_tree(&[(high, p), (low, 1.0 - p)], &terms, runs, 0.2);
            prop_assert!(mean <= 1.0 + 1e-12, "{}", mean);
            prop_assert!(chance <= 0.2 + 1e-12, "{}", chance);
        }

        #[test]
        fn a_kill_is_a_mirrored_promotion(
            values in prop::collection::vec(-150.0..150.0_f64, 0..60), floor in 1.0..200.0_f64, hurdle in -0.9..0.9_f64
        ) {
            let promote = Terms::promote(floor, floor, hurdle * floor, 0.4).expect("possible");
            let kill = Terms::kill(floor, floor, -hurdle * floor, 0.4).expect("possible");
            let mirrored: Vec<f64> = values.iter().map(|x| -x).collect();
            prop_assert_eq!(after(&values, &promote), after(&mirrored, &kill));
        }

        #[test]
        fn a_higher_last_value_never_lowers_the_wealth(
            values in prop::collection::vec(-100.0..100.0_f64, 0..40), a in -300.0..300.0_f64, b in -300.0..300.0_f64
        ) {
            let state = after(&values, &terms());
            let [mut low, mut high] = [state; 2];
            low.step(a.min(b), &terms());
            high.step(a.max(b), &terms());
            prop_assert!(low.wealth() <= high.wealth());
        }

        #[test]
        fn the_stake_is_the_published_rule(values in prop::collection::vec(-50.0..50.0_f64, 1..60)) {
            let n = values.len() as f64 + 1.0;
            let m = values.iter().sum::<f64>() / n;
            let v = (50.0 * 50.0 / 16.0 + values.iter().map(|x| x * x).sum::<f64>()) / n - m * m;
            let expected = (m / (v + m * m)).clamp(0.0, 0.01);
            let stake = after(&values, &terms()).stake(&terms());
            prop_assert!((stake - expected).abs() < 1e-15, "{} {}", stake, expected);
        }

        #[test]
        fn a_state_survives_writing(values in prop::collection::vec(-1e3..1e3_f64, 0..60)) {
            let state = after(&values, &terms());
            let bytes = postcard::to_allocvec(&state).expect("memory");
            prop_assert_eq!(postcard::from_bytes::<Betting>(&bytes).expect("own bytes"), state);
        }
    }
}
