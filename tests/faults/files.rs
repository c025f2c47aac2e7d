use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, thread, time::Duration};

use runtape::{
    clock::Clock,
    consumers::REGISTRY,
    layout::Layout,
    replay::replay,
    tape::{Directory, Until},
};
use serde_json::Value;

use crate::{
    http::client::Connection,
    support::{self, Events, RUNTAPE, Server, append, draws, programs::as_nobody, run, stdout, wait_until},
    tailing::stage::{Runs, Stage},
    talk::{self, Talk},
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that only root may; says so where it is not to be had.
fn as_root(program: &str, args: &[&str]) -> bool {
    let done = Command::new(program).args(args).output().is_ok_and(|output| output.status.success());
    if !done {
        eprintln!("left out: {program} {} is not possible here", args.join(" "));
    }
    done
}

/// A file system of so many KiB, unmounted with its value.
struct Small<'a>(&'a Path);

impl Small<'_> {
    fn mount(at: &Path, kib: u32) -> Option<Small<'_>> {
        let (size, path) = (format!("size={kib}k"), at.to_str().expect("a UTF-8 path"));
        as_root("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", path]).then_some(Small(at))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn post(server: &Server, path: &str, body: &str) -> (u16, String) {
    let kind = if path.ends_with("events") { "application/x-ndjson" } else { "application/json" };
    let answer = Connection::open(server.address).ask_with("POST", path, &[("Content-Type", kind)], body.as_bytes());
    answer.map_or((0, String::new()), |answer| (answer.status, answer.text()))
}

#[test]
fn on_a_full_disk_nobody_trades_everybody_is_told_and_with_room_it_goes_on() {
    let events = Events::new();
    let Some(_small) = Small::mount(events.path(), 4096) else { return };
    events.append("runs", "{\"agent\":\"a\",\"reward\":1,\"errors\":0}\n");
    let server = Server::start(events.path(), &["--snapshot-every", "0.2"]);
    server.ready();
    let line = |n: u32| format!("{{\"agent\":\"a\",\"reward\":1,\"errors\":0,\"event_id\":\"e{n}\"}}\n");
    assert_eq!(post(&server, "/api/v1/events", &line(0)).0, 200);
    // Somebody else takes all the room there is, to the last byte.
    let hog = events.path().join("hog");
    let mut size = 4096_usize << 10;
    while size > 0 {
        let more = vec![1; size];
        let before = fs::metadata(&hog).map_or(0, |file| file.len());
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&hog).expect("a writable directory");
        let _ = std::io::Write::write_all(&mut file, &more);
        if fs::metadata(&hog).map_or(0, |file| file.len()) == before {
            size /= 2;
        }
    }
    let mut acknowledged = 1;
    wait_until("no room is said", || {
        let (status, said) = post(&server, "/api/v1/events", &line(acknowledged));
        acknowledged += u32::from(status == 200);
        status == 507 && said.contains("disk_full")
    });
    // What is there is served; nothing that costs money is permitted on what cannot be recorded.
    assert_eq!(server.get("/healthz").status, 200);
    assert!(server.metrics().get("runtape_position").is_some());
    let (status, said) = post(&server, "/api/v1/commands", "{\"action\":\"kill\",\"agent\":\"a\",\"reason\":\"stop\"}");
    assert_eq!(status, 507, "{said}");
    let (_, said) = post(&server, "/api/v1/checks", "{\"agent\":\"a\",\"symbol\":\"ETH\",\"paper\":true}");
    assert!(!said.contains("\"verdict\":\"allow\""), "{said}");
    fs::remove_file(&hog).expect("a file");
    wait_until("it goes on by itself", || {
        let (status, _) = post(&server, "/api/v1/events", &line(acknowledged));
        acknowledged += u32::from(status == 200);
        status == 200
    });
    wait_until("it is ready again", || server.get("/readyz").status == 200);
    assert_eq!(server.metrics().get("agent_runs_total{agent=\"a\"}"), Some(f64::from(acknowledged) + 1.0));
    let (status, said) = post(&server, "/api/v1/commands", "{\"action\":\"kill\",\"agent\":\"a\",\"reason\":\"stop\"}");
    assert_eq!(status, 200, "{said}");
    assert_eq!(server.terminate(), Some(0));
    talk::assert_decisions_are_those_of_a_replay(&events);
    stdout(&run(&["verify", "--events", events.text()]));
}

#[test]
fn what_may_not_be_read_or_written_is_named_with_its_path() {
    let events = Events::new();
    events.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
    fs::set_permissions(events.path(), fs::Permissions::from_mode(0o755)).expect("our directory");
    let Some(output) = as_nobody(&["serve", "--events", events.text(), "--listen", "127.0.0.1:0"]) else { return };
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(events.text()) && said.contains("ermission denied"), "{said}");
    // Whoever may read may look.
    let output = as_nobody(&["replay", "--events", events.text(), "-o", "json"]).expect("as before");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    fs::set_permissions(events.stream("runs"), fs::Permissions::from_mode(0o600)).expect("our file");
    let output = as_nobody(&["replay", "--events", events.text(), "-o", "json"]).expect("as before");
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("runs.jsonl"), "{}", text(&output.stderr));
    let names: Vec<_> = fs::read_dir(events.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["runs.jsonl"], "nothing was left behind");
}

#[test]
fn a_device_among_the_streams_is_named_and_not_read() {
    let mut stage = Stage::new();
    let zero = stage.path("zero.jsonl");
    if !as_root("mknod", &[zero.to_str().expect("a UTF-8 path"), "c", "1", "5"]) {
        return;
    }
    stage.write("runs.jsonl", 5);
    stage.settle();
    assert_eq!(stage.metrics().get("runtape_files_refused"), Some(1.0));
    let status = run(&["status", "--server", &format!("http://{}", stage.address)]);
    assert!(text(&status.stdout).contains("zero.jsonl: is not a regular file"), "{}", text(&status.stdout));
}

#[test]
fn a_writer_killed_in_the_middle_of_a_line_costs_that_line_only() {
    let mut stage = Stage::new();
    let long = stage.outside.path().join("long");
    fs::write(&long, format!("{{\"agent\":\"torn\",\"reward\":1,\"x\":\"{}\"}}\n", "y".repeat(900_000)))
        .expect("a file");
    let path = stage.path("runs.jsonl");
    let mut draw = draws(13);
    for round in 0..12 {
        // One process that opens the file once: whoever is waited for is the last who wrote.
        let file = fs::File::options().create(true).append(true).open(&path).expect("a stream");
        let mut writer = Command::new("cat").args(vec![&long; 100]).stdout(file).spawn().expect("a writer");
        thread::sleep(Duration::from_millis(5 + draw(40)));
        writer.kill().expect("our child");
        writer.wait().expect("a dead writer");
        // A writer that puts a newline first where the file does not end with one loses nothing to the torn line.
        let mut append = Command::new(RUNTAPE);
        append.args(["append", "runs", "--events", stage.events.text()]).stdin(std::process::Stdio::piped());
        let mut child = append.spawn().expect("the program starts");
        let good = format!("{{\"agent\":\"good\",\"reward\":1,\"event_id\":\"g{round}\"}}\n");
        let mut input = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, good.as_bytes()).expect("a pipe");
        drop(input);
        assert!(child.wait().expect("an end").success());
    }
    wait_until("every good line counts", || stage.metrics().get("agent_runs_total{agent=\"good\"}") == Some(12.0));
    let newlines = fs::read(&path).expect("a stream").iter().filter(|byte| **byte == b'\n').count() as f64;
    let of_stream = |page: &support::Metrics| {
        let lines = page.0.lines().filter(|line| line.starts_with("runtape_lines_total{stream=\"runs\""));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    wait_until("every line has an outcome", || of_stream(&stage.metrics()) >= newlines - 12.0);
    let torn = stage.metrics().get("runtape_lines_total{stream=\"runs\",outcome=\"malformed\"}");
    assert!(torn.is_some_and(|lines| (1.0..=12.0).contains(&lines)), "{torn:?} lines torn by 12 writers");
    stage.check();
}

#[test]
fn every_prefix_of_a_log_is_its_whole_lines() {
    let mut runs = Runs::of("a");
    let log = runs.take(3);
    let events = Events::new();
    for end in 0..=log.len() {
        fs::write(events.stream("runs"), &log[..end]).expect("a writable directory");
        let directory = Directory::open(Layout::new(events.path()), Some(Clock::system().now())).expect("a directory");
        let replayed = replay(&directory, REGISTRY, None, Until::End, 1, |_, _| {}).expect("a readable directory");
        let (whole, loads) = (log[..end].matches('\n').count() as u64, replayed.intake.lines());
        assert_eq!(replayed.intake.position(), whole, "{end} bytes");
        assert_eq!(loads.total(runtape::fold::lines::Outcome::Malformed), 0, "{end} bytes: half a line is none yet");
    }
}

/// Three rotated files, sealed; the server is gone.
fn rotated() -> Stage {
    let mut stage = Stage::new();
    for n in [3, 2, 1] {
        stage.write("runs.jsonl", 20);
        stage.settle();
        fs::rename(stage.path("runs.jsonl"), stage.path(&format!("runs.jsonl.{n}"))).expect("a rename");
    }
    stage.write("runs.jsonl", 5);
    stage.settle();
    stage.terminate();
    stage
}

#[test]
fn a_sealed_file_that_is_gone_is_named_and_nothing_is_read_past_it() {
    let stage = rotated();
    fs::remove_dir_all(stage.path(".runtape/streams")).expect("our links");
    fs::remove_file(stage.path("runs.jsonl.2")).expect("a file");
    let replayed = run(&["replay", "--events", stage.events.text(), "-o", "json"]);
    assert_eq!(replayed.status.code(), Some(3), "{}", text(&replayed.stdout));
    let said = text(&replayed.stderr);
    assert!(said.contains("runs") && said.contains("verify"), "{said}");
    let damage = stage.damage();
    assert!(damage.contains("stream runs (file f3)"), "{damage}");
    // With its snapshots a server needs no history; without them it does not begin at the next file.
    let talk = Talk::start(stage.events.path(), &[]);
    assert_eq!(talk.metrics().get("agent_runs_total{agent=\"a\"}"), Some(65.0));
    talk.terminate();
    // The others still prove that this history was durable.
    for entry in fs::read_dir(stage.path(".runtape/snapshots")).expect("a folder").flatten() {
        if entry.file_name().to_string_lossy().starts_with("runs-") {
            fs::remove_file(entry.path()).expect("a snapshot");
        }
    }
    let server = Server::start(stage.events.path(), &[]);
    wait_until("it says that it cannot go on", || server.get("/healthz").status == 503);
    let said = server.get("/healthz").body;
    assert!(said.contains("stream runs, file f3") && said.contains("sealed bytes are left"), "{said}");
    assert_eq!(server.get("/readyz").status, 503);
    let verdict = server.get("/api/v1/verdicts/a").body;
    assert!(verdict.contains("\"verdict\":\"hold\""), "{verdict}");
}

#[test]
fn snapshots_of_another_tape_are_passed_over_and_those_ahead_of_the_tape_stop_everything() {
    let (one, other) = (rotated(), rotated());
    let snapshots = |stage: &Stage| Layout::new(stage.events.path()).snapshots();
    let copy = || {
        for entry in fs::read_dir(snapshots(&other)).expect("a folder").flatten() {
            fs::copy(entry.path(), snapshots(&one).join(entry.file_name())).expect("a writable folder");
        }
    };
    copy();
    let talk = Talk::start(one.events.path(), &[]);
    assert!(
        talk.said().contains("passed over") && talk.said().contains("does not stand on this tape"),
        "{}",
        talk.said()
    );
    talk::assert_page_is_that_of_a_replay(&one.events, &talk.metrics());
    talk.terminate();
    // What stands ahead of the tape tells that the tape was longer: nobody goes on as if it had not been.
    append(&other.path("runs.jsonl"), b"{\"agent\":\"other\",\"reward\":1}\n");
    Talk::start(other.events.path(), &[]).terminate();
    copy();
    let refused = run(&["serve", "--events", one.events.text(), "--listen", "127.0.0.1:0"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("was cut") && said.contains("Restore it from a backup"), "{said}");
}

#[test]
fn a_decisions_file_that_was_edited_is_found() {
    let events = Events::new();
    for _ in 0..20 {
        events.append("runs", "{\"agent\":\"a\",\"reward\":-1.6}\n");
    }
    Talk::start(events.path(), &[]).terminate();
    let path = Layout::new(events.path()).decisions("quarantine");
    let whole = fs::read_to_string(&path).expect("decisions");
    let verified = |text: &str| {
        fs::write(&path, text).expect("a file");
        let output = run(&["verify", "--decisions", "--events", events.text()]);
        (output.status.code(), self::text(&output.stdout))
    };
    assert_eq!(verified(&whole).0, Some(0));
    let first = whole.lines().next().expect("a decision");
    let edited = whole.replacen("\"verdict\":\"quarantined\"", "\"verdict\":\"quarantineD\"", 1);
    assert_ne!(edited, whole, "{whole}");
    for wrong in [edited, String::new(), format!("{whole}{first}\n"), whole.replacen(first, "{}", 1)] {
        let (code, said) = verified(&wrong);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("quarantine.jsonl: ") && said.contains("line") && said.contains("DAMAGED"), "{said}");
    }
}

#[test]
fn a_clock_that_jumps_moves_no_position_and_no_state() {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    };
    let (events, now) = (Events::new(), Arc::new(AtomicI64::new(Clock::system().now())));
    let hour = 3_600_000_000_000_i64;
    let clock = {
        let now = now.clone();
        Clock::fixed(move || now.load(Ordering::Acquire))
    };
    let cadence = runtape::live::Cadence { poll: Duration::from_millis(20), ..Default::default() };
    let layout = Layout::new(events.path());
    let config = runtape::live::Config { layout, registry: REGISTRY, clock, cadence, quarantine_file: None };
    let live = runtape::live::Live::start(config).expect("a free directory");
    let start = now.load(Ordering::Acquire);
    for (n, jump) in [0, 5 * hour, -48 * hour, 0, 24 * 365 * hour, -hour].into_iter().enumerate() {
        now.store(start + jump, Ordering::Release);
        let ts = 1_767_571_200 + n as i64;
        events.append("runs", format!("{{\"agent\":\"a\",\"reward\":-1,\"ts\":{ts}}}\n"));
        let sealed = || live.look_at_intake().is_some_and(|look| look.position > n as u64);
        wait_until("it is sealed", sealed);
    }
    now.store(start, Ordering::Release);
    live.stop();
    let state: Value = events.replay();
    assert_eq!((&state["position"], &state["agents"]["a"]["runs"]), (&6.into(), &6.into()));
    assert_eq!(state["tape_time"], 1_767_571_205.0, "the time of the lines, not of any clock");
    talk::assert_decisions_are_those_of_a_replay(&events);
    stdout(&run(&["verify", "--events", events.text()]));
}
