//! Amounts are nano-USD in an i128: sums of them are exact, whatever their order.

use super::decimal::{Decimal, times_ten_to};

/// One US dollar.
pub const USD: i128 = 1_000_000_000;

/// Nano-USD of an amount in USD, rounded half to even from the shortest decimal that gives the same number. 0 for
/// what is not finite; beyond i128, its end.
pub fn nano_usd(usd: f64) -> i128 {
    near(usd).unwrap_or_else(|| Decimal::shortest(usd).scaled(9))
}

/// The same where it is plain from the product.
///
/// The shortest decimal lies within half a unit of the last place of the number, and so does the product of its own
/// exact value: below 2^42 nano-USD both together are off by less than 2^-9. What is farther than that from the middle
/// between two integers is rounded to the same one.
fn near(usd: f64) -> Option<i128> {
    const MOST: f64 = (1_u64 << 42) as f64;
    const CLEAR: f64 = 0.5 - 1.0 / 512.0;
    let nano = usd * USD as f64;
    // Cut off, then to the nearer side: without a call, as rounding has no instruction on every machine.
    let rounded = (nano + if nano < 0.0 { -0.5 } else { 0.5 }) as i64;
    (nano.abs() < MOST && (nano - rounded as f64).abs() < CLEAR).then_some(i128::from(rounded))
}

/// Nano-USD of tokens at prices in USD per million: the sum over the parts, rounded once, half to even. A price stands
/// for its shortest decimal, of which 39 places count.
pub fn token_cost(parts: &[(u64, f64)]) -> i128 {
    let (mut whole, mut rest) = (0i128, 0i128);
    for (tokens, usd_per_million) in parts {
        let (part_whole, part_rest) = product(*tokens, *usd_per_million);
        rest += part_rest;
        whole = whole.saturating_add(part_whole).saturating_add(rest / FRACTION);
        rest %= FRACTION;
    }
    let half = FRACTION / 2;
    let up = rest > half || (rest == half && whole.rem_euclid(2) == 1);
    whole.saturating_add(i128::from(up))
}

/// USD, the nearest f64.
pub fn to_usd(nano_usd: i128) -> f64 {
    if nano_usd.unsigned_abs() <= 1 << 53 {
        // Both are exact, so the division rounds once.
        return nano_usd as i64 as f64 / USD as f64;
    }
    // Digits and exponent of an integer always parse, and parsing rounds once.
    format!("{nano_usd}e-9").parse().unwrap_or(f64::NAN)
}

const FRACTION_PLACES: u32 = 36;
const FRACTION: i128 = 10i128.pow(FRACTION_PLACES);

/// Nano-USD of tokens at a price, not rounded: the floor, and the rest in units of 10^-36.
fn product(tokens: u64, usd_per_million: f64) -> (i128, i128) {
    let price = Decimal::shortest(usd_per_million);
    // Below 10^20 times 10^17: far from the end of i128.
    let digits = i128::from(tokens) * i128::from(price.digits);
    // USD per million tokens to nano-USD per token is 10^9 / 10^6.
    let exponent = price.exponent + 3;
    if exponent >= 0 {
        return (times_ten_to(digits, exponent.unsigned_abs()), 0);
    }
    let places = exponent.unsigned_abs();
    let dropped = places.saturating_sub(FRACTION_PLACES);
    let digits = 10i128.checked_pow(dropped).map_or(0, |factor| digits.div_euclid(factor));
    let unit = 10i128.pow(places - dropped);
    (digits.div_euclid(unit), digits.rem_euclid(unit) * 10i128.pow(FRACTION_PLACES - (places - dropped)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_plain_from_the_product_is_right(bits: u64, nano in -1e13..1e13_f64, ten_thousandths: i32) {
            for usd in [f64::from_bits(bits), nano / 1e9, nano, f64::from(ten_thousandths) / 1e4 * 2.5 + 0.5e-9] {
                prop_assume!(usd.is_finite());
                prop_assert_eq!(nano_usd(usd), Decimal::shortest(usd).scaled(9), "{}", usd);
            }
        }
    }

    #[test]
    fn amounts_round_half_to_even_from_the_shortest_decimal() {
        let check = |usd: f64, want: i128| assert_eq!(nano_usd(usd), want, "{usd}");
        check(0.0, 0);
        check(-0.0, 0);
        check(0.05, 50_000_000);
        check(0.1, 100_000_000);
        check(0.30000000000000004, 300_000_000);
        check(1e-9, 1);
        check(4e-10, 0);
        check(5e-10, 0);
        check(1.5e-9, 2);
        check(2.5e-9, 2);
        check(-2.5e-9, -2);
        check(-3.5e-9, -4);
        check(2.5000000001e-9, 3);
        check(0.0000000105, 10);
        check(0.0000000115, 12);
        check(123456.123456789, 123_456_123_456_789);
        check(1234567.1234567891, 1_234_567_123_456_789);
        check(9_007_199_254_740_992.0, 9_007_199_254_740_992_000_000_000);
        check(5e-324, 0);
        check(1e300, i128::MAX);
        check(f64::NAN, 0);
        check(f64::INFINITY, 0);
    }

    #[test]
    fn tokens_are_priced_as_a_sum_rounded_once() {
        let check = |tokens_in, price_in, tokens_out, price_out, want: i128| {
            let cost = token_cost(&[(tokens_in, price_in), (tokens_out, price_out)]);
            assert_eq!(cost, want, "{tokens_in} x {price_in} + {tokens_out} x {price_out}");
        };
        check(1000, 5.0, 100, 25.0, 7_500_000);
        check(0, 5.0, 0, 25.0, 0);
        check(1, 0.0005, 0, 0.0, 0);
        check(3, 0.0005, 0, 0.0, 2);
        check(1, 0.0005, 1, 0.0005, 1);
        check(1, 0.0005, 1, 1e-30, 1);
        check(1, 0.00025, 1, 0.00025, 0);
        check(1, 0.00075, 1, 0.00075, 2);
        check(1 << 53, 5.0, 1 << 53, 25.0, 30_000 * (1 << 53));
        check(u64::MAX, 1e300, 0, 0.0, i128::MAX);
        check(u64::MAX, 5e-324, 1, 0.1, 100);
        check(7, f64::NAN, 1, 0.1, 100);
    }

    #[test]
    fn usd_is_the_nearest_number() {
        let check = |nano: i128, want: f64| assert_eq!(to_usd(nano), want, "{nano}");
        check(0, 0.0);
        check(50_000_000, 0.05);
        check(-1, -1e-9);
        check(123_456_123_456_789, 123456.123456789);
        check(12_345_678_901_234_567_890, 12_345_678_901.234_568);
        check(i128::MAX, 170141183460469231731687303715.884105727);
    }
}
