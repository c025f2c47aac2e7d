use super::*;

/// A server whose policy limits what the table `[limits]` says, before anything else is on the tape.
fn limited(limits: &str, more: &str) -> (Events, Server) {
    let events = Events::new();
    let file = events.path().join("policy.toml");
    fs::write(&file, format!("{more}\n[limits]\n{limits}\n")).expect("a writable directory");
    let file = file.to_str().expect("a UTF-8 path");
    stdout(&run(&["policy", "apply", file, "--events", events.text(), "--reason", "small"]));
    let server = Server::start(events.path(), &[]);
    server.ready();
    (events, server)
}

fn status(server: &Server) -> String {
    let output = run(&["status", "--server", &format!("http://{}", server.address)]);
    String::from_utf8(output.stdout).expect("UTF-8 output")
}

#[test]
fn names_beyond_the_limit_are_counted_and_those_that_are_known_go_on() {
    let (events, server) = limited("agents = 3", "");
    for n in 0..6 {
        events.append("runs", format!("{{\"agent\":\"a{n}\",\"strategy\":\"s{n}\",\"reward\":1}}\n"));
    }
    for n in 0..6 {
        events.append("runs", format!("{{\"agent\":\"a0\",\"strategy\":\"t{n}\",\"reward\":1}}\n"));
    }
    let page = server.metrics();
    for limit in ["agents", "strategies"] {
        assert_eq!((load(&page, limit, "limit"), load(&page, limit, "limit_used")), (Some(3.0), Some(3.0)), "{limit}");
    }
    assert_eq!(load(&page, "agents", "limit_reached_total"), Some(3.0), "lines of three agents more");
    assert_eq!(load(&page, "strategies", "limit_reached_total"), Some(6.0));
    assert_eq!(page.get("agent_runs_total{agent=\"a0\"}"), Some(7.0), "a strategy too many costs no run");
    assert_eq!(page.get("agent_runs_total{agent=\"a3\"}"), None);
    let said = status(&server);
    assert!(said.contains("3 of at most 3 agents are known: raise limits.agents"), "{said}");
    assert!(said.contains("3 lines of agents beyond limits.agents are not folded"), "{said}");
}

#[test]
fn what_waits_and_what_is_reserved_is_bounded() {
    let (events, server) =
        limited("waiting_pnl = 5\nreservations = 2\ndedupe_ids = 4\njoin_runs = 3", "[budget]\ndaily_usd = 100.0");
    for n in 0..9 {
        events.append("pnl", format!("{{\"run_id\":\"w{n}\",\"realized_pnl_bps\":1}}\n"));
    }
    for n in 0..8 {
        let line = format!(
            "{{\"agent\":\"a\",\"run_id\":\"r{n}\",\"event_id\":\"e{n}\",\"errors\":1,\"error_type\":\"t{n}\"}}\n"
        );
        events.append("runs", line);
    }
    for n in 0..30 {
        events.append("runs", format!("{{\"agent\":\"a\",\"errors\":1,\"error_type\":\"u{n}\"}}\n"));
    }
    wait_until("all of it is folded", || server.metrics().get("runtape_position") == Some(48.0));
    let reserve = |run: &str| {
        let body = format!("{{\"agent\":\"a\",\"run_id\":\"{run}\",\"amount_usd\":1}}");
        let headers = [("Content-Type", "application/json")];
        let answer =
            Connection::open(server.address).ask_with("POST", "/api/v1/reservations", &headers, body.as_bytes());
        let answer: Value = serde_json::from_slice(&answer.expect("an answer").body).expect("JSON");
        (answer["granted"] == true, answer["decision"]["reason"]["way_out"].as_str().unwrap_or("").to_owned())
    };
    assert!(reserve("x1").0 && reserve("x2").0);
    let (granted, way_out) = reserve("x3");
    assert!(!granted && way_out.contains("raise limits.reservations"), "{way_out}");
    let page = server.metrics();
    let check = |limit: &str, want: (f64, f64)| {
        let got = (load(&page, limit, "limit_used"), load(&page, limit, "limit_reached_total"));
        assert_eq!(got, (Some(want.0), Some(want.1)), "used and reached of {limit}");
    };
    check("waiting_pnl", (5.0, 4.0));
    check("reservations", (2.0, 1.0));
    check("join_runs", (3.0, 5.0));
    // Requests have ids of their own.
    assert_eq!(load(&page, "dedupe_ids", "limit_used"), Some(4.0));
    assert!(load(&page, "dedupe_ids", "limit_reached_total") >= Some(4.0));
    check("error_types", (16.0, 22.0));
    assert_eq!(page.get("agent_errors_total{agent=\"a\",error_type=\"other\"}"), Some(22.0));
    assert_eq!(page.sum("agent_errors_total"), 38.0, "every failure counts");
}

/// So many names that a page with all of them would be of no use to anybody, a part of them beyond the limit of agents.
#[test]
fn a_bomb_of_names_leaves_the_server_up_and_the_old_agents_served() {
    const OLD: u64 = 100;
    let default = if std::env::var_os("RUNTAPE_RELEASE_BIN").is_some() { 120_000 } else { 12_000 };
    let bomb = size("RUNTAPE_BOMB_AGENTS", default);
    let events = Events::new();
    for n in 0..OLD {
        events.append("runs", format!("{{\"agent\":\"old-{n}\",\"reward\":1,\"cost_usd\":0.001,\"errors\":0}}\n"));
    }
    let server = Server::start_fast(events.path(), &[]);
    server.ready();
    let mut stream = fs::OpenOptions::new().append(true).open(events.stream("runs")).expect("the stream");
    for first in (0..bomb).step_by(1000) {
        let line = |n: u64| {
            format!(
                "{{\"run_id\":\"b{n}\",\"agent\":\"bomb-{n}\",\"strategy\":\"s{n}\",\"reward\":1,\"latency_ms\":9,\"errors\":0}}\n"
            )
        };
        let lines: String = (first..(first + 1000).min(bomb)).map(line).collect();
        stream.write_all(lines.as_bytes()).expect("a writable stream");
        // Somebody scrapes all the while.
        if first % 10_000 == 0 {
            assert_eq!(server.get("/metrics").status, 200);
        }
    }
    let position = (OLD + bomb) as f64;
    let mut page = Metrics(String::new());
    let all = || {
        page = server.metrics();
        page.get("runtape_position") == Some(position) && server.get("/readyz").status == 200
    };
    patiently("all of it is folded", all);
    let known = (OLD + bomb).min(100_000) as f64;
    assert_eq!(load(&page, "agents", "limit_used"), Some(known));
    let beyond = (OLD + bomb).saturating_sub(100_000) as f64;
    assert_eq!(page.get("runtape_agents_overflow_total"), Some(beyond));
    assert_eq!(load(&page, "shown_agents", "limit_used"), Some(10_000.0));
    assert_eq!(load(&page, "shown_agents", "limit_reached_total"), Some(known - 10_000.0));
    let series = page.0.lines().filter(|line| line.starts_with("agent_runs_total{")).count();
    assert_eq!(series, 10_000, "a page that can be read");
    // The old ones are served as before, and go on.
    events.append("more", "{\"agent\":\"old-7\",\"reward\":1,\"cost_usd\":0.001,\"errors\":0}\n");
    wait_until("a line of an old agent counts", || {
        server.metrics().get("agent_runs_total{agent=\"old-7\"}") == Some(2.0)
    });
    let verdict = |agent: &str| {
        let answer: Value = serde_json::from_str(&server.get(&format!("/api/v1/verdicts/{agent}")).body).expect("JSON");
        answer["verdict"].as_str().unwrap_or("").to_owned()
    };
    patiently("old agents have a verdict", || verdict("old-0") == "allow" && verdict("old-99") == "allow");
    assert_eq!(verdict(&format!("bomb-{}", 11_000)), "allow", "one that is not on the page");
    let served = memory_kib(server.pid(), "VmHWM");
    let said = status(&server);
    assert!(said.contains("agents are on the metric page"), "{said}");
    assert_eq!(said.contains("lines of agents beyond limits.agents"), beyond > 0.0, "{said}");
    let asked = memory_kib(server.pid(), "VmHWM");
    let bytes = page.0.len();
    println!(
        "{bomb} agents, {bytes} bytes of page, at most {} MiB, and {} MiB asked for all",
        served >> 10,
        asked >> 10
    );
    assert!(served < 2 << 20, "{served} KiB: docs/limits.md says less");
    assert!(asked < 2 << 20, "{asked} KiB once all rows were asked for: docs/limits.md says less");
    assert_eq!(server.terminate(), Some(0));
}

/// Waits for what takes a while on a busy machine.
fn patiently(what: &str, mut condition: impl FnMut() -> bool) {
    let watch = runtape::clock::Stopwatch::start();
    while !condition() {
        assert!(watch.elapsed().as_secs() < 600, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
