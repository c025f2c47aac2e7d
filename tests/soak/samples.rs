use std::{fmt::Write as _, fs, sync::atomic::Ordering, time::Duration};

use runtape::clock::Stopwatch;
use serde_json::Value;

use super::{Ground, client::ask};
use crate::support::{Metrics, append};

/// What the server was like at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    pub seconds: f64,
    /// Which of the servers of the run.
    pub server: u64,
    pub memory_kib: f64,
    pub descriptors: f64,
    /// From an append to the answer that has it.
    pub visible_ms: f64,
    pub scrape_ms: f64,
    pub page_bytes: f64,
    pub lag_seconds: f64,
    pub position: f64,
}

/// All of them, in order.
pub struct Samples(pub Vec<Sample>);

/// Once a second, while somebody answers.
pub fn take(ground: &Ground) -> Samples {
    let (mut samples, mut probes) = (Vec::new(), 0_u64);
    let probe = format!("probe-{}", ground.session);
    while ground.pause(Duration::from_secs(1)) {
        let (Some(address), pid, server) =
            (ground.address(), ground.pid.load(Ordering::Acquire), ground.servers.load(Ordering::Acquire))
        else {
            continue;
        };
        let line = format!("{{\"agent\":\"{probe}\",\"reward\":0.1,\"errors\":0}}\n");
        append(&ground.events.stream("probe"), line.as_bytes());
        probes += 1;
        let watch = Stopwatch::start();
        let sees = || {
            let (status, text) = ask(address, "GET", &format!("/api/v1/agents/{probe}"), "").ok()?;
            let row: Value = serde_json::from_str(&text).ok()?;
            (status == 200 && row["runs"].as_u64()? >= probes).then_some(())
        };
        // A server that is killed meanwhile is another one's sample.
        let seen = loop {
            if sees().is_some() {
                break true;
            }
            if ground.over() || ground.servers.load(Ordering::Acquire) != server || watch.elapsed().as_secs() > 60 {
                break false;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let visible_ms = watch.elapsed().as_secs_f64() * 1e3;
        let watch = Stopwatch::start();
        let Some((200, page)) = ask(address, "GET", "/metrics", "").ok() else { continue };
        let scrape_ms = watch.elapsed().as_secs_f64() * 1e3;
        let (Some(memory_kib), Some(descriptors)) = (memory(pid), descriptors(pid)) else { continue };
        if !seen {
            continue;
        }
        let page_bytes = page.len() as f64;
        let page = Metrics(page);
        let lags = page.0.lines().filter(|line| line.starts_with("runtape_consumer_lag_seconds{"));
        let lag_seconds = lags.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).fold(0.0, f64::max);
        let position = page.get("runtape_position").unwrap_or(0.0);
        let seconds = ground.watch.elapsed().as_secs_f64();
        samples.push(Sample {
            seconds,
            server,
            memory_kib,
            descriptors,
            visible_ms,
            scrape_ms,
            page_bytes,
            lag_seconds,
            position,
        });
    }
    Samples(samples)
}

fn memory(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn descriptors(pid: u32) -> Option<f64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as f64)
}

impl Samples {
    /// As a table: comma-separated values.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "seconds,server,memory_kib,descriptors,visible_ms,scrape_ms,page_bytes,lag_seconds,position\n",
        );
        for s in &self.0 {
            let _ = writeln!(
                text,
                "{:.1},{},{},{},{:.2},{:.2},{},{:.3},{}",
                s.seconds,
                s.server,
                s.memory_kib,
                s.descriptors,
                s.visible_ms,
                s.scrape_ms,
                s.page_bytes,
                s.lag_seconds,
                s.position
            );
        }
        text
    }

    /// Those of the second half, when one server runs on.
    fn second_half(&self) -> Vec<&Sample> {
        let end = self.0.last().map_or(0.0, |sample| sample.seconds);
        self.0.iter().filter(|sample| sample.seconds >= end / 2.0).collect()
    }

    /// In the second half memory and descriptors do not grow, and answers do not become slower.
    pub fn flat(&self) {
        let half = self.second_half();
        assert!(half.len() >= 4, "only {} samples", half.len());
        let servers: Vec<u64> = half.iter().map(|sample| sample.server).collect();
        assert_eq!(servers.first(), servers.last(), "one server from the middle to the end");
        let seconds = half.last().expect("samples").seconds - half[0].seconds;
        let grown = slope(&half, |sample| sample.memory_kib) * seconds;
        let mean = half.iter().map(|sample| sample.memory_kib).sum::<f64>() / half.len() as f64;
        let lines = half.last().expect("samples").position - half[0].position;
        println!(
            "memory {mean:.0} KiB, by its slope {grown:+.0} KiB over {seconds:.0} s and {lines} lines; descriptors {}",
            half.iter().map(|sample| sample.descriptors).fold(0.0, f64::max)
        );
        // Each file that was rotated is known for good, and the newest decisions are remembered.
        let allowed = 0.1 * mean + 16.0 * 1024.0;
        assert!(grown < allowed, "memory grew by {grown:.0} KiB over {seconds:.0} s, at most {allowed:.0}");
        let descriptors = slope(&half, |sample| sample.descriptors) * seconds;
        assert!(descriptors < 60.0, "{descriptors:+.0} descriptors over {seconds:.0} s");
        for (name, of) in [("visible", (|s| s.visible_ms) as fn(&Sample) -> f64), ("scrape", |s| s.scrape_ms)] {
            let (early, late) = half.split_at(half.len() / 2);
            let (before, after) = (median(early, of), median(late, of));
            println!("{name}: median {before:.1} ms, then {after:.1} ms; largest {:.0} ms", largest(&half, of));
            // Of one run on one machine, whose other work the factor leaves room for.
            assert!(after <= 3.0 * before + 100.0, "{name}: a median of {before:.1} ms became {after:.1} ms");
        }
    }
}

/// Of the straight line that fits best, per second.
fn slope(samples: &[&Sample], of: fn(&Sample) -> f64) -> f64 {
    let n = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(|sample| of(sample)).sum::<f64>() / n;
    let (x, y) = (mean(&|sample| sample.seconds), mean(&of));
    let covariance: f64 = samples.iter().map(|sample| (sample.seconds - x) * (of(sample) - y)).sum();
    let variance: f64 = samples.iter().map(|sample| (sample.seconds - x).powi(2)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

fn median(samples: &[&Sample], of: fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|sample| of(sample)).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn largest(samples: &[&Sample], of: fn(&Sample) -> f64) -> f64 {
    samples.iter().map(|sample| of(sample)).fold(0.0, f64::max)
}

#[test]
fn what_grows_and_what_becomes_slower_is_seen() {
    let sample = |n: u32, memory_kib: f64, visible_ms: f64| Sample {
        seconds: f64::from(n),
        server: 1,
        memory_kib,
        descriptors: 9.0,
        visible_ms,
        scrape_ms: 5.0,
        page_bytes: 1.0,
        lag_seconds: 0.0,
        position: f64::from(n),
    };
    let of = |memory: fn(u32) -> f64, visible: fn(u32) -> f64| {
        let samples = Samples((0..100).map(|n| sample(n, memory(n), visible(n))).collect());
        std::panic::catch_unwind(|| samples.flat()).is_ok()
    };
    assert!(of(|_| 50_000.0, |_| 10.0));
    assert!(of(|n| 50_000.0 + f64::from(n % 7) * 900.0, |n| f64::from(n % 9)));
    assert!(!of(|n| 50_000.0 + f64::from(n) * 600.0, |_| 10.0), "30 MB in the second half");
    assert!(!of(|_| 50_000.0, |n| f64::from(n).powi(4) / 1e3), "ever slower");
}
