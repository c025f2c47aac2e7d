//! Exact rationals on paper arithmetic: the slow second opinion of the tests.
//!
//! Sign and magnitude in base 2^32, schoolbook methods, and no rounding anywhere: whether an `f64` is the right answer
//! is decided by comparing its distance, and that of its two neighbours, with the exact value.

use std::cmp::Ordering;

/// A signed integer: negative or not, digits from the lowest, none of them zero at the top.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Big {
    negative: bool,
    digits: Vec<u32>,
}

impl Big {
    fn new(negative: bool, mut digits: Vec<u32>) -> Big {
        while digits.last() == Some(&0) {
            digits.pop();
        }
        Big { negative: negative && !digits.is_empty(), digits }
    }

    pub fn int(mut x: u64) -> Big {
        let mut digits = vec![];
        while x > 0 {
            digits.push(x as u32);
            x >>= 32;
        }
        Big::new(false, digits)
    }

    /// A finite `f64` in units of 2^-1074.
    pub fn of(x: f64) -> Big {
        let bits = x.abs().to_bits();
        let (fraction, exponent) = (bits % (1 << 52), bits >> 52);
        let significand = Big::int(if exponent == 0 { fraction } else { fraction + (1 << 52) });
        let places = exponent.max(1) - 1;
        let mut power = vec![0; (places / 32) as usize];
        power.push(1 << (places % 32));
        let magnitude = significand.mul(&Big::new(false, power));
        Big::new(x < 0.0, magnitude.digits)
    }

    pub fn neg(&self) -> Big {
        Big::new(!self.negative, self.digits.clone())
    }

    pub fn abs(&self) -> Big {
        Big::new(false, self.digits.clone())
    }

    pub fn add(&self, other: &Big) -> Big {
        let digit = |n: &Big, i: usize| i64::from(n.digits.get(i).copied().unwrap_or(0));
        let length = self.digits.len().max(other.digits.len()) + 1;
        let same = self.negative == other.negative;
        let (large, small) = if self.abs().cmp(&other.abs()).is_ge() { (self, other) } else { (other, self) };
        let (mut out, mut carry) = (vec![], 0);
        for i in 0..length {
            let t = digit(large, i) + if same { digit(small, i) } else { -digit(small, i) } + carry;
            out.push(t.rem_euclid(1 << 32) as u32);
            carry = t.div_euclid(1 << 32);
        }
        Big::new(large.negative, out)
    }

    pub fn sub(&self, other: &Big) -> Big {
        self.add(&other.neg())
    }

    pub fn mul(&self, other: &Big) -> Big {
        let mut out = vec![0_u32; self.digits.len() + other.digits.len() + 1];
        for (i, &a) in self.digits.iter().enumerate() {
            let mut carry = 0;
            for (j, &b) in other.digits.iter().chain([&0]).enumerate() {
                let t = u64::from(a) * u64::from(b) + u64::from(out[i + j]) + carry;
                out[i + j] = t as u32;
                carry = t >> 32;
            }
        }
        Big::new(self.negative != other.negative, out)
    }

    pub fn cmp(&self, other: &Big) -> Ordering {
        let lengths = self.digits.len().cmp(&other.digits.len());
        let magnitudes = lengths.then_with(|| self.digits.iter().rev().cmp(other.digits.iter().rev()));
        match (self.negative, other.negative) {
            (false, false) => magnitudes,
            (true, true) => magnitudes.reverse(),
            (negative, _) => {
                if negative {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }
}

/// Whether `x` is the `f64` nearest to `numerator * 2^-1074 / divisor`, ties to even.
pub fn is_nearest(x: f64, numerator: &Big, divisor: u64) -> bool {
    let distance = |f: f64| Big::of(f).mul(&Big::int(divisor)).sub(numerator).abs();
    let own = distance(x);
    [x.next_up(), x.next_down()].iter().all(|&other| match own.cmp(&distance(other)) {
        Ordering::Less => true,
        Ordering::Equal => x.to_bits().is_multiple_of(2),
        Ordering::Greater => false,
    })
}

/// The exact statistics of a window, all in units of 2^-1074 (squared: 2^-2148).
pub struct Answers {
    pub n: u64,
    pub sum: Big,
    /// n times the sum of squares minus the square of the sum.
    pub spread: Big,
    /// Sum of the squares of the negative values.
    pub downside: Big,
    /// At most zero.
    pub drawdown: Big,
}

impl Answers {
    pub fn of(values: &[Big]) -> Answers {
        let n = values.len() as u64;
        let (mut equity, mut peak, mut drawdown) = (Big::default(), Big::default(), Big::default());
        let (mut squares, mut downside) = (Big::default(), Big::default());
        for x in values {
            equity = equity.add(x);
            if equity.cmp(&peak).is_gt() {
                peak = equity.clone();
            }
            let below = equity.sub(&peak);
            if below.cmp(&drawdown).is_lt() {
                drawdown = below;
            }
            squares = squares.add(&x.mul(x));
            if x.negative {
                downside = downside.add(&x.mul(x));
            }
        }
        let spread = squares.mul(&Big::int(n)).sub(&equity.mul(&equity));
        Answers { n, sum: equity, spread, downside, drawdown }
    }
}

/// Whether `root` is within two steps of the square root of `square * 2^-2148 / divisor`.
pub fn is_root(root: f64, square: &Big, divisor: u64) -> bool {
    let squared = |bits: u64| {
        let side = Big::of(f64::from_bits(bits));
        side.mul(&side).mul(&Big::int(divisor))
    };
    let bits = root.to_bits();
    squared(bits.saturating_sub(2)).cmp(square).is_le() && squared(bits + 2).cmp(square).is_ge()
}

#[test]
fn the_reference_knows_its_arithmetic() {
    let third = Big::of(1.0);
    assert!(is_nearest(1.0 / 3.0, &third, 3));
    assert!(!is_nearest((1.0_f64 / 3.0).next_up(), &third, 3));
    assert!(is_nearest(0.1 + 0.2, &Big::of(0.1).add(&Big::of(0.2)), 1));
    assert!(Big::of(-1.5).sub(&Big::of(2.5)) == Big::of(-4.0));
    assert!(Big::of(1e-300).cmp(&Big::of(-1e300)).is_gt());
    let two = Big::of(2.0).mul(&Big::of(1.0));
    assert!(is_root(2.0_f64.sqrt(), &two, 1));
    assert!(!is_root(1.4143, &two, 1));
}
