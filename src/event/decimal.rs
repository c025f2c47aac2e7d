use std::cmp::Ordering;
use std::fmt::Write;

/// `digits` times ten to the `exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// At most 17 digits.
    pub digits: i64,
    pub exponent: i32,
}

/// Below 10^15, two decimals of the same scale are never the same f64.
const EXACT: f64 = 1e15;

impl Decimal {
    /// The value of the shortest decimal that gives the same number; 0 for what is not finite. No heap.
    pub fn shortest(x: f64) -> Decimal {
        // A decimal of at most 15 digits that gives x is the shortest one, or the shortest with zeros appended.
        for (scale, exponent) in [(1.0, 0), (1e3, -3), (1e6, -6), (1e9, -9)] {
            let digits = (x * scale).round_ties_even();
            if digits.abs() < EXACT && digits / scale == x {
                return Decimal { digits: digits as i64, exponent };
            }
        }
        let mut text = Text::default();
        match write!(text, "{x:e}") {
            Ok(()) => text.parse().even_of_two(x),
            Err(_) => Decimal { digits: 0, exponent: 0 },
        }
    }

    /// Of two decimals of the shortest length that are equally near to x, the even one, as most printers write it;
    /// the standard library writes the greater.
    fn even_of_two(self, x: f64) -> Decimal {
        // Half a unit of the last place beside a decimal lies an f64 only if 5^places divides twice the digits +-1,
        // which are below 5^26. Without places both neighbours would be f64s themselves.
        if self.digits % 2 == 0 || !(-25..0).contains(&self.exponent) {
            return self;
        }
        let places = self.exponent.unsigned_abs();
        for step in [-1, 1] {
            let middle = 2 * self.digits + step;
            let fives = 5i64.pow(places);
            let is_x = middle % fives == 0 && (middle / fives) as f64 / (1u64 << (places + 1)) as f64 == x;
            let even = Decimal { digits: self.digits + step, exponent: self.exponent };
            // Below a power of two numbers are denser, and the even one may belong to another.
            if is_x && even.nearest() == Some(x) {
                return even;
            }
        }
        self
    }

    fn nearest(self) -> Option<f64> {
        let mut text = Text::default();
        write!(text, "{}e{}", self.digits, self.exponent).ok()?;
        std::str::from_utf8(&text.bytes[..text.length]).ok()?.parse().ok()
    }

    /// This times ten to the `power`, rounded half to even to an integer; at the ends of i128 where it is beyond.
    pub fn scaled(self, power: i32) -> i128 {
        let digits = i128::from(self.digits);
        match self.exponent.saturating_add(power) {
            up @ 0.. => times_ten_to(digits, up.unsigned_abs()),
            // More places than digits twice over: nearer to 0 than to 1.
            ..=-39 => 0,
            down => divide(digits, 10i128.pow(down.unsigned_abs())),
        }
    }
}

/// `n` times ten to the `power`, at the ends of i128 where it is beyond.
pub fn times_ten_to(n: i128, power: u32) -> i128 {
    match 10i128.checked_pow(power) {
        Some(factor) => n.saturating_mul(factor),
        None => n.signum().saturating_mul(i128::MAX),
    }
}

/// `n / by` (`by` above 0) rounded half to even.
fn divide(n: i128, by: i128) -> i128 {
    let (quotient, rest) = (n.div_euclid(by), n.rem_euclid(by));
    match rest.cmp(&(by - rest)) {
        Ordering::Less => quotient,
        Ordering::Greater => quotient + 1,
        Ordering::Equal => quotient + quotient.rem_euclid(2),
    }
}

/// Room for the longest `{:e}` of an f64, -1.2345678901234567e-308.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Text {
    /// The decimal written as `-d.ddde-x`.
    fn parse(&self) -> Decimal {
        let (mut digits, mut exponent, mut places, mut in_fraction) = (0i64, 0i32, 0i32, false);
        let text = &self.bytes[..self.length];
        for (i, &byte) in text.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    digits = digits * 10 + i64::from(byte - b'0');
                    places += i32::from(in_fraction);
                }
                b'.' => in_fraction = true,
                b'e' => {
                    let rest = std::str::from_utf8(&text[i + 1..]).unwrap_or_default();
                    exponent = rest.parse().unwrap_or_default();
                    break;
                }
                _ => {}
            }
        }
        let sign = if text.first() == Some(&b'-') { -1 } else { 1 };
        Decimal { digits: sign * digits, exponent: exponent - places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_shortest_decimal_gives_the_same_number(bits: u64) {
            let x = f64::from_bits(bits);
            prop_assume!(x.is_finite());
            let Decimal { digits, exponent } = Decimal::shortest(x);
            prop_assert_eq!(format!("{digits}e{exponent}").parse::<f64>().unwrap(), x);
            prop_assert!(digits.unsigned_abs() < 100_000_000_000_000_000);
        }

        #[test]
        fn short_decimals_are_found_exactly(digits in -999_999_999_999_999i64..=999_999_999_999_999, places in 0i32..12) {
            let x: f64 = format!("{digits}e-{places}").parse().unwrap();
            let found = Decimal::shortest(x);
            prop_assert_eq!(found.scaled(12), Decimal { digits, exponent: -places }.scaled(12));
        }
    }

    #[test]
    fn of_two_equally_near_decimals_the_even_one_is_taken() {
        let check = |x: f64, digits, exponent| assert_eq!(Decimal::shortest(x), Decimal { digits, exponent }, "{x}");
        check(1339338834381193.0 + 0.25, 13393388343811932, -1);
        check(-1339338834381193.0 - 0.25, -13393388343811932, -1);
        check(1339338834381193.0 + 0.75, 13393388343811938, -1);
        check(995374036533570.0 + 0.25, 9953740365335702, -1);
        check(3599763603189.0 + 0.78125, 35997636031897812, -4);
        // 5.960464477539062e-8 is nearer to the number below.
        check(2f64.powi(-24), 5960464477539063, -23);
    }

    #[test]
    fn scaling_rounds_half_to_even_and_stops_at_the_ends() {
        let check = |digits, exponent, power, want| {
            assert_eq!(Decimal { digits, exponent }.scaled(power), want, "{digits}e{exponent} by 1e{power}");
        };
        check(25, -1, 0, 2);
        check(35, -1, 0, 4);
        check(-25, -1, 0, -2);
        check(-35, -1, 0, -4);
        check(2_500_000_000_000_001, -15, 0, 3);
        check(5, -1, 0, 0);
        check(15, -10, 9, 2);
        check(7, 3, -4, 1);
        check(99_999_999_999_999_999, -60, 0, 0);
        check(-99_999_999_999_999_999, -400, 9, 0);
        check(1, 300, 9, i128::MAX);
        check(-1, 300, 9, -i128::MAX);
        check(0, 300, 9, 0);
        check(99_999_999_999_999_999, -38, 0, 0);
    }
}
