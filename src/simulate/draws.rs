//! Chance, from one seeded stream, with arithmetic that every platform does alike.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

/// 2^-53, the distance between neighbouring values of [`Draws::unit`].
const UNIT_STEP: f64 = 1.0 / 9_007_199_254_740_992.0;

#[derive(Debug, Clone)]
pub(super) struct Draws {
    rng: ChaCha8Rng,
    spare_normal: Option<f64>,
}

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), spare_normal: None }
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * UNIT_STEP
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..n; 0 when n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Standard normal, by Marsaglia's polar method: it needs a logarithm and a square root only.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * libm::log(square) / square).sqrt();
                self.spare_normal = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// Log-normal around `median`; `spread` is the standard deviation of the logarithm.
    pub fn around(&mut self, median: f64, spread: f64) -> f64 {
        median * libm::exp(spread * self.normal())
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    pub fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::Draws;

    #[test]
    fn normals_have_mean_zero_and_deviation_one() {
        let mut draws = Draws::new(1);
        let xs: Vec<f64> = (0..50_000).map(|_| draws.normal()).collect();
        let mean = xs.iter().sum::<f64>() / xs.len() as f64;
        let variance = xs.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / xs.len() as f64;
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.03, "variance {variance}");
    }

    #[test]
    fn exponentials_have_their_mean_and_are_never_negative() {
        let mut draws = Draws::new(2);
        let xs: Vec<f64> = (0..50_000).map(|_| draws.exponential(3.0)).collect();
        assert!(xs.iter().all(|x| *x >= 0.0 && x.is_finite()));
        let mean = xs.iter().sum::<f64>() / xs.len() as f64;
        assert!((mean - 3.0).abs() < 0.06, "mean {mean}");
    }

    #[test]
    fn below_stays_below() {
        let mut draws = Draws::new(3);
        assert!((0..10_000).all(|_| draws.below(7) < 7));
        assert_eq!(draws.below(0), 0);
    }
}
