//! Floor 1: what leaves the fold to be looked at: samples for an exposition, rows for tables and JSON. Plain data; how it
//! is written is the business of `render`.

use std::{borrow::Cow, sync::Arc};

use serde_json::{Map, Value};

pub use shelf::{ROOM, Shelf, Spot, places};

/// The samples of every subject, in boards that are shared until they differ.
mod shelf;

/// The fields of one subject in JSON, in the order they are shown.
pub type Row = Map<String, Value>;

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    /// Exposed as `untyped` in text 0.0.4 and `unknown` in OpenMetrics.
    Unknown,
}

/// One metric family of a consumer. `name` is without prefix for the subject: `runs_total` becomes
/// `agent_runs_total{agent}` and `strategy_runs_total{strategy}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// As it stands after `agent_` in text 0.0.4, counters with `_total`.
    pub name: &'static str,
    pub kind: MetricType,
    /// One sentence; must be present.
    pub help: &'static str,
    /// The labels beside the subject's.
    pub labels: &'static [&'static str],
    /// False where a sum could go down (a histogram of signed values): OpenMetrics then shows no `_sum`.
    pub monotone_sum: bool,
}

impl Family {
    pub const fn new(name: &'static str, kind: MetricType, help: &'static str) -> Family {
        Family { name, kind, help, labels: &[], monotone_sum: true }
    }

    pub const fn with_labels(self, labels: &'static [&'static str]) -> Family {
        Family { labels, ..self }
    }

    pub const fn without_sum(self) -> Family {
        Family { monotone_sum: false, ..self }
    }
}

/// A pointer from a number to the run that last moved it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub run_id: Arc<str>,
    pub value: f64,
    /// Unix seconds.
    pub timestamp: Option<f64>,
}

/// One bucket of a histogram: cumulative count up to `le`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    pub le: f64,
    pub count: u64,
    pub exemplar: Option<Exemplar>,
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Point {
    Number { value: f64, exemplar: Option<Exemplar> },
    Histogram(Buckets),
}

impl Point {
    pub fn number(value: f64) -> Point {
        Point::Number { value, exemplar: None }
    }

    pub fn value(&self) -> Option<f64> {
        match *self {
            Point::Number { value, .. } => Some(value),
            Point::Histogram(_) => None,
        }
    }
}

/// What a histogram holds. The bucket of `+Inf` is not among the others: its count is `count`.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets {
    pub list: Vec<Bucket>,
    pub count: u64,
    pub sum: f64,
    /// That of the bucket of `+Inf`.
    pub overflow_exemplar: Option<Exemplar>,
}

/// One sample of one subject: which family of its consumer, the values of the family's own labels, the point.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Index into the consumer's `FAMILIES`.
    pub family: usize,
    held: Held,
}

/// Most are plain numbers, of which a page has hundreds of thousands: they stand in place, the rest apart.
#[derive(Clone, Debug, PartialEq)]
enum Held {
    Plain(f64),
    Rest(Box<(Vec<Arc<str>>, Point)>),
}

impl Sample {
    pub fn new(family: usize, labels: Vec<Arc<str>>, point: Point) -> Sample {
        let held = match point {
            Point::Number { value, exemplar: None } if labels.is_empty() => Held::Plain(value),
            point => Held::Rest(Box::new((labels, point))),
        };
        Sample { family, held }
    }

    /// The number, of one that has neither labels nor an exemplar.
    #[inline]
    pub fn plain(&self) -> Option<f64> {
        match self.held {
            Held::Plain(value) => Some(value),
            Held::Rest(_) => None,
        }
    }

    /// The number, of one that is no histogram.
    pub fn number(&self) -> Option<f64> {
        self.point().value()
    }

    /// The values of the labels of the family.
    pub fn labels(&self) -> &[Arc<str>] {
        match &self.held {
            Held::Plain(_) => &[],
            Held::Rest(rest) => &rest.0,
        }
    }

    pub fn point(&self) -> Cow<'_, Point> {
        match &self.held {
            Held::Plain(value) => Cow::Owned(Point::number(*value)),
            Held::Rest(rest) => Cow::Borrowed(&rest.1),
        }
    }

    /// The same without exemplars.
    pub fn without_exemplars(self) -> Sample {
        let Held::Rest(rest) = self.held else { return self };
        let (labels, mut point) = *rest;
        match &mut point {
            Point::Number { exemplar, .. } => *exemplar = None,
            Point::Histogram(buckets) => {
                buckets.overflow_exemplar = None;
                buckets.list.iter_mut().for_each(|bucket| bucket.exemplar = None);
            }
        }
        Sample::new(self.family, labels, point)
    }
}

/// The samples of one subject, in the order of the families.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    pub list: Vec<Sample>,
    /// Nothing is to be shown of this subject any more, by anybody.
    pub hidden: bool,
}

impl Samples {
    /// A number without label or exemplar.
    pub fn number(&mut self, family: usize, value: f64) {
        self.list.push(Sample { family, held: Held::Plain(value) });
    }

    /// A number, when there is one: an absent statistic is an absent series.
    pub fn maybe(&mut self, family: usize, value: Option<f64>) {
        if let Some(value) = value {
            self.number(family, value);
        }
    }

    /// A number under values of the family's labels.
    pub fn labelled(&mut self, family: usize, labels: &[&str], value: f64, exemplar: Option<Exemplar>) {
        let labels = labels.iter().map(|label| Arc::from(*label)).collect();
        self.list.push(Sample::new(family, labels, Point::Number { value, exemplar }));
    }

    pub fn point(&mut self, family: usize, point: Point) {
        self.list.push(Sample::new(family, Vec::new(), point));
    }
}

/// How far a limit is used: what dashboards divide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// As it is called in `docs/limits.md`.
    pub limit: &'static str,
    pub max: u64,
    /// What is held now; absent where only a single thing has a size.
    pub used: Option<u64>,
    /// How often it was not enough, since the fold or the process began.
    pub reached: u64,
}

impl Load {
    pub fn new(limit: &'static str, max: usize, used: usize, reached: u64) -> Load {
        Load { limit, max: max as u64, used: Some(used as u64), reached }
    }

    /// Of single things, each of a size.
    pub fn of_each(limit: &'static str, max: usize, reached: u64) -> Load {
        Load { limit, max: max as u64, used: None, reached }
    }
}

/// A whole family ready to be rendered, with its subjects' samples.
#[derive(Clone, Debug, PartialEq)]
pub struct FamilyPage {
    /// Full metric name as in text 0.0.4 (`agent_runs_total`, `runtape_position`).
    pub name: String,
    pub kind: MetricType,
    pub help: String,
    pub monotone_sum: bool,
    pub series: Vec<Series>,
}

/// One labelled series of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub labels: Vec<(&'static str, Arc<str>)>,
    pub point: Point,
}
