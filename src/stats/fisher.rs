//! Fisher's exact test of a two by two table, and of several at once.

use super::special::{ln_beta, ln_normal_cdf};

/// The one-sided p-value that at least `hits_in` of `size_in` drawn rows are hits, when `hits` of all `size` rows are
/// and the drawn ones are drawn blindly (hypergeometric, Fisher 1922). 1 for a table that cannot be.
pub fn fisher_greater(hits_in: u64, size_in: u64, hits: u64, size: u64) -> f64 {
    let possible = size_in <= size && hits <= size && hits_in <= size_in.min(hits);
    let least = (size_in + hits).saturating_sub(size);
    if !possible || hits_in <= least {
        return 1.0;
    }
    let Some(first) = ln_mass(hits_in, size_in, hits, size) else { return 1.0 };
    // Each term from the one before, relative to the first: nothing over- or underflows that matters.
    let (mut term, mut sum) = (1.0_f64, 1.0_f64);
    for x in hits_in..size_in.min(hits) {
        let up = (hits - x) as f64 * (size_in - x) as f64;
        let down = (x + 1) as f64 * (size + x + 1 - hits - size_in) as f64;
        term *= up / down;
        sum += term;
        if term < sum * 1e-18 && up < down {
            break;
        }
    }
    libm::exp(first + libm::log(sum)).min(1.0)
}

/// Rows drawn, and rows in all, of one stratum, each with its hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stratum {
    pub hits_in: u64,
    pub size_in: u64,
    pub hits: u64,
    pub size: u64,
}

/// Drawn rows of all strata up to which the test is exact.
const EXACT_UP_TO: u64 = 3_000;

/// The same where rows are comparable within their stratum only: the one-sided p-value of the sum of the drawn hits, given
/// the margins of every stratum. Exact for moderate sizes; beyond, the normal approximation of Cochran (1954) and Mantel
/// and Haenszel (1959) with continuity correction.
pub fn stratified_greater(strata: &[Stratum]) -> f64 {
    let used: Vec<&Stratum> = strata.iter().filter(|s| s.size_in > 0 && s.size_in < s.size).collect();
    if let [s] = used[..] {
        return fisher_greater(s.hits_in, s.size_in, s.hits, s.size);
    }
    if used.iter().map(|s| s.size_in).sum::<u64>() > EXACT_UP_TO {
        return approximate(&used);
    }
    let hits_in: u64 = used.iter().map(|s| s.hits_in).sum();
    let mut sums = vec![1.0];
    for s in used {
        let masses: Vec<f64> = (0..=s.size_in.min(s.hits)).map(|x| mass(x, s)).collect();
        let mut next = vec![0.0; sums.len() + masses.len() - 1];
        for (at, before) in sums.iter().enumerate() {
            for (more, mass) in masses.iter().enumerate() {
                next[at + more] += before * mass;
            }
        }
        sums = next;
    }
    sums.iter().skip(hits_in as usize).sum::<f64>().min(1.0)
}

fn mass(x: u64, s: &Stratum) -> f64 {
    let possible = s.size_in - x <= s.size - s.hits;
    possible.then(|| ln_mass(x, s.size_in, s.hits, s.size)).flatten().map_or(0.0, libm::exp)
}

fn approximate(strata: &[&Stratum]) -> f64 {
    let (mut excess, mut variance) = (0.0, 0.0);
    for s in strata {
        let (size_in, hits, size) = (s.size_in as f64, s.hits as f64, s.size as f64);
        excess += s.hits_in as f64 - size_in * hits / size;
        variance += size_in * hits * (size - size_in) * (size - hits) / (size * size * (size - 1.0).max(1.0));
    }
    if variance > 0.0 { libm::exp(ln_normal_cdf((0.5 - excess) / variance.sqrt())).min(1.0) } else { 1.0 }
}

/// ln of the probability of exactly `x` hits.
fn ln_mass(x: u64, size_in: u64, hits: u64, size: u64) -> Option<f64> {
    Some(ln_choose(hits, x)? + ln_choose(size - hits, size_in - x)? - ln_choose(size, size_in)?)
}

/// ln of the number of ways to choose `k` of `n`.
fn ln_choose(n: u64, k: u64) -> Option<f64> {
    let (n, k) = (n as f64, k as f64);
    Some(-libm::log1p(n) - ln_beta(n - k + 1.0, k + 1.0)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(table: [u64; 4], want: f64) {
        let [hits_in, size_in, hits, size] = table;
        let p = fisher_greater(hits_in, size_in, hits, size);
        assert!((p - want).abs() <= want * 1e-10, "{table:?}: {p}, want {want}");
    }

    /// The lady tasting tea (Fisher 1935): four cups of eight, all right with odds of 1 in 70, three with 17 in 70.
    #[test]
    fn the_lady_tasting_tea() {
        check([4, 4, 4, 8], 1.0 / 70.0);
        check([3, 4, 4, 8], 17.0 / 70.0);
        check([0, 4, 4, 8], 1.0);
    }

    #[test]
    fn tables_that_cannot_be_prove_nothing() {
        for table in [[5, 4, 4, 8], [1, 9, 4, 8], [1, 4, 9, 8], [0, 0, 0, 0], [2, 6, 4, 8]] {
            check(table, 1.0);
        }
    }

    #[test]
    fn strata_are_compared_within() {
        let tea = Stratum { hits_in: 4, size_in: 4, hits: 4, size: 8 };
        let idle = Stratum { hits_in: 0, size_in: 0, hits: 3, size: 9 };
        let close = |strata: &[Stratum], want: f64| {
            let p = stratified_greater(strata);
            assert!((p - want).abs() <= want * 1e-10, "{strata:?}: {p}, want {want}");
        };
        close(&[tea, idle], 1.0 / 70.0);
        close(&[tea, tea], 1.0 / 4900.0);
        // One ladies' cup less: all right, or one wrong pair in either.
        let less = Stratum { hits_in: 3, ..tea };
        close(&[tea, less], (1.0 + 16.0 + 16.0) / 4900.0);
        close(&[], 1.0);
        close(&[idle], 1.0);
    }

    /// An agent that loses often, drawn often, is no pattern.
    #[test]
    fn strata_that_differ_are_not_taken_for_an_effect() {
        let bad = Stratum { hits_in: 72, size_in: 80, hits: 90, size: 100 };
        let good = Stratum { hits_in: 2, size_in: 20, hits: 10, size: 100 };
        assert!(fisher_greater(74, 100, 100, 200) < 1e-6);
        assert!(stratified_greater(&[bad, good]) > 0.5);
        let many = |s: Stratum| Stratum {
            hits_in: s.hits_in * 99,
            size_in: s.size_in * 99,
            hits: s.hits * 99,
            size: s.size * 99,
        };
        assert!(stratified_greater(&[many(bad), many(good)]) > 0.5);
        let worse = Stratum { hits_in: 400, ..many(good) };
        assert!(stratified_greater(&[many(bad), worse]) < 1e-6);
    }

    /// By adding up whole numbers of ways.
    fn by_counting(hits_in: u64, size_in: u64, hits: u64, size: u64) -> f64 {
        let choose = |n: u64, k: u64| (0..k).fold(1_u128, |ways, i| ways * u128::from(n - i) / u128::from(i + 1));
        let ways = (hits_in..=size_in.min(hits)).filter(|x| size_in - x <= size - hits);
        let ways: u128 = ways.map(|x| choose(hits, x) * choose(size - hits, size_in - x)).sum();
        ways as f64 / choose(size, size_in) as f64
    }

    proptest! {
        #[test]
        fn equals_the_count_of_ways(size in 1..60_u64, a in 0..60_u64, b in 0..60_u64, c in 0..60_u64) {
            let (size_in, hits) = (a % (size + 1), b % (size + 1));
            let hits_in = c % (size_in.min(hits) + 1);
            let (p, want) = (fisher_greater(hits_in, size_in, hits, size), by_counting(hits_in, size_in, hits, size));
            prop_assert!((p - want).abs() <= want * 1e-9, "{} {}", p, want);
        }
    }
}
