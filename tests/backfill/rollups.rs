use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{backfilled, script};
use crate::support::{Events, Server, run, wait_until};

/// A run of a day of January 2026, with a signal.
pub fn line(day: u32, run: u32) -> String {
    let ts = 1_767_225_600 + (day - 1) * 86_400 + run * 60;
    format!(
        "{{\"run_id\":\"d{day}-{run}\",\"agent\":\"a{}\",\"ts\":{ts},\"latency_ms\":{run},\"reward\":0.1}}\n",
        run % 3
    )
}

pub fn lines(day: u32, runs: std::ops::Range<u32>) -> String {
    runs.map(|run| line(day, run)).collect()
}

pub fn pnl(day: u32, run: u32, bps: i32) -> String {
    format!("{{\"run_id\":\"d{day}-{run}\",\"realized_pnl_bps\":{bps}}}\n")
}

/// A server that keeps tables, and looks often.
fn server(events: &Events, out: &Path) -> Server {
    let out = out.to_str().expect("a UTF-8 path");
    Server::start(events.path(), &["--rollups", out, "--rollups-every", "0.05"])
}

/// Waits until the tables hold so many lines.
fn rolled(server: &Server, position: u32) {
    let at = || server.metrics().get("runtape_rollups_position");
    wait_until("the tables are brought up", || at() == Some(f64::from(position)));
}

/// Every part of the table of runs, by its path below it.
pub fn parts(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut parts = BTreeMap::new();
    for day in fs::read_dir(out.join("runs")).into_iter().flatten().flatten() {
        for part in fs::read_dir(day.path()).expect("a folder of a day").flatten() {
            let name = format!("{}/{}", day.file_name().display(), part.file_name().display());
            parts.insert(name, fs::read(part.path()).expect("a part"));
        }
    }
    parts
}

/// The parts are byte by byte those of a backfill of what was sealed.
#[track_caller]
pub fn as_backfilled(events: &Events, out: &Path) -> usize {
    let fresh = Events::new();
    let told = backfilled(&fresh, &["--events", events.text()]);
    assert_eq!(told["gaps"], serde_json::json!([]));
    let (want, got) = (parts(fresh.path()), parts(out));
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (name, bytes) in &want {
        assert!(got[name] == *bytes, "{name} is not what a backfill writes");
    }
    want.len()
}

fn inode(out: &Path, day: u32) -> u64 {
    let folder = out.join(format!("runs/day=2026-01-{day:02}"));
    let parts: Vec<PathBuf> = fs::read_dir(folder).expect("a day").flatten().map(|part| part.path()).collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    fs::metadata(&parts[0]).expect("a part").ino()
}

/// A day that ends is finished by what comes late, profit of days ago changes its day, and no other day is written.
#[test]
fn the_days_that_changed_are_written_as_a_backfill_writes_them() {
    let (events, home) = (Events::new(), Events::new());
    let out = home.path().join("tables");
    events.append("runs", lines(1, 0..40) + &lines(2, 0..40));
    let serving = server(&events, &out);
    rolled(&serving, 80);
    let (first, second) = (inode(&out, 1), inode(&out, 2));
    // The second day ends, the third begins, and a line of the second comes late.
    events.append("runs", lines(2, 40..50) + &lines(3, 0..5) + &line(2, 50));
    rolled(&serving, 96);
    assert_eq!(inode(&out, 1), first, "nothing of that day came");
    assert_ne!(inode(&out, 2), second);
    let (second, third) = (inode(&out, 2), inode(&out, 3));
    events.append("pnl", pnl(1, 7, -30));
    rolled(&serving, 97);
    assert_ne!(inode(&out, 1), first, "its run earned something");
    assert_eq!((inode(&out, 2), inode(&out, 3)), (second, third));
    let first = inode(&out, 1);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(inode(&out, 1), first, "where nothing comes nothing is written");
    let page = serving.metrics();
    assert!(page.get("runtape_rollups_last_success_timestamp_seconds").is_some_and(|at| at > 1.7e9));
    assert_eq!(page.get("runtape_rollups_failures_total"), Some(0.0));
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(as_backfilled(&events, &out), 3);
    let Some(rows) = script("rows.py", &[out.to_str().expect("a UTF-8 path")]) else { return };
    assert!(rows.lines().any(|row| row.contains("'d1-7'") && row.contains("-30.0")), "{rows}");
}

/// Started again it goes on from where it was, also where somebody changed or removed a file meanwhile.
#[test]
fn a_restart_goes_on_and_makes_good_what_others_broke() {
    let (events, out) = (Events::new(), Events::new());
    events.append("runs", lines(1, 0..30) + &lines(2, 0..30));
    let serving = server(&events, out.path());
    rolled(&serving, 60);
    assert_eq!(serving.terminate(), Some(0));
    let kept = fs::read(out.path().join(".rollups/checkpoint")).expect("a checkpoint");
    fs::remove_dir_all(out.path().join("runs/day=2026-01-01")).expect("a day");
    fs::write(out.path().join("runs/day=2026-01-02/part-000009.parquet.part"), "half").expect("a writable folder");
    events.append("runs", lines(3, 0..3));
    let serving = server(&events, out.path());
    rolled(&serving, 63);
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(as_backfilled(&events, out.path()), 3);
    // What is kept is damaged: all of it follows from the tape.
    fs::write(out.path().join(".rollups/checkpoint"), &kept[..kept.len() / 2]).expect("a writable file");
    events.append("runs", lines(3, 3..6));
    let serving = server(&events, out.path());
    rolled(&serving, 66);
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(as_backfilled(&events, out.path()), 3);
}

/// Killed at any moment while lines come: whoever reads sees whole files only, and in the end they are those of a backfill.
#[test]
fn readers_see_whole_files_only_and_kills_leave_no_trace() {
    let (events, out) = (Events::new(), Events::new());
    let (stop, root) = (Arc::new(AtomicBool::new(false)), out.path().to_owned());
    let stopped = stop.clone();
    let reader = thread::spawn(move || {
        let mut read = 0;
        while !stopped.load(Ordering::Acquire) {
            let found = glob::glob(&format!("{}/runs/*/*.parquet", root.display())).expect("a pattern");
            for path in found.flatten() {
                // A name may leave between two looks, a file may not be half of one.
                let Ok(bytes) = fs::read(&path) else { continue };
                assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{} is half a file", path.display());
                read += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        read
    });
    for round in 0..12 {
        let serving = server(&events, out.path());
        serving.ready();
        for part in 0..5 {
            let from = round * 50 + part * 10;
            events.append("runs", lines(1 + round / 4, from..from + 10));
            events.append("pnl", pnl(1 + round / 8, from / 2, 5));
            thread::sleep(Duration::from_millis(u64::from(round) * 7));
        }
        serving.kill();
    }
    let serving = server(&events, out.path());
    rolled(&serving, 660);
    assert_eq!(serving.terminate(), Some(0));
    stop.store(true, Ordering::Release);
    let read = reader.join().expect("no half file");
    assert!(as_backfilled(&events, out.path()) >= 3 && read > 20, "{read} files read");
}

/// Whether a server says what is wrong with its tables; the fold goes on.
fn says(serving: &Server, what: &str) -> bool {
    let status: Value = serde_json::from_str(&serving.get("/api/v1/status").body).expect("JSON");
    let problems = status["problems"].as_array().expect("problems").iter().filter_map(Value::as_str);
    let said = problems.filter(|problem| problem.starts_with("rollups: ")).any(|problem| problem.contains(what));
    let page = serving.metrics();
    let failing = page.get("runtape_failing{part=\"rollups\"}") == Some(1.0);
    assert_eq!(serving.get("/readyz").status, 200, "tables hold nobody up");
    said && failing && page.get("runtape_rollups_failures_total").is_some_and(|count| count > 0.0)
}

#[test]
fn a_directory_that_cannot_be_written_is_told_and_tried_again() {
    let (events, home) = (Events::new(), Events::new());
    events.append("runs", lines(1, 0..10));
    let blocked = home.path().join("blocked");
    fs::write(&blocked, "a file").expect("a writable directory");
    let out = blocked.join("tables");
    let serving = server(&events, &out);
    serving.ready();
    wait_until("it is told", || says(&serving, "cannot write") && says(&serving, "it is tried again"));
    let url = format!("http://{}", serving.address);
    let said = run(&["status", "--events", events.text(), "--server", &url]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("rollups: cannot write"), "{said}");
    let said = run(&["doctor", events.text(), "--server", &url]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("rollups: cannot write"), "{said}");
    fs::remove_file(&blocked).expect("our own file");
    rolled(&serving, 10);
    wait_until("all is well", || serving.metrics().get("runtape_failing{part=\"rollups\"}") == Some(0.0));
    assert_eq!(serving.terminate(), Some(0));
    as_backfilled(&events, &out);
}

#[test]
fn tables_have_one_server_and_one_tape() {
    let (events, others, out) = (Events::new(), Events::new(), Events::new());
    events.append("runs", lines(1, 0..10));
    others.append("runs", lines(1, 0..20));
    let serving = server(&events, out.path());
    rolled(&serving, 10);
    let other = server(&others, out.path());
    other.ready();
    wait_until("it is told", || says(&other, &format!("another runtape (pid {})", serving.pid())));
    assert_eq!(serving.terminate(), Some(0));
    wait_until("it is told", || says(&other, "of a tape that is another one"));
    assert_eq!(other.terminate(), Some(0));
    as_backfilled(&events, out.path());
    let tables = Events::new();
    backfilled(&tables, &["--events", events.text()]);
    let serving = server(&events, tables.path());
    serving.ready();
    wait_until("it is told", || says(&serving, "no server wrote"));
}

#[test]
fn a_place_that_can_never_be_is_refused() {
    let (events, home) = (Events::new(), Events::new());
    let file = home.path().join("file");
    fs::write(&file, "").expect("a writable directory");
    let link = home.path().join("link");
    std::os::unix::fs::symlink(events.path(), &link).expect("a writable directory");
    let check = |out: PathBuf, want: &str| {
        let args = ["serve", "--listen", "127.0.0.1:0", "--events", events.text(), "--rollups"];
        let output = run(&[&args[..], &[out.to_str().expect("a UTF-8 path")]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(want), "{said}");
    };
    check(events.path().to_owned(), "a directory beside it");
    check(events.path().join("tables/new"), "a directory beside it");
    check(link.join("tables"), "a directory beside it");
    check(file, "that is a file");
}
