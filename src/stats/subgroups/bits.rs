/// A set of rows, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    rows: usize,
}

impl Bits {
    /// The rows of `0..rows` for which `has` holds.
    pub fn of(rows: usize, has: impl Fn(usize) -> bool) -> Bits {
        let mut words = vec![0; rows.div_ceil(64)];
        for row in (0..rows).filter(|row| has(*row)) {
            words[row / 64] |= 1 << (row % 64);
        }
        Bits { words, rows }
    }

    /// How many rows there are, in the set or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn has(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// How many rows are in the set.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many rows are in both sets.
    pub fn common(&self, other: &Bits) -> u64 {
        self.words.iter().zip(&other.words).map(|(a, b)| u64::from((a & b).count_ones())).sum()
    }

    /// The sum of what the rows of the set have, in their order.
    pub fn sum(&self, values: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (word, values) in self.words.iter().zip(values.chunks(64)) {
            let mut left = *word;
            while left != 0 {
                sum += values.get(left.trailing_zeros() as usize).copied().unwrap_or(0.0);
                left &= left - 1;
            }
        }
        sum
    }

    /// The rows in both sets.
    pub fn and(&self, other: &Bits) -> Bits {
        let words = self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect();
        Bits { words, rows: self.rows.min(other.rows) }
    }

    /// Shared rows by rows in either (Jaccard): 1 for equal sets, 0 for disjoint or empty ones.
    pub fn likeness(&self, other: &Bits) -> f64 {
        let common = self.common(other);
        let either = self.count() + other.count() - common;
        if either == 0 { 0.0 } else { common as f64 / either as f64 }
    }
}
