//! A long run under everything at once, on the release build where there is one: load from many sides, rotations, kills,
//! a slow disk, clients that misbehave. At the end nothing is lost, and nothing grew that should not.
//!
//! `RUNTAPE_SOAK_SECONDS` says how long (20), `RUNTAPE_SOAK_DIR` where: called with the same directory again, it goes on
//! there. `RUNTAPE_SOAK_OUT` is where the samples are left, as a table and as a picture.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use runtape::clock::Stopwatch;
use serde_json::{Value, json};

use crate::{
    support::{Events, Metrics, Server, run, size, stdout, wait_until},
    talk,
};
use client::ask;
use samples::Samples;

/// Requests that may fail.
mod client;
/// Lines that are counted, and lines that are not.
mod load;
/// Samples as curves.
mod picture;
/// What the server is like, once a second.
mod samples;
/// What goes wrong.
mod trouble;

/// What everybody in the run knows.
pub struct Ground {
    pub events: Events,
    /// Which run in this directory.
    pub session: u64,
    pub length: Duration,
    pub watch: Stopwatch,
    stop: AtomicBool,
    address: Mutex<Option<SocketAddr>>,
    pub pid: AtomicU32,
    /// Servers started so far.
    pub servers: AtomicU64,
    pub kills: AtomicU64,
}

impl Ground {
    fn new(dir: Option<PathBuf>, length: Duration) -> Ground {
        let events = dir.map_or_else(Events::new, Events::kept);
        let ledgers = (0..).take_while(|n| ledger(&events, *n).exists()).count() as u64;
        Ground {
            events,
            session: ledgers,
            length,
            watch: Stopwatch::start(),
            stop: AtomicBool::new(false),
            address: Mutex::default(),
            pid: AtomicU32::new(0),
            servers: AtomicU64::new(0),
            kills: AtomicU64::new(0),
        }
    }

    pub fn over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The part of the run that is over.
    pub fn part(&self) -> f64 {
        self.watch.elapsed().as_secs_f64() / self.length.as_secs_f64()
    }

    /// Sleeps, but not past the end. False at the end.
    pub fn pause(&self, time: Duration) -> bool {
        let watch = Stopwatch::start();
        while !self.over() && watch.elapsed() < time {
            thread::sleep(Duration::from_millis(10).min(time));
        }
        !self.over()
    }

    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn serve(&self) -> Server {
        let secret = secret(&self.events);
        let secret = secret.to_str().expect("a UTF-8 path");
        let server = Server::start_fast(self.events.path(), &["--snapshot-every", "2", "--token-file", secret]);
        self.pid.store(server.pid(), Ordering::Release);
        self.servers.fetch_add(1, Ordering::AcqRel);
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.address);
        server
    }

    pub fn gone(&self) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.pid.store(0, Ordering::Release);
    }
}

/// Beside the events, and never followed.
fn secret(events: &Events) -> PathBuf {
    events.path().join("soak.token")
}

/// What a run counted.
fn ledger(events: &Events, session: u64) -> PathBuf {
    events.path().join(format!("soak-{session}.ledger"))
}

#[test]
fn under_everything_at_once_nothing_is_lost_and_nothing_grows() {
    let length = Duration::from_secs(size("RUNTAPE_SOAK_SECONDS", 20));
    let ground = Ground::new(std::env::var_os("RUNTAPE_SOAK_DIR").map(PathBuf::from), length);
    fs::write(secret(&ground.events), format!("{}\n", client::SECRET)).expect("a writable directory");
    small_memories(&ground.events);
    let server = ground.serve();
    let (server, samples, counted) = thread::scope(|scope| {
        let ground = &ground;
        let sampler = scope.spawn(|| samples::take(ground));
        scope.spawn(|| load::rotations(ground));
        let files = load::spawn(scope, ground);
        let others = trouble::spawn(scope, ground);
        let server = trouble::drive(ground, server);
        ground.stop.store(true, Ordering::Release);
        others.into_iter().for_each(|other| other.join().expect("one who misbehaves"));
        let counted: Vec<_> = files.into_iter().map(|file| file.join().expect("a producer")).collect();
        (server, sampler.join().expect("a sampler"), counted)
    });
    let counted: Value = counted.into_iter().map(|(agent, count, sum)| (agent, json!([count, sum]))).collect();
    fs::write(ledger(&ground.events, ground.session), counted.to_string()).expect("a writable directory");
    if let Some(out) = std::env::var_os("RUNTAPE_SOAK_OUT") {
        leave(Path::new(&out), &samples);
    }
    let replayed = settled(&ground, server);
    let (lines, kills) = (replayed["position"].as_u64().unwrap_or(0), ground.kills.load(Ordering::Acquire));
    println!(
        "{} s, {lines} lines on the tape, {kills} kills of the server, {} servers",
        length.as_secs(),
        ground.servers.load(Ordering::Acquire)
    );
    for session in 0..=ground.session {
        nothing_lost(&ground.events, session, &replayed);
    }
    samples.flat();
}

/// Memories so small that they are full early: what grows after that grows for no reason.
fn small_memories(events: &Events) {
    let file = events.path().join("soak.toml");
    let text = "[limits]\ndedupe_ids = 20000\njoin_runs = 20000\nwaiting_pnl = 5000\n[rolling]\nwindow = 100\n\
                [budget]\ndaily_usd = 1000000.0\n";
    fs::write(&file, text).expect("a writable directory");
    let file = file.to_str().expect("a UTF-8 path");
    run(&["policy", "apply", file, "--events", events.text(), "--reason", "small"]);
}

fn leave(out: &Path, samples: &Samples) {
    fs::create_dir_all(out).expect("a writable directory");
    fs::write(out.join("soak.csv"), samples.table()).expect("a writable directory");
    fs::write(out.join("soak.svg"), picture::draw(samples)).expect("a writable directory");
}

/// Killed a last time and started again, the server shows what a fold from the first line makes of the tape, and so do its
/// decisions. Returns that fold.
fn settled(ground: &Ground, server: Server) -> Value {
    let address = server.address;
    wait_until("everything is folded", || ask(address, "GET", "/readyz", "").is_ok_and(|(status, _)| status == 200));
    server.kill();
    let server = ground.serve();
    let address = server.address;
    let patience = Stopwatch::start();
    while ask(address, "GET", "/readyz", "").is_ok_and(|(status, _)| status != 200) {
        assert!(patience.elapsed() < Duration::from_secs(120), "it does not become ready");
        thread::sleep(Duration::from_millis(50));
    }
    let page = Metrics(ask(address, "GET", "/metrics", "").expect("a page").1);
    let state: Value =
        serde_json::from_str(&ask(address, "GET", "/api/v1/state", "").expect("a state").1).expect("JSON");
    talk::assert_page_is_that_of_a_replay(&ground.events, &page);
    let replayed = ground.events.replay();
    for part in ["position", "lines", "agents", "strategies", "budget", "waiting"] {
        assert_eq!(state[part], replayed[part], "the server's {part}, and that of a fold from the first line");
    }
    assert_eq!(server.terminate(), Some(0), "it ends well");
    let decisions = talk::assert_decisions_are_those_of_a_replay(&ground.events);
    println!("{decisions} decisions are those of the replay");
    stdout(&run(&["verify", "--events", ground.events.text()]));
    replayed
}

/// Every line that was acknowledged counts once.
fn nothing_lost(events: &Events, session: u64, replayed: &Value) {
    let counted = fs::read_to_string(ledger(events, session)).expect("a ledger");
    let counted: Value = serde_json::from_str(&counted).expect("JSON");
    let mut acknowledged = 0;
    for (agent, want) in counted.as_object().expect("agents") {
        let row = &replayed["agents"][agent];
        assert_eq!(json!([row["runs"], row["tokens_in"]]), *want, "count and sum of the lines of {agent}");
        acknowledged += want[0].as_u64().unwrap_or(0);
    }
    assert!(acknowledged > 100, "{counted}");
    println!("run {session}: {acknowledged} lines acknowledged, each counts once");
}
