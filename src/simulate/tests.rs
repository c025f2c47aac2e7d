use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Config, Fleet, planted};

fn config(seed: u64) -> Config {
    Config { seed, mean_gap_ms: 1_500.0, ..Config::default() }
}

/// Stream, timestamp and object of the first `count` lines.
fn lines(config: &Config, count: usize) -> Vec<(&'static str, i64, Value)> {
    let mut fleet = Fleet::new(config);
    (0..count)
        .map(|_| {
            let line = fleet.next_line();
            let value = serde_json::from_slice(line.json()).expect("a line is one JSON object");
            (line.stream, line.ts, value)
        })
        .collect()
}

fn digest(config: &Config, count: usize) -> String {
    let (mut fleet, mut hasher) = (Fleet::new(config), blake3::Hasher::new());
    for _ in 0..count {
        let line = fleet.next_line();
        hasher.update(line.stream.as_bytes());
        hasher.update(&line.ts.to_le_bytes());
        hasher.update(line.bytes);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Agent, latency, prompt and PnL of every run that was settled.
fn settled(config: &Config, count: usize) -> Vec<(String, f64, u64, f64)> {
    let (mut pnl, mut runs) = (HashMap::new(), Vec::new());
    for (stream, _, line) in lines(config, count) {
        let id = line["run_id"].as_str().unwrap_or_default().to_owned();
        if stream == "pnl" {
            *pnl.entry(id).or_insert(0.0) += line["realized_pnl_bps"].as_f64().expect("a number");
        } else if stream == "runs" {
            let agent = line["agent"].as_str().expect("a name").to_owned();
            let latency = line["latency_ms"].as_f64().expect("a number");
            runs.push((id, agent, latency, line["tokens_in"].as_u64().expect("a count")));
        }
    }
    runs.into_iter().filter_map(|(id, agent, latency, tokens)| Some((agent, latency, tokens, *pnl.get(&id)?))).collect()
}

fn loss_rate<'a>(runs: impl Iterator<Item = &'a (String, f64, u64, f64)>) -> f64 {
    let (mut losses, mut count) = (0.0, 0.0);
    for (.., pnl) in runs {
        losses += f64::from(u8::from(*pnl < 0.0));
        count += 1.0;
    }
    assert!(count >= 100.0, "only {count} runs to judge by");
    losses / count
}

#[test]
fn a_seed_gives_these_bytes_on_every_platform() {
    assert_eq!(digest(&config(7), 10_000), "89292c14de9f85971825586707f5f54d");
}

#[test]
fn another_seed_gives_another_tape() {
    assert_ne!(digest(&config(1), 100), digest(&config(2), 100));
}

#[test]
fn time_never_goes_back_and_is_the_one_on_the_line() {
    for gap in [0.000_1, 0.5, 60_000.0] {
        let mut last = i64::MIN;
        for (_, ts, line) in lines(&Config { mean_gap_ms: gap, start: 1_767_571_200_123_456_789, ..config(3) }, 5_000) {
            let written = line["ts"].as_str().and_then(|ts| chrono::DateTime::parse_from_rfc3339(ts).ok());
            assert_eq!(written.and_then(|at| at.timestamp_nanos_opt()), Some(ts), "{line}");
            assert!(ts >= last, "{ts} after {last} with a gap of {gap} ms");
            last = ts;
        }
    }
}

#[test]
fn every_line_has_the_fields_of_its_stream() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (stream, _, line) in lines(&config(4), 20_000) {
        *seen.entry(stream).or_default() += 1;
        let (texts, numbers): (&[&str], &[&str]) = match stream {
            "runs" => (&["run_id", "agent", "strategy", "model"], &["latency_ms", "tokens_in", "tokens_out", "errors"]),
            "alpha" => (
                &["run_id", "agent", "symbol", "direction", "regime"],
                &["score_final", "notional_usd", "expected_edge_bps"],
            ),
            "pnl" => (&["run_id", "symbol"], &["entry_price", "exit_price", "realized_pnl_bps"]),
            _ => (&["kind", "symbol"], &["price"]),
        };
        for field in texts {
            assert!(line[field].is_string(), "{field} of {line}");
        }
        for field in numbers {
            assert!(line[field].is_number(), "{field} of {line}");
        }
        if stream == "runs" {
            assert_eq!(line["errors"] == 1, line["error_type"].is_string(), "{line}");
            assert_eq!(line["errors"] == 0, line["reward"].is_number(), "{line}");
        }
        if stream != "prices" {
            let id = uuid::Uuid::parse_str(line["run_id"].as_str().unwrap_or_default()).expect("a UUID");
            assert_eq!(id.get_version_num(), 4);
        }
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), ["alpha", "pnl", "prices", "runs"]);
}

#[test]
fn prices_can_be_left_out() {
    let quiet = Config { prices: false, ..config(4) };
    assert!(lines(&quiet, 5_000).iter().all(|(stream, ..)| *stream != "prices"));
}

#[test]
fn losses_cluster_where_runs_are_slow_and_prompts_long() {
    let runs = settled(&config(5), 100_000);
    let (corner, rest): (Vec<_>, Vec<_>) =
        runs.into_iter().partition(|(_, latency, tokens, _)| planted::in_losing_corner(*latency, *tokens));
    let share = corner.len() as f64 / (corner.len() + rest.len()) as f64;
    assert!((0.04..0.2).contains(&share), "the corner holds {share} of the runs");
    let (inside, outside) = (loss_rate(corner.iter()), loss_rate(rest.iter()));
    assert!((inside - planted::CORNER_LOSS_RATE).abs() < 0.03, "loss rate inside {inside}");
    assert!(outside < 0.5, "loss rate outside {outside}");
    let slow = loss_rate(rest.iter().filter(|(_, latency, ..)| *latency > planted::SLOW_MS));
    let long = loss_rate(rest.iter().filter(|(_, _, tokens, _)| *tokens > planted::LONG_PROMPT_TOKENS));
    assert!(slow < 0.55 && long < 0.55, "slow alone {slow}, long alone {long}");
}

#[test]
fn planted_agents_are_what_they_are_said_to_be() {
    let (mut pnl, mut latency): (HashMap<String, Vec<f64>>, HashMap<String, Vec<f64>>) = Default::default();
    for (agent, ms, _, bps) in settled(&config(6), 100_000) {
        pnl.entry(agent.clone()).or_default().push(bps);
        latency.entry(agent).or_default().push(ms);
    }
    let mean = |agent: &str| pnl[agent].iter().sum::<f64>() / pnl[agent].len() as f64;
    assert!(mean(planted::GOOD_AGENT) > 3.0, "good {}", mean(planted::GOOD_AGENT));
    assert!(mean(planted::NO_EDGE_AGENT) < -0.5, "no edge {}", mean(planted::NO_EDGE_AGENT));
    let slow = &mut latency.get_mut(planted::SLOW_AGENT).expect("in the fleet");
    slow.sort_by(f64::total_cmp);
    assert!(slow[slow.len() / 2] > 2_000.0);

    let (mut failed, mut runs) = (0.0, 0.0);
    for (stream, _, line) in lines(&config(6), 60_000) {
        if stream == "runs" && line["agent"] == planted::FLAKY_AGENT {
            failed += line["errors"].as_f64().expect("a count");
            runs += 1.0;
        }
    }
    assert!(failed / runs > 0.1, "flaky fails {failed} of {runs}");
}

#[test]
fn the_runaway_costs_more_before_it_earns_less() {
    let tape = lines(&config(8), 60_000);
    let id = |line: &Value| line["run_id"].as_str().unwrap_or_default().to_owned();
    let mut pnl = HashMap::<String, f64>::new();
    for (_, _, line) in tape.iter().filter(|(stream, ..)| *stream == "pnl") {
        *pnl.entry(id(line)).or_default() += line["realized_pnl_bps"].as_f64().expect("a number");
    }
    let (mut age, mut tokens, mut earned) = (0, [const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for (stream, _, line) in &tape {
        if *stream != "runs" || line["agent"] != planted::RUNAWAY_AGENT {
            continue;
        }
        age = (age + 1) % planted::RUNAWAY_PERIOD;
        let phase = match age {
            0..planted::RUNAWAY_COST_FROM => 0,
            planted::RUNAWAY_COST_FULL..=planted::RUNAWAY_DECAY_FROM => 1,
            planted::RUNAWAY_DECAY_FULL.. => 2,
            _ => continue,
        };
        tokens[phase].push(line["tokens_out"].as_f64().expect("a count"));
        earned[phase].extend(pnl.get(&id(line)));
    }
    let mean = |xs: Vec<f64>| xs.iter().sum::<f64>() / xs.len() as f64;
    let ([early, dear, late], [_, still, lost]) = (tokens.map(mean), earned.map(mean));
    assert!(dear > 8.0 * early && still > 0.0, "dear and still earning: {early} {dear} {still}");
    assert!(late > 8.0 * early && lost < -12.0, "dear and losing: {late} {lost}");
}

#[test]
fn the_demo_streams_are_the_fleet_they_say_they_are() {
    let demo = Config {
        seed: 16,
        agents: 5,
        start: 1_772_438_400_000_000_000,
        mean_gap_ms: 60_000.0,
        mean_hold_runs: 12.0,
        prices: false,
    };
    let (mut fleet, mut written) = (Fleet::new(&demo), BTreeMap::<&str, Vec<u8>>::new());
    for _ in 0..600 {
        let line = fleet.next_line();
        written.entry(line.stream).or_default().extend_from_slice(line.bytes);
    }
    assert!(written["runs"] == include_bytes!("../../events/demo/runs.jsonl"));
    assert!(written["alpha"] == include_bytes!("../../events/demo/alpha.jsonl"));
    assert!(written["pnl"] == include_bytes!("../../events/demo/pnl.jsonl"));
}
