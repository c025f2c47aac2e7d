//! What people type, and what they are told: exit codes, one line that helps, nothing that scares.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Output, Stdio},
};

use crate::{
    support::{self, Events, RUNTAPE, Server},
    talk::Talk,
};

/// Runs a command that must end with a code and say this on standard error, in one line.
fn refused(args: &[&str], code: i32, says: &[&str]) {
    let output = support::run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for word in says {
        assert!(said.contains(word), "{args:?} should say {word:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    // The parser of arguments explains in several lines.
    if !said.starts_with("error: ") && !said.contains("Usage:") {
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    }
}

fn recorded() -> Events {
    let events = Events::new();
    support::stdout(&support::run(&["simulate", "--events", events.text(), "--lines", "3000", "--seed", "3"]));
    Talk::start(events.path(), &[]).terminate();
    events
}

#[test]
fn a_directory_that_is_none_is_a_mistake_of_whoever_typed_it() {
    let events = Events::new();
    let missing = events.path().join("nowhere");
    let missing = missing.to_str().expect("a UTF-8 path");
    events.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
    let file = events.stream("runs");
    let file = file.to_str().expect("a UTF-8 path");
    for command in ["replay", "verify", "serve"] {
        refused(&[command, "--events", missing], 2, &["no events directory", "nowhere", "--events DIR"]);
        refused(&[command, "--events", file], 2, &["runs.jsonl", "not a directory"]);
    }
    assert!(!events.path().join("nowhere").exists(), "nobody made it");
}

#[test]
fn mistakes_in_what_was_typed_end_with_two() {
    let events = Events::new();
    let dir = events.text();
    refused(&["replay", "--events", dir, "--nonsense"], 2, &["--nonsense"]);
    refused(&["repaly", "--events", dir], 2, &["repaly", "replay"]);
    refused(&[], 2, &["Usage"]);
    refused(&["replay", "--events", dir, "--at", "yesterday"], 2, &["--at", "yesterday", "RFC 3339"]);
    refused(&["replay", "--events", dir, "--at", "-5"], 2, &["-5"]);
    refused(&["replay", "--events", dir, "--consumers", "runs,roling"], 2, &["roling", "rolling"]);
    refused(&["serve", "--events", dir, "--snapshot-every", "0"], 2, &["--snapshot-every"]);
    refused(&["serve", "--events", dir, "--listen", "nowhere"], 2, &["--listen"]);
    refused(&["serve", "--events", dir, "--listen", "0.0.0.0:0"], 2, &["token", "0.0.0.0"]);
    let short = events.path().join("short");
    fs::write(&short, "secret\n").expect("a writable file");
    let short = short.to_str().expect("a UTF-8 path");
    refused(&["serve", "--events", dir, "--token-file", short, "--listen", "127.0.0.1:0"], 2, &["at least 16"]);
}

#[test]
fn policies_that_cannot_be_used_are_named() {
    let events = Events::new();
    let policy = events.path().join("policy.toml");
    let path = policy.to_str().expect("a UTF-8 path");
    let replay = ["replay", "--events", events.text(), "--policy", path];
    refused(&replay, 3, &["cannot read the policy", "policy.toml"]);
    for (text, says) in [
        ("[quarantine]\ndrawdwon_limit = -3.0\n", "drawdwon_limit"),
        ("[quarantine]\ndrawdown_limit = \"low\"\n", "drawdown_limit"),
        ("[rolling]\nwindow = 0\n", "window"),
        ("not toml at all", "expected"),
    ] {
        fs::write(&policy, text).expect("a writable file");
        let output = support::run(&replay);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn what_somebody_else_holds_is_not_taken() {
    let events = Events::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    refused(&["serve", "--events", events.text(), "--listen", &address], 3, &["cannot listen", &address, "--listen"]);
    let server = Server::start(events.path(), &[]);
    let holder = format!("pid {}", server.pid());
    refused(&["serve", "--events", events.text(), "--listen", "127.0.0.1:0"], 3, &[&holder, "another runtape"]);
    assert_eq!(server.get("/healthz").status, 200, "the first one goes on");
    assert_eq!(server.terminate(), Some(0));
    Talk::start(events.path(), &[]).terminate();
}

#[test]
fn a_tape_of_a_later_format_is_left_alone() {
    let events = recorded();
    let tape = events.path().join(".runtape/tape.jsonl");
    let text = fs::read_to_string(&tape).expect("a tape");
    let newer = text.clone() + "{\"v\":2,\"something\":\"new\"}\n";
    fs::write(&tape, &newer).expect("a writable tape");
    for command in [&["replay"][..], &["verify"], &["serve", "--listen", "127.0.0.1:0"]] {
        let args = [command, &["--events", events.text()]].concat();
        refused(&args, 3, &["format 2", "newer"]);
    }
    assert_eq!(fs::read_to_string(&tape).expect("a tape"), newer);
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let events = recorded();
    for more in [&["-o", "json"][..], &["-o", "text"], &["--decisions", "-o", "jsonl"]] {
        let mut child = Command::new(RUNTAPE)
            .args([&["replay", "--events", events.text()], more].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        assert_eq!((child.wait().expect("an end").code(), said.as_str()), (Some(0), ""), "{more:?}");
    }
    // A server goes on when nobody reads what it prints.
    let mut child = Command::new(RUNTAPE)
        .args(["serve", "--events", events.text(), "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    support::wait_until("it holds the directory", || {
        let pid = fs::read_to_string(events.path().join(".runtape/lock")).unwrap_or_default();
        assert!(child.try_wait().expect("a child").is_none(), "it ended");
        pid.trim() == child.id().to_string()
    });
    // From then on a signal is an orderly end, however early it comes.
    support::signal(child.id(), "TERM");
    assert_eq!(child.wait().expect("an end").code(), Some(0));
}

fn replay(events: &Events, at: &str) -> serde_json::Value {
    support::json(&support::run(&["replay", "--events", events.text(), "--at", at, "-o", "json"]))
}

/// Decisions of one consumer, out of a replay of some.
fn decisions(sample: &str, consumers: &[&str], of: &str) -> Vec<String> {
    let all = ["replay", "--events", sample, "--decisions", "-o", "jsonl"];
    let printed = support::stdout(&support::run(&[&all, consumers].concat()));
    let of = format!("\"consumer\":\"{of}\"");
    printed.lines().filter(|line| line.contains(&of)).map(str::to_owned).collect()
}

#[test]
fn some_consumers_conclude_what_they_conclude_among_all() {
    let sample = support::repository("events/demo");
    let sample = sample.to_str().expect("a UTF-8 path");
    let state = |consumers: &str| {
        let some = ["replay", "--events", sample, "--consumers", consumers, "-o", "json"];
        support::json(&support::run(&some))
    };
    let all = support::json(&support::run(&["replay", "--events", sample, "-o", "json"]));
    let (some, none) = (state("rolling"), state("none"));
    let mut rows = 0;
    for (name, row) in all["agents"].as_object().expect("agents") {
        assert_eq!(some["agents"][name]["reward"], row["reward"], "{name}");
        assert!(some["agents"][name].get("runs").is_none() && none["agents"][name].get("reward").is_none(), "{name}");
        rows += 1;
    }
    assert!(rows > 4, "only {rows} agents");
    assert_eq!((&none["lines"], &none["position"]), (&all["lines"], &all["position"]));
    assert_eq!(none["decisions"], 0);
    // Whom a consumer hears is folded with it.
    let given_out = decisions(sample, &[], "allocation");
    assert_eq!(decisions(sample, &["--consumers", "allocation"], "allocation"), given_out);
    assert!(!given_out.is_empty());
    assert_eq!(decisions(sample, &["--consumers", "runs"], "allocation"), Vec::<String>::new());
}

#[test]
fn the_state_at_a_position_or_a_time_is_that_of_the_lines_before_it() {
    let time = |n: u64| format!("2026-03-01T14:{:02}:00Z", n / 2);
    let line = |n: u64| format!("{{\"agent\":\"a{}\",\"reward\":-0.9,\"ts\":\"{}\"}}\n", n % 2, time(n));
    let events = Events::new();
    (0..40).for_each(|n| events.append("runs", line(n)));
    for end in [0, 1, 7, 39, 40] {
        let prefix = Events::new();
        prefix.append("runs", (0..end).map(line).collect::<String>());
        let (want, got) = (prefix.replay(), replay(&events, &end.to_string()));
        assert_eq!(got["position"], end);
        assert_eq!(got, want, "at {end}");
    }
    assert_eq!(replay(&events, "41")["position"], 40, "past the end is the end");
    for n in [0, 8, 39] {
        // Two lines have each time; up to a time means with them.
        assert_eq!(replay(&events, &time(n))["position"], (n / 2 + 1) * 2, "{}", time(n));
    }
    assert_eq!(replay(&events, "2026-03-01T00:00:00Z")["position"], 0);
}

/// Runs a command as on a terminal, if there is a way to.
fn on_a_terminal(command: &str, env: &[(&str, &str)]) -> Option<Output> {
    let script = Command::new("script")
        .args(["-qec", command, "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output();
    script.ok().filter(|output| output.status.success())
}

#[test]
fn colour_is_for_terminals_whose_owner_wants_it() {
    let events = Events::new();
    events.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
    let plain = support::stdout(&support::run(&["replay", "--events", events.text()]));
    assert!(!plain.contains('\u{1b}'), "a pipe gets no colour: {plain:?}");
    let command = format!("{RUNTAPE} replay --events {} 2>/dev/null", events.text());
    let (Some(coloured), Some(refused)) = (on_a_terminal(&command, &[]), on_a_terminal(&command, &[("NO_COLOR", "1")]))
    else {
        return;
    };
    assert!(String::from_utf8_lossy(&coloured.stdout).contains("\u{1b}["));
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("\u{1b}["));
}

#[test]
fn a_server_answers_those_who_may_ask() {
    let events = Events::new();
    let own = Server::start(events.path(), &[]);
    let port = own.address.port();
    for (headers, status) in [
        (vec![], 200),
        (vec![("Host", format!("localhost:{port}"))], 200),
        (vec![("Host", "evil.example".to_owned())], 403),
        (vec![("Host", format!("evil.example:{port}"))], 403),
        (vec![("Origin", format!("http://localhost:{port}"))], 200),
        (vec![("Origin", "http://evil.example".to_owned())], 403),
        (vec![("Origin", "null".to_owned())], 403),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for path in ["/", "/metrics", "/healthz", "/nothing"] {
            let want = if path == "/nothing" && status == 200 { 404 } else { status };
            assert_eq!(own.get_with(path, &headers).status, want, "{path} {headers:?}");
        }
    }
    drop(own);
    let token = events.path().join("token");
    fs::write(&token, "a secret of some length\n").expect("a writable file");
    let more = ["--token-file", token.to_str().expect("a UTF-8 path"), "--listen", "127.0.0.1:0"];
    let guarded = Server::start(events.path(), &more[..2]);
    for (header, status) in [
        (None, 401),
        (Some("Bearer a secret of some lengt"), 401),
        (Some("Basic a secret of some length"), 401),
        (Some("Bearer a secret of some length"), 200),
    ] {
        let headers: Vec<(&str, &str)> = header.iter().map(|value| ("Authorization", *value)).collect();
        assert_eq!(guarded.get_with("/metrics", &headers).status, status, "{header:?}");
    }
}

#[test]
fn requests_that_are_none_do_no_harm() {
    let events = Events::new();
    let server = Server::start(events.path(), &[]);
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for bytes in ["\r\n\r\n", "nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", &huge, "GET /"] {
        let mut stream = std::net::TcpStream::connect(server.address).expect("a listening server");
        let _ = stream.write_all(bytes.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.contains(" 4") || answer.contains(" 5"), "{answer}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}
