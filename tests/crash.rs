//! Real processes that are killed, and consumers that fail: nothing is lost, nothing is told twice.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use runtape::{
    clock::{Clock, Stopwatch},
    decision::DecisionLine,
    fold::Registration,
    layout::Layout,
    live::{Cadence, Config, Live},
    replay::replay,
    simulate::{self, Fleet},
    tape::{Directory, Until},
};

use crate::{
    cast::{self, Canyon, Echo, EchoFuse, Fuse, Pulse, Snail},
    support::{self, Events, Server, wait_until},
    talk::{self, Talk},
};

/// Agents that go into quarantine and out of it, and the lines during which one of them has its turn.
const WILD: u64 = 1000;
const VISIT: u64 = 30;

/// So few rewards are looked at that an agent is soon let out again.
const POLICY: &str = "[rolling]\nwindow = 4\n[quarantine]\nsharpe_min_runs = 1000000\n";

/// Lines of every kind, one write each, some in two halves; rewards that send agents into quarantine.
struct Writer {
    dir: std::path::PathBuf,
    streams: BTreeMap<&'static str, File>,
    fleet: Fleet,
    count: u64,
}

impl Writer {
    fn new(events: &Events) -> Writer {
        let config = simulate::Config { seed: 5, agents: 8, mean_hold_runs: 5.0, ..simulate::Config::default() };
        Writer { dir: events.path().to_owned(), streams: BTreeMap::new(), fleet: Fleet::new(&config), count: 0 }
    }

    fn write(&mut self, stream: &'static str, bytes: &[u8]) {
        let path = self.dir.join(format!("{stream}.jsonl"));
        let open = || OpenOptions::new().create(true).append(true).open(path).expect("a writable stream");
        self.streams.entry(stream).or_insert_with(open).write_all(bytes).expect("a writable stream");
    }

    fn next(&mut self) {
        self.count += 1;
        let n = self.count;
        match n % 10 {
            0 => {
                // The second one of a visit sends its agent into quarantine, or lets it out again.
                let (agent, visit) = (n / VISIT % WILD, n / VISIT / WILD);
                let reward = if visit.is_multiple_of(2) { -1.6 } else { 1.6 };
                let line = format!("{{\"agent\":\"wild-{agent}\",\"reward\":{reward},\"event_id\":\"w{n}\"}}\n");
                self.write("rewards", line.as_bytes());
                if n.is_multiple_of(500) {
                    self.write("rewards", line.as_bytes());
                }
            }
            5 if n % 50 == 5 => self.write("rewards", b"{\"agent\":\n"),
            _ => {
                let line = self.fleet.next_line();
                let (stream, bytes) = (line.stream, line.bytes.to_vec());
                let half = if n.is_multiple_of(13) { bytes.len() / 2 } else { bytes.len() };
                self.write(stream, &bytes[..half]);
                if half < bytes.len() {
                    self.write(stream, &bytes[half..]);
                }
            }
        }
    }

    /// Writes so many lines every two milliseconds, about, until told to stop.
    fn run(mut self, burst: u64, stop: &AtomicBool) -> u64 {
        while !stop.load(Ordering::Acquire) {
            (0..burst).for_each(|_| self.next());
            thread::sleep(Duration::from_millis(2));
        }
        self.count
    }
}

#[test]
fn nothing_is_lost_or_told_twice_when_the_server_is_killed_again_and_again() {
    let kills = std::env::var("RUNTAPE_CRASH_ROUNDS").ok().map_or(25, |n| n.parse().expect("a number of rounds"));
    // The history of a long run is read again and again: it grows less.
    let burst = if kills > 100 { 4 } else { 20 };
    let (events, stop) = (Events::new(), Arc::new(AtomicBool::new(false)));
    under(&events, POLICY);
    let writer = {
        let (writer, stop) = (Writer::new(&events), stop.clone());
        thread::spawn(move || writer.run(burst, &stop))
    };
    let (mut draw, watch) = (support::draws(7), Stopwatch::start());
    let mut seen = [0.0; 2];
    for round in 0..kills {
        let server = Server::start_fast(events.path(), &["--snapshot-every", "0.2"]);
        // Some die while they still read the history.
        if draw(4) > 0 {
            server.ready();
            let mut page = server.metrics();
            // On a busy machine a page may come before the tailer has had time to say what it counted.
            wait_until("a ready server shows what it counted", || {
                page = server.metrics();
                page.0.contains("\nruntape_lines_total{")
            });
            let now = ["agent_runs_total", "runtape_lines_total"].map(|family| page.sum(family));
            assert!(now[0] >= seen[0] && now[1] >= seen[1], "counters went from {seen:?} to {now:?} in round {round}");
            seen = now;
            thread::sleep(Duration::from_millis(draw(300)));
        } else {
            thread::sleep(Duration::from_millis(draw(30)));
        }
        server.kill();
    }
    stop.store(true, Ordering::Release);
    let written = writer.join().expect("a writer");
    let talk = Talk::start(events.path(), &[]);
    assert!(talk.said().contains("restored to: "), "{}", talk.said());
    talk::assert_page_is_that_of_a_replay(&events, &talk.metrics());
    talk.terminate();
    let decisions = talk::assert_decisions_are_those_of_a_replay(&events);
    assert!(decisions > 100, "quarantine decided {decisions} times");
    support::stdout(&support::run(&["verify", "--decisions", "--events", events.text()]));
    talk::assert_an_edited_decision_is_named(&events);
    println!("{kills} kills, {written} lines, {decisions} decisions, {:.0} s", watch.elapsed().as_secs_f64());
}

/// Puts a policy in force before anything is served.
fn under(events: &Events, policy: &str) {
    let file = events.path().join("policy.toml");
    std::fs::write(&file, policy).expect("a writable directory");
    let file = file.to_str().expect("a UTF-8 path");
    support::stdout(&support::run(&["policy", "apply", file, "--events", events.text(), "--reason", "a short window"]));
}

#[test]
fn a_server_that_is_told_to_stop_saves_everything_and_goes_on_from_there() {
    let events = Events::new();
    let mut writer = Writer::new(&events);
    (0..3000).for_each(|_| writer.next());
    let first = Talk::start(events.path(), &[]);
    (0..3000).for_each(|_| writer.next());
    first.terminate();
    let position = events.replay()["position"].as_u64().expect("a position");
    let second = Talk::start(events.path(), &[]);
    let restored: Vec<f64> = runtape::consumers::REGISTRY
        .iter()
        .filter_map(|r| second.metrics().get(&format!("runtape_consumer_snapshot_position{{consumer=\"{}\"}}", r.name)))
        .collect();
    assert_eq!(restored, vec![position as f64; runtape::consumers::REGISTRY.len()], "{}", second.said());
    assert!(second.said().contains("restored to: runs "), "{}", second.said());
    talk::assert_page_is_that_of_a_replay(&events, &second.metrics());
    second.terminate();
    talk::assert_decisions_are_those_of_a_replay(&events);
}

/// A fold in this process, with consumers of a test's own.
struct Stage {
    events: Events,
    live: Live,
    registry: &'static [Registration],
}

impl Stage {
    fn open(events: Events, more: &[Registration]) -> Stage {
        Stage::polling(Duration::from_millis(20), events, more)
    }

    /// One that looks by itself only so often.
    fn polling(poll: Duration, events: Events, more: &[Registration]) -> Stage {
        let registry = cast::with(more);
        let cadence = Cadence { poll, coalesce: Duration::ZERO, snapshot: Duration::from_millis(50) };
        let layout = Layout::new(events.path());
        let config = Config { layout, registry, clock: Clock::system(), cadence, quarantine_file: None };
        Stage { live: Live::start(config).expect("a free directory"), events, registry }
    }

    fn position(&self, consumer: &str) -> u64 {
        self.status(consumer).position.load(Ordering::Acquire)
    }

    fn status(&self, consumer: &str) -> &runtape::live::ConsumerStatus {
        self.live.status().consumers.iter().find(|c| c.name == consumer).expect("it is registered")
    }

    fn head(&self) -> u64 {
        self.live.status().head.load(Ordering::Acquire)
    }

    /// Appends lines `from..to`, each in a round of its own.
    fn lines(&self, lines: std::ops::Range<u64>) {
        for n in lines {
            // Every second one of an agent sends it into quarantine.
            self.events.append("runs", format!("{{\"agent\":\"a{}\",\"reward\":-1.6}}\n", n / 4));
            let watch = Stopwatch::start();
            while self.head() <= n {
                assert!(watch.elapsed() < Duration::from_secs(20), "line {n} is not sealed");
                thread::yield_now();
            }
        }
    }

    fn wait_for(&self, consumers: &[&str], position: u64) {
        for consumer in consumers {
            wait_until(&format!("{consumer} is at {position}"), || self.position(consumer) == position);
        }
    }

    /// Stops; the decisions of each of these consumers must be those of a fold in one go.
    fn close(self, consumers: &[&str]) -> Events {
        let Stage { events, live, registry } = self;
        live.stop();
        let layout = Layout::new(events.path());
        let directory = Directory::open(layout.clone(), Some(Clock::system().now())).expect("a directory");
        let mut want: BTreeMap<String, Vec<DecisionLine>> = BTreeMap::new();
        replay(&directory, registry, None, Until::End, 1, |_, emitted| {
            for decision in emitted {
                let line = decision.line();
                want.entry(line.consumer.clone()).or_default().push(line);
            }
        })
        .expect("an intact history");
        for consumer in consumers {
            let want = want.remove(*consumer).unwrap_or_default();
            assert!(want.len() > 3, "{consumer} decided {} times", want.len());
            let got = talk::decided(&layout, consumer);
            let differs = got.iter().zip(&want).position(|(got, want)| got != want);
            let differs = differs.map(|at| (&got[at], &want[at]));
            assert_eq!(differs, None, "{consumer}: the decision that differs first");
            assert_eq!(got.len(), want.len(), "decisions of {consumer}");
        }
        events
    }
}

#[test]
fn a_consumer_that_fails_goes_back_to_its_snapshot_and_those_who_hear_it_miss_nothing() {
    fn check<const N: usize>(times: i64) {
        cast::fails::<N>(130, times);
        let more = [Registration::of::<Fuse<N>>(), Registration::of::<Echo>(), Registration::of::<Canyon>()];
        let stage = Stage::open(Events::new(), &more);
        stage.lines(0..100);
        wait_until("it was saved", || stage.status("pulse").snapshot.load(Ordering::Acquire) > 0);
        stage.lines(100..250);
        stage.wait_for(&["runs", "pulse", "echo", "canyon"], 250);
        assert_eq!(stage.status("pulse").panics.load(Ordering::Acquire), times as u64);
        wait_until("it is up again", || stage.status("pulse").up.load(Ordering::Acquire));
        stage.close(&["quarantine", "pulse", "echo", "canyon"]);
    }
    check::<0>(1);
    check::<1>(2);
}

#[test]
fn a_hearing_consumer_that_fails_hears_again_what_it_must() {
    fn check<const N: usize>(saved: bool) {
        cast::fails::<N>(130, 2);
        let more = [Registration::of::<Pulse>(), Registration::of::<EchoFuse<N>>(), Registration::of::<Canyon>()];
        let stage = Stage::open(Events::new(), &more);
        if saved {
            stage.lines(0..100);
            wait_until("it was saved", || stage.status("echo").snapshot.load(Ordering::Acquire) > 0);
        }
        stage.lines(if saved { 100 } else { 0 }..250);
        stage.wait_for(&["pulse", "echo", "canyon"], 250);
        assert_eq!(stage.status("echo").panics.load(Ordering::Acquire), 2);
        stage.close(&["pulse", "echo", "canyon"]);
    }
    check::<2>(true);
    check::<3>(false);
}

#[test]
fn a_hearing_consumer_that_lost_its_snapshots_is_told_everything_again() {
    let more = [Registration::of::<Pulse>(), Registration::of::<Echo>(), Registration::of::<Canyon>()];
    let stage = Stage::open(Events::new(), &more);
    stage.lines(0..150);
    let events = stage.close(&["pulse", "echo", "canyon"]);
    let snapshots = Layout::new(events.path()).snapshots();
    for entry in std::fs::read_dir(snapshots).expect("a folder").flatten() {
        if entry.file_name().to_string_lossy().starts_with("echo-") {
            std::fs::remove_file(entry.path()).expect("a snapshot");
        }
    }
    let again = Stage::open(events, &more);
    let restored: BTreeMap<_, _> = again.live.started.restored.iter().copied().collect();
    assert_eq!([restored["echo"], restored["pulse"], restored["quarantine"]], [0; 3], "they speak to it once more");
    assert_eq!([restored["canyon"], restored["runs"]], [150; 2], "it hears nothing of these");
    // What it heard shows in all it says later.
    again.lines(150..200);
    again.wait_for(&["echo", "canyon"], 200);
    again.close(&["quarantine", "pulse", "echo", "canyon"]);
}

#[test]
fn a_consumer_that_always_fails_stays_down_says_so_and_the_others_go_on() {
    cast::fails::<4>(60, i64::MAX);
    let more = [Registration::of::<Fuse<4>>(), Registration::of::<Echo>()];
    let stage = Stage::open(Events::new(), &more);
    stage.lines(0..200);
    stage.wait_for(&["runs", "rolling", "quarantine"], 200);
    wait_until("those who hear it are down too", || stage.status("echo").down().is_some());
    let why = stage.status("pulse").down().expect("it is down");
    assert!(why.contains("3 times at positions from 60"), "{why}");
    let told = stage.status("echo").down().expect("it is down");
    assert!(told.contains("pulse"), "{told}");
    let not_ready = stage.live.status().not_ready(Clock::system().now()).join("\n");
    assert!(not_ready.contains("pulse stays down") && not_ready.contains("echo stays down"), "{not_ready}");
    assert!(stage.position("echo") <= 60, "it heard nothing past the failure");
    let watch = Stopwatch::start();
    assert!(stage.live.look_at_intake().is_some());
    assert_eq!(stage.live.look_at_consumers().len(), stage.registry.len());
    assert!(watch.elapsed() < Duration::from_millis(1900), "those who are down hold up whoever looks");
    // Started again without the fault, both go on from where they were saved.
    let events = {
        stage.live.stop();
        cast::fails::<4>(60, 0);
        stage.events
    };
    let again = Stage::open(events, &more);
    again.wait_for(&["runs", "pulse", "echo"], 200);
    assert!(again.status("pulse").down().is_none());
    again.close(&["quarantine", "pulse", "echo"]);
}

#[test]
fn a_slow_consumer_is_left_behind_catches_up_by_itself_and_joins_again() {
    const LINES: u64 = 1200;
    cast::SNAIL_MICROS.store(4000, Ordering::SeqCst);
    let stage = Stage::open(Events::new(), &[Registration::of::<Snail>()]);
    stage.lines(0..LINES);
    stage.wait_for(&["runs", "quarantine"], LINES);
    // Each line is a batch: whoever is further behind than its queue is long was left to itself.
    let behind = LINES - stage.position("snail");
    assert!(behind > 300, "it is only {behind} lines behind");
    cast::SNAIL_MICROS.store(0, Ordering::SeqCst);
    wait_until("it has caught up", || stage.position("snail") == LINES);
    stage.lines(LINES..LINES + 50);
    stage.wait_for(&["snail"], LINES + 50);
    let page = stage.live.look_at_consumers();
    assert!(page.iter().all(|look| look.position == LINES + 50));
    stage.close(&["quarantine", "snail"]);
}

#[test]
fn whoever_looks_sees_what_was_appended_before() {
    let stage = Stage::open(Events::new(), &[]);
    wait_until("it follows", || stage.live.status().caught_up.load(Ordering::Acquire));
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                stage.events.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
                written.fetch_add(1, Ordering::AcqRel);
            }
        });
        let unseen = (0..200).find_map(|_| {
            let before = written.load(Ordering::Acquire);
            let seen = stage.live.look_at_intake().map(|look| look.position);
            seen.is_none_or(|seen| seen < before).then_some((before, seen))
        });
        // Whatever was found: the writing must end.
        stop.store(true, Ordering::Release);
        assert_eq!(unseen, None, "lines appended, lines seen in an answer");
    });
    stage.live.stop();
}

#[test]
fn a_line_appended_to_an_idle_directory_is_folded_without_waiting_for_a_poll() {
    let stage = Stage::polling(Duration::from_secs(3600), Events::new(), &[]);
    wait_until("it follows", || stage.live.status().caught_up.load(Ordering::Acquire));
    stage.events.append("runs", "");
    for n in 0..40 {
        stage.events.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
        // Far below what lies between two looks of its own.
        let watch = Stopwatch::start();
        while stage.position("quarantine") <= n {
            assert!(watch.elapsed() < Duration::from_secs(3), "line {n} waits for a poll");
            thread::yield_now();
        }
    }
    stage.live.stop();
}
