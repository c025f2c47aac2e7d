//! Subgroup discovery: which conditions, alone or together, go with a target more often than chance lets expect.
//!
//! A beam search over conjunctions (Lavrač, Kavšek, Flach and Todorovski 2004). The gain of a row is whether it is a hit,
//! less the probability with which it was expected to be one. The quality of a subgroup is
//! `(size_in / size)^weight * mean gain`: weighted relative accuracy for a weight of 1 where every row was expected alike,
//! and in the order of the binomial test for 0.5, which large and dilute subgroups do not win. What is found must be
//! tested on rows that were not searched.

/// Sets of rows.
mod bits;

use std::collections::BTreeSet;

pub use bits::Bits;

/// A condition: which rows meet it, and what it is about. A conjunction has at most one condition per feature.
#[derive(Clone, Debug)]
pub struct Selector {
    pub feature: usize,
    pub rows: Bits,
}

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Conjunctions kept per depth, and returned.
    pub width: usize,
    /// Conditions of a conjunction at most.
    pub depth: usize,
    /// Rows of a subgroup at least.
    pub least: u64,
    /// How much the size of a subgroup counts, 0 to 1.
    pub weight: f64,
}

/// A conjunction of selectors, by their places in the list, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Subgroup {
    pub selectors: Vec<usize>,
    pub rows: Bits,
    pub size: u64,
    pub quality: f64,
}

impl Subgroup {
    fn new(selectors: Vec<usize>, rows: Bits, gains: &[f64], weight: f64) -> Subgroup {
        let (size, quality) = (rows.count(), quality(&rows, gains, weight));
        Subgroup { selectors, rows, size, quality }
    }
}

/// The quality of a set of rows.
pub fn quality(rows: &Bits, gains: &[f64], weight: f64) -> f64 {
    quality_of(rows.count(), rows.sum(gains), gains.len(), weight)
}

/// The same from its size and the sum of its gains.
pub fn quality_of(size_in: u64, gain: f64, size: usize, weight: f64) -> f64 {
    if size_in == 0 { 0.0 } else { libm::pow(size_in as f64 / size as f64, weight) * (gain / size_in as f64) }
}

/// The best conjunctions, the best first; of several that mean the same rows, the one with fewer conditions.
pub fn search(selectors: &[Selector], gains: &[f64], how: Search) -> Vec<Subgroup> {
    let mut beam = vec![Subgroup::new(Vec::new(), Bits::of(gains.len(), |_| true), gains, how.weight)];
    let mut best: Vec<Subgroup> = Vec::new();
    for _ in 0..how.depth {
        let mut next = refine(&beam, selectors, gains, how);
        sort(&mut next);
        next.truncate(how.width);
        best.extend(next.iter().cloned());
        beam = next;
    }
    sort(&mut best);
    let mut kept: Vec<Subgroup> = Vec::new();
    for found in best {
        if kept.len() < how.width && kept.iter().all(|better| better.rows != found.rows) {
            kept.push(found);
        }
    }
    kept
}

/// Every conjunction of the beam with one more condition, where that leaves enough rows and some gain.
fn refine(beam: &[Subgroup], selectors: &[Selector], gains: &[f64], how: Search) -> Vec<Subgroup> {
    let mut seen = BTreeSet::new();
    let mut next = Vec::new();
    for parent in beam {
        let features: Vec<usize> = parent.selectors.iter().map(|at| selectors[*at].feature).collect();
        let others = selectors.iter().enumerate().filter(|(_, selector)| !features.contains(&selector.feature));
        for (at, selector) in others {
            let mut conditions = parent.selectors.clone();
            conditions.push(at);
            conditions.sort_unstable();
            if seen.insert(conditions.clone()) {
                let child = Subgroup::new(conditions, parent.rows.and(&selector.rows), gains, how.weight);
                if child.size >= how.least && child.quality > 0.0 {
                    next.push(child);
                }
            }
        }
    }
    next
}

/// The best first; of equals the shorter, then the one with the earlier conditions.
fn sort(found: &mut [Subgroup]) {
    found.sort_by(|a, b| {
        let quality = b.quality.total_cmp(&a.quality);
        quality.then(a.selectors.len().cmp(&b.selectors.len())).then_with(|| a.selectors.cmp(&b.selectors))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Search = Search { width: 20, depth: 3, least: 1, weight: 1.0 };

    fn selector(feature: usize, rows: usize, has: impl Fn(usize) -> bool) -> Selector {
        Selector { feature, rows: Bits::of(rows, has) }
    }

    /// Gains where every row was expected alike.
    fn gains(rows: usize, hit: impl Fn(usize) -> bool) -> Vec<f64> {
        let rate = (0..rows).filter(|row| hit(*row)).count() as f64 / rows as f64;
        (0..rows).map(|row| f64::from(hit(row)) - rate).collect()
    }

    #[track_caller]
    fn check(selectors: &[Selector], gains: &[f64], want: &[&[usize]]) {
        let found = search(selectors, gains, EVERYTHING);
        assert_eq!(found.iter().map(|found| &found.selectors[..]).collect::<Vec<_>>(), want);
    }

    /// 156 passengers of the Titanic by sex (true: female), siblings and spouses, parents and children: how many survived,
    /// of how many.
    const TITANIC: [(bool, u8, u8, usize, usize); 27] = [
        (false, 0, 0, 10, 64),
        (false, 0, 1, 1, 6),
        (false, 0, 2, 1, 3),
        (false, 1, 0, 1, 12),
        (false, 1, 1, 1, 2),
        (false, 1, 2, 0, 1),
        (false, 1, 3, 0, 1),
        (false, 1, 5, 0, 1),
        (false, 2, 0, 0, 4),
        (false, 3, 1, 0, 1),
        (false, 3, 2, 0, 2),
        (false, 4, 1, 0, 2),
        (false, 5, 2, 0, 1),
        (true, 0, 0, 18, 21),
        (true, 0, 1, 1, 1),
        (true, 0, 2, 2, 3),
        (true, 1, 0, 11, 18),
        (true, 1, 1, 2, 2),
        (true, 1, 2, 2, 2),
        (true, 1, 5, 1, 1),
        (true, 2, 0, 0, 1),
        (true, 2, 2, 0, 1),
        (true, 3, 0, 1, 1),
        (true, 3, 1, 0, 1),
        (true, 3, 2, 1, 1),
        (true, 4, 2, 1, 2),
        (true, 5, 2, 0, 1),
    ];

    /// What pysubgroup 0.9 finds in its titanic data: names, size, hits and quality.
    #[test]
    fn the_published_example_is_found() {
        let passengers: Vec<(bool, u8, u8, bool)> = TITANIC
            .iter()
            .flat_map(|(female, siblings, parents, survived, all)| {
                (0..*all).map(|nth| (*female, *siblings, *parents, nth < *survived))
            })
            .collect();
        let gains = gains(passengers.len(), |row| passengers[row].3);
        let mut selectors = vec![selector(0, 156, |row| passengers[row].0), selector(0, 156, |row| !passengers[row].0)];
        for number in 0..6 {
            selectors.push(selector(1, 156, |row| passengers[row].1 == number));
            selectors.push(selector(2, 156, |row| passengers[row].2 == number));
        }
        let found = search(&selectors, &gains, Search { depth: 2, ..EVERYTHING });
        // Female; female and no parents or children; female and no siblings or spouse.
        let want: [(&[usize], u64, usize, f64); 3] =
            [(&[0], 56, 40, 0.132_150), (&[0, 3], 41, 30, 0.101_331), (&[0, 2], 25, 21, 0.079_142)];
        for (found, (selectors, size, hits, quality)) in found.iter().zip(want) {
            let survived = (0..156).filter(|row| found.rows.has(*row) && passengers[*row].3).count();
            assert_eq!((&found.selectors[..], found.size, survived), (selectors, size, hits));
            assert!((found.quality - quality).abs() < 5e-7, "{found:?}");
        }
    }

    #[test]
    fn a_corner_is_found_before_its_sides() {
        let gains = gains(400, |row| row % 20 >= 10 && row / 20 >= 10);
        let sides = [
            selector(0, 400, |row| row % 20 >= 10),
            selector(1, 400, |row| row / 20 >= 10),
            selector(2, 400, |row| row % 3 == 0),
        ];
        check(&sides, &gains, &[&[0, 1], &[0], &[1], &[0, 1, 2], &[0, 2], &[1, 2], &[2]]);
        let best = &search(&sides, &gains, EVERYTHING)[0];
        assert_eq!((best.size, best.quality), (100, 0.1875));
    }

    #[test]
    fn of_conditions_that_mean_the_same_rows_the_shorter_stays() {
        let twice = [selector(0, 8, |row| row < 4), selector(1, 8, |row| row < 4), selector(1, 8, |row| row < 3)];
        check(&twice, &gains(8, |row| row < 2), &[&[2], &[0]]);
    }

    #[test]
    fn nothing_to_find() {
        check(&[], &[], &[]);
        for gains in [gains(9, |_| false), gains(9, |_| true)] {
            check(&[selector(0, 9, |row| row % 2 == 0)], &gains, &[]);
        }
        let few = Search { least: 6, ..EVERYTHING };
        assert_eq!(search(&[selector(0, 9, |row| row < 5)], &gains(9, |row| row == 0), few), []);
    }
}
