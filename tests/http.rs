//! The server over real sockets: what it answers, to whom, and under pressure.

use std::{collections::BTreeMap, io::Read, net::TcpStream, thread, time::Duration};

use flate2::read::GzDecoder;
use runtape::{clock::Stopwatch, consumers::REGISTRY};

use crate::support::{Events, Metrics, Server, repository, run, wait_until};
use client::{Answer, Connection};

/// HTTP as a test wants it: several requests on a connection, any method, bytes.
pub mod client;

fn demo() -> (Events, Server) {
    let events = Events::copy_of(&repository("events/demo"));
    let server = Server::start(events.path(), &[]);
    server.ready();
    (events, server)
}

#[track_caller]
fn check(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], status: u16) -> Answer {
    let answer = Connection::open(server.address).ask(method, path, headers).expect("an answer");
    assert_eq!(answer.status, status, "{method} {path} {headers:?}: {}", answer.text());
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
    let policy = answer.header("content-security-policy").unwrap_or("");
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{method} {path}");
    answer
}

#[test]
fn paths_and_methods() {
    let (_events, server) = demo();
    assert_eq!(check(&server, "GET", "/healthz", &[], 200).text(), "ok\n");
    assert_eq!(check(&server, "GET", "/readyz", &[], 200).text(), "ok\n");
    assert!(check(&server, "GET", "/", &[], 200).text().contains("/metrics"));
    check(&server, "GET", "/metrics?format=prometheus", &[], 200);
    for path in [
        "/metric",
        "/metrics/",
        "/healthz/x",
        "/../etc/passwd",
        "/%2e%2e/",
        "//",
        "/METRICS",
        "/runs",
        "/runs/",
        "/agents/a/b",
    ] {
        check(&server, "GET", path, &[], 404);
    }
    for path in ["/", "/metrics", "/healthz", "/readyz"] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "BREW"] {
            let answer = check(&server, method, path, &[], 405);
            assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{method} {path}");
        }
        let (get, head) = (check(&server, "GET", path, &[], 200), check(&server, "HEAD", path, &[], 200));
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}: a HEAD has no body");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

/// Where an exemplar leads, somebody is told about the run, and from there about its agent.
#[test]
fn an_exemplar_leads_to_the_page_of_its_run() {
    let (_events, server) = demo();
    let page = |path: &str, status: u16| {
        let answer = check(&server, "GET", path, &[], status);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        answer.text()
    };
    let open = [("Accept", "application/openmetrics-text; version=1.0.0")];
    let metrics = check(&server, "GET", "/metrics", &open, 200).text();
    let exemplar = metrics.split(" # {run_id=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an exemplar");
    let run = page(&format!("/runs/{exemplar}"), 200);
    assert!(run.contains(&format!("<h1>Run {exemplar}</h1>")), "{run}");
    let link = |page: &str, kind: &str| {
        let begun = page.split(&format!("href=\"/{kind}/")).nth(1).expect(kind);
        format!("/{kind}/{}", begun.split('"').next().expect("the end of a link"))
    };
    let agent = page(&link(&run, "agents"), 200);
    let worst = page(&link(&agent, "runs"), 200);
    assert!(worst.contains("<h1>Run ") && page("/fleet", 200).contains("<h1>The fleet</h1>"));
    let style = check(&server, "GET", "/style.css", &[], 200);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(
        run.contains("<link rel=\"stylesheet\" href=\"/style.css\">") && style.text().contains("prefers-color-scheme")
    );
    let near = format!("{}x", &exemplar[..exemplar.len() - 1]);
    assert!(page(&format!("/runs/{near}"), 404).contains(exemplar), "a near id is suggested");
    assert!(page("/agents/breakout-xrq", 404).contains("did you mean breakout-xrp?"));
    let hostile = page("/runs/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 404);
    assert!(hostile.contains("&lt;script&gt;") && !hostile.contains("<script"), "{hostile}");
    check(&server, "GET", "/runs/%FF", &[], 400);
    check(&server, "POST", "/fleet", &[], 405);
}

#[test]
fn only_this_machine_is_answered_without_a_token() {
    let (events, server) = demo();
    let refused = run(&["serve", "--events", events.text(), "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2), "it listens to others without a token");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("without a token"));
    let port = server.address.port();
    let (foreign, local) = (format!("desk.example:{port}"), format!("localhost:{port}"));
    check(&server, "GET", "/metrics", &[("Host", &foreign)], 403);
    check(&server, "GET", "/metrics", &[("Host", &local)], 200);
    check(&server, "GET", "/metrics", &[("Host", &local), ("Origin", "https://desk.example")], 403);
    drop(server);
    let file = events.path().join("token.txt");
    std::fs::write(&file, "a secret of some length\n").expect("a writable directory");
    let server = Server::start(events.path(), &["--token-file", file.to_str().expect("a UTF-8 path")]);
    for path in ["/metrics", "/healthz", "/fleet", "/agents/a", "/runs/r", "/nothing"] {
        check(&server, "GET", path, &[], 401);
        check(&server, "GET", path, &[("Authorization", "Bearer a secret of another length")], 401);
    }
    check(&server, "GET", "/metrics", &[("Authorization", "Bearer a secret of some length")], 200);
}

#[test]
fn the_page_comes_as_it_is_asked_for() {
    let (_events, server) = demo();
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let check = |accept: &str, encoding: &str, want: &str, packed: bool| {
        let headers = [("Accept", accept), ("Accept-Encoding", encoding)];
        let answer = check(&server, "GET", "/metrics", &headers, 200);
        assert_eq!(answer.header("content-type"), Some(want), "Accept: {accept}");
        assert_eq!(answer.header("vary"), Some("accept, accept-encoding"));
        assert_eq!(answer.header("content-encoding"), packed.then_some("gzip"), "Accept-Encoding: {encoding}");
        let mut page = String::new();
        if packed {
            GzDecoder::new(&answer.body[..]).read_to_string(&mut page).expect("gzip");
        } else {
            page = answer.text();
        }
        assert!(page.lines().count() > 300 && page.ends_with('\n') && !page.contains('\r'), "a whole page");
        assert_eq!(page.matches("# EOF").count(), usize::from(want == OPEN), "the end is marked once");
        assert_eq!(page.ends_with("\n# EOF\n"), want == OPEN, "at the end");
        assert_eq!(page.contains(" # {run_id="), want == OPEN, "exemplars");
    };
    check("", "", TEXT, false);
    check("text/plain", "gzip", TEXT, true);
    check("application/openmetrics-text; version=1.0.0", "identity", OPEN, false);
    check(
        "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        "gzip",
        OPEN,
        true,
    );
    check("application/openmetrics-text;q=0.1,text/plain;q=0.9", "deflate, gzip;q=0", TEXT, false);
}

#[test]
fn parts_of_the_page_are_together_the_page() {
    let (_events, server) = demo();
    let types = |query: &str| -> Vec<String> {
        let page = check(&server, "GET", &format!("/metrics{query}"), &[], 200).text();
        page.lines().filter(|line| line.starts_with("# TYPE ")).map(str::to_owned).collect()
    };
    let parts: Vec<&str> = REGISTRY.iter().map(|registration| registration.name).chain(["recorder"]).collect();
    let each: Vec<String> = parts.iter().flat_map(|part| types(&format!("?collect[]={part}"))).collect();
    assert_eq!(each, types(""), "part by part");
    let two = types("?collect%5B%5D=runs&format=prometheus&collect%5B%5D=desk");
    assert_eq!(two, [types("?collect[]=runs"), types("?collect[]=desk")].concat());
    assert!(!two.is_empty());
    let answer = check(&server, "GET", "/metrics?collect[]=runs&collect[]=trades", &[], 400).text();
    assert_eq!(answer, format!("collect[]: there is no part \"trades\"; want {}\n", parts.join(", ")));
    let all = types("");
    let named: Vec<&str> = all.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(named.iter().flat_map(|name| types(&format!("?name[]={name}"))).collect::<Vec<_>>(), all, "by name");
    let some =
        types("?name[]=agent_runs_total&name[]=agent_latency_ms_bucket&name[]=runtape_position&name[]=agent_verdict");
    assert_eq!(some.len(), 4, "{some:?}");
    let answer = check(&server, "GET", "/metrics?name[]=agent_runs_totals", &[], 400).text();
    assert_eq!(answer, "name[]: there is no family \"agent_runs_totals\"; want one that /metrics has\n");
}

#[test]
fn a_connection_serves_many_scrapes() {
    let (events, server) = demo();
    let mut connection = Connection::open(server.address);
    for turn in 1..=5 {
        events.append("more", "{\"agent\":\"keep-alive\",\"reward\":1}\n");
        let page = Metrics(connection.ask("GET", "/metrics", &[]).expect("an answer").text());
        assert_eq!(page.get("agent_runs_total{agent=\"keep-alive\"}"), Some(f64::from(turn)));
    }
}

#[test]
fn a_request_head_that_does_not_come_is_not_waited_for() {
    let (_events, server) = demo();
    let mut connection = Connection::open(server.address);
    connection.send(b"GET / HTTP/1.1\r\nHost: ").expect("a connection");
    let answer = connection.receive(false);
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 408), "the connection is cut");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn what_is_no_request_is_refused_and_harms_nobody() {
    let (_events, server) = demo();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(2_000));
    for bytes in ["\0\u{1}\u{2}\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", &long, &many] {
        let mut connection = Connection::open(server.address);
        let status =
            connection.send(bytes.as_bytes()).and_then(|()| connection.receive(false)).map(|answer| answer.status);
        assert!(status.is_ok_and(|status| (400..=499).contains(&status)) || bytes.len() > 64 * 1024, "{bytes:.20}");
        assert_eq!(server.get("/healthz").status, 200);
    }
}

#[test]
fn idle_connections_do_not_keep_a_scrape_out() {
    let (_events, server) = demo();
    let mut scraper = Connection::open(server.address);
    scraper.ask("GET", "/metrics", &[]).expect("an answer");
    let mut idle: Vec<TcpStream> = Vec::new();
    for _ in 0..600 {
        idle.push(TcpStream::connect(server.address).expect("a connection"));
    }
    let watch = Stopwatch::start();
    wait_until("a scrape among 600 idle connections", || {
        let answer = Connection::open(server.address).ask("GET", "/metrics", &[]);
        answer.is_ok_and(|answer| answer.status == 200)
    });
    assert!(watch.elapsed() < Duration::from_secs(8), "a scrape waited {:?}", watch.elapsed());
    drop(idle);
}

/// Samples that never go down while the process lives.
fn monotone(page: &str) -> BTreeMap<&str, f64> {
    let counts = |name: &str| ["_total", "_bucket", "_count"].iter().any(|suffix| name.ends_with(suffix));
    let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let samples = samples.filter(|(series, _)| counts(series.split('{').next().unwrap_or("")));
    samples.map(|(series, value)| (series, value.parse().expect("a number"))).collect()
}

#[test]
fn counters_never_go_down_while_lines_are_appended() {
    let (events, server) = demo();
    let stream = events.stream("live");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        let mut written = 0_u64;
        while stopped
            .recv_timeout(Duration::from_micros(300))
            .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            let agent = written % 7;
            let line = format!(
                "{{\"run_id\":\"live-{written}\",\"agent\":\"live-{agent}\",\"latency_ms\":{agent},\"cost_usd\":0.01,\"errors\":{}}}\n",
                written % 3
            );
            crate::support::append(&stream, line.as_bytes());
            written += 1;
        }
        written
    });
    let mut connection = Connection::open(server.address);
    let mut last = String::new();
    let mut compared = 0;
    for scrape in 0..100 {
        let page = connection.ask("GET", "/metrics", &[]).expect("an answer").text();
        let now = monotone(&page);
        for (series, before) in monotone(&last) {
            let after = now.get(series).copied();
            assert!(after.is_some_and(|after| after >= before), "scrape {scrape}: {series} {before} then {after:?}");
            compared += 1;
        }
        last = page;
    }
    drop(stop);
    let written = writer.join().expect("a writer") as f64;
    let page = Metrics(connection.ask("GET", "/metrics", &[]).expect("an answer").text());
    let served: f64 = (0..7).filter_map(|agent| page.get(&format!("agent_runs_total{{agent=\"live-{agent}\"}}"))).sum();
    assert_eq!(served, written, "every line is served");
    assert!(compared > 10_000, "only {compared} counters were compared");
}

#[test]
fn what_was_appended_before_a_scrape_is_in_it() {
    let (events, server) = demo();
    let mut connection = Connection::open(server.address);
    for turn in 1..=100_u32 {
        // Now and then in a stream that nobody has seen before.
        let stream = format!("stream-{}", turn / 10);
        events.append(&stream, format!("{{\"run_id\":\"own-{turn}\",\"agent\":\"own\",\"reward\":{turn}}}\n"));
        let page = Metrics(connection.ask("GET", "/metrics", &[]).expect("an answer").text());
        assert_eq!(page.get("agent_runs_total{agent=\"own\"}"), Some(f64::from(turn)), "turn {turn}");
        assert_eq!(page.get("agent_last_reward{agent=\"own\"}"), Some(f64::from(turn)), "turn {turn}");
    }
}
