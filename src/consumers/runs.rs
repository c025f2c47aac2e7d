//! What was done in all, per agent and strategy: runs, failures, tokens, cost, last values, histograms with the run that
//! last moved each bucket.

/// Exemplars.
mod mark;

use serde::{Deserialize, Serialize};

use self::mark::{Mark, RunId};
use crate::{
    event::{Nanos, money, time},
    fold::{At, Body, Consumer, Decisions, Event, batch::Run},
    policy::Limits,
    stats::{Bounds, Histogram, near},
    subject::{PerSubject, Subject},
    view::{
        Bucket, Buckets, Family, Load,
        MetricType::{self, Counter, Gauge},
        Point, Row, Samples,
    },
};

/// Error types told apart per subject; the rest is counted as `other`.
const ERROR_TYPES_MAX: usize = 16;
/// What the rest is called.
const OTHER: &str = "other";

#[derive(Debug)]
struct LatencyMs;
#[derive(Debug)]
struct CostUsd;
#[derive(Debug)]
struct Rewards;

impl Bounds for LatencyMs {
    const UPPER: &'static [f64] = &[5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5];
}

impl Bounds for CostUsd {
    const UPPER: &'static [f64] = &[1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
}

impl Bounds for Rewards {
    const UPPER: &'static [f64] = &[-10.0, -5.0, -2.0, -1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0];
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Runs {
    subjects: PerSubject<Totals>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Totals {
    runs: u64,
    failed: u64,
    tokens_in: u64,
    tokens_out: u64,
    cost_nano_usd: i128,
    default_priced: u64,
    last_reward: Option<f64>,
    last_cost_usd: Option<f64>,
    last_latency_ms: Option<f64>,
    last_event: Option<Nanos>,
    last_run: Mark,
    errors: Vec<ErrorType>,
    latency_ms: Observed<LatencyMs>,
    cost_usd: Observed<CostUsd>,
    reward: Observed<Rewards>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ErrorType {
    name: Box<str>,
    count: u64,
    last: Mark,
}

/// A histogram with a mark per bucket, the last one for values beyond all bounds; made at its first observation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
struct Observed<B: Bounds> {
    histogram: Option<Histogram<B>>,
    marks: Vec<Mark>,
}

const RUNS: usize = 0;
const ERRORS: usize = 1;
const TOKENS: usize = 2;
const COST_TOTAL: usize = 3;
const LATENCY: usize = 4;
const COST: usize = 5;
const REWARDS: usize = 6;
const LAST_REWARD: usize = 7;
const LAST_COST: usize = 8;
const LAST_LATENCY: usize = 9;
const LAST_EVENT: usize = 10;

impl Consumer for Runs {
    const NAME: &'static str = "runs";
    const VERSION: u32 = 1;
    const FAMILIES: &'static [Family] = &[
        Family::new("runs_total", Counter, "Runs recorded."),
        Family::new("errors_total", Counter, "Failed runs, one per run however many errors.")
            .with_labels(&["error_type"]),
        Family::new("tokens_total", Counter, "Tokens used by runs.").with_labels(&["direction"]),
        Family::new("cost_usd_total", Counter, "Cost of all runs in US dollars."),
        Family::new("latency_ms", MetricType::Histogram, "Latency of runs in milliseconds."),
        Family::new("cost_usd", MetricType::Histogram, "Cost of runs in US dollars."),
        Family::new("reward", MetricType::Histogram, "Reward of runs.").without_sum(),
        Family::new("last_reward", Gauge, "Reward of the last run that had one."),
        Family::new("last_cost_usd", Gauge, "Cost of the last run in US dollars."),
        Family::new("last_latency_ms", Gauge, "Latency of the last run in milliseconds."),
        Family::new("last_event_timestamp_seconds", Gauge, "Time of the last event, Unix seconds."),
    ];

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, _out: &mut Decisions) {
        event.each_subject(|subject| {
            let Some(totals) = self.subjects.entry(subject) else { return };
            totals.last_event = event.time.or(totals.last_event);
            if let Body::Run(run) = &event.body {
                totals.run(at, event, run);
            }
        });
    }

    #[inline]
    fn fetch(&self, subject: Subject, event: &Event) {
        let Some(totals) = self.subjects.get(subject) else { return };
        near::fetch(&totals.last_event);
        if matches!(event.body, Body::Run(_)) {
            near::fetch(&totals.last_run);
            totals.latency_ms.fetch();
            totals.cost_usd.fetch();
            totals.reward.fetch();
        }
    }

    #[inline]
    fn fetch_behind(&self, subject: Subject, event: &Event) {
        if let (Body::Run(run), Some(totals)) = (&event.body, self.subjects.get(subject)) {
            totals.latency_ms.fetch_behind(run.latency_ms);
            totals.cost_usd.fetch_behind(run.cost_known.then(|| money::to_usd(run.cost)));
            totals.reward.fetch_behind(run.reward);
        }
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        let none = Totals::default();
        self.subjects.get(subject).unwrap_or(&none).samples(out);
    }

    fn loads(&self, _limits: &Limits) -> Vec<Load> {
        let most = self.subjects.states().map(|totals| totals.errors.len()).max().unwrap_or(0);
        let others = self.subjects.states().flat_map(|totals| &totals.errors).filter(|error| *error.name == *OTHER);
        let reached = others.map(|error| error.count).sum();
        vec![Load::new("error_types", ERROR_TYPES_MAX, most.min(ERROR_TYPES_MAX), reached)]
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        let none = Totals::default();
        let totals = self.subjects.get(subject).unwrap_or(&none);
        out.insert("runs".to_owned(), totals.runs.into());
        out.insert("errors".to_owned(), totals.failed.into());
        out.insert("tokens_in".to_owned(), totals.tokens_in.into());
        out.insert("tokens_out".to_owned(), totals.tokens_out.into());
        out.insert("cost_usd".to_owned(), money::to_usd(totals.cost_nano_usd).into());
        out.insert("default_priced_runs".to_owned(), totals.default_priced.into());
        out.insert("last_event".to_owned(), totals.last_event.map(time::unix_seconds).into());
    }
}

impl Totals {
    fn run(&mut self, at: &At, event: &Event, run: &Run) {
        let run_id = &RunId::of(event.run_id.map_or("", |text| at.text(text)));
        self.runs += 1;
        self.last_run.set(run_id, 1.0, event.time);
        self.tokens_in = self.tokens_in.saturating_add(run.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(run.tokens_out);
        self.cost_nano_usd += run.cost;
        self.default_priced += u64::from(run.default_priced);
        if run.failed {
            self.failed += 1;
            let name = run.error_type.map_or("unspecified", |text| at.text(text));
            self.error_type(name).hit(run_id, event.time);
        }
        if let Some(latency) = run.latency_ms {
            self.last_latency_ms = Some(latency);
            self.latency_ms.observe(latency, run_id, event.time);
        }
        if run.cost_known {
            let cost = money::to_usd(run.cost);
            self.last_cost_usd = Some(cost);
            self.cost_usd.observe(cost, run_id, event.time);
        }
        if let Some(reward) = run.reward {
            self.last_reward = Some(reward);
            self.reward.observe(reward, run_id, event.time);
        }
    }

    /// The count of an error type; beyond the bound all share `other`.
    fn error_type(&mut self, name: &str) -> &mut ErrorType {
        let name = if self.errors.len() >= ERROR_TYPES_MAX && !self.errors.iter().any(|e| *e.name == *name) {
            OTHER
        } else {
            name
        };
        let index = self.errors.iter().position(|e| *e.name == *name).unwrap_or_else(|| {
            self.errors.push(ErrorType { name: name.into(), count: 0, last: Mark::default() });
            self.errors.len() - 1
        });
        &mut self.errors[index]
    }

    fn samples(&self, out: &mut Samples) {
        out.point(RUNS, Point::Number { value: self.runs as f64, exemplar: self.last_run.exemplar() });
        if self.errors.is_empty() {
            out.labelled(ERRORS, &["unspecified"], 0.0, None);
        }
        for error in &self.errors {
            out.labelled(ERRORS, &[&error.name], error.count as f64, error.last.exemplar());
        }
        out.labelled(TOKENS, &["in"], self.tokens_in as f64, None);
        out.labelled(TOKENS, &["out"], self.tokens_out as f64, None);
        out.number(COST_TOTAL, money::to_usd(self.cost_nano_usd));
        self.latency_ms.sample(LATENCY, out);
        self.cost_usd.sample(COST, out);
        self.reward.sample(REWARDS, out);
        out.maybe(LAST_REWARD, self.last_reward);
        out.maybe(LAST_COST, self.last_cost_usd);
        out.maybe(LAST_LATENCY, self.last_latency_ms);
        out.maybe(LAST_EVENT, self.last_event.map(time::unix_seconds));
    }
}

impl ErrorType {
    fn hit(&mut self, run_id: &RunId, time: Option<Nanos>) {
        self.count += 1;
        self.last.set(run_id, 1.0, time);
    }
}

impl<B: Bounds> Default for Observed<B> {
    fn default() -> Self {
        Observed { histogram: None, marks: Vec::new() }
    }
}

impl<B: Bounds> Observed<B> {
    #[inline]
    fn fetch(&self) {
        near::fetch(&self.histogram);
        near::fetch(&self.marks);
    }

    /// Fetches what [`Self::observe`] of a value will change.
    #[inline]
    fn fetch_behind(&self, value: Option<f64>) {
        let (Some(value), Some(histogram)) = (value, &self.histogram) else { return };
        let bucket = Histogram::<B>::bucket(value);
        near::fetch_at(histogram.counts(), bucket);
        near::fetch_at(&self.marks, bucket);
    }

    fn observe(&mut self, value: f64, run_id: &RunId, time: Option<Nanos>) {
        let bucket = self.histogram.get_or_insert_default().observe(value);
        if self.marks.len() != Histogram::<B>::BUCKETS {
            self.marks.resize_with(Histogram::<B>::BUCKETS, Mark::default);
        }
        if !run_id.is_empty() {
            self.marks[bucket].set(run_id, value, time);
        }
    }

    fn sample(&self, family: usize, out: &mut Samples) {
        let Some(histogram) = &self.histogram else { return };
        let bucket = |((le, count), mark): ((f64, u64), &Mark)| Bucket { le, count, exemplar: mark.exemplar() };
        let mut list: Vec<Bucket> = histogram.cumulative().zip(&self.marks).map(bucket).collect();
        let overflow_exemplar = list.pop().and_then(|last| last.exemplar);
        let (count, sum) = (histogram.count(), histogram.sum().to_f64());
        out.point(family, Point::Histogram(Buckets { list, count, sum, overflow_exemplar }));
    }
}
