use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use super::{Events, Found, Usage, reading::Progress};
use crate::{
    clock::{Clock, Stopwatch},
    event::time,
    simulate::{Config, Fleet},
};

/// Lines between two words about progress.
const PROGRESS_LINES: u64 = 4096;

/// A run, its signal and its PnL.
const LINES_PER_RUN: f64 = 3.0;

/// The fleet to simulate.
#[derive(Debug, Clone, Args)]
pub struct Shape {
    /// Same seed, same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of agents
    #[arg(long, default_value_t = 12)]
    agents: usize,
    /// Start of simulated time (default: now with --rate, else 2026-01-05T00:00:00Z)
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Mean simulated time between runs of the fleet (default: a minute, or real time with --rate)
    #[arg(long, value_name = "MS")]
    gap_ms: Option<f64>,
    /// Mean number of the fleet's runs between a signal and its PnL
    #[arg(long, value_name = "RUNS", default_value_t = 30.0)]
    hold_runs: f64,
    /// Leave out price lines
    #[arg(long)]
    no_prices: bool,
}

#[derive(Debug, Args)]
pub struct Simulate {
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    shape: Shape,
    /// How many lines to write (default: 100000, or without end with --rate)
    #[arg(long)]
    lines: Option<u64>,
    /// Lines per second, appended live; without it, as fast as possible
    #[arg(long, value_name = "LINES")]
    rate: Option<f64>,
}

impl Shape {
    /// The fleet. With a rate in lines per second it lives in real time from now on, or from `ahead` lines earlier.
    pub fn fleet(&self, rate: Option<f64>, ahead: u64) -> Result<Fleet, Usage> {
        let default = Config::default();
        let real_gap = rate.map(|rate| LINES_PER_RUN * 1000.0 / rate);
        let gap = self.gap_ms.or(real_gap).unwrap_or(default.mean_gap_ms);
        let start = match &self.start {
            Some(text) => time::parse_text(text)
                .ok_or_else(|| Usage(format!("--start {text:?} is no time; want RFC 3339, as 2026-01-05T00:00:00Z")))?,
            None => rate.map_or(default.start, |rate| {
                let lead = ahead as f64 / rate * time::SECOND as f64;
                Clock::system().now() - lead as i64
            }),
        };
        if self.agents == 0 || !(gap > 0.0 && self.hold_runs >= 0.0) {
            return Err(Usage("a fleet needs --agents >= 1, --gap-ms > 0 and --hold-runs >= 0".to_owned()));
        }
        Ok(Fleet::new(&Config {
            seed: self.seed,
            agents: self.agents,
            start,
            mean_gap_ms: gap,
            mean_hold_runs: self.hold_runs,
            prices: !self.no_prices,
        }))
    }
}

impl Simulate {
    pub fn run(self) -> anyhow::Result<Found> {
        let layout = self.events.layout();
        fs::create_dir_all(&layout.dir).with_context(|| format!("cannot make {}", layout.dir.display()))?;
        if let Some(rate) = self.rate.filter(|rate| !(*rate > 0.0 && *rate <= 1e7)) {
            return Err(Usage(format!("--rate {rate}: want lines per second, above 0")).into());
        }
        let mut fleet = self.shape.fleet(self.rate, 0)?;
        match self.rate {
            Some(rate) => live(&layout.dir, &mut fleet, rate, self.lines, &|| false)?,
            None => bulk(&layout.dir, &mut fleet, self.lines.unwrap_or(100_000))?,
        }
        Ok(Found::Nothing)
    }
}

/// Writes lines as fast as possible.
pub fn bulk(dir: &Path, fleet: &mut Fleet, lines: u64) -> anyhow::Result<()> {
    let mut streams: BTreeMap<&'static str, BufWriter<File>> = BTreeMap::new();
    let bar = Progress::new(Some(lines), "simulating", false);
    for n in 0..lines {
        let line = fleet.next_line();
        if !streams.contains_key(line.stream) {
            streams.insert(line.stream, BufWriter::with_capacity(1 << 20, open(dir, line.stream)?));
        }
        if let Some(stream) = streams.get_mut(line.stream) {
            stream.write_all(line.bytes)?;
        }
        if n % PROGRESS_LINES == 0 {
            bar.inc(PROGRESS_LINES);
        }
    }
    for stream in streams.values_mut() {
        stream.flush()?;
    }
    bar.finish();
    Ok(())
}

/// Appends lines at a rate, one write each, until `stop` says so.
pub fn live(
    dir: &Path,
    fleet: &mut Fleet,
    rate: f64,
    lines: Option<u64>,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    let mut streams: BTreeMap<&'static str, File> = BTreeMap::new();
    let (watch, mut written) = (Stopwatch::start(), 0u64);
    while lines.is_none_or(|lines| written < lines) && !stop() {
        let due = (watch.elapsed().as_secs_f64() * rate) as u64 + 1;
        while written < due && lines.is_none_or(|lines| written < lines) {
            let line = fleet.next_line();
            if !streams.contains_key(line.stream) {
                streams.insert(line.stream, open(dir, line.stream)?);
            }
            if let Some(stream) = streams.get_mut(line.stream) {
                stream.write_all(line.bytes)?;
            }
            written += 1;
        }
        let next = Duration::from_secs_f64(written as f64 / rate).saturating_sub(watch.elapsed());
        thread::sleep(next.clamp(Duration::from_millis(1), Duration::from_millis(100)));
    }
    Ok(())
}

fn open(dir: &Path, stream: &str) -> anyhow::Result<File> {
    let path = dir.join(format!("{stream}.jsonl"));
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot append to {}", path.display()))
}
