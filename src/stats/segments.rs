//! Where the mean of a sequence changed.

/// A stretch of one mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Its first value, and one past its last.
    pub from: usize,
    pub to: usize,
    pub mean: f64,
}

/// The segmentation of least cost: squared distances from the mean of each segment, plus a penalty of
/// `2 * variance * ln n` for each change (PELT, Killick, Fearnhead and Eckley 2012). The variance is that of neighbours'
/// differences, which a change of mean hardly touches. Segments have at least `least` values, but for the only one.
pub fn segments(values: &[f64], least: usize) -> Vec<Segment> {
    let n = values.len();
    if n == 0 {
        return Vec::new();
    }
    let (least, sums) = (least.max(1), Sums::of(values));
    let penalty = 2.0 * noise(values) * libm::log(n as f64);
    // `best[t]`: the least cost of the first t values; `from[t]`: where its last segment begins.
    let (mut best, mut from) = (vec![f64::INFINITY; n + 1], vec![0; n + 1]);
    best[0] = -penalty;
    // Where a last segment may begin, and from when on it never will again.
    let mut starts: Vec<(usize, usize)> = Vec::new();
    for t in least.min(n)..=n {
        let next = t.saturating_sub(least);
        if next == 0 && starts.is_empty() || best[next].is_finite() && next > 0 {
            starts.push((next, usize::MAX));
        }
        for (start, _) in &starts {
            let cost = best[*start] + sums.cost(*start, t) + penalty;
            if cost < best[t] {
                (best[t], from[t]) = (cost, *start);
            }
        }
        // A start that costs more than the best even without a penalty is beaten by a segment that begins here, once
        // that one is long enough.
        for (start, gone) in &mut starts {
            if best[*start] + sums.cost(*start, t) > best[t] {
                *gone = (*gone).min(t + least);
            }
        }
        starts.retain(|(_, gone)| *gone > t + 1);
    }
    let mut found = Vec::new();
    let mut to = n;
    while to > 0 {
        let start = from[to];
        found.push(Segment { from: start, to, mean: sums.mean(start, to) });
        to = start;
    }
    found.reverse();
    found
}

/// Half the mean square of neighbours' differences: the variance, whatever the mean does.
fn noise(values: &[f64]) -> f64 {
    let pairs = values.windows(2).map(|pair| (pair[1] - pair[0]) * (pair[1] - pair[0]));
    let count = values.len().saturating_sub(1).max(1);
    pairs.sum::<f64>() / (2.0 * count as f64)
}

/// Running sums, so that a segment costs nothing to price.
struct Sums(Vec<(f64, f64)>);

impl Sums {
    fn of(values: &[f64]) -> Sums {
        let (mut sum, mut squares) = (0.0, 0.0);
        let mut sums = vec![(0.0, 0.0)];
        for x in values {
            sum += x;
            squares += x * x;
            sums.push((sum, squares));
        }
        Sums(sums)
    }

    fn mean(&self, from: usize, to: usize) -> f64 {
        (self.0[to].0 - self.0[from].0) / (to - from) as f64
    }

    /// Squared distances from the mean.
    fn cost(&self, from: usize, to: usize) -> f64 {
        let sum = self.0[to].0 - self.0[from].0;
        (self.0[to].1 - self.0[from].1 - sum * sum / (to - from) as f64).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Where segments begin, and their means.
    #[track_caller]
    fn check(values: &[f64], least: usize, want: &[(usize, f64)]) {
        let found: Vec<(usize, f64)> = segments(values, least).iter().map(|s| (s.from, s.mean)).collect();
        assert_eq!(found, want);
    }

    fn wave(level: f64, count: usize) -> impl Iterator<Item = f64> {
        (0..count).map(move |i| level + [0.5, -0.5, 0.25, -0.25][i % 4])
    }

    #[test]
    fn a_level_that_jumps_is_two_segments() {
        let jump: Vec<f64> = wave(0.0, 40).chain(wave(8.0, 24)).collect();
        check(&jump, 4, &[(0, 0.0), (40, 8.0)]);
        check(&wave(3.0, 64).collect::<Vec<_>>(), 4, &[(0, 3.0)]);
    }

    #[test]
    fn odd_shapes_are_one_segment() {
        check(&[], 5, &[]);
        check(&[7.0], 5, &[(0, 7.0)]);
        check(&[1.0, 2.0, 3.0], 5, &[(0, 2.0)]);
        check(&[4.0; 30], 5, &[(0, 4.0)]);
    }

    fn cost(values: &[f64], found: &[Segment]) -> f64 {
        let penalty = 2.0 * noise(values) * libm::log(values.len() as f64);
        let sums = Sums::of(values);
        found.iter().map(|s| sums.cost(s.from, s.to) + penalty).sum()
    }

    /// By trying every beginning of the last segment.
    fn least_cost(values: &[f64], least: usize) -> f64 {
        let penalty = 2.0 * noise(values) * libm::log(values.len() as f64);
        let sums = Sums::of(values);
        let mut best = vec![f64::INFINITY; values.len() + 1];
        best[0] = 0.0;
        for t in least..=values.len() {
            for s in 0..=t - least {
                best[t] = best[t].min(best[s] + sums.cost(s, t) + penalty);
            }
        }
        best[values.len()]
    }

    proptest! {
        #[test]
        fn no_segmentation_costs_less(values in vec(-9.0..9.0_f64, 6..60), jumps in vec((0..60_usize, -40.0..40.0_f64), 0..4), least in 1..6_usize) {
            let mut values = values;
            for (from, by) in jumps {
                values.iter_mut().skip(from).for_each(|x| *x += by);
            }
            let found = segments(&values, least);
            let want = least_cost(&values, least);
            prop_assert!((cost(&values, &found) - want).abs() <= 1e-9 * want.abs().max(1.0));
            prop_assert!(found.iter().all(|s| s.to - s.from >= least));
            prop_assert_eq!(found.iter().map(|s| s.to - s.from).sum::<usize>(), values.len());
        }
    }
}
