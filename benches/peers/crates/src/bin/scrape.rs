//! The page of 10,000 agents with 30 series each, encoded by runtape and by the crates `prometheus` and `prometheus-client`, in turns: after every value
//! changed, and then several times after those of one agent in a hundred did. Prints one line per measurement: encoder, share changed, milliseconds.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use prometheus::Encoder as _;
use prometheus_client::metrics::{family, gauge};
use runtape::{
    render::{Format, Section, Sheet, exposition::Shown},
    serve::Threads,
    subject::{Subject, Subjects},
    view::{Family, MetricType, Samples, Shelf},
};

const SERIES: usize = 30;
/// Scrapes of one encoder, one after the other, each after one agent in a hundred changed.
const FEW: usize = 10;
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
    fn encode(&mut self);
    /// What was encoded last.
    fn page(&self) -> Vec<u8>;
}

struct Prometheus {
    registry: prometheus::Registry,
    gauges: Vec<Vec<prometheus::Gauge>>,
    page: Vec<u8>,
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
        Prometheus { registry, gauges, page: Vec::new() }
    }
}

impl Encoder for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    fn set(&mut self, agent: usize, round: usize) {
        self.gauges[agent].iter().enumerate().for_each(|(series, gauge)| gauge.set(value(agent, series, round)));
    }

    fn encode(&mut self) {
        self.page.clear();
        prometheus::TextEncoder::new().encode(&self.registry.gather(), &mut self.page).unwrap();
    }

    fn page(&self) -> Vec<u8> {
        self.page.clone()
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

    fn encode(&mut self) {
        self.page.clear();
        prometheus_client::encoding::text::encode(&mut self.page, &self.registry).unwrap();
    }

    fn page(&self) -> Vec<u8> {
        self.page.clone().into_bytes()
    }
}

struct Runtape {
    families: &'static [Family],
    subjects: Subjects,
    shelf: Shelf,
    sheet: Sheet,
    sections: Vec<Arc<Section>>,
    writers: Threads,
}

impl Runtape {
    fn new(agents: usize) -> Runtape {
        let named = |series| {
            let name: &'static str = metric(series).strip_prefix("agent_").unwrap().to_owned().leak();
            Family::new(name, MetricType::Gauge, HELP)
        };
        let families = (0..SERIES).map(named).collect::<Vec<_>>().leak();
        let subjects = Subjects { agents: (0..agents).map(|agent| name(agent).into()).collect(), strategies: Vec::new() };
        let (shelf, sheet) = (Shelf::default(), Sheet::new(Format::Text004));
        Runtape { families, subjects, shelf, sheet, sections: Vec::new(), writers: Threads::default() }
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

    fn encode(&mut self) {
        // The last one was sent.
        self.sections.clear();
        let shown = Shown { families: self.families, subjects: &self.subjects, samples: &self.shelf };
        self.sheet.update(&[shown], None, &self.writers);
        self.sections = self.sheet.sections();
    }

    fn page(&self) -> Vec<u8> {
        self.sections.iter().flat_map(|section| section.texts()).flatten().copied().collect()
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
    // Whether all three say the same, before anything is measured, and in the end.
    (0..agents).for_each(|agent| client.set(agent, 0));
    client.encode();
    let expect = samples(&client.page);
    assert_eq!(expect.len(), agents * SERIES);
    for encoder in &mut others {
        (0..agents).for_each(|agent| encoder.set(agent, 0));
        encoder.encode();
        assert!(samples(str::from_utf8(&encoder.page()).unwrap()) == expect, "{} says something else", encoder.name());
    }
    let [first, last] = others;
    let mut encoders: [Box<dyn Encoder>; 3] = [first, Box::new(client), last];
    for round in 1..=repeats {
        for encoder in &mut encoders {
            // Everything, after the others had the caches for themselves; then a few agents at a time, scrape after scrape.
            for nth in 0..=FEW {
                let every = if nth == 0 { 1 } else { 100 };
                let start = Instant::now();
                (nth..agents).step_by(every).for_each(|agent| encoder.set(agent, round * (FEW + 1) + nth));
                let set = start.elapsed();
                let start = Instant::now();
                black_box(&mut *encoder).encode();
                let encoded = start.elapsed();
                println!("{} {every} {} {}", encoder.name(), encoded.as_secs_f64() * 1e3, set.as_secs_f64() * 1e3);
            }
        }
    }
    let pages = encoders.map(|encoder| encoder.page());
    let [first, rest @ ..] = pages.map(|page| samples(str::from_utf8(&page).unwrap()));
    assert!(rest.iter().all(|page| *page == first), "pages that were patched differ");
}
