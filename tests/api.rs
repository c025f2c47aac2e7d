//! The API over real sockets: who may do what, what is refused and how, and what comes back.

use std::{os::unix::fs::PermissionsExt, process::Output};

use serde_json::Value;

use crate::{
    http::client::{Answer, Connection},
    support::{Events, Server, repository, run},
};

/// The document against the server.
mod contract;
/// Permissions, asked for and taken back.
mod control;
/// Decisions, page by page and as they are made.
mod decisions;
/// What is refused, with which status and code.
mod refused;
/// What is appended and answered.
mod written;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

fn demo(more: &[&str]) -> (Events, Server) {
    let events = Events::copy_of(&repository("events/demo"));
    let server = Server::start(events.path(), more);
    (events, server)
}

/// A demo that is ready, without tokens.
fn open() -> (Events, Server) {
    let (events, server) = demo(&[]);
    server.ready();
    (events, server)
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut connection = Connection::open(server.address);
    let answer = if method == "GET" || method == "HEAD" {
        connection.ask(method, path, headers)
    } else {
        connection.ask_with(method, path, headers, body.as_bytes())
    };
    answer.expect("an answer")
}

#[track_caller]
fn json(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let answer = ask(server, "GET", path, &[], "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    json(&answer)
}

#[track_caller]
fn post(server: &Server, path: &str, body: &Value) -> Value {
    let answer = ask(server, "POST", path, &[JSON], &body.to_string());
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
    json(&answer)
}

/// Asked, and refused in the way that is wanted: status, and code of the error.
#[track_caller]
fn refused(server: &Server, request: (&str, &str, &[(&str, &str)], &str), want: (u16, &str)) -> Value {
    let (method, path, headers, body) = request;
    let answer = ask(server, method, path, headers, body);
    let shown: String = body.chars().take(200).collect();
    assert_eq!(answer.status, want.0, "{method} {path} {headers:?} {shown}: {}", answer.text());
    let error = json(&answer);
    assert_eq!(error["error"]["code"], want.1, "{method} {path} {headers:?} {shown}: {error}");
    for part in ["message", "way_out"] {
        assert!(error["error"][part].as_str().is_some_and(|text| !text.is_empty()), "{path}: no {part}: {error}");
    }
    error
}

/// A token file in a directory.
fn tokens(events: &Events, text: &str, mode: u32) -> String {
    let path = events.path().join("tokens.toml");
    std::fs::write(&path, text).expect("a writable directory");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("an owned file");
    path.to_str().expect("a UTF-8 path").to_owned()
}

const TOKENS: &str = r#"
[[token]]
name = "reader"
secret = "the secret of reader"
scopes = ["read"]
[[token]]
name = "writer"
secret = "the secret of writer"
scopes = ["append"]
[[token]]
name = "bound"
secret = "the secret of bound!"
scopes = ["read", "append", "control"]
agent = "momentum-btc"
[[token]]
name = "ops"
secret = "the secret of ops!!!"
scopes = ["read", "append", "control"]
"#;

#[test]
fn each_route_wants_its_scope() {
    let (events, server) = demo(&[]);
    drop(server);
    let server = Server::start(events.path(), &["--tokens", &tokens(&events, TOKENS, 0o600)]);
    let check = |secret: &str, method: &str, path: &str, want: u16, code: &str| {
        let bearer = format!("Bearer the secret of {secret}");
        let answer = ask(&server, method, path, &[("Authorization", &bearer), JSON], "{\"nonsense\":1}");
        assert_eq!(answer.status, want, "{secret} {method} {path}: {}", answer.text());
        if !code.is_empty() {
            assert_eq!(json(&answer)["error"]["code"], code, "{secret} {method} {path}");
        }
    };
    check("nobody", "GET", "/api/v1/status", 401, "token");
    check("nobody", "POST", "/api/v1/commands", 401, "token");
    check("nobody", "GET", "/metrics", 401, "");
    check("reader", "GET", "/metrics", 200, "");
    check("writer", "GET", "/metrics", 403, "");
    check("writer", "GET", "/", 403, "");
    check("writer", "GET", "/healthz", 200, "");
    check("writer", "GET", "/api/v1/status", 403, "scope");
    check("reader", "GET", "/api/v1/status", 200, "");
    check("reader", "POST", "/api/v1/checks", 403, "scope");
    check("writer", "POST", "/api/v1/checks", 400, "unknown_field");
    check("writer", "POST", "/api/v1/commands", 403, "scope");
    check("writer", "POST", "/api/v1/policy", 403, "scope");
    check("ops!!!", "POST", "/api/v1/commands", 400, "unknown_field");
    let bound = [("Authorization", "Bearer the secret of bound!"), JSON];
    let check = |path, body| drop(refused(&server, ("POST", path, &bound, body), (403, "agent")));
    check("/api/v1/events", "{\"agent\":\"breakout-xrp\"}");
    check("/api/v1/events", "{\"reward\":1}");
    check("/api/v1/checks", "{\"agent\":\"breakout-xrp\"}");
    check("/api/v1/reservations", "{\"agent\":\"breakout-xrp\",\"run_id\":\"r\",\"amount_usd\":1}");
    check("/api/v1/releases", "{\"run_id\":\"r\"}");
    check("/api/v1/commands", "{\"action\":\"pause\",\"fleet\":true}");
    check("/api/v1/commands", "{\"action\":\"pause\",\"agent\":\"breakout-xrp\"}");
    check("/api/v1/policy", "{\"policy\":\"profile = 'seed'\"}");
    let page = ask(&server, "GET", "/metrics", &[("Authorization", "Bearer the secret of reader")], "").text();
    let page = crate::support::Metrics(page);
    let count = |reason: &str| page.get(&format!("runtape_requests_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((count("token"), count("scope"), count("agent")), (Some(3.0), Some(6.0), Some(8.0)));
    assert_eq!((count("host"), count("origin")), (Some(0.0), Some(0.0)));
}

#[test]
fn tokens_are_read_again_at_a_hangup() {
    let (events, server) = demo(&[]);
    drop(server);
    let file = tokens(&events, TOKENS, 0o600);
    let server = Server::start(events.path(), &["--tokens", &file]);
    let status = |secret: &str| {
        let bearer = format!("Bearer {secret}");
        ask(&server, "GET", "/api/v1/openapi.json", &[("Authorization", &bearer)], "").status
    };
    assert_eq!(status("the secret of reader"), 200);
    tokens(&events, "[[token]]\nname = 3", 0o600);
    crate::support::signal(server.pid(), "HUP");
    tokens(&events, &TOKENS.replace("of reader", "of another reader"), 0o600);
    crate::support::wait_until("the new tokens hold", || {
        crate::support::signal(server.pid(), "HUP");
        status("the secret of another reader") == 200
    });
    assert_eq!(status("the secret of reader"), 401);
    assert_eq!(status("the secret of ops!!!"), 200);
}

fn serve(events: &Events, more: &[&str]) -> Output {
    run(&[&["serve", "--events", events.text(), "--listen", "127.0.0.1:0"], more].concat())
}

#[test]
fn a_bad_token_file_is_a_mistake_of_usage() {
    let events = Events::new();
    let check = |text: &str, want: &str| {
        let output = serve(&events, &["--tokens", &tokens(&events, text, 0o600)]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}: {told}");
        assert!(told.contains(want) && told.contains("tokens.toml"), "{text}\n want {want}\n got  {told}");
        assert!(!told.contains("the secret of"), "a secret is printed: {told}");
    };
    check("", "no [[token]]");
    check(&TOKENS.replace("scopes", "scope"), "did you mean scopes?");
    check(&TOKENS.replace("the secret of writer", "the secret of reader"), "have the same secret");
    check(&TOKENS.replace("secret = ", "secret == "), "not valid TOML");
    let missing = serve(&events, &["--tokens", "/nowhere/tokens.toml"]);
    assert_eq!(missing.status.code(), Some(3), "{}", String::from_utf8_lossy(&missing.stderr));
    // Warned of before the port is taken, so that a port nobody can have ends it.
    let output = run(&[
        "serve",
        "--events",
        events.text(),
        "--listen",
        "192.0.2.1:1",
        "--tokens",
        &tokens(&events, TOKENS, 0o644),
    ]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("can be read by others (mode 644)"), "{told}");
}

#[test]
fn reads_show_the_fold() {
    let (events, server) = open();
    let replayed = events.replay();
    let status = get(&server, "/api/v1/status?wait=0");
    assert_eq!((&status["ready"], &status["problems"]), (&true.into(), &serde_json::json!([])), "{status}");
    assert_eq!(status["position"], replayed["position"]);
    assert_eq!(status["policy"], replayed["policy"]);
    assert_eq!(status["lines"]["run"], replayed["lines"]["run"]);
    let state = get(&server, "/api/v1/state");
    assert_eq!(state["agents"], replayed["agents"]);
    assert_eq!(state["state_hash"], Value::Null);
    let agents = get(&server, "/api/v1/agents");
    assert_eq!(agents["agents"], replayed["agents"]);
    let candidates = get(&server, "/api/v1/agents?gate=candidate");
    for (name, row) in replayed["agents"].as_object().expect("agents") {
        let is_candidate = row["gate"]["state"] == "candidate";
        assert_eq!(candidates["agents"].get(name).is_some(), is_candidate, "{name}");
        let one = get(&server, &format!("/api/v1/agents/{name}"));
        assert_eq!((&one["agent"], &one["runs"]), (&name.as_str().into(), &row["runs"]));
    }
    let verdict = get(&server, "/api/v1/verdicts/nobody%20knows");
    assert_eq!((&verdict["agent"], &verdict["verdict"]), (&"nobody knows".into(), &"deny".into()), "{verdict}");
    assert_eq!((&verdict["live"], verdict["size_multiplier"].as_f64()), (&false.into(), Some(0.0)), "{verdict}");
    let policy = get(&server, "/api/v1/policy");
    assert_eq!(policy["hash"], replayed["policy"]);
    let document = get(&server, "/api/v1/openapi.json");
    let golden = std::fs::read(repository("tests/golden/openapi.json")).expect("the document");
    assert_eq!(document, serde_json::from_slice::<Value>(&golden).expect("JSON"));
}

#[test]
fn a_run_is_found_with_its_lines_and_decisions() {
    let (events, server) = open();
    let decisions = events.decisions();
    let first: Value = serde_json::from_str(decisions.lines().next().expect("a decision")).expect("JSON");
    let lines = run(&["tail", "--events", events.text(), "-n", "100000", "-o", "jsonl"]);
    let lines: Vec<Value> =
        crate::support::stdout(&lines).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let cause = lines.iter().find(|line| line["position"] == first["cause"]).expect("the line that caused it");
    let run_id = cause["run_id"].as_str().expect("a run");
    let mut found = Value::Null;
    // A decision is found once it is written, and it is written once its cause is durable.
    crate::support::wait_until("the decision is written", || {
        found = get(&server, &format!("/api/v1/runs/{run_id}"));
        found["decisions"][0]["cause"] == first["cause"]
    });
    let of_run: Vec<&Value> = lines.iter().filter(|line| line["run_id"] == run_id).collect();
    let shown = found["lines"].as_array().expect("lines");
    assert_eq!(shown.len(), of_run.len(), "{found}");
    for (shown, want) in shown.iter().zip(of_run) {
        for key in ["position", "stream", "offset", "line"] {
            assert_eq!(shown[key], want[key], "{key}");
        }
    }
    assert_eq!(found["truncated"], false);
}
