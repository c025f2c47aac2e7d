//! Many hypotheses at once.

/// Which hypotheses to reject so that, on average, at most a share `alpha` of the rejected ones are true (e-BH).
///
/// Wang and Ramdas 2022: reject the `k` largest e-values for the largest `k` with `k e_(k) / m >= 1 / alpha`. It holds
/// under **any** dependence, which agents on one market need. An e-value that is negative or NaN rejects nothing; equal
/// ones share their fate. Outside `0 < alpha <= 1` nothing is rejected.
pub fn e_bh(e_values: &[f64], alpha: f64) -> Vec<bool> {
    let m = e_values.len() as f64;
    let mut sorted: Vec<f64> = e_values.iter().copied().filter(|e| *e > 0.0).collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let inside = alpha > 0.0 && alpha <= 1.0;
    let enough = |(k, e): (usize, &f64)| alpha * (k as f64 + 1.0) * e >= m;
    let least = sorted.iter().enumerate().rposition(|ranked| inside && enough(ranked)).map(|k| sorted[k]);
    e_values.iter().map(|e| least.is_some_and(|least| *e >= least)).collect()
}

/// Benjamini and Hochberg's adjusted p-values (1995), in the order of the given ones.
///
/// Rejecting where the adjusted value is at most `q` keeps the expected share of false rejections at `q`, for
/// independent tests. `None` when a p-value is not in 0..=1.
pub fn benjamini_hochberg(p_values: &[f64]) -> Option<Vec<f64>> {
    if !p_values.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let m = p_values.len() as f64;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    for (rank, &index) in order.iter().enumerate().rev() {
        least = least.min(p_values[index] * (m / (rank as f64 + 1.0)));
        adjusted[index] = least;
    }
    Some(adjusted)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Benjamini and Hochberg 1995, the myocardial infarction study.
    const STUDY: [f64; 15] = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590,
        1.0,
    ];

    #[test]
    fn the_published_study() {
        let adjusted = benjamini_hochberg(&STUDY).expect("probabilities");
        assert_eq!(adjusted.iter().filter(|p| **p <= 0.05).count(), 4);
        assert_eq!(STUDY.iter().filter(|p| **p * 15.0 <= 0.05).count(), 3, "Bonferroni");
        let printed = [0.0015, 0.003, 0.0095, 0.035625, 0.0603, 0.06386, 0.06386, 0.0645, 0.0765];
        for (actual, printed) in adjusted.iter().zip(printed) {
            assert!((actual - printed).abs() < 3e-6, "{actual} {printed}");
        }
        assert_eq!(adjusted.last(), Some(&1.0));
        assert_eq!(benjamini_hochberg(&[]), Some(vec![]));
        for p in [-0.1, 1.1, f64::NAN] {
            assert_eq!(benjamini_hochberg(&[0.5, p]), None);
        }
    }

    /// Wang and Ramdas 2022: the second e-value is enough for two, 2 * 30 / 5 >= 10.
    #[test]
    fn an_example_of_five() {
        assert_eq!(e_bh(&[50.0, 30.0, 8.0, 2.0, 1.0], 0.1), [true, true, false, false, false]);
        assert_eq!(e_bh(&[1.0, 30.0, 2.0, 50.0, 8.0], 0.1), [false, true, false, true, false]);
        assert_eq!(e_bh(&[25.0, 25.0, 1.0, f64::NAN, -1.0], 0.1), [true, true, false, false, false]);
        assert_eq!(e_bh(&[10.0], 0.1), [true], "one hypothesis: Ville's bound itself");
        assert_eq!(e_bh(&[9.99], 0.1), [false]);
        assert_eq!(e_bh(&[f64::MAX; 3], 0.0), [false; 3]);
        assert!(e_bh(&[], 0.1).is_empty());
    }

    proptest! {
        #[test]
        fn adjusted_values_keep_the_order_and_never_fall(p_values in vec(0.0..=1.0_f64, 1..40)) {
            let adjusted = benjamini_hochberg(&p_values).expect("probabilities");
            for (i, p) in p_values.iter().enumerate() {
                prop_assert!(adjusted[i] >= *p && adjusted[i] <= 1.0);
                prop_assert!(p_values.iter().zip(&adjusted).all(|(q, other)| p > q || adjusted[i] <= *other));
            }
        }

        /// By the definition: the step-up procedure at level q rejects where the adjusted value is at most q.
        #[test]
        fn adjusted_values_are_those_of_the_step_up_procedure(p_values in vec(0.0..=1.0_f64, 1..30), q in 0.01..0.5_f64) {
            let m = p_values.len() as f64;
            let below = |t: f64| p_values.iter().filter(|p| **p <= t).count() as f64;
            let line = p_values.iter().copied().filter(|&p| p * (m / below(p)) <= q).fold(-1.0, f64::max);
            let adjusted = benjamini_hochberg(&p_values).expect("probabilities");
            for (p, adjusted) in p_values.iter().zip(adjusted) {
                prop_assert_eq!(*p <= line, adjusted <= q);
            }
        }

        #[test]
        fn more_evidence_or_more_tolerance_rejects_no_fewer(
            e_values in vec(0.0..200.0_f64, 1..30), at in any::<prop::sample::Index>(), more in 0.0..100.0_f64
        ) {
            let before = e_bh(&e_values, 0.1);
            let mut raised = e_values.clone();
            raised[at.index(e_values.len())] += more;
            for after in [e_bh(&raised, 0.1), e_bh(&e_values, 0.2)] {
                prop_assert!(before.iter().zip(&after).all(|(before, after)| !before || *after));
            }
        }
    }
}
