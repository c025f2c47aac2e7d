//! The page of 10,000 agents with 30 series each, encoded by runtape and by the crates `prometheus` and `prometheus-client`, in turns: after every value
//! changed, and after those of one agent in a hundred did. Prints one line per measurement: encoder, share changed, milliseconds.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use prometheus::Encoder as _;
use prometheus_client::metrics::{family, gauge};
use runtape::{
    render::{Format, Sheet, exposition::Shown},
    subject::{Subject, Subjects},
    view::{Family, MetricType, Samples, Shelf},
};

const SERIES: usize = 30;
const HELP: &str = "One of thirty.";

fn name(agent: usize) -> String {
    format!("momentum-{agent:05}")
}

fn metric(series: usize) -> String {
    format!("agent_series_{series:02}")
}

/// Half of the series are whole numbers, half have all their digits.
fn value(agent: usize, series: usize, round: usize) -> f64 {
    let mixed = (agent * 31 + series * 7 + round * 1_000_003) as f64;
    if series % 2 == 0 { mixed } else { (mixed * 0.618_033_988_749_895).fract() * 100.0 - 50.0 }
}

trait Encoder {
    fn name(&self) -> &'static str;
    fn set(&mut self, agent: usize, round: usize);
    /// The bytes of the page; in pieces where they are sent so.
    fn encode(&mut self) -> Vec<Arc<Vec<u8>>>;
}

struct Prometheus {
    registry: prometheus::Registry,
    gauges: Vec<Vec<prometheus::Gauge>>,
    page: Arc<Vec<u8>>,
}

impl Prometheus {
    fn new(agents: usize) -> Prometheus {
        let registry = prometheus::Registry::new();
        let mut gauges = vec![Vec::new(); agents];
        for series in 0..SERIES {
            let vector = prometheus::GaugeVec::new(prometheus::Opts::new(metric(series), HELP), &["agent"]).unwrap();
            registry.register(Box::new(vector.clone())).unwrap();
            gauges.iter_mut().enumerate().for_each(|(agent, own)| own.push(vector.with_label_values(&[name(agent)])));
        }
        Prometheus { registry, gauges, page: Arc::default() }
    }
}

impl Encoder for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn set(&mut self, agent: usize, round: usize) {
        self.gauges[agent].iter().enumerate().for_each(|(series, gauge)| gauge.set(value(agent, series, round)));
    }

    fn encode(&mut self) -> Vec<Arc<Vec<u8>>> {
        let page = Arc::make_mut(&mut self.page);
        page.clear();
        prometheus::TextEncoder::new().encode(&self.registry.gather(), page).unwrap();
        vec![self.page.clone()]
    }
}

type Gauge = gauge::Gauge<f64, AtomicU64>;

struct Client {
    registry: prometheus_client::registry::Registry,
    gauges: Vec<Vec<Gauge>>,
    page: String,
}

impl Client {
    fn new(agents: usize) -> Client {
        let mut registry = prometheus_client::registry::Registry::default();
        let mut gauges = vec![Vec::new(); agents];
        for series in 0..SERIES {
            let family = family::Family::<Vec<(&'static str, String)>, Gauge>::default();
            registry.register(metric(series), HELP.trim_end_matches('.'), family.clone());
            for (agent, own) in gauges.iter_mut().enumerate() {
                own.push(family.get_or_create(&vec![("agent", name(agent))]).clone());
            }
        }
        Client { registry, gauges, page: String::new() }
    }
}

impl Encoder for Client {
    fn name(&self) -> &'static str {
        "prometheus-client"
    }

    fn set(&mut self, agent: usize, round: usize) {
        for (series, gauge) in self.gauges[agent].iter().enumerate() {
            gauge.set(value(agent, series, round));
        }
    }

    fn encode(&mut self) -> Vec<Arc<Vec<u8>>> {
        self.page.clear();
        prometheus_client::encoding::text::encode(&mut self.page, &self.registry).unwrap();
        black_box(&self.page);
        Vec::new()
    }
}

struct Runtape {
    families: &'static [Family],
    subjects: Subjects,
    shelf: Shelf,
    sheet: Sheet,
}

impl Runtape {
    fn new(agents: usize) -> Runtape {
        let named = |series| {
            let name: &'static str = metric(series).strip_prefix("agent_").unwrap().to_owned().leak();
            Family::new(name, MetricType::Gauge, HELP)
        };
        let families = (0..SERIES).map(named).collect::<Vec<_>>().leak();
        let subjects = Subjects { agents: (0..agents).map(|agent| name(agent).into()).collect(), strategies: Vec::new() };
        Runtape { families, subjects, shelf: Shelf::default(), sheet: Sheet::new(Format::Text004) }
    }
}

impl Encoder for Runtape {
    fn name(&self) -> &'static str {
        "runtape"
    }

    fn set(&mut self, agent: usize, round: usize) {
        let mut samples = Samples::default();
        (0..SERIES).for_each(|series| samples.number(series, value(agent, series, round)));
        self.shelf.put(Subject::Agent(agent as u32), samples);
    }

    fn encode(&mut self) -> Vec<Arc<Vec<u8>>> {
        self.sheet.update(&[Shown { families: self.families, subjects: &self.subjects, samples: &self.shelf }], None);
        self.sheet.pieces()
    }
}

/// Every sample of a page by its name and labels.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').expect("a sample"));
    pairs.map(|(series, value)| (series.to_owned(), value.parse().expect("a number"))).collect()
}

fn main() {
    let argument = |nth: usize, default: usize| std::env::args().nth(nth).map_or(default, |text| text.parse().unwrap());
    let (agents, repeats) = (argument(1, 10_000), argument(2, 5));
    let mut client = Client::new(agents);
    let mut others: [Box<dyn Encoder>; 2] = [Box::new(Prometheus::new(agents)), Box::new(Runtape::new(agents))];
    // Whether all three say the same, before anything is measured.
    (0..agents).for_each(|agent| client.set(agent, 0));
    client.encode();
    let expect = samples(&client.page);
    assert_eq!(expect.len(), agents * SERIES);
    for encoder in &mut others {
        (0..agents).for_each(|agent| encoder.set(agent, 0));
        let page: Vec<u8> = encoder.encode().iter().flat_map(|piece| piece.iter().copied()).collect();
        assert!(samples(str::from_utf8(&page).unwrap()) == expect, "{} says something else", encoder.name());
    }
    let [first, last] = others;
    let mut encoders: [Box<dyn Encoder>; 3] = [first, Box::new(client), last];
    for round in 1..=repeats {
        for every in [1, 100] {
            for encoder in &mut encoders {
                let start = Instant::now();
                (round % every..agents).step_by(every).for_each(|agent| encoder.set(agent, round * 2 + every));
                let set = start.elapsed();
                let start = Instant::now();
                black_box(encoder.encode());
                let encoded = start.elapsed();
                println!("{} {every} {} {}", encoder.name(), encoded.as_secs_f64() * 1e3, set.as_secs_f64() * 1e3);
            }
        }
    }
}
