//! Lines that the fold appends itself: each stands where it says, once, or nowhere.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use runtape::{
    event::Kind,
    fold::{Registration, lines::Outcome},
    layout::Layout,
    live::{AppendError, Appended, OwnStream},
};

use super::Stage;
use crate::{
    cast::Pulse,
    support::{Events, wait_until},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn run(id: &str) -> String {
    format!("{{\"agent\":\"a\",\"reward\":1,\"event_id\":\"{id}\"}}")
}

fn positions(appended: &[Appended]) -> Vec<u64> {
    appended.iter().map(|line| line.position).collect()
}

const RUN: Outcome = Outcome::Kind(Kind::Run);

#[test]
fn every_line_stands_where_it_says_whoever_else_appends() {
    const THREADS: u64 = 16;
    const EACH: u64 = 40;
    let stage = Stage::open(Events::new(), &[]);
    let stop = AtomicBool::new(false);
    let mut all: Vec<(u64, String)> = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                stage.events.append("runs", "{\"agent\":\"b\",\"reward\":1}\n");
            }
        });
        let stage = &stage;
        let one = move |thread: u64| {
            let mut mine = Vec::new();
            for n in 0..EACH {
                let ids = [format!("{thread}-{n}-0"), format!("{thread}-{n}-1")];
                let lines = ids.each_ref().map(|id| run(id));
                let stream = OwnStream::Api;
                let appended = stage.append(stream, &[&lines[0], &lines[1]]).expect("they are appended");
                assert_eq!(appended.iter().map(|line| line.outcome).collect::<Vec<_>>(), [RUN, RUN]);
                mine.extend(positions(&appended).into_iter().zip(ids));
            }
            assert!(mine.is_sorted(), "a thread's lines stand in the order in which it appended them");
            mine
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || one(thread))).collect();
        let all = threads.into_iter().flat_map(|thread| thread.join().expect("a thread that appends")).collect();
        stop.store(true, Ordering::Release);
        all
    });
    all.sort();
    let ids: Vec<&str> = all.iter().map(|(_, id)| id.as_str()).collect();
    let status = stage.live.status();
    let last = all.last().expect("lines").0;
    wait_until("they are durable", || status.durable.load(Ordering::Acquire) > last);
    let text = fs::read_to_string(stage.events.stream("api")).expect("the stream");
    assert_eq!(text.lines().count() as u64, THREADS * EACH * 2);
    let in_file: Vec<String> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["event_id"].as_str().unwrap_or("").to_owned()
        })
        .collect();
    assert_eq!(ids, in_file, "the order of positions is the order of the file");
    let events = stage.close();
    let lines = &events.replay()["lines"];
    assert!(lines["run"].as_u64() > Some(THREADS * EACH * 2) && lines["malformed"].is_null(), "{lines}");
}

#[test]
fn a_torn_line_from_before_is_a_line_of_its_own() {
    let events = Events::new();
    events.append("api", "{\"agent\":\"a\",\"rew");
    let stage = Stage::open(events, &[]);
    let appended = stage.append(OwnStream::Api, &[&run("x"), &run("y")]).expect("they are appended");
    assert_eq!(positions(&appended), [1, 2]);
    let lines = stage.close().replay()["lines"].clone();
    assert_eq!((lines["run"].as_u64(), lines["malformed"].as_u64()), (Some(2), Some(1)), "{lines}");
}

#[test]
fn what_was_appended_before_is_a_duplicate_after_a_restart_too() {
    let stage = Stage::open(Events::new(), &[]);
    let first = stage.append(OwnStream::Api, &[&run("x"), &run("x")]).expect("they are appended");
    assert_eq!(first[1], Appended { position: 1, outcome: Outcome::Duplicate });
    let stage = Stage::open(stage.close(), &[]);
    // As a kill between the write and its round leaves it: nobody was answered, and it counts.
    let events = stage.close();
    events.append("api", run("killed") + "\n");
    let stage = Stage::open(events, &[]);
    let again = stage.append(OwnStream::Api, &[&run("killed")]).expect("it is appended");
    assert_eq!(again, [Appended { position: 3, outcome: Outcome::Duplicate }]);
    let again = stage.append(OwnStream::Api, &[&run("x"), &run("y")]).expect("they are appended");
    assert_eq!(again.iter().map(|line| line.outcome).collect::<Vec<_>>(), [Outcome::Duplicate, RUN]);
    assert_eq!(stage.append(OwnStream::Api, &[]).expect("nothing to append"), []);
    for bad in ["", "  ", "{}\n{}"] {
        let refused = stage.append(OwnStream::Api, &[&run("z"), bad]);
        assert!(matches!(refused, Err(AppendError::NotALine { line: 2, .. })), "{bad:?}: {refused:?}");
    }
    assert_eq!(stage.close().replay()["position"], 6);
}

#[test]
fn a_stream_that_cannot_be_written_is_told_and_written_when_it_can() {
    let stage = Stage::open(Events::new(), &[]);
    fs::create_dir(stage.events.stream("api")).expect("a free name");
    let refused = stage.append(OwnStream::Api, &[&run("x")]);
    assert!(matches!(&refused, Err(AppendError::Io { what, .. }) if what.contains("api.jsonl")), "{refused:?}");
    fs::remove_dir(stage.events.stream("api")).expect("an empty folder");
    let appended = stage.append(OwnStream::Api, &[&run("x")]).expect("it is appended");
    assert_eq!(appended, [Appended { position: 0, outcome: RUN }]);
    // Renamed by a rotation: on in a new file.
    fs::rename(stage.events.stream("api"), stage.events.path().join("api.jsonl.1")).expect("a free name");
    let appended = stage.append(OwnStream::Api, &[&run("x"), &run("y")]).expect("they are appended");
    assert_eq!(appended.iter().map(|line| line.outcome).collect::<Vec<_>>(), [Outcome::Duplicate, RUN]);
    assert_eq!(stage.close().replay()["position"], 3);
}

#[test]
fn a_link_is_not_followed_to_append_either() {
    let stage = Stage::open(Events::new(), &[]);
    stage.append(OwnStream::Api, &[&run("x")]).expect("it is appended");
    let api = stage.events.stream("api");
    // A file that nobody follows takes the name; what is written to it cannot be sealed.
    let linked = stage.events.path().join("elsewhere");
    fs::rename(&api, &linked).expect("a free name");
    let fake = stage.events.path().join("api.jsonl");
    std::os::unix::fs::symlink(&linked, &fake).expect("a free name");
    let refused = stage.append(OwnStream::Api, &[&run("y")]);
    assert!(matches!(&refused, Err(AppendError::Io { .. })), "{refused:?}");
    fs::remove_file(&fake).expect("a link");
    fs::rename(&linked, &api).expect("a free name");
    let appended = stage.append(OwnStream::Api, &[&run("y")]).expect("it is appended");
    assert_eq!(positions(&appended), [1]);
    assert_eq!(stage.close().replay()["position"], 2);
}

/// Says that this process is the one that may be limited.
const LIMITED: &str = "RUNTAPE_TEST_LIMITED";

#[test]
fn without_room_nothing_is_half_written_and_with_room_it_goes_on() {
    const NAME: &str = "live::appending::without_room_nothing_is_half_written_and_with_room_it_goes_on";
    if std::env::var_os(LIMITED).is_some() {
        return with_limits();
    }
    // A limit on the size of files counts for the whole process, and must not kill it.
    let test = std::env::current_exe().expect("this program");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(test)
        .arg(NAME)
        .env(LIMITED, "1")
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test has another name");
}

fn with_limits() {
    let stage = Stage::open(Events::new(), &[]);
    let (api, tape) = (stage.events.stream("api"), Layout::new(stage.events.path()).tape());
    let len = |path: &Path| fs::metadata(path).expect("a file").len();
    let full = |what: &str| {
        let before = len(&api);
        let refused = stage.append(OwnStream::Api, &[&run(what), &run("more")]);
        assert!(matches!(refused, Err(AppendError::Full { .. })), "{what}: {refused:?}");
        assert_eq!(len(&api), before, "{what}");
    };
    let lines: Vec<String> = (0..200).map(|n| run(&format!("{n}"))).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    stage.append(OwnStream::Api, &lines).expect("they are appended");
    let limit = |bytes: Option<u64>| {
        let maximum = getrlimit(Resource::Fsize).maximum;
        setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).expect("a limit below the maximum");
    };
    // No room for all of the bytes in the stream.
    limit(Some(len(&api) + 20));
    full("stream");
    limit(None);
    let appended = stage.append(OwnStream::Api, &[&run("x")]).expect("it is appended");
    assert_eq!(positions(&appended), [200]);
    // Room in the stream, and none on the tape.
    fs::rename(&api, stage.events.path().join("api.jsonl.1")).expect("a free name");
    stage.append(OwnStream::Api, &[&run("y")]).expect("it is appended");
    limit(Some(len(&tape) + 20));
    full("tape");
    limit(None);
    let appended = stage.append(OwnStream::Api, &[&run("z")]).expect("it is appended");
    assert_eq!(positions(&appended), [202]);
    stage.wait_for(203);
    let lines = stage.close().replay()["lines"].clone();
    assert_eq!(lines, serde_json::json!({"run": 203}));
}

#[test]
fn an_order_is_answered_when_the_fold_stops() {
    let stage = Stage::open(Events::new(), &[]);
    let (reply, answers) = mpsc::channel();
    for n in 0..200 {
        let reply = reply.clone();
        stage.live.append(OwnStream::Control, vec![run(&format!("{n}"))], move |result| {
            reply.send(result.is_ok()).expect("somebody waits");
        });
    }
    drop(reply);
    let events = stage.close();
    let answers: Vec<bool> = answers.iter().collect();
    assert_eq!(answers.len(), 200);
    let appended = answers.iter().filter(|appended| **appended).count() as u64;
    assert_eq!(events.replay()["position"], appended);
}

#[test]
fn decisions_are_remembered_and_progress_is_told() {
    let stage = Stage::open(Events::new(), &[Registration::of::<Pulse>()]);
    let told = Arc::new(AtomicU64::new(0));
    let count = told.clone();
    stage.live.on_progress(move || _ = count.fetch_add(1, Ordering::AcqRel));
    let lines: Vec<String> = (0..6).map(|n| run(&format!("{n}"))).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let appended = stage.append(OwnStream::Api, &lines).expect("they are appended");
    stage.wait_for(6);
    let said = |at: usize| stage.live.decision("pulse", appended[at].position);
    assert_eq!([said(0).len(), said(2).len(), said(5).len()], [0, 1, 1]);
    assert_eq!((said(5)[0].verdict.as_str(), &said(5)[0].reason["events"]), ("beat", &6.into()));
    assert!(stage.live.decision("nobody", 2).is_empty());
    wait_until("it is durable", || stage.live.status().durable.load(Ordering::Acquire) == 6);
    // At least for every consumer, and for what became durable.
    let consumers = stage.live.status().consumers.len() as u64;
    wait_until("progress was told", || told.load(Ordering::Acquire) > consumers);
    stage.close();
}
