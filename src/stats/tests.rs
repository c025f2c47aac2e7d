//! Windows, sums and summaries against the slow reference.

use proptest::collection::vec;
use proptest::prelude::*;

use super::reference::{Answers, Big, is_nearest, is_root};
use super::{Exact, LIMIT, Summary, Window};

/// Full-precision values of the size of a reward or a profit.
fn ordinary() -> BoxedStrategy<f64> {
    prop_oneof![-1.0..1.0, -1000.0..1000.0, (-1e8..1e8)].boxed()
}

/// Whole numbers and short decimals.
fn round() -> BoxedStrategy<f64> {
    prop_oneof![(-50..50).prop_map(f64::from), (-100_000..100_000).prop_map(|x| f64::from(x) / 1000.0)].boxed()
}

/// Values that `i128` does not hold: subnormal, tiny, large, huge.
fn wide() -> BoxedStrategy<f64> {
    let subnormal =
        (1_u64..1 << 52, any::<bool>()).prop_map(|(bits, up)| if up { 1.0 } else { -1.0 } * f64::from_bits(bits));
    prop_oneof![
        subnormal,
        Just(5e-324),
        Just(-5e-324),
        -1e-300..1e-300,
        -1e-20..1e-20,
        -1e10..1e10,
        -9e15..9e15,
        Just(LIMIT),
        Just(-LIMIT),
    ]
    .boxed()
}

/// Mostly narrow with a wide value now and then, so that a small window switches back and forth.
fn mixed() -> BoxedStrategy<f64> {
    prop_oneof![6 => ordinary(), 4 => round(), 1 => wide(), 1 => Just(0.0)].boxed()
}

fn any_kind() -> BoxedStrategy<Vec<f64>> {
    prop_oneof![vec(ordinary(), 1..60), vec(round(), 1..60), vec(wide(), 1..60), vec(mixed(), 1..60)].boxed()
}

fn bigs(values: impl Iterator<Item = f64>) -> Vec<Big> {
    values.map(Big::of).collect()
}

/// The answers of a window as bits.
fn bits(window: &Window) -> [u64; 5] {
    [window.sum(), window.mean(), window.std(), window.sharpe(), window.drawdown()].map(f64::to_bits)
}

fn check_against_reference(window: &Window) {
    let exact = Answers::of(&bigs(window.iter()));
    let context = || format!("{:?}", window.iter().collect::<Vec<_>>());
    assert!(is_nearest(window.sum(), &exact.sum, 1), "sum {} of {}", window.sum(), context());
    assert!(is_nearest(window.drawdown(), &exact.drawdown, 1), "drawdown {} of {}", window.drawdown(), context());
    assert!(window.drawdown() <= 0.0 && window.drawdown().to_bits() != (-0.0_f64).to_bits());
    assert!(is_nearest(window.mean(), &exact.sum, exact.n), "mean {} of {}", window.mean(), context());
    let pairs = exact.n * (exact.n - 1);
    assert!(exact.n < 2 || is_root(window.std(), &exact.spread, pairs), "std {} of {}", window.std(), context());
    let sharpe = if window.std() > 1e-9 { window.mean() / window.std() } else { 0.0 };
    assert_eq!(window.sharpe().to_bits(), sharpe.to_bits());
    for floor in [sharpe, -0.05, 0.0, 0.05] {
        assert_eq!(window.sharpe_is_below(floor), sharpe < floor, "{floor} and {}", context());
    }
}

/// Pushes everything into a window and into one that is written and read back at `pause`; checks each step.
fn check_sliding(values: &[f64], capacity: usize, pause: usize) {
    let mut window = Window::new(capacity);
    let mut restored = Window::new(capacity);
    for (i, &x) in values.iter().enumerate() {
        if i % pause == 0 {
            let bytes = postcard::to_allocvec(&restored).expect("memory");
            restored = postcard::from_bytes(&bytes).expect("own bytes");
            assert_eq!(bytes, postcard::to_allocvec(&window).expect("memory"));
        }
        let oldest = window.iter().next().filter(|_| window.len() == capacity);
        assert_eq!(window.push(x), oldest);
        restored.push(x);
        assert_eq!(bits(&window), bits(&restored));
        check_against_reference(&window);
    }
    let kept: Vec<f64> = window.iter().collect();
    assert_eq!(kept, values[values.len().saturating_sub(capacity)..]);
}

proptest! {
    #[test]
    fn a_sliding_window_is_right_after_every_push(values in any_kind(), capacity in 1_usize..=20, pause in 1_usize..40) {
        check_sliding(&values, capacity, pause);
    }

    #[test]
    fn shrinking_and_growing_leaves_no_trace(values in vec(mixed(), 1..60), capacities in vec(1_usize..20, 1..6)) {
        let mut window = Window::new(20);
        for (i, &x) in values.iter().enumerate() {
            if i % 7 == 3 {
                window.set_capacity(capacities[i % capacities.len()]);
            }
            window.push(x);
            let mut fresh = Window::new(window.capacity());
            fresh.extend(window.iter());
            prop_assert_eq!(bits(&fresh), bits(&window));
        }
    }

    #[test]
    fn an_exact_sum_is_canonical(values in any_kind(), split in any::<prop::sample::Index>()) {
        let forward: Exact = values.iter().copied().sum();
        let backward: Exact = values.iter().rev().copied().sum();
        prop_assert_eq!(&forward, &backward);
        let total = Answers::of(&bigs(values.iter().copied())).sum;
        prop_assert!(is_nearest(forward.to_f64(), &total, 1));
        prop_assert!(is_nearest(forward.divided_by(7), &total, 7));
        let bytes = postcard::to_allocvec(&forward).expect("memory");
        prop_assert_eq!(&bytes, &postcard::to_allocvec(&backward).expect("memory"));
        prop_assert_eq!(&postcard::from_bytes::<Exact>(&bytes).expect("own bytes"), &forward);

        let (head, tail) = values.split_at(split.index(values.len()));
        let (head, tail): (Exact, Exact) = (head.iter().copied().sum(), tail.iter().copied().sum());
        let mut difference = forward.clone();
        difference -= &tail;
        prop_assert_eq!(&difference, &head);
        let of = |values: &[f64]| Answers::of(&bigs(values.iter().copied())).sum;
        let (left, right) = values.split_at(split.index(values.len()));
        prop_assert_eq!(head.cmp(&tail), of(left).cmp(&of(right)));
    }

    #[test]
    fn any_bytes_are_a_canonical_number_or_refused(bytes in vec(any::<u8>(), 0..40)) {
        if let Ok((number, rest)) = postcard::take_from_bytes::<Exact>(&bytes) {
            let again = postcard::to_allocvec(&number).expect("memory");
            prop_assert_eq!(postcard::from_bytes::<Exact>(&again).expect("own bytes"), number);
            prop_assert!(again.len() <= bytes.len() - rest.len(), "varints may be padded, values may not");
        }
    }

    #[test]
    fn a_summary_is_right(values in any_kind()) {
        let summary = Summary::of(values.iter().copied());
        let mut window = Window::new(100);
        window.extend(values.iter().copied());
        let expected = [window.sum(), window.mean(), window.std(), window.sharpe(), window.drawdown()].map(Some);
        prop_assert_eq!([summary.sum, summary.mean, summary.std, summary.sharpe, summary.drawdown], expected);
        let exact: Vec<Exact> = values.iter().copied().map(Exact::from).collect();
        prop_assert_eq!(Summary::of_exact(exact), summary);
        check_order(&values, &summary);
    }
}

/// Median, tail and downside from a sorted copy.
fn check_order(values: &[f64], summary: &Summary) {
    let n = values.len() as u64;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let big = bigs(sorted.iter().copied());
    let both = big[(sorted.len() - 1) / 2].add(&big[sorted.len() / 2]);
    assert!(is_nearest(summary.median.expect("not empty"), &both, 2));
    assert_eq!(super::order::median(&mut values.to_vec()), summary.median);

    let whole = values.len() / 20;
    assert_eq!(summary.var95, Some(0.0 - sorted[whole]));
    let mut tail = big[whole].mul(&Big::int(n - 20 * whole as u64));
    big[..whole].iter().for_each(|x| tail = tail.add(&x.mul(&Big::int(20))));
    assert!(is_nearest(summary.cvar95.expect("not empty"), &tail.neg(), n));
    assert!(summary.cvar95 >= summary.var95);

    let (mean, sortino) = (summary.mean.expect("not empty"), summary.sortino.expect("not empty"));
    let downside = Answers::of(&big).downside;
    let deviation = if sortino == 0.0 { 0.0 } else { mean / sortino };
    // Neither ratio nor deviation so small or large that a rounding of it takes many bits.
    let ordinary = (1e-200..1e200).contains(&sortino.abs()) && deviation > 1e-100;
    assert!(!ordinary || close_root(deviation, &downside, n), "sortino {sortino} of {values:?}");
    let positive = values.iter().filter(|x| **x > 0.0).count();
    assert_eq!(summary.hit_rate, Some(positive as f64 / n as f64));
}

/// As [`is_root`] with one more rounding on either side, for a root recovered from a ratio.
fn close_root(root: f64, square: &Big, divisor: u64) -> bool {
    [root, root.next_up().next_up(), root.next_down().next_down()].iter().any(|&r| is_root(r, square, divisor))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_window_of_usual_size_is_right(values in vec(mixed(), 1200), wide_at in 0_usize..1200) {
        let mut window = Window::new(500);
        for (i, &x) in values.iter().enumerate() {
            // Long stretches without wide values, else a window of this size would never be narrow again.
            window.push(if i.abs_diff(wide_at) < 20 || (-1e8..1e8).contains(&x) && x.abs() > 1e-6 { x } else { 1.0 });
            if i % 97 == 0 || i.abs_diff(wide_at) < 2 || i.abs_diff(wide_at + 500) < 25 {
                check_against_reference(&window);
            }
        }
    }
}
