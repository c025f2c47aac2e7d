//! The kept page against one rendered from nothing, after any sequence of changes.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Amend, Format, Section, Sheet, Shown, Task, Writers, render};
use crate::{
    subject::{Subject, Subjects},
    view::{Bucket, Buckets, Exemplar, Family, FamilyPage, MetricType, Point, Sample, Samples, Series, Shelf},
};

const FAMILIES: [&[Family]; 2] = [
    &[
        Family::new("runs_total", MetricType::Counter, "Runs."),
        Family::new("latency", MetricType::Histogram, "Latency."),
        Family::new("tokens_total", MetricType::Counter, "Tokens.").with_labels(&["direction"]),
    ],
    &[
        Family::new("latency_total", MetricType::Counter, "A name that is taken in OpenMetrics."),
        Family::new("verdict", MetricType::Gauge, "Verdict.").with_labels(&["verdict"]),
        Family::new("size", MetricType::Gauge, "A plain number that is amended."),
        Family::new("reward", MetricType::Histogram, "Reward.").without_sum(),
    ],
];

/// More than one board of agents.
const AGENTS: u32 = 150;
const STRATEGIES: u32 = 3;

fn subjects() -> Subjects {
    let name = |id: u32| Arc::from(format!("agent \"{id}\"\\\n"));
    Subjects { agents: (0..AGENTS).map(name).collect(), strategies: (0..STRATEGIES).map(name).collect() }
}

/// Every family page, rendered from nothing: what the sheet must come to.
fn fresh(format: Format, shelves: &[Shelf; 2], amend: Option<Amend>) -> Vec<u8> {
    let names = subjects();
    let everybody = || names.all().chain([Subject::Fleet]);
    let get = |shelf: &Shelf, subject| shelf.get(subject).cloned();
    let hidden = |subject| shelves.iter().any(|shelf| get(shelf, subject).is_some_and(|samples| samples.hidden));
    let mut pages = Vec::new();
    for (families, shelf) in FAMILIES.iter().zip(shelves) {
        for (nth, family) in families.iter().enumerate() {
            for kind in ["agent", "strategy"] {
                let name = format!("{kind}_{}", family.name);
                let mut series = Vec::new();
                for subject in everybody().filter(|subject| !hidden(*subject)) {
                    if (subject.kind() == "strategy") != (kind == "strategy") {
                        continue;
                    }
                    let samples = get(shelf, subject);
                    for sample in samples.iter().flat_map(|samples| &samples.list).filter(|sample| sample.family == nth)
                    {
                        let own = (subject != Subject::Fleet).then(|| (kind, names.shared(subject)));
                        let more = family.labels.iter().copied().zip(sample.labels().iter().cloned());
                        let amended = amend.filter(|_| kind == "agent").and_then(|amend| amend(&name, sample));
                        let point = amended.map_or_else(|| sample.point().into_owned(), Point::number);
                        series.push(Series { labels: own.into_iter().chain(more).collect(), point });
                    }
                }
                let (kind, monotone_sum) = (family.kind, family.monotone_sum);
                pages.push(FamilyPage { name, kind, help: family.help.to_owned(), monotone_sum, series });
            }
        }
    }
    let mut out = Vec::new();
    render(format, &pages, &mut out);
    out
}

fn point(kind: MetricType, value: f64) -> Point {
    let exemplar = (value > 3.0).then(|| Exemplar { run_id: "r".into(), value, timestamp: Some(value * 7.0) });
    if kind != MetricType::Histogram {
        return Point::Number { value, exemplar };
    }
    let count = value.abs() as u64;
    let list = [-1.0, 10.0].map(|le| Bucket { le, count: count / 2, exemplar: exemplar.clone() }).to_vec();
    Point::Histogram(Buckets { list, count, sum: value, overflow_exemplar: exemplar })
}

/// Samples with some families missing, some twice, and values whose spelling is of any length.
fn samples(families: &'static [Family]) -> impl Strategy<Value = Samples> {
    let value = prop_oneof![Just(0.0), -9e9..9e9f64, (0..5000i32).prop_map(f64::from), 1e-7..1e-3f64];
    let list = prop::collection::vec((0..families.len(), value), 0..5);
    (list, prop::bool::weighted(0.05)).prop_map(move |(mut list, hidden)| {
        list.sort_by_key(|(family, _)| *family);
        let sample = |(family, value): (usize, f64)| {
            let labels = families[family].labels.iter().map(|label| Arc::from(format!("{label}\"{value}")));
            Sample::new(family, labels.collect(), point(families[family].kind, value))
        };
        Samples { list: list.into_iter().map(sample).collect(), hidden }
    })
}

/// What changes between two scrapes: samples of some subjects, or of many; whether numbers are amended; a consumer that
/// begins anew.
#[derive(Clone, Debug)]
struct Step {
    puts: [Vec<(Subject, Samples)>; 2],
    amended: bool,
    anew: bool,
    /// Whether the page is still being sent when the next change comes.
    sending: bool,
    /// In how many tasks it is written.
    tasks: usize,
}

/// Writers of so many tasks, of which the last comes first.
struct Backwards(usize);

impl Writers for Backwards {
    fn tasks(&self, _: usize) -> usize {
        self.0
    }

    fn write(&self, tasks: Vec<Task>) {
        tasks.into_iter().rev().for_each(|task| task());
    }
}

fn step() -> impl Strategy<Value = Step> {
    let subject = || {
        prop_oneof![
            8 => (0..AGENTS).prop_map(Subject::Agent),
            1 => (0..STRATEGIES).prop_map(Subject::Strategy),
            1 => Just(Subject::Fleet),
        ]
    };
    let puts = |families| {
        let put = || (subject(), samples(families));
        prop_oneof![4 => prop::collection::vec(put(), 0..6), 1 => prop::collection::vec(put(), 100..200)]
    };
    let puts = (puts(FAMILIES[0]), puts(FAMILIES[1])).prop_map(|(first, second)| [first, second]);
    (puts, prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::ANY, 0..9_usize)
        .prop_map(|(puts, amended, anew, sending, tasks)| Step { puts, amended, anew, sending, tasks })
}

fn amend(page: &str, sample: &Sample) -> Option<f64> {
    match page {
        "agent_verdict" => Some(if sample.labels().is_empty() { 0.0 } else { 1.0 }),
        "agent_size" => Some(0.0),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_kept_page_is_a_fresh_one(steps in prop::collection::vec(step(), 1..8)) {
        let names = subjects();
        let formats = [Format::Text004, Format::OpenMetrics100];
        let (mut shelves, mut sheets) = (<[Shelf; 2]>::default(), formats.map(Sheet::new));
        let mut sent = Vec::new();
        for Step { puts, amended, anew, sending, tasks } in steps {
            if anew {
                shelves[1] = Shelf::default();
            }
            for (shelf, puts) in shelves.iter_mut().zip(puts) {
                puts.into_iter().for_each(|(subject, samples)| shelf.put(subject, samples));
            }
            let amend = amended.then_some(amend as Amend);
            for (format, sheet) in formats.into_iter().zip(&mut sheets) {
                let shown = |nth: usize| Shown { families: FAMILIES[nth], subjects: &names, samples: &shelves[nth] };
                sheet.update(&[shown(0), shown(1)], amend, &Backwards(tasks));
                let mut expect = fresh(format, &shelves, amend);
                if format == Format::OpenMetrics100 {
                    expect.truncate(expect.len() - "# EOF\n".len());
                }
                let sections = sheet.sections();
                let page = whole(&sections);
                prop_assert_eq!(page.len(), sections.iter().map(|section| section.len()).sum::<usize>());
                prop_assert_eq!(String::from_utf8_lossy(&page), String::from_utf8_lossy(&expect));
                if sending {
                    sent.push((sections, expect));
                }
            }
        }
        // What is being sent is not touched by what came later.
        for (sections, expect) in sent {
            prop_assert!(whole(&sections) == expect);
        }
    }
}

fn whole(sections: &[Arc<Section>]) -> Vec<u8> {
    sections.iter().flat_map(|section| section.texts()).flatten().copied().collect()
}
