//! The JSON of every line, written byte by byte into a buffer that is used again.

use chrono::{DateTime, Datelike, Timelike};
use uuid::Uuid;

use super::agent::Agent;
use super::market::SYMBOLS;
use super::models::MODELS;
use super::run::{AlphaLine, PnlLine, RunLine};

pub(super) fn run(out: &mut Vec<u8>, line: &RunLine, agent: &Agent, ts: i64) {
    run_id(out, line.run_id);
    text(out, ",\"agent\":", &agent.name_json);
    text(out, ",\"strategy\":", &agent.strategy_json);
    time(out, ",\"ts\":", ts);
    decimal(out, ",\"latency_ms\":", line.latency_ms, 2);
    whole(out, ",\"tokens_in\":", line.tokens_in);
    whole(out, ",\"tokens_out\":", line.tokens_out);
    if let Some(cached) = line.cached_tokens {
        whole(out, ",\"cached_tokens\":", cached);
    }
    if let Some(cost) = line.cost_usd {
        decimal(out, ",\"cost_usd\":", cost, 6);
    }
    whole(out, ",\"errors\":", u64::from(line.failed()));
    if let Some(error) = line.error {
        word(out, ",\"error_type\":", error);
    }
    word(out, ",\"model\":", MODELS[agent.model].name);
    if let Some(reward) = line.reward {
        decimal(out, ",\"reward\":", reward, 4);
    }
    out.extend_from_slice(b"}\n");
}

pub(super) fn alpha(out: &mut Vec<u8>, line: &AlphaLine, agent: &Agent, ts: i64) {
    run_id(out, line.run_id);
    text(out, ",\"agent\":", &agent.name_json);
    time(out, ",\"ts\":", ts);
    word(out, ",\"symbol\":", SYMBOLS[line.symbol].name);
    word(out, ",\"direction\":", line.direction);
    decimal(out, ",\"score_final\":", line.score, 4);
    word(out, ",\"regime\":", line.believed.name());
    decimal(out, ",\"notional_usd\":", line.notional_usd, 2);
    decimal(out, ",\"expected_edge_bps\":", line.expected_edge_bps, 2);
    out.extend_from_slice(b"}\n");
}

pub(super) fn pnl(out: &mut Vec<u8>, line: &PnlLine, agent: &Agent, ts: i64) {
    let symbol = &SYMBOLS[line.symbol];
    run_id(out, line.run_id);
    if line.names_agent {
        text(out, ",\"agent\":", &agent.name_json);
    }
    time(out, ",\"ts\":", ts);
    word(out, ",\"symbol\":", symbol.name);
    decimal(out, ",\"entry_price\":", line.entry_price, symbol.decimals);
    decimal(out, ",\"exit_price\":", line.exit_price, symbol.decimals);
    decimal(out, ",\"realized_pnl_bps\":", line.realized_pnl_bps, 2);
    out.extend_from_slice(b"}\n");
}

pub(super) fn price(out: &mut Vec<u8>, symbol: usize, price: f64, ts: i64) {
    let symbol = &SYMBOLS[symbol];
    time(out, "{\"kind\":\"price\",\"ts\":", ts);
    word(out, ",\"symbol\":", symbol.name);
    decimal(out, ",\"price\":", price, symbol.decimals);
    out.extend_from_slice(b"}\n");
}

fn run_id(out: &mut Vec<u8>, id: Uuid) {
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    word(out, "{\"run_id\":", id.hyphenated().encode_lower(&mut buffer));
}

/// A value that is JSON already.
fn text(out: &mut Vec<u8>, key: &str, json: &str) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(json.as_bytes());
}

/// A string of this module's own vocabulary, where nothing needs an escape.
fn word(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn whole(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    digits(out, value, 1);
}

/// Fixed point without trailing zeros. Rounding happens once, in binary; the digits are then exact.
fn decimal(out: &mut Vec<u8>, key: &str, value: f64, decimals: u32) {
    out.extend_from_slice(key.as_bytes());
    let unit = 10_u64.pow(decimals);
    let scaled = (value * unit as f64).round() as i64;
    if scaled < 0 {
        out.push(b'-');
    }
    let scaled = scaled.unsigned_abs();
    digits(out, scaled / unit, 1);
    let fraction = scaled % unit;
    if fraction == 0 {
        return;
    }
    out.push(b'.');
    digits(out, fraction, decimals as usize);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

/// Decimal digits, zero-padded to `width`.
fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut buffer = [b'0'; 20];
    let mut from = buffer.len();
    while value > 0 {
        from -= 1;
        buffer[from] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    let from = from.min(buffer.len() - width);
    out.extend_from_slice(&buffer[from..]);
}

/// RFC 3339 in UTC with microseconds, as a JSON string.
fn time(out: &mut Vec<u8>, key: &str, ts: i64) {
    let at = DateTime::from_timestamp_nanos(ts);
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    let year = u64::from(at.year().unsigned_abs());
    let parts = [
        (year, 4, b'-'),
        (u64::from(at.month()), 2, b'-'),
        (u64::from(at.day()), 2, b'T'),
        (u64::from(at.hour()), 2, b':'),
        (u64::from(at.minute()), 2, b':'),
        (u64::from(at.second()), 2, b'.'),
        (u64::from(at.nanosecond() / 1000), 6, b'Z'),
    ];
    for (value, width, after) in parts {
        digits(out, value, width);
        out.push(after);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::{decimal, time};

    fn check_decimal(value: f64, decimals: u32, expected: &str) {
        let mut out = Vec::new();
        decimal(&mut out, "", value, decimals);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{value} to {decimals} decimals");
    }

    #[test]
    fn decimals_are_rounded_and_trimmed() {
        check_decimal(12.5, 2, "12.5");
        check_decimal(-0.004, 2, "0");
        check_decimal(-0.006, 2, "-0.01");
        check_decimal(100.0, 3, "100");
        check_decimal(0.000_123_4, 6, "0.000123");
        check_decimal(1.05, 1, "1.1");
    }

    #[test]
    fn times_have_microseconds() {
        let mut out = Vec::new();
        time(&mut out, "", 1_772_409_600_000_042_000);
        assert_eq!(String::from_utf8_lossy(&out), "\"2026-03-02T00:00:00.000042Z\"");
    }
}
