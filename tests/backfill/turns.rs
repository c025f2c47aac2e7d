use std::{collections::BTreeMap, fs, path::Path};

use runtape::{
    files::{Disk as _, Files, simulated::Simulated},
    history::rollups::{RollupError, Rollups},
    layout::Layout,
};

use super::{
    backfilled,
    rollups::{as_backfilled, line, lines, parts, pnl},
    script,
};
use crate::support::{Events, Server, run, stdout};

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

/// What was pruned from the tape stays in the tables, as long as they held it.
#[test]
fn tables_outlive_what_was_pruned() {
    let (events, out) = (Events::new(), Events::new());
    let tables = || Rollups::new(Layout::new(events.path()), Files::machine(), out.path().to_owned());
    let turn = || tables().turn(u64::MAX, &|_| true).map(|rolled| rolled.position);
    let prune = |before: &str| stdout(&run(&["prune", "--events", events.text(), "--before", before, "--yes"]));
    for day in 1..4 {
        events.append("runs", lines(day, 0..20));
        sealed(&events);
    }
    assert_eq!(turn().expect("a writable directory"), 60);
    let before = parts(out.path());
    prune("40");
    assert_eq!(turn().expect("it goes on"), 60);
    assert!(parts(out.path()) == before);
    events.append("runs", lines(4, 0..20));
    events.append("pnl", pnl(1, 3, 9));
    sealed(&events);
    assert_eq!(turn().expect("it goes on"), 81);
    let now = parts(out.path());
    assert_eq!((now.len(), before.len()), (4, 3));
    let changed: Vec<_> = before.iter().filter(|(name, bytes)| now[*name] != **bytes).map(|(name, _)| name).collect();
    assert_eq!(changed, ["day=2026-01-01/part-000000.parquet"], "its run earned something");
    // Pruned beyond what the tables hold, they have a hole that nothing fills; damaged, they cannot be made again.
    for day in 5..7 {
        events.append("runs", lines(day, 0..20));
        sealed(&events);
    }
    let kept = fs::read(out.path().join(".rollups/checkpoint")).expect("a checkpoint");
    prune("101");
    assert!(turn().expect_err("there is a hole").to_string().contains("pruned beyond that"));
    fs::write(out.path().join(".rollups/checkpoint"), &kept[..kept.len() / 2]).expect("a writable file");
    assert!(turn().expect_err("they cannot be made again").to_string().contains("was pruned from the tape"));
    assert!(parts(out.path()) == now, "what they hold stays");
}
