use std::time::Duration;

use super::*;

/// A request, and the status and code it gets.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[test]
fn what_is_not_as_the_document_says_is_refused() {
    let (events, server) = open();
    const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
    const CROSS: (&str, &str) = ("Sec-Fetch-Site", "cross-site");
    let large = format!("{{\"agent\":\"{}\"}}", "a".repeat(70_000));
    let long = format!("{{\"agent\":\"{}\"}}", "a".repeat(129));
    let cases: &[Case] = &[
        ("GET", "/api", &[], "", 404, "not_found"),
        ("GET", "/api/v1", &[], "", 404, "not_found"),
        ("GET", "/api/v2/status", &[], "", 404, "not_found"),
        ("POST", "/api/v1/nothing", &[JSON], "{}", 404, "not_found"),
        ("POST", "/api/v1/status", &[JSON], "{}", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/policy", &[], "", 405, "method_not_allowed"),
        ("GET", "/api/v1/checks", &[], "", 405, "method_not_allowed"),
        ("GET", "/api/v1/status?wiat=1", &[], "", 400, "unknown_parameter"),
        ("GET", "/api/v1/status?wait=x", &[], "", 400, "invalid_parameter"),
        ("GET", "/api/v1/status?wait=-1", &[], "", 400, "invalid_parameter"),
        ("GET", "/api/v1/status?wait=1&wait=1", &[], "", 400, "invalid_parameter"),
        ("GET", "/api/v1/decisions?limit=0", &[], "", 400, "invalid_parameter"),
        ("GET", "/api/v1/decisions?limit=1001", &[], "", 400, "invalid_parameter"),
        ("GET", "/api/v1/decisions?after=x", &[], "", 400, "invalid_parameter"),
        ("GET", "/api/v1/agents/nobody", &[], "", 404, "unknown_agent"),
        ("GET", "/api/v1/agents/%ff", &[], "", 400, "invalid_parameter"),
        ("GET", "/api/v1/agents/a%0ab", &[], "", 400, "invalid_parameter"),
        ("GET", "/api/v1/runs/none", &[], "", 404, "unknown_run"),
        ("GET", "/api/v1/status", &[("Host", "desk.example")], "", 403, "host"),
        ("GET", "/api/v1/status", &[("Origin", "https://desk.example")], "", 403, "origin"),
        ("POST", "/api/v1/commands", &[JSON, CROSS], "{}", 403, "origin"),
        ("POST", "/api/v1/commands", &[JSON, ("Sec-Fetch-Site", "same-site")], "{}", 403, "origin"),
        ("POST", "/api/v1/commands", &[], "{}", 415, "content_type"),
        ("POST", "/api/v1/commands", &[FORM], "action=kill", 415, "content_type"),
        ("POST", "/api/v1/commands", &[("Content-Type", "text/plain")], "{}", 415, "content_type"),
        ("POST", "/api/v1/commands", &[NDJSON], "{}", 415, "content_type"),
        ("POST", "/api/v1/events", &[FORM], "{}", 415, "content_type"),
        ("POST", "/api/v1/checks", &[JSON], "", 400, "invalid_json"),
        ("POST", "/api/v1/checks", &[JSON], "{\"agent\":", 400, "invalid_json"),
        ("POST", "/api/v1/checks", &[JSON], "[]", 400, "invalid_field"),
        ("POST", "/api/v1/checks", &[JSON], "{}", 400, "missing_field"),
        ("POST", "/api/v1/checks", &[JSON], &long, 400, "invalid_field"),
        ("POST", "/api/v1/checks", &[JSON], &large, 413, "too_large"),
        ("POST", "/api/v1/checks", &[JSON], "{\"agent\":\"a\",\"notional_usd\":-1}", 400, "invalid_field"),
        ("POST", "/api/v1/checks", &[JSON], "{\"agent\":\"a\",\"expected_edge_bps\":1e17}", 400, "invalid_field"),
        ("POST", "/api/v1/reservations", &[JSON], "{\"agent\":\"a\",\"run_id\":\"r\"}", 400, "missing_field"),
        ("POST", "/api/v1/commands", &[JSON], "{\"action\":\"kill\"}", 400, "invalid_field"),
        ("POST", "/api/v1/commands", &[JSON], "{\"action\":\"stop\",\"fleet\":true}", 400, "invalid_field"),
        ("POST", "/api/v1/commands", &[JSON], "{\"action\":\"kill\",\"agent\":\"x\"}", 404, "unknown_agent"),
        ("POST", "/api/v1/commands", &[JSON], "{\"action\":\"kill\",\"strategy\":\"x\"}", 404, "unknown_strategy"),
        (
            "POST",
            "/api/v1/commands",
            &[JSON],
            "{\"action\":\"kill\",\"where\":{\"gate\":\"x\"}}",
            404,
            "nobody_selected",
        ),
        ("POST", "/api/v1/policy", &[JSON], "{\"policy\":\"[quarantin]\"}", 422, "invalid_policy"),
        ("POST", "/api/v1/events", &[NDJSON], "", 400, "bad_lines"),
    ];
    for (method, path, headers, body, status, code) in cases {
        refused(&server, (method, path, headers, body), (*status, code));
    }
    assert!(!events.stream("api").exists() && !events.stream("control").exists(), "nothing was appended");
}

#[test]
fn a_refusal_says_the_way_out() {
    let (_events, server) = open();
    let error = refused(&server, ("POST", "/api/v1/checks", &[JSON], "{\"agnet\":1}"), (400, "unknown_field"));
    assert_eq!(error["error"]["way_out"], "did you mean agent?");
    let answer = ask(&server, "PUT", "/api/v1/policy", &[JSON], "{}");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD,POST")));
    let body = "{\"agent\":\"a\"}\n{\"agent\":3}\n{\"kind\":\"policy\"}\n";
    let error = refused(&server, ("POST", "/api/v1/events", &[NDJSON], body), (400, "bad_lines"));
    let bad: Vec<_> = error["lines"].as_array().expect("lines").iter().map(|line| &line["line"]).collect();
    assert_eq!(bad, [2, 3], "{error}");
}

#[test]
fn a_large_body_is_refused_before_it_is_read() {
    let (_events, server) = open();
    let mut connection = Connection::open(server.address);
    let headers = [NDJSON, ("Content-Length", "9000000")];
    connection.begin("POST", "/api/v1/events", &headers).expect("a connection");
    assert_eq!(connection.receive(false).expect("an answer").status, 413);
    let mut connection = Connection::open(server.address);
    connection.begin("POST", "/api/v1/checks", &[JSON, ("Transfer-Encoding", "chunked")]).expect("a connection");
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    for _ in 0..3 {
        let _ = connection.send(chunk.as_bytes());
    }
    assert_eq!(connection.receive(false).expect("an answer").status, 413);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let (_events, server) = open();
    let mut connection = Connection::open(server.address);
    connection.begin("POST", "/api/v1/checks", &[JSON, ("Content-Length", "100")]).expect("a connection");
    let watch = runtape::clock::Stopwatch::start();
    let answer = connection.receive(false).expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{}", answer.text());
    assert!(watch.elapsed() >= Duration::from_secs(9), "{:?}", watch.elapsed());
}
