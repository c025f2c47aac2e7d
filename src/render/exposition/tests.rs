//! Pages in, text out, in both formats.

use std::sync::Arc;

use super::*;
use crate::view::{Bucket, Buckets, Exemplar, Point, Series};

type Labels<'a> = &'a [(&'static str, &'a str)];

fn family(name: &str, kind: MetricType, series: Vec<Series>) -> FamilyPage {
    FamilyPage { name: name.into(), kind, help: format!("About {name}."), monotone_sum: true, series }
}

fn series(labels: Labels, point: Point) -> Series {
    let labels = labels.iter().map(|(name, value)| (*name, Arc::from(*value))).collect();
    Series { labels, point }
}

fn number(labels: Labels, value: f64) -> Series {
    series(labels, Point::number(value))
}

fn pointed(labels: Labels, value: f64, exemplar: Exemplar) -> Series {
    series(labels, Point::Number { value, exemplar: Some(exemplar) })
}

fn exemplar(run_id: &str) -> Exemplar {
    Exemplar { run_id: run_id.into(), value: 1.0, timestamp: Some(1_785_542_400.5) }
}

fn histogram(bounds: &[(f64, u64)], count: u64, sum: f64) -> Point {
    let bucket = |&(le, count): &(f64, u64)| Bucket { le, count, exemplar: None };
    let list = bounds.iter().map(bucket).collect();
    Point::Histogram(Buckets { list, count, sum, overflow_exemplar: None })
}

fn text(format: Format, pages: &[FamilyPage]) -> String {
    let mut out = Vec::new();
    render(format, pages, &mut out);
    String::from_utf8(out).unwrap()
}

/// Compares both formats; the last line of OpenMetrics is checked here.
#[track_caller]
fn check(pages: &[FamilyPage], expect_text: &str, expect_openmetrics: &str) {
    assert_eq!(text(Format::Text004, pages), expect_text, "text 0.0.4");
    let openmetrics = text(Format::OpenMetrics100, pages);
    assert_eq!(openmetrics.strip_suffix("# EOF\n"), Some(expect_openmetrics), "OpenMetrics");
}

/// Compares the samples of one family in OpenMetrics.
#[track_caller]
fn check_samples(page: FamilyPage, expect: &[&str]) {
    let openmetrics = text(Format::OpenMetrics100, &[page]);
    let samples: Vec<&str> = openmetrics.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, expect);
}

#[test]
fn empty_pages() {
    check(&[], "", "");
    check(&[family("agent_runs_total", MetricType::Counter, vec![])], "", "");
}

#[test]
fn a_page_is_appended() {
    let mut out = b"before\n".to_vec();
    render(Format::OpenMetrics100, &[], &mut out);
    assert_eq!(out, b"before\n# EOF\n");
}

#[test]
fn counters_lose_their_suffix_in_openmetrics_only() {
    check(
        &[family("agent_runs_total", MetricType::Counter, vec![number(&[("agent", "a")], 3.0), number(&[], 0.5)])],
        "# HELP agent_runs_total About agent_runs_total.\n# TYPE agent_runs_total counter\n\
         agent_runs_total{agent=\"a\"} 3\nagent_runs_total 0.5\n",
        "# HELP agent_runs About agent_runs_total.\n# TYPE agent_runs counter\n\
         agent_runs_total{agent=\"a\"} 3\nagent_runs_total 0.5\n",
    );
}

#[test]
fn gauges_are_the_same_in_both() {
    let states = vec![
        number(&[("agent", "a"), ("state", "live")], 1.0),
        number(&[("agent", "a"), ("state", "paper")], f64::NAN),
        number(&[("agent", "b"), ("state", "live")], f64::NEG_INFINITY),
    ];
    let expect = "# HELP agent_gate_state About agent_gate_state.\n# TYPE agent_gate_state gauge\n\
                  agent_gate_state{agent=\"a\",state=\"live\"} 1\nagent_gate_state{agent=\"a\",state=\"paper\"} NaN\n\
                  agent_gate_state{agent=\"b\",state=\"live\"} -Inf\n";
    check(&[family("agent_gate_state", MetricType::Gauge, states)], expect, expect);
}

#[test]
fn unknown_has_two_words() {
    check(
        &[family("spent_total", MetricType::Unknown, vec![number(&[], 2.0)])],
        "# HELP spent_total About spent_total.\n# TYPE spent_total untyped\nspent_total 2\n",
        "# HELP spent_total About spent_total.\n# TYPE spent_total unknown\nspent_total 2\n",
    );
}

#[test]
fn histograms() {
    let points = vec![
        series(&[("agent", "a")], histogram(&[(5.0, 1), (300_000.0, 2)], 3, 400_100.5)),
        series(&[], histogram(&[(0.0001, 0), (10.0, 7)], 7, 9.0)),
    ];
    let lines = "agent_latency_ms_bucket{agent=\"a\",le=\"5.0\"} 1\nagent_latency_ms_bucket{agent=\"a\",le=\"300000.0\"} 2\n\
                 agent_latency_ms_bucket{agent=\"a\",le=\"+Inf\"} 3\nagent_latency_ms_sum{agent=\"a\"} 400100.5\n\
                 agent_latency_ms_count{agent=\"a\"} 3\n\
                 agent_latency_ms_bucket{le=\"0.0001\"} 0\nagent_latency_ms_bucket{le=\"10.0\"} 7\n\
                 agent_latency_ms_bucket{le=\"+Inf\"} 7\nagent_latency_ms_sum 9\nagent_latency_ms_count 7\n";
    let head = "# HELP agent_latency_ms About agent_latency_ms.\n# TYPE agent_latency_ms histogram\n";
    let expect = format!("{head}{lines}");
    check(&[family("agent_latency_ms", MetricType::Histogram, points)], &expect, &expect);
}

#[test]
fn a_sum_that_may_fall_is_shown_in_text_only_and_its_count_with_it() {
    let head = "# HELP agent_reward About agent_reward.\n# TYPE agent_reward histogram\n";
    let buckets =
        "agent_reward_bucket{le=\"-0.5\"} 1\nagent_reward_bucket{le=\"0.0\"} 2\nagent_reward_bucket{le=\"+Inf\"} 4\n";
    let page = |monotone_sum, bounds: &[(f64, u64)], sum| FamilyPage {
        monotone_sum,
        ..family("agent_reward", MetricType::Histogram, vec![series(&[], histogram(bounds, 4, sum))])
    };
    let bounds = &[(-0.5, 1), (0.0, 2)];
    for monotone_sum in [false, true] {
        check(
            &[page(monotone_sum, bounds, -2.25)],
            &format!("{head}{buckets}agent_reward_sum -2.25\nagent_reward_count 4\n"),
            &format!("{head}{buckets}"),
        );
    }
    let openmetrics = |page| text(Format::OpenMetrics100, &[page]);
    assert!(!openmetrics(page(false, &[(1.0, 4)], 2.0)).contains("_sum"), "not said to be monotone");
    assert!(!openmetrics(page(true, &[(1.0, 4)], f64::NAN)).contains("_sum"), "no number");
    assert!(openmetrics(page(true, &[(1.0, 4)], 2.0)).contains("_sum 2\n"));
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let mut page = family("agent_quarantined", MetricType::Gauge, vec![]);
    page.help = "A \"quoted\" \\ help\nof two lines.".into();
    page.series = vec![
        number(&[("agent", "a\"} 1\nevil_total 99")], 0.0),
        number(&[("agent", "back\\slash\\n")], 1.0),
        number(&[("agent", "🦀 交易\t")], 2.0),
    ];
    let samples = "agent_quarantined{agent=\"a\\\"} 1\\nevil_total 99\"} 0\n\
                   agent_quarantined{agent=\"back\\\\slash\\\\n\"} 1\nagent_quarantined{agent=\"🦀 交易\t\"} 2\n";
    let kind = "# TYPE agent_quarantined gauge\n";
    check(
        &[page],
        &format!("# HELP agent_quarantined A \"quoted\" \\\\ help\\nof two lines.\n{kind}{samples}"),
        &format!("# HELP agent_quarantined A \\\"quoted\\\" \\\\ help\\nof two lines.\n{kind}{samples}"),
    );
}

#[test]
fn a_counter_whose_family_name_is_taken_is_unknown_in_openmetrics() {
    #[track_caller]
    fn check_type(counter: &str, beside: FamilyPage, expect: &str) {
        let spent = vec![pointed(&[], 4.5, exemplar("r"))];
        for pages in [
            [family(counter, MetricType::Counter, spent.clone()), beside.clone()],
            [beside.clone(), family(counter, MetricType::Counter, spent.clone())],
        ] {
            let openmetrics = text(Format::OpenMetrics100, &pages);
            assert!(openmetrics.contains(expect), "{openmetrics}");
            assert!(text(Format::Text004, &pages).contains(&format!("# TYPE {counter} counter\n{counter} 4.5\n")));
        }
    }
    let cost = family("agent_cost_usd", MetricType::Histogram, vec![series(&[], histogram(&[], 0, 0.0))]);
    let unknown = "# TYPE agent_cost_usd_total unknown\nagent_cost_usd_total 4.5\n";
    check_type("agent_cost_usd_total", cost.clone(), unknown);
    check_type("agent_cost_usd_total", FamilyPage { series: vec![], ..cost.clone() }, unknown);
    check_type("agent_cost_usd_total", family("agent_cost_usd", MetricType::Gauge, vec![]), unknown);
    check_type("agent_cost_usd_sum_total", cost.clone(), "# TYPE agent_cost_usd_sum_total unknown\n");
    check_type("agent_cost_total", cost.clone(), "# TYPE agent_cost counter\nagent_cost_total 4.5 # {");
    check_type("agent_spent", cost, "# TYPE agent_spent unknown\nagent_spent 4.5\n");
}

#[test]
fn exemplars_stand_on_counters_and_buckets_of_openmetrics() {
    let runs = || vec![pointed(&[("agent", "a")], 3.0, exemplar("run-7"))];
    let marked = "agent_runs_total{agent=\"a\"} 3 # {run_id=\"run-7\"} 1 1785542400.5";
    check_samples(family("agent_runs_total", MetricType::Counter, runs()), &[marked]);
    check_samples(family("agent_runs", MetricType::Gauge, runs()), &["agent_runs{agent=\"a\"} 3"]);
    check_samples(family("agent_runs_total", MetricType::Unknown, runs()), &["agent_runs_total{agent=\"a\"} 3"]);

    let list = vec![
        Bucket { le: 1.0, count: 1, exemplar: Some(Exemplar { timestamp: None, ..exemplar("a\\b\n") }) },
        Bucket { le: 2.0, count: 1, exemplar: None },
    ];
    let overflow = Exemplar { value: 7.25, timestamp: Some(f64::NAN), ..exemplar("🦀") };
    let point = Point::Histogram(Buckets { list, count: 2, sum: 8.25, overflow_exemplar: Some(overflow) });
    let page = family("h", MetricType::Histogram, vec![series(&[], point)]);
    assert!(!text(Format::Text004, std::slice::from_ref(&page)).contains("run_id"));
    check_samples(
        page,
        &[
            "h_bucket{le=\"1.0\"} 1 # {run_id=\"a\\\\b\\n\"} 1",
            "h_bucket{le=\"2.0\"} 1",
            "h_bucket{le=\"+Inf\"} 2 # {run_id=\"🦀\"} 7.25",
            "h_sum 8.25",
            "h_count 2",
        ],
    );
}

#[test]
fn an_exemplar_of_more_than_128_characters_or_with_a_quote_is_left_out() {
    for (run_id, fits) in [
        ("x".repeat(122), true),
        ("x".repeat(123), false),
        ("🦀".repeat(122), true),
        ("\\".repeat(122), true),
        ("say \"hi\"".to_owned(), false),
        ("🦀".repeat(123), false),
    ] {
        let page = family("runs_total", MetricType::Counter, vec![pointed(&[], 1.0, exemplar(&run_id))]);
        let openmetrics = text(Format::OpenMetrics100, &[page]);
        assert_eq!(openmetrics.contains(" # {run_id="), fits, "{openmetrics}");
        assert!(fits || openmetrics.contains("runs_total 1\n"));
    }
}

#[test]
fn content_types_name_their_version() {
    assert_eq!(Format::negotiate(None).content_type(), "text/plain; version=0.0.4; charset=utf-8");
    let wanted = Format::negotiate(Some("application/openmetrics-text; version=1.0.0"));
    assert_eq!(wanted.content_type(), "application/openmetrics-text; version=1.0.0; charset=utf-8");
}
