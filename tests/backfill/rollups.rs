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

use runtape::{
    files::{Disk as _, Files, simulated::Simulated},
    history::rollups::{RollupError, Rollups},
    layout::Layout,
};
use serde_json::Value;

use super::{backfilled, script};
use crate::support::{Events, Server, run, stdout, wait_until};

/// A run of a day of January 2026, with a signal.
fn line(day: u32, run: u32) -> String {
    let ts = 1_767_225_600 + (day - 1) * 86_400 + run * 60;
    format!(
        "{{\"run_id\":\"d{day}-{run}\",\"agent\":\"a{}\",\"ts\":{ts},\"latency_ms\":{run},\"reward\":0.1}}\n",
        run % 3
    )
}

fn lines(day: u32, runs: std::ops::Range<u32>) -> String {
    runs.map(|run| line(day, run)).collect()
}

fn pnl(day: u32, run: u32, bps: i32) -> String {
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
fn parts(out: &Path) -> BTreeMap<String, Vec<u8>> {
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
fn as_backfilled(events: &Events, out: &Path) -> usize {
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

/// An events directory of what was sealed, and no server.
fn sealed(events: &Events) {
    let server = Server::start(events.path(), &[]);
    server.ready();
    assert_eq!(server.terminate(), Some(0));
}

/// Below a directory of a simulated disk, what has its name.
fn simulated(disk: &Simulated, root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut parts = BTreeMap::new();
    for day in disk.list(&root.join("runs")).unwrap_or_default() {
        for part in disk.list(&day).expect("a folder of a day") {
            let name = part.strip_prefix(root.join("runs")).expect("below it").display().to_string();
            parts.insert(name, Files::of(disk.clone()).read(&part).expect("a part"));
        }
    }
    parts
}

/// A disk that is full: what stands there stands, nothing half is left, and once there is room it is as if nothing had been.
#[test]
fn a_full_disk_leaves_what_stood_there() {
    let (events, out) = (Events::new(), Path::new("/tables"));
    events.append("runs", lines(1, 0..1000) + &lines(2, 0..1000));
    sealed(&events);
    let disk = Simulated::new(out);
    let mut tables = Rollups::new(Layout::new(events.path()), Files::of(disk.clone()), out.to_owned());
    let turn = |tables: &mut Rollups| tables.turn(u64::MAX, &|_| true).map(|rolled| rolled.position);
    assert_eq!(turn(&mut tables).expect("there is room"), 2000);
    let before = simulated(&disk, out);
    assert_eq!(before.len(), 2);
    events.append("runs", lines(2, 1000..1400) + &lines(3, 0..1000));
    events.append("pnl", (0..1000).map(|run| pnl(1, run, 3)).collect::<String>());
    sealed(&events);
    let mut full = 0;
    for room in (0..).map(|tries| tries * 7_000) {
        disk.room(Some(room));
        match turn(&mut tables) {
            Ok(position) => {
                assert_eq!(position, 4400);
                break;
            }
            Err(error) => {
                full += 1;
                let said = error.to_string();
                assert!(said.contains("no space left") && said.contains("it is tried again"), "{said}");
                let now = simulated(&disk, out);
                assert!(now == before || now.len() == 3, "{:?}", now.keys());
            }
        }
        assert!(full < 500, "it never ends");
    }
    assert!(full > 3, "{full} times full");
    let fresh = Events::new();
    backfilled(&fresh, &["--events", events.text()]);
    assert!(simulated(&disk, out) == parts(fresh.path()));
    println!("{full} times full, then as if nothing had been");
}

/// Told to stop, it ends in the middle and keeps nothing half.
#[test]
fn it_ends_when_it_is_told() {
    let (events, out) = (Events::new(), Events::new());
    events.append("runs", lines(1, 0..30_000));
    sealed(&events);
    let mut tables = Rollups::new(Layout::new(events.path()), Files::machine(), out.path().to_owned());
    assert!(tables.turn(u64::MAX, &|_| false).is_err());
    assert!(parts(out.path()).is_empty());
    tables.turn(u64::MAX, &|_| true).expect("it goes on");
    as_backfilled(&events, out.path());
    let mut another = Rollups::new(Layout::new(events.path()), Files::machine(), out.path().to_owned());
    assert!(matches!(another.turn(u64::MAX, &|_| true), Err(RollupError::Held { .. })));
}

/// More runs than may stay open: the oldest leave memory, and the rows are those of a backfill, be it in other parts.
#[test]
fn runs_that_leave_memory_keep_their_rows() {
    let (events, out, fresh) = (Events::new(), Events::new(), Events::new());
    let policy = out.path().join("policy.toml");
    fs::write(&policy, "[limits]\njoin_runs = 1000\n").expect("a writable directory");
    stdout(&run(&["policy", "apply", policy.to_str().expect("a UTF-8 path"), "--events", events.text()]));
    let tables_of = || Rollups::new(Layout::new(events.path()), Files::machine(), out.path().join("tables"));
    let mut tables = tables_of();
    for part in 0..4_u32 {
        let runs = part * 40_000..part * 40_000 + 40_000;
        events.append("runs", runs.map(|run| line(1 + run / 30_000, run % 30_000)).collect::<String>());
        // Of a run that left, of one that did not, and of one that just came.
        let left = "{\"run_id\":\"d1-5\",\"agent\":\"a2\",\"realized_pnl_bps\":-1}\n";
        events.append("pnl", left.to_owned() + &pnl(1 + part, 29_999, 2) + &pnl(1 + part, 9_000, 3));
        sealed(&events);
        if part == 2 {
            drop(tables);
            tables = tables_of();
        }
        tables.turn(u64::MAX, &|_| true).expect("a writable directory");
    }
    backfilled(&fresh, &["--events", events.text()]);
    let Some(want) = script("rows.py", &[fresh.text()]) else { return };
    let got = script("rows.py", &[out.path().join("tables").to_str().expect("a UTF-8 path")]).unwrap_or_default();
    assert!(want.lines().count() > 160_000 && want == got, "{} rows, {}", want.lines().count(), got.lines().count());
    assert!(parts(&out.path().join("tables")).keys().all(|name| name.ends_with(".parquet")));
}

/// What cannot be read of the history is told, and the rest is in the tables.
#[test]
fn a_hole_in_the_history_is_told() {
    let (events, out, fresh) = (Events::new(), Events::new(), Events::new());
    events.append("runs", lines(1, 0..20));
    sealed(&events);
    events.append("runs", lines(2, 0..20));
    sealed(&events);
    let text = fs::read_to_string(events.stream("runs")).expect("a stream");
    let file = fs::OpenOptions::new().write(true).open(events.stream("runs")).expect("a stream");
    let changed = text.replace("d1-7", "d1-8");
    std::os::unix::fs::FileExt::write_all_at(&file, changed.as_bytes(), 0).expect("a writable stream");
    let mut tables = Rollups::new(Layout::new(events.path()), Files::machine(), out.path().to_owned());
    let rolled = tables.turn(u64::MAX, &|_| true).expect("the rest is answered");
    assert_eq!(rolled.position, 40);
    assert!(rolled.gaps.len() == 1 && rolled.gaps[0].to == 20, "{:?}", rolled.gaps);
    run(&["backfill", "--out", fresh.text(), "--events", events.text()]);
    assert!(parts(out.path()) == parts(fresh.path()));
}
