use std::{
    fs::{File, OpenOptions},
    io::Write,
    thread,
};

use crate::{
    support::{Events, Metrics, Server, append, repository, size, wait_until},
    tailing::stage::{Stage, memory_kib},
};

/// A server over a directory with these lines, and its page.
fn served(lines: &[&[u8]]) -> (Events, Server, Metrics) {
    let events = Events::new();
    for line in lines {
        append(&events.stream("odd"), &[line, &b"\n"[..]].concat());
    }
    let server = Server::start(events.path(), &[]);
    server.ready();
    let page = server.metrics();
    (events, server, page)
}

fn count(page: &Metrics, family: &str) -> f64 {
    page.sum(family)
}

/// A line of an odd agent, or bytes that are none, and whether it counts as a run.
#[track_caller]
fn check(line: impl AsRef<[u8]>, counts: bool) {
    let line = line.as_ref();
    let (_events, server, page) = served(&[line, b"{\"agent\":\"next\",\"reward\":1}"]);
    let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
    let malformed = count(&page, "runtape_malformed_lines_total");
    assert_eq!(malformed, f64::from(u8::from(!counts)), "{shown:?} is malformed");
    assert_eq!(page.get("agent_runs_total{agent=\"next\"}"), Some(1.0), "what follows {shown:?} counts");
    assert_eq!(count(&page, "agent_runs_total"), 1.0 + f64::from(u8::from(counts)), "{shown:?}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn odd_bytes_cost_their_line_and_no_other() {
    check(b"\xef\xbb\xbf{\"agent\":\"a\",\"reward\":1}", false);
    check("{\"agent\":\"a\",\"reward\":1}\r", true);
    check("{\"agent\":\"a\u{2028}\",\"reward\":1}", true);
    check("{\"agent\":\"\\ud800\",\"reward\":1}", false);
    check(b"{\"agent\":\"\xff\",\"reward\":1}", false);
    check(b"{\"agent\":\"a\0\",\"reward\":1}", false);
    check("{\"agent\":\"a\\u0000\",\"reward\":1}", false);
    check(vec![0; 4096], false);
}

#[test]
fn odd_numbers_are_refused_where_they_cannot_be_kept() {
    let run = |field: &str| format!("{{\"agent\":\"a\",\"errors\":0,{field}}}");
    for field in [
        "\"reward\":NaN",
        "\"reward\":Infinity",
        "\"reward\":1e999",
        "\"latency_ms\":-1",
        "\"tokens_in\":9007199254740994",
    ] {
        check(run(field), false);
    }
    check(run(&format!("\"tokens_in\":{}", "9".repeat(400))), false);
    check(run("\"tokens_in\":9007199254740992"), true);
    check(run("\"reward\":-0.0"), true);
    check(run("\"reward\":1e-999"), true);
    // Read to the nearest number, whatever its length.
    check(run(&format!("\"reward\":0.{}", "3".repeat(400))), true);
    check("{\"agent\":\"a\",\"agent\":\"b\",\"reward\":1}", false);
    check(format!("{{\"agent\":\"a\",\"reward\":1,\"x\":{}1{}}}", "[".repeat(200), "]".repeat(200)), false);
}

/// A file of so many MiB without a newline that takes no place on the disk.
fn endless(path: &std::path::Path, mib: u64) {
    let file = OpenOptions::new().create(true).append(true).open(path).expect("a stream");
    let len = file.metadata().expect("a file").len();
    file.set_len(len + (mib << 20)).expect("a sparse file");
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let mib = size("RUNTAPE_LINE_MIB", 512);
    let mut stage = Stage::dark();
    stage.write("runs.jsonl", 3);
    stage.start();
    stage.settle();
    let before = memory_kib(stage.pid(), "VmHWM");
    endless(&stage.path("runs.jsonl"), mib);
    append(&stage.path("runs.jsonl"), b"\n");
    stage.write("runs.jsonl", 3);
    let watch = runtape::clock::Stopwatch::start();
    let all = |stage: &Stage| stage.metrics().get("agent_runs_total{agent=\"a\"}") == Some(6.0);
    while !all(&stage) {
        assert!(watch.elapsed().as_secs() < 900, "the line of {mib} MiB is not passed");
        thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(stage.metrics().get("runtape_malformed_lines_total{reason=\"oversize\"}"), Some(1.0));
    let grown = memory_kib(stage.pid(), "VmHWM") - before;
    println!("a line of {mib} MiB: {grown} KiB more, {:.1} s", watch.elapsed().as_secs_f64());
    assert!(grown < 64 << 10, "{grown} KiB more for a line of {mib} MiB");
}

/// So many zeros, packed, and one good line at the end.
fn bomb(zstd: bool, mib: usize) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let good = b"\n{\"agent\":\"packed\",\"reward\":1}\n";
    let fill = |out: &mut dyn Write| {
        (0..mib).for_each(|_| out.write_all(&zeros).expect("memory"));
        out.write_all(good).expect("memory");
    };
    if zstd {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        fill(&mut encoder);
        return encoder.finish().expect("memory");
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    fill(&mut encoder);
    encoder.finish().expect("memory")
}

#[test]
fn a_packed_file_that_unpacks_to_very_much_takes_no_memory() {
    let mib = size("RUNTAPE_BOMB_MIB", 256) as usize;
    for (ending, zstd) in [("gz", false), ("zst", true)] {
        let mut stage = Stage::new();
        stage.write("runs.jsonl", 1);
        stage.settle();
        let before = memory_kib(stage.pid(), "VmHWM");
        let packed = bomb(zstd, mib);
        assert!(packed.len() < mib << 13, "{} bytes", packed.len());
        let outside = stage.outside.path().join("bomb");
        File::create(&outside).and_then(|mut file| file.write_all(&packed)).expect("a writable directory");
        std::fs::rename(&outside, stage.path(&format!("bomb.jsonl.1.{ending}"))).expect("the same file system");
        wait_until("the line after it counts", || {
            stage.metrics().get("agent_runs_total{agent=\"packed\"}") == Some(1.0)
        });
        assert_eq!(stage.metrics().get("runtape_malformed_lines_total{reason=\"oversize\"}"), Some(1.0));
        let grown = memory_kib(stage.pid(), "VmHWM") - before;
        assert!(grown < 64 << 10, "{grown} KiB more for {mib} MiB of zeros as {ending}");
        stage.settle();
    }
}

#[test]
fn sixteen_writers_of_all_sizes_tear_no_line() {
    const LINES: usize = 24;
    let mut stage = Stage::new();
    let path = stage.path("runs.jsonl");
    thread::scope(|scope| {
        for writer in 0..16_usize {
            let path = &path;
            scope.spawn(move || {
                let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a stream");
                for n in 0..LINES {
                    // From a hundred bytes to a megabyte, and one that is too long.
                    let long = if n == 7 { 2 << 20 } else { 100 << (n * 5 % 13) };
                    let line = format!("{{\"agent\":\"w{writer}\",\"reward\":1,\"x\":\"{}\"}}\n", "p".repeat(long));
                    file.write_all(line.as_bytes()).expect("a write");
                }
            });
        }
    });
    let all = 16.0 * LINES as f64;
    wait_until("all lines have an outcome", || stage.metrics().sum("runtape_lines_total") == all);
    let page = stage.metrics();
    assert_eq!(page.sum("agent_runs_total"), all - 16.0, "whole lines, each written at once");
    assert_eq!(page.get("runtape_malformed_lines_total{reason=\"oversize\"}"), Some(16.0));
    stage.settle();
}

#[test]
fn the_same_line_twice_counts_twice_unless_it_has_an_id() {
    let run = b"{\"agent\":\"a\",\"reward\":1}";
    let named = b"{\"agent\":\"b\",\"reward\":1,\"event_id\":\"one\"}";
    let (_events, _server, page) = served(&[run, run, named, named]);
    assert_eq!(page.get("agent_runs_total{agent=\"a\"}"), Some(2.0));
    assert_eq!(page.get("agent_runs_total{agent=\"b\"}"), Some(1.0));
    assert_eq!(page.get("runtape_duplicates_total"), Some(1.0));
}

#[test]
fn names_that_are_markup_or_paths_are_names() {
    let names = ["<script>alert(1)</script>", "../../../etc/passwd", "'\"--;drop", "a/../b", "%2e%2e"];
    let lines: Vec<String> =
        names.iter().map(|name| format!("{{\"agent\":{},\"reward\":1}}", serde_json::Value::from(*name))).collect();
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let (events, server, page) = served(&lines);
    assert_eq!(page.sum("agent_runs_total"), names.len() as f64);
    for name in names {
        let path: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = server.get(&format!("/api/v1/agents/{path}"));
        let row: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!((answer.status, &row["agent"]), (200, &name.into()));
    }
    for path in ["/api/v1/agents/..%2f..%2fetc%2fpasswd", "/api/v1/runs/..%2f..%2f.runtape%2ftape.jsonl"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.terminate(), Some(0));
    let own = std::fs::read_dir(events.path()).expect("a folder").flatten().map(|entry| entry.file_name());
    let mut own: Vec<_> = own.collect();
    own.sort();
    assert_eq!(own, [".runtape", "odd.jsonl"], "no name became a file");
    // Nothing that is served is a page that a browser would run.
    let routes = std::fs::read_to_string(repository("tests/golden/openapi.json")).expect("the document");
    assert!(!routes.contains("text/html"));
}
