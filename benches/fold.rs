//! What one line costs: decoded, folded by every consumer, and followed from append to answer.

use std::{fs::OpenOptions, hint::black_box, io::Write, path::Path, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runtape::{
    clock::Clock,
    consumers::REGISTRY,
    event::{self, Decoder, decode::reference},
    fold::{Engine, Intake, Place},
    layout::Layout,
    live::{Cadence, Config, Live},
    replay,
    simulate::{self, Fleet},
    tape::{Directory, Until},
};

const LINES: usize = 20_000;
const LINE_BYTES_MAX: usize = 1 << 20;

/// Lines of a simulated fleet, without newline.
fn lines() -> Vec<Vec<u8>> {
    let mut fleet = Fleet::new(&simulate::Config::default());
    (0..LINES).map(|_| fleet.next_line().json().to_vec()).collect()
}

/// What agents write beside the fields that are ours.
const BESIDE: [(&str, &str); 3] = [
    ("plain", ""),
    ("nested", r#","usage":{"tools":["search",{"calls":3}],"cached":true}"#),
    ("prompt", r#","prompt":"What is the trend of \"BTC\"?\nThink step by step; é and \u00e9 are the same letter.""#),
];

fn decode(c: &mut Criterion) {
    for (name, beside) in BESIDE {
        let with = |line: Vec<u8>| [line.strip_suffix(b"}").unwrap_or(&line), beside.as_bytes(), b"}"].concat();
        let lines: Vec<Vec<u8>> = lines().into_iter().map(with).collect();
        let mut group = c.benchmark_group(format!("decode {name} lines"));
        group.throughput(Throughput::Bytes(lines.iter().map(|line| line.len() as u64 + 1).sum()));
        group.bench_function("as replay does", |b| {
            let mut decoder = Decoder::default();
            b.iter(|| lines.iter().for_each(|line| drop(black_box(decoder.line(line, LINE_BYTES_MAX)))));
        });
        group.bench_function("serde_json reference", |b| {
            b.iter(|| lines.iter().for_each(|line| drop(black_box(reference::decode(line, LINE_BYTES_MAX)))));
        });
        group.finish();
    }
}

fn fold(c: &mut Criterion) {
    let lines = lines();
    let place = Place { stream: "events".into(), file: "f1".into(), offset: 0 };
    let mut intake = Intake::new(Arc::default());
    let mut batch = intake.begin();
    for line in &lines {
        intake.line(event::decode(line, LINE_BYTES_MAX).as_ref(), &place, None, &mut batch);
    }
    let mut group = c.benchmark_group("fold");
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function("all consumers", |b| {
        b.iter(|| Engine::new(REGISTRY).step(black_box(&batch)).len());
    });
    group.finish();
}

fn whole(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bytes: Vec<u8> = lines().into_iter().flat_map(|line| [line, vec![b'\n']].concat()).collect();
    std::fs::write(dir.path().join("events.jsonl"), &bytes).expect("a writable directory");
    let directory = Directory::open(Layout::new(dir.path()), None).expect("a readable directory");
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements(LINES as u64));
    for threads in [1, 2] {
        group.bench_function(format!("one stream, all consumers, threads {threads}"), |b| {
            b.iter(|| {
                let replayed = replay::replay(&directory, REGISTRY, None, Until::End, threads, |_, _| {});
                black_box(replayed.map(|replayed| replayed.decisions).ok())
            });
        });
    }
    group.finish();
}

/// From before the write of a line until a look at the consumers shows it.
fn follow(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let live = Live::start(Config {
        layout: Layout::new(dir.path()),
        registry: REGISTRY,
        clock: Clock::system(),
        cadence: Cadence::default(),
        quarantine_file: None,
    })
    .expect("an empty directory can be followed");
    let mut stream = open(&dir.path().join("runs.jsonl"));
    let mut written = 0;
    c.bench_function("append to visible", |b| {
        b.iter(|| {
            stream.write_all(b"{\"agent\":\"a\",\"reward\":0.1,\"latency_ms\":12}\n").expect("a writable stream");
            written += 1;
            live.look_at_intake();
            let looks = live.look_at_consumers();
            assert!(looks.iter().all(|look| look.position == written));
        });
    });
    live.stop();
}

fn open(path: &Path) -> std::fs::File {
    OpenOptions::new().create(true).append(true).open(path).expect("a writable directory")
}

criterion_group!(benches, decode, fold, whole, follow);
criterion_main!(benches);
