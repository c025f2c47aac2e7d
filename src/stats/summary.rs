//! All statistics of a finished sequence, computed when somebody looks.

use serde::Serialize;

use super::Exact;
use super::fixed::Wide;
use super::number::{MOST, NARROW, Number};
use super::order::middle;
use super::scaled::{admit, signed};
use super::tally::Tally;
use super::window::sharpe;

/// The part of the values that VaR and CVaR at 95 % look at, in thousandths.
const TAIL_PERMILLE: u64 = 50;

/// Exact statistics of a sequence, each rounded to `f64` at its end; all but the count are `None` for an empty one.
///
/// Units are those of the values. Ratios are per value and not annualised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub count: u64,
    pub mean: Option<f64>,
    /// Sample standard deviation, divisor n - 1; zero below two values.
    pub std: Option<f64>,
    /// Mean by standard deviation; zero when that is at most 1e-9.
    pub sharpe: Option<f64>,
    /// Lowest value of equity minus its peak, both from zero; at most zero.
    pub drawdown: Option<f64>,
    pub sum: Option<f64>,
    pub median: Option<f64>,
    /// Mean by downside deviation, the root of the mean over all n of min(x, 0)^2 (Sortino and Price 1994); zero when
    /// that is zero.
    pub sortino: Option<f64>,
    /// Loss that 95 % of the values do not exceed, as a positive number: `-x[i]` ascending, i = floor(0.05 n).
    pub var95: Option<f64>,
    /// Mean loss of the worst 5 % (Rockafellar and Uryasev 2002), the value at the edge counted in part.
    pub cvar95: Option<f64>,
    /// Share of values above zero.
    pub hit_rate: Option<f64>,
}

impl Summary {
    /// The summary of values, oldest first.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Summary {
        let values: Vec<f64> = values.into_iter().map(admit).collect();
        let narrow = values.iter().map(|&x| i128::of(x)).collect();
        Summary::of_either(narrow, || values.iter().map(|&x| Wide::of(x).unwrap_or_default()).collect())
    }

    /// The summary of exact numbers, oldest first; none of them is rounded on the way in.
    pub fn of_exact(values: impl IntoIterator<Item = Exact>) -> Summary {
        let values: Vec<Exact> = values.into_iter().collect();
        let narrow = values.iter().map(|x| x.narrow().filter(|units| units.unsigned_abs() < NARROW)).collect();
        Summary::of_either(narrow, || values.iter().map(Exact::widened).collect())
    }

    fn of_either(narrow: Option<Vec<i128>>, wide: impl FnOnce() -> Vec<Wide>) -> Summary {
        match narrow.filter(|values| values.len() <= MOST) {
            Some(mut values) => summarise(&mut values),
            None => summarise(&mut wide()),
        }
    }
}

fn summarise<N: Number>(values: &mut [N]) -> Summary {
    let n = values.len() as u64;
    let (zero, mut positive) = (N::default(), 0_u32);
    let (mut tally, mut downside) = (Tally::default(), N::Square::default());
    for x in values.iter() {
        tally.push(x);
        if x.is_negative() {
            downside += &x.square();
        }
        positive += u32::from(*x > zero);
    }
    let Some((mut median, upper)) = middle(values, N::cmp) else {
        return Summary::default();
    };
    median += &upper;
    let (mean, std) = (tally.mean(n), if n > 1 { tally.std(n) } else { 0.0 });
    let (var95, cvar95) = tail(values);
    Summary {
        count: n,
        mean: Some(mean),
        std: Some(std),
        sharpe: Some(sharpe(mean, std)),
        drawdown: Some(tally.drawdown()),
        sum: Some(tally.sum()),
        median: Some(median.quotient(2)),
        sortino: Some(sortino(mean, N::scaled_square(&downside).divided_by(n).sqrt())),
        var95: Some(var95),
        cvar95: Some(cvar95),
        hit_rate: Some(f64::from(positive) / n as f64),
    }
}

/// Mean by downside deviation, kept finite: a deviation may be as small as 2^-1074.
fn sortino(mean: f64, deviation: f64) -> f64 {
    if deviation == 0.0 { 0.0 } else { (mean / deviation).clamp(f64::MIN, f64::MAX) }
}

/// VaR and CVaR of at least one value.
///
/// With k = 0.05 n values in the tail, i = floor(k) and ascending x from x[0]: VaR = -x[i] and
/// CVaR = -(x[0] + .. + x[i-1] + (k - i) x[i]) / k. Scaled by 1000, so that k is an integer.
fn tail<N: Number>(values: &mut [N]) -> (f64, f64) {
    let part = values.len() as u64 * TAIL_PERMILLE;
    let whole = part / 1000;
    let (below, edge, _) = values.select_nth_unstable(whole as usize);
    let mut worst = Wide::default();
    below.iter().for_each(|x| worst += &x.widened());
    let mut worst = worst.times(1000);
    worst += &edge.widened().times(part - 1000 * whole);
    (signed(true, edge.to_f64()), signed(true, worst.quotient(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWENTY: [f64; 20] = [
        -50.0, -30.0, -22.0, -10.0, -5.0, -3.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0,
        40.0,
    ];

    fn close(actual: Option<f64>, expected: f64) {
        let actual = actual.expect("not empty");
        assert!((actual - expected).abs() <= 1e-14 * expected.abs(), "{actual} is not {expected}");
    }

    #[test]
    fn twenty_values() {
        let s = Summary::of(TWENTY);
        assert_eq!((s.count, s.median, s.hit_rate), (20, Some(2.5), Some(0.6)));
        assert_eq!((s.var95, s.cvar95), (Some(30.0), Some(50.0)));
        assert_eq!((s.sum, s.mean), (Some(5.0), Some(0.25)));
        close(s.std, 18.696678567961857);
        close(s.sortino, 0.25 / 14.175683405042594);
        close(s.sharpe, 0.25 / 18.696678567961857);
        assert_eq!(s.drawdown, Some(-121.0));
    }

    #[test]
    fn published_ratios() {
        let s = Summary::of([-0.01, 0.02, -0.015, 0.005, -0.02]);
        close(s.sortino.map(|x| x * 252.0_f64.sqrt()), -5.273224492824493);
        let s = Summary::of([5.0, -20.0, 10.0, -15.0, 30.0, -5.0, -40.0, 25.0]);
        assert_eq!((s.drawdown, s.sum), (Some(-45.0), Some(-10.0)));
    }

    #[test]
    fn the_tail_counts_its_edge_in_part() {
        // k = 1.5 of 30: the worst value and half of the next.
        let s = Summary::of((0..30).map(|i| f64::from(i) - 10.0));
        assert_eq!(s.var95, Some(9.0));
        close(s.cvar95, (10.0 + 0.5 * 9.0) / 1.5);
        // k = 0.25 of 5: a quarter of the worst value is still the worst value.
        let s = Summary::of([3.0, -7.0, 1.0, 2.0, 8.0]);
        assert_eq!((s.var95, s.cvar95), (Some(7.0), Some(7.0)));
    }

    #[test]
    fn empty_and_single() {
        assert_eq!(Summary::of([]), Summary::default());
        assert_eq!(Summary::of_exact([]).mean, None);
        let s = Summary::of([-2.0]);
        assert_eq!((s.std, s.sharpe, s.drawdown, s.sortino), (Some(0.0), Some(0.0), Some(-2.0), Some(-1.0)));
        assert_eq!(Summary::of([2.0]).sortino, Some(0.0));
    }

    #[test]
    fn zeros_are_positive_zeros() {
        let s = Summary::of([0.0, 0.0]);
        for x in [s.mean, s.drawdown, s.var95, s.cvar95, s.median, s.sum] {
            assert_eq!(x.map(f64::to_bits), Some(0));
        }
    }

    #[test]
    fn ratios_stay_finite() {
        let s = Summary::of([9e15, -5e-324]);
        assert_eq!(s.sortino, Some(f64::MAX));
    }

    #[test]
    fn exact_numbers_are_not_rounded_on_the_way_in() {
        let mut first = Exact::from(1e15);
        first += 0.3;
        let numbers = [first, Exact::from(-1e15)];
        let s = Summary::of_exact(numbers);
        assert_eq!((s.sum, s.mean, s.median), (Some(0.3), Some(0.15), Some(0.15)));
        assert_eq!(s.drawdown, Some(-1e15));
    }
}
