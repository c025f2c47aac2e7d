//! `runtape doctor` on directories that are really broken: what it says, and the code it ends with.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::support::{Events, RUNTAPE, Server, json, programs::as_nobody, repository, run, stdout, wait_until};

/// A directory that a server has sealed and left.
fn sealed() -> Events {
    let events = Events::new();
    stdout(&run(&["simulate", "--events", events.text(), "--lines", "2000", "--seed", "5"]));
    let server = Server::start(events.path(), &[]);
    server.ready();
    assert_eq!(server.terminate(), Some(0));
    events
}

/// Away from the machine's own server and configuration, so that each finding is of the test's making.
fn doctor(dir: &Path, args: &[&str]) -> Command {
    let mut doctor = Command::new(RUNTAPE);
    doctor.arg("doctor").arg(dir).args(["--listen", "127.0.0.1:0", "--etc", "/nowhere"]).args(args);
    doctor.stdin(Stdio::null());
    doctor
}

/// What is said must begin a line, and the code must be that of the worst line.
#[track_caller]
fn says(output: &Output, wants: &[&str]) {
    let said = String::from_utf8_lossy(&output.stdout);
    for want in wants {
        assert!(said.lines().any(|line| line.starts_with(want)), "{want:?} is not said:\n{said}");
    }
    let fails = said.lines().any(|line| line.starts_with("FAIL"));
    assert_eq!(output.status.code(), Some(i32::from(fails)), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.lines().collect();
    for (line, next) in lines.iter().zip(&lines[1..]) {
        let bad = line.starts_with("FAIL") || line.starts_with("warn");
        assert_eq!(bad, next.trim_start().starts_with("-> "), "{line}: with what to do, where there is something");
    }
}

#[track_caller]
fn check(dir: &Path, args: &[&str], wants: &[&str]) {
    says(&doctor(dir, args).output().expect("the program starts"), wants);
}

#[test]
fn a_sound_directory_is_fit() {
    let events = sealed();
    let wants = ["ok   directory", "ok   permissions", "ok   streams", "ok   tape", "ok   durable", "ok   snapshots"];
    check(events.path(), &[], &wants);
    let rest = ["ok   clock", "ok   rotation    logrotate does not touch", "ok   port", "ok   policy      b3:"];
    check(events.path(), &[], &rest);
    let report = json(&doctor(events.path(), &["-o", "json"]).output().expect("the program starts"));
    assert_eq!((&report["fit"], &report["failed"]), (&true.into(), &0.into()), "{report}");
    assert!(report["checks"].as_array().is_some_and(|checks| checks.len() >= 12), "{report}");
    check(Events::new().path(), &[], &["ok   tape        there is none yet", "ok   snapshots   there are none"]);
}

#[test]
fn a_directory_that_is_none() {
    let events = Events::new();
    check(&events.path().join("nowhere"), &[], &["FAIL directory   there is no "]);
    events.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
    check(&events.stream("runs"), &[], &["FAIL directory   "]);
    fs::write(events.path().join(".runtape"), "").expect("a writable directory");
    check(events.path(), &[], &["FAIL permissions "]);
    assert_eq!(run(&["doctor", events.text(), "--events", events.text()]).status.code(), Some(2));
}

#[test]
fn files_that_nobody_may_use_or_everybody_may() {
    let events = sealed();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
    mode(events.path(), 0o777);
    let open = format!("warn permissions everybody on this machine may write {}", events.text());
    check(events.path(), &[], &[&open]);
    mode(events.path(), 0o755);
    mode(&events.stream("runs"), 0o600);
    // Permissions do not hold for the administrator: somebody else looks.
    let args = ["doctor", events.text(), "--listen", "127.0.0.1:0", "--etc", "/nowhere"];
    let Some(output) = as_nobody(&args) else { return };
    let dir = format!("FAIL permissions {} cannot be written by this user", events.text());
    let own = format!("FAIL permissions {}/.runtape", events.text());
    let stream = format!("FAIL permissions {} cannot be read by this user", events.stream("runs").display());
    says(&output, &[&dir, &own, &stream]);
}

#[test]
fn streams_that_cannot_be_followed() {
    let events = sealed();
    let runs = events.stream("runs");
    let text = fs::read(&runs).expect("the stream");
    fs::write(&runs, &text[..100]).expect("a writable stream");
    check(events.path(), &[], &["FAIL streams     runs was truncated below offset "]);
    fs::write(&runs, &text).expect("a writable stream");
    std::os::unix::fs::symlink(&runs, events.stream("other")).expect("a writable directory");
    check(events.path(), &[], &["FAIL streams     cannot follow "]);
}

#[test]
fn a_tape_that_is_damaged() {
    let events = sealed();
    let (tape, runs) = (events.path().join(".runtape/tape.jsonl"), events.stream("runs"));
    let (whole, stream) = (fs::read(&tape).expect("the tape"), fs::read(&runs).expect("the stream"));
    let mut flipped = whole.clone();
    let at = whole.len() / 2;
    flipped[at] ^= 1;
    fs::write(&tape, &flipped).expect("a writable file");
    check(events.path(), &[], &["FAIL tape        the tape ", "FAIL policy"]);
    fs::write(&tape, [&whole[..], b"{\"v\":1,\"ro"].concat()).expect("a writable file");
    check(events.path(), &[], &["warn tape        its last line is torn"]);
    fs::write(&tape, "").expect("a writable file");
    check(events.path(), &[], &["FAIL durable     positions before "]);
    fs::write(&tape, &whole).expect("a writable file");
    let mut flipped = stream.clone();
    let at = stream.len() / 2;
    flipped[at] ^= 1;
    // In place: another file of that name would be told as such.
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(&runs).expect("a writable stream");
    file.write_all_at(&flipped, 0).expect("a writable stream");
    check(events.path(), &[], &["FAIL tape        round "]);
}

#[test]
fn snapshots_that_cannot_be_read() {
    let events = sealed();
    let snapshots = fs::read_dir(events.path().join(".runtape/snapshots")).expect("the snapshots");
    let path = snapshots.flatten().next().expect("a snapshot").path();
    fs::write(&path, "no snapshot").expect("a writable file");
    check(events.path(), &[], &[&format!("warn snapshots   {}", path.display())]);
}

#[test]
fn a_clock_that_was_set_back() {
    let events = sealed();
    let file = fs::File::open(events.stream("runs")).expect("the stream");
    let later =
        file.metadata().and_then(|about| about.modified()).expect("a time") + std::time::Duration::from_secs(86_400);
    file.set_modified(later).expect("our own file");
    check(events.path(), &[], &["FAIL clock       it is "]);
}

#[test]
fn what_the_machine_does_not_grant() {
    let events = sealed();
    let under = |shell: &str, script: &[&str]| {
        let mut command = Command::new(shell);
        command.args(script).args([RUNTAPE, "doctor", events.text(), "--listen", "127.0.0.1:0", "--etc", "/nowhere"]);
        command.stdin(Stdio::null()).output().expect("a shell starts")
    };
    let few = under("sh", &["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]);
    says(&few, &["FAIL open files  64 at once"]);
    // A name space of its own, where this user may watch nothing, and the disk is small.
    let none = "echo 0 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let blind = under("unshare", &["--user", "--map-root-user", "sh", "-c", none]);
    if String::from_utf8_lossy(&blind.stdout).contains("directory") {
        says(&blind, &["warn inotify     the kernel tells nothing"]);
    } else {
        eprintln!("left out: no name space of one's own: {}", String::from_utf8_lossy(&blind.stderr));
    }
    let small = "mount -t tmpfs -o size=1M none \"$2\" && mkdir \"$2/.runtape\" && exec \"$0\" \"$@\"";
    let full = under("unshare", &["--user", "--map-root-user", "--mount", "sh", "-c", small]);
    if String::from_utf8_lossy(&full.stdout).contains("directory") {
        says(&full, &["FAIL disk        "]);
    } else {
        eprintln!("left out: no disk of one's own: {}", String::from_utf8_lossy(&full.stderr));
    }
}

#[test]
fn a_port_that_is_taken_and_a_server_that_died() {
    let events = sealed();
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("an address").to_string();
    let listen = |address: &str| {
        let mut command = Command::new(RUNTAPE);
        command.args(["doctor", events.text(), "--etc", "/nowhere", "--listen", address]).stdin(Stdio::null());
        command.output().expect("the program starts")
    };
    says(&listen(&address), &[&format!("FAIL port        {address} is taken by another program")]);
    drop(other);
    let elsewhere = Events::new();
    let server = Server::start(elsewhere.path(), &[]);
    let address = server.address.to_string();
    says(&listen(&address), &[&format!("FAIL port        {address} is taken by a runtape that follows another")]);
    says(&listen("192.0.2.1:8273"), &["FAIL port        nobody can listen on 192.0.2.1:8273"]);
    server.kill();
    check(elsewhere.path(), &[], &["warn server      the one of pid "]);
}

#[test]
fn a_server_that_runs_says_who_scrapes_it() {
    let events = sealed();
    let server = Server::start(events.path(), &[]);
    server.ready();
    let url = format!("http://{}", server.address);
    let serves = format!("ok   server      {url} serves it, and is ready");
    check(events.path(), &[], &[&serves, "warn scrapes     nobody has asked for the metrics", "ok   policy      b3:"]);
    server.get_with("/metrics", &[("User-Agent", "Prometheus/2.42.0")]);
    wait_until("the scrape is counted", || server.get("/api/v1/status").body.contains("\"count\":1"));
    let output = doctor(events.path(), &[]).output().expect("the program starts");
    says(&output, &["ok   scrapes     1 so far, the last 0 s ago by Prometheus/2.42.0"]);
    drop(server);
    let (events, tokens) = (Events::new(), Events::new());
    let file = tokens.path().join("token");
    fs::write(&file, "a secret of sixteen\n").expect("a writable directory");
    let file = file.to_str().expect("a UTF-8 path");
    let server = Server::start(events.path(), &["--token-file", file]);
    check(events.path(), &[], &["warn server      "]);
    check(events.path(), &["--token-file", file], &[&format!("ok   server      http://{}", server.address)]);
}

#[test]
fn rotation_that_loses_lines() {
    let (events, etc) = (sealed(), Events::new());
    fs::create_dir(etc.path().join("logrotate.d")).expect("a writable directory");
    let place = etc.path().join("logrotate.d/agents");
    let with = |options: &str, want: &str| {
        let text =
            format!("{}/*.jsonl {{\n{options}\n}}\n", fs::canonicalize(events.path()).expect("a path").display());
        fs::write(&place, text).expect("a writable directory");
        let mut command = Command::new(RUNTAPE);
        command.args(["doctor", events.text(), "--listen", "127.0.0.1:0", "--etc", etc.text()]).stdin(Stdio::null());
        says(&command.output().expect("the program starts"), &[&want.replace("PLACE", place.to_str().unwrap_or(""))]);
    };
    with("copytruncate", "FAIL rotation    PLACE:1 empties streams in place");
    with("allowhardlink\ncompress", "warn rotation    PLACE:1 compresses streams: ");
    with("daily", "warn rotation    PLACE:1 rotates nothing");
    with("allowhardlink", "ok   rotation    PLACE:1 renames");
}

#[test]
fn policies_that_cannot_be_used() {
    let (events, policy) = (sealed(), Events::new());
    let file = policy.path().join("policy.toml");
    fs::write(&file, "[budget]\ndaily_usd = -1\n").expect("a writable directory");
    check(events.path(), &["--policy", file.to_str().expect("a UTF-8 path")], &["FAIL policy      "]);
    fs::write(&file, "[budget]\ndaily_usd = 7\n").expect("a writable directory");
    check(events.path(), &["--policy", file.to_str().expect("a UTF-8 path")], &["ok   policy      b3:"]);
    let output = doctor(events.path(), &[]).env("AGENT_DAILY_BUDGET_USD", "much").output().expect("the program starts");
    says(&output, &["FAIL policy      AGENT_DAILY_BUDGET_USD = "]);
}

#[test]
fn doctor_writes_nothing() {
    let events = Events::copy_of(&repository("events/demo"));
    check(events.path(), &[], &["ok   tape        there is none yet"]);
    assert!(!events.path().join(".runtape").exists());
}
