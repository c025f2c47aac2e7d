use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use runtape::{
    files::{Disk as _, Files, simulated::Simulated},
    history::{
        HistoryError,
        backfill::{Plan, Report, backfill},
        pile::{Pile, of_dir},
    },
};

use super::{backfilled, script};
use crate::support::{Events, RUNTAPE, Server, fast, run, size, stdout};

/// A fleet of a day and a half.
fn fleet(lines: &str) -> Events {
    let events = Events::new();
    let args = ["simulate", "--events", events.text(), "--seed", "9", "--start", "2024-02-28T12:00:00Z", "--gap-ms"];
    stdout(&run(&[&args[..], &["20000", "--lines", lines]].concat()));
    events
}

/// Every row of both tables, and every sample.
fn content(out: &Path) -> Option<String> {
    let text = out.to_str().expect("a UTF-8 path");
    let rows = script("rows.py", &[text])?;
    let series = script("rows.py", &[text, "series"])?;
    let mut pages: Vec<PathBuf> =
        fs::read_dir(out.join("openmetrics")).expect("pages").flatten().map(|entry| entry.path()).collect();
    pages.sort();
    let pages = pages.iter().map(|page| fs::read_to_string(page).expect("a page")).collect::<String>();
    Some(rows + &series + &pages)
}

fn same(want: &Option<String>, got: &Option<String>) {
    let (Some(want), Some(got)) = (want, got) else { return };
    let differs = want.lines().zip(got.lines()).find(|(want, got)| want != got);
    assert!(want == got, "{} and {} lines, {differs:#?}", want.lines().count(), got.lines().count());
}

/// What lies below a directory of a simulated disk, on a real one.
fn carried(disk: &Simulated, from: &Path, to: &Path) {
    for path in disk.list(from).expect("a directory") {
        let name = to.join(path.file_name().expect("a name"));
        if disk.about(&path).expect("a path that was listed").is_file() {
            fs::write(name, Files::of(disk.clone()).read(&path).expect("a readable file"))
                .expect("a writable directory");
        } else {
            fs::create_dir_all(&name).expect("a writable directory");
            carried(disk, &path, &name);
        }
    }
}

/// A disk that fills again and again: each call says what to do, and the next goes on, to the same tables in the end.
#[test]
fn a_disk_that_fills_is_told_and_gone_on_with() {
    let (events, whole) = (fleet("12000"), Events::new());
    backfilled(&whole, &["--step", "15m", events.text()]);
    let out = Path::new("/tables");
    let disk = Simulated::new(out);
    let found = of_dir(&Files::machine(), events.path()).expect("streams");
    let call = || -> Result<Report, HistoryError> {
        let pile = Pile::of(&Files::machine(), &found, out)?;
        let plan = Plan {
            files: Files::of(disk.clone()),
            out: out.to_owned(),
            history: pile.identity(),
            policy: None,
            open_runs: None,
            step: Some(15 * 60 * 1_000_000_000),
            labels: vec![("job", "runtape".to_owned()), ("instance", "backfill".to_owned())],
            every: Some(1500),
        };
        backfill(&pile.directory, &plan, &mut |_| {})
    };
    let (mut room, mut full, mut went_on) = (20_000, 0, 0);
    let report = loop {
        disk.room(Some(room));
        match call() {
            Ok(report) => break report,
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("no space left") && said.contains("it goes on"), "{said}");
                full += 1;
            }
        }
        room += 150_000;
        assert!(full < 200, "it never ends");
    };
    went_on += usize::from(report.went_on_from.is_some_and(|position| position > 1000));
    assert!(full > 5 && went_on == 1, "{full} times full, {:?}", report.went_on_from);
    let carried_to = Events::new();
    carried(&disk, out, carried_to.path());
    same(&content(whole.path()), &content(carried_to.path()));
    println!("{full} times full, then as if nothing had been");
}

/// Killed at any moment, typed again: the same tables.
#[test]
fn a_backfill_that_was_killed_goes_on() {
    let (events, whole, out) = (fleet("20000"), Events::new(), Events::new());
    backfilled(&whole, &["--step", "15m", events.text()]);
    let args = ["--step", "15m", "--checkpoint-lines", "1000", events.text()];
    let (mut killed, mut went_on) = (0, 0);
    for round in 0..40 {
        let mut command = Command::new(RUNTAPE);
        let mut child = command
            .args(["backfill", "--out", out.text()])
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        thread::sleep(Duration::from_millis(40 + 30 * round));
        if child.try_wait().expect("our own child").is_some() {
            break;
        }
        child.kill().expect("a running program");
        child.wait().expect("a dead program");
        killed += 1;
        went_on += usize::from(out.path().join(".backfill/checkpoint").exists());
    }
    let told = backfilled(&out, &args);
    assert!(killed > 2 && went_on > 0, "killed {killed} times, {went_on} with a checkpoint");
    same(&content(whole.path()), &content(out.path()));
    println!("killed {killed} times, at last from line {}", told["went_on_from"]);
}

#[test]
fn only_the_same_is_gone_on_with() {
    let (events, out) = (fleet("3000"), Events::new());
    let first = backfilled(&out, &[events.text()]);
    let again = backfilled(&out, &[events.text()]);
    assert_eq!(
        (&again["runs"], &again["went_on_from"]),
        (&first["runs"], &first["position"]),
        "there is nothing to do"
    );
    let other = |args: &[&str], want: &str| {
        let output = run(&[&["backfill", "--out", out.text()], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(want) && said.contains("another --out"), "{said}");
    };
    other(&["--step", "5m", events.text()], "another --step");
    other(&["--open-runs", "5", events.text()], "another --open-runs");
    events.append("runs", "{\"agent\":\"late\",\"errors\":0}\n");
    other(&[events.text()], "logs that have changed since");
    fs::remove_dir_all(out.path().join(".backfill")).expect("our own directory");
    other(&[events.text()], "no checkpoint");
}

/// What a tape got since is taken in, and what was still open is joined.
#[test]
fn a_tape_that_grew_is_gone_on_with() {
    let (events, out, fresh) = (Events::new(), Events::new(), Events::new());
    let seal = || {
        let server = Server::start(events.path(), &[]);
        server.ready();
        assert_eq!(server.terminate(), Some(0));
    };
    let line = |run: u32| {
        format!("{{\"run_id\":\"r{run}\",\"agent\":\"a\",\"ts\":{},\"errors\":0}}\n", 1_700_000_000 + run * 60)
    };
    let lines = |runs: std::ops::Range<u32>| runs.map(line).collect::<String>();
    events.append("runs", lines(0..500));
    seal();
    let args = ["--step", "5m", "--events", events.text()];
    let told = backfilled(&out, &args);
    assert_eq!((&told["position"], &told["went_on_from"]), (&500.into(), &().into()));
    events.append("runs", lines(500..700) + "{\"run_id\":\"r3\",\"realized_pnl_bps\":7}\n");
    seal();
    let told = backfilled(&out, &args);
    assert_eq!((&told["position"], &told["went_on_from"]), (&701.into(), &500.into()));
    backfilled(&fresh, &args);
    let (got, want) = (content(out.path()), content(fresh.path()));
    same(&want, &got);
    assert!(got.is_none_or(|got| got.contains("'r3'")));
}

/// Kilobytes that a program has had at most.
fn peak(out: &Events, args: &[&str]) -> u64 {
    // What intake may remember is a limit of the policy, and reached at once by this one.
    let policy = Events::new();
    let file = policy.path().join("policy.toml");
    fs::write(&file, "[limits]\njoin_runs = 20000\ndedupe_ids = 20000\n").expect("a writable directory");
    let mut command = Command::new(fast());
    let command = command.args(["backfill", "--out", out.text(), "--policy"]).arg(&file).args(args);
    let mut child = command.stdout(Stdio::null()).spawn().expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().expect("our own child").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0).max(most);
        thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().expect("our own child").success());
    most
}

/// Four times the log, and no more memory. `RUNTAPE_BACKFILL_LINES` makes it as large as one likes.
#[test]
fn memory_does_not_grow_with_the_log() {
    let lines = size("RUNTAPE_BACKFILL_LINES", 1_200_000);
    let peaks = [lines / 4, lines].map(|lines| {
        let (events, out) = (Events::new(), Events::new());
        stdout(&run(&["simulate", "--events", events.text(), "--lines", &lines.to_string(), "--seed", "4"]));
        let files = fs::read_dir(events.path()).expect("streams").flatten();
        let bytes: u64 = files.map(|file| file.metadata().map_or(0, |about| about.len())).sum();
        let peak = peak(&out, &[events.text()]);
        println!("{lines} lines, {} MB: peak {} MB", bytes >> 20, peak >> 10);
        peak
    });
    assert!(peaks[1] < peaks[0] + peaks[0] / 4, "{peaks:?} kB");
}
