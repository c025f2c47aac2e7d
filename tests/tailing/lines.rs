use std::{
    fs::OpenOptions,
    io::{BufWriter, Write},
    thread,
};

use super::stage::{Stage, line, memory_kib};
use crate::support::{Metrics, append, wait_until};

fn malformed(metrics: &Metrics, reason: &str) -> f64 {
    metrics.get(&format!("runtape_malformed_lines_total{{reason=\"{reason}\"}}")).expect("every reason is on the page")
}

fn partial(metrics: &Metrics) -> Option<f64> {
    metrics.get("runtape_partial_line_bytes{stream=\"runs\"}")
}

#[test]
fn half_a_line_is_no_line_until_its_end_comes() {
    for kill in [false, true] {
        let mut stage = Stage::new();
        stage.write("runs.jsonl", 3);
        let text = stage.runs.take(1);
        let (head, tail) = text.split_at(40);
        append(&stage.path("runs.jsonl"), head.as_bytes());
        wait_until("the beginning is noticed", || partial(&stage.metrics()) == Some(40.0));
        stage.full_look();
        assert_eq!(stage.metrics().get("agent_runs_total{agent=\"a\"}"), Some(3.0));
        if kill {
            stage.kill();
            stage.start();
            wait_until("the beginning is noticed", || partial(&stage.metrics()) == Some(40.0));
        }
        append(&stage.path("runs.jsonl"), tail.as_bytes());
        stage.check();
        assert_eq!(partial(&stage.metrics()), Some(0.0));
        assert_eq!(stage.metrics().sum("runtape_malformed_lines_total"), 0.0);
    }
}

#[test]
fn half_a_line_that_is_replaced_by_whole_ones() {
    let mut stage = Stage::new();
    append(&stage.path("runs.jsonl"), "x".repeat(2000).as_bytes());
    wait_until("the beginning is noticed", || partial(&stage.metrics()) == Some(2000.0));
    OpenOptions::new().write(true).truncate(true).open(stage.path("runs.jsonl")).expect("a stream");
    stage.write("runs.jsonl", 4);
    stage.check();
}

#[test]
fn every_bad_line_is_counted_under_its_reason_and_the_next_good_one_folds() {
    let mut stage = Stage::new();
    let deep = "[".repeat(10_000);
    let bad: [(&str, Vec<u8>); 6] = [
        ("not_utf8", b"{\"run_id\":\"r\",\"agent\":\"\xff\",\"latency_ms\":1}\n".to_vec()),
        ("nul", b"{\"run_id\":\"r\",\0\"agent\":\"a\",\"latency_ms\":1}\n".to_vec()),
        ("deep", format!("{{\"agent\":\"a\",\"latency_ms\":1,\"x\":{deep}\n").into_bytes()),
        ("name", b"{\"run_id\":\"r\",\"agent\":\"a\\u0007\",\"latency_ms\":1}\n".to_vec()),
        ("text", b"not json at all\n".to_vec()),
        ("nan", b"{\"run_id\":\"r\",\"agent\":\"a\",\"latency_ms\":1e999}\n".to_vec()),
    ];
    for (_, line) in &bad {
        append(&stage.path("runs.jsonl"), line);
        stage.write("runs.jsonl", 1);
    }
    // Windows line ends, blank lines and white space are fine.
    let crlf = stage.runs.take(1).replace('\n', "\r\n");
    append(&stage.path("runs.jsonl"), format!("\n \t\r\n{crlf}").as_bytes());
    stage.check();
    let metrics = stage.metrics();
    assert_eq!(metrics.sum("runtape_malformed_lines_total"), bad.len() as f64, "each counted once");
    assert_eq!(metrics.get("runtape_lines_total{stream=\"runs\",outcome=\"malformed\"}"), Some(bad.len() as f64));
}

#[test]
fn a_line_of_tens_of_megabytes_passes_in_bounded_memory() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 1);
    stage.settle();
    let before = memory_kib(stage.pid(), "VmHWM");
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..48 {
        append(&stage.path("runs.jsonl"), &chunk);
    }
    append(&stage.path("runs.jsonl"), b"\n");
    stage.write("runs.jsonl", 10);
    stage.check();
    assert_eq!(malformed(&stage.metrics(), "oversize"), 1.0);
    let grown = memory_kib(stage.pid(), "VmHWM") - before;
    assert!(grown < 30 << 10, "{grown} KiB more for a line of 48 MiB");
}

#[test]
fn eight_writers_with_long_lines_and_torn_ones() {
    let mut stage = Stage::new();
    let path = stage.path("runs.jsonl");
    const LINES: u64 = 40;
    thread::scope(|scope| {
        for writer in 0..8u64 {
            let path = &path;
            scope.spawn(move || {
                let file = OpenOptions::new().create(true).append(true).open(path).expect("a stream");
                // Two of them write through small buffers, which cut lines in pieces.
                let mut out: Box<dyn Write> =
                    if writer < 6 { Box::new(file) } else { Box::new(BufWriter::with_capacity(4096, file)) };
                for n in 0..LINES {
                    let number = writer * LINES + n + 1;
                    let padding = "p".repeat((number * 7919 % 65_000) as usize);
                    let line = line(&format!("w{writer}"), number).replace("a model with a long name", &padding);
                    let line = line.replace("\"model\"", "\"padding\"");
                    out.write_all(line.as_bytes()).expect("a write");
                }
                out.flush().expect("a write");
            });
        }
    });
    let newlines = std::fs::read(&path).expect("a stream").iter().filter(|byte| **byte == b'\n').count() as f64;
    let total = |metrics: &Metrics| {
        let of_stream = metrics.0.lines().filter(|line| line.starts_with("runtape_lines_total{stream=\"runs\""));
        of_stream.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    wait_until("every line has an outcome", || total(&stage.metrics()) == newlines);
    stage.check();
    let metrics = stage.metrics();
    let whole: f64 = (0..6).filter_map(|w| metrics.get(&format!("agent_runs_total{{agent=\"w{w}\"}}"))).sum();
    let torn = metrics.sum("runtape_malformed_lines_total");
    assert!(whole + torn >= 6.0 * LINES as f64, "{whole} whole lines of writers that write them at once, {torn} torn");
    assert_eq!(total(&metrics), newlines);
}

#[test]
fn many_agents_with_hostile_names_keep_the_page_whole() {
    let mut stage = Stage::dark();
    let names = ["quo\\\"te", "back\\\\slash", "emoji \u{1f4c8}", "{}=,", "# TYPE x counter"];
    let mut text: String = (0..9_000).map(|n| format!("{{\"agent\":\"bomb-{n}\",\"reward\":1}}\n")).collect();
    for name in names {
        text += &format!("{{\"agent\":\"{name}\",\"reward\":1}}\n");
    }
    text += &format!("{{\"agent\":\"{}\",\"reward\":1}}\n", "long".repeat(2500));
    text += "{\"agent\":\"line\\nfeed\",\"reward\":1}\n";
    append(&stage.path("rewards.jsonl"), text.as_bytes());
    stage.start();
    stage.write("runs.jsonl", 2);
    stage.settle();
    let metrics = stage.metrics();
    assert_eq!(metrics.get("runtape_agents"), Some(9_000.0 + 5.0 + 2.0), "the probe and a beside the bomb");
    assert_eq!(metrics.sum("runtape_malformed_lines_total"), 2.0, "names too long, or with a line feed");
    for line in metrics.0.lines().filter(|line| !line.starts_with('#')) {
        assert!(is_sample(line), "{line:?} is no sample");
    }
    assert_eq!(metrics.get("agent_runs_total{agent=\"quo\\\"te\"}"), Some(1.0));
    let resident = memory_kib(stage.pid(), "VmHWM");
    assert!(resident < 1 << 20, "{resident} KiB for 9,000 agents");
}

/// `name{label="escaped",...} number`: what a Prometheus server takes without its parser's help.
fn is_sample(line: &str) -> bool {
    let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let mut rest = &line[name_end..];
    if let Some(labels) = rest.strip_prefix('{') {
        let mut chars = labels.char_indices();
        let mut quoted = false;
        let end = loop {
            match chars.next() {
                Some((_, '\\')) if quoted => {
                    if !chars.next().is_some_and(|(_, c)| matches!(c, '\\' | '"' | 'n')) {
                        return false;
                    }
                }
                Some((_, '"')) => quoted = !quoted,
                Some((at, '}')) if !quoted => break at,
                Some(_) => {}
                None => return false,
            }
        };
        rest = &labels[end + 1..];
    }
    name_end > 0 && rest.strip_prefix(' ').is_some_and(|value| value.parse::<f64>().is_ok())
}
