use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use runtape::clock::Stopwatch;
use serde_json::json;

use super::*;
use crate::support::wait_until;

const ORDER: &str =
    r#""symbol":"BTC","notional_usd":100,"expected_edge_bps":9,"spread_bps":1,"slippage_bps":1,"data_age_sec":1"#;

/// Nobody has done anything yet.
fn empty(more: &[&str]) -> (Events, Server) {
    let events = Events::new();
    let server = Server::start(events.path(), more);
    server.ready();
    (events, server)
}

fn send(connection: &mut Connection, path: &str, body: &str) -> Value {
    let answer = connection.ask_with("POST", path, &[JSON], body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
    json(&answer)
}

/// The value below which a share of the sorted durations lies.
fn percentile(durations: &mut [Duration], share: f64) -> Duration {
    durations.sort_unstable();
    durations[((durations.len() - 1) as f64 * share) as usize]
}

#[test]
fn many_clients_never_get_more_than_there_is() {
    let (events, server) = empty(&[]);
    events.append("runs", "{\"agent\":\"a\",\"errors\":0}\n");
    let (granted, checks) = (Arc::new(Mutex::new(0_u64)), Arc::new(Mutex::new(Vec::new())));
    let address = server.address;
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let (granted, checks) = (granted.clone(), checks.clone());
            thread::spawn(move || {
                let mut connection = Connection::open(address);
                for turn in 0..4 {
                    let body = format!(r#"{{"agent":"a","run_id":"r{client}-{turn}","amount_usd":0.07}}"#);
                    let answer = send(&mut connection, "/api/v1/reservations", &body);
                    *granted.lock().expect("unbroken") += u64::from(answer["granted"] == true);
                    let watch = Stopwatch::start();
                    let answer =
                        send(&mut connection, "/api/v1/checks", &format!(r#"{{"agent":"a",{ORDER},"paper":true}}"#));
                    checks.lock().expect("unbroken").push(watch.elapsed());
                    assert_eq!(answer["verdict"], "allow", "{answer}");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    // 4.90 of 5.00 USD may be given away: 70 times 0.07.
    assert_eq!(*granted.lock().expect("unbroken"), 70);
    let state = get(&server, "/api/v1/state");
    assert_eq!(state["budget"]["reserved_usd"], json!(4.9));
    let mut checks = checks.lock().expect("unbroken");
    let (half, most) = (percentile(&mut checks, 0.5), percentile(&mut checks, 0.99));
    eprintln!("64 clients, {} checks answered durably: p50 {half:?}, p99 {most:?}", checks.len());
    drop(checks);
    let mut alone: Vec<Duration> = Vec::new();
    let mut connection = Connection::open(address);
    for _ in 0..200 {
        let watch = Stopwatch::start();
        let denied = send(&mut connection, "/api/v1/checks", r#"{"agent":"a"}"#);
        alone.push(watch.elapsed());
        assert_eq!(denied["verdict"], "deny");
    }
    let (half, most) = (percentile(&mut alone, 0.5), percentile(&mut alone, 0.99));
    eprintln!("one client, {} checks denied: p50 {half:?}, p99 {most:?}", alone.len());
}

#[test]
fn a_pause_of_the_fleet_denies_everybody_at_once() {
    let (events, server) = empty(&[]);
    let lines: String = (0..1000).map(|n| format!("{{\"agent\":\"agent-{n}\",\"errors\":0}}\n")).collect();
    events.append("runs", lines);
    let agents = || get(&server, "/api/v1/agents?verdict=deny")["agents"].as_object().expect("agents").len();
    assert_eq!(agents(), 0);
    let paused = post(&server, "/api/v1/commands", &json!({ "action": "pause", "fleet": true, "reason": "drill" }));
    assert_eq!(paused["commands"][0]["decision"]["verdict"], "paused", "{paused}");
    assert_eq!(agents(), 1000, "once it is answered it holds for all");
    let controls = || std::fs::read_to_string(events.path().join(".runtape/controls.json")).unwrap_or_default();
    wait_until("the file says so", || controls().matches("\"fleet_paused\"").count() == 1000);
    post(&server, "/api/v1/commands", &json!({ "action": "resume", "fleet": true }));
    assert_eq!(agents(), 0);
}

#[test]
fn commands_are_answered_with_what_became_of_them() {
    let (events, server) = open();
    let command = |body: Value| ("POST", "/api/v1/commands", body.to_string());
    let killed = post(&server, "/api/v1/commands", &json!({ "action": "kill", "agent": "carry-ada", "event_id": "k" }));
    let position = killed["commands"][0]["position"].as_u64().expect("a position");
    assert_eq!(get(&server, &format!("/api/v1/verdicts/carry-ada?wait={position}"))["reasons"][0], "killed");
    let again = post(&server, "/api/v1/commands", &json!({ "action": "kill", "agent": "carry-ada", "event_id": "k" }));
    assert_eq!(again, killed, "sent twice, done once");
    for (body, status, code) in [
        (json!({ "action": "kill", "agent": "carry-ada" }), 409, "refused"),
        (json!({ "action": "kill", "fleet": true }), 409, "refused"),
        (json!({ "action": "clear", "agent": "carry-ada" }), 409, "refused"),
        (json!({ "action": "kill", "agent": "nobody" }), 404, "unknown_agent"),
        (json!({ "action": "kill", "strategy": "nothing" }), 404, "unknown_strategy"),
        (json!({ "action": "fly", "agent": "carry-ada" }), 400, "invalid_field"),
        (json!({ "action": "revive", "where": { "gate": "promoted", "verdict": "nothing" } }), 404, "nobody_selected"),
    ] {
        let (method, path, body) = command(body);
        refused(&server, (method, path, &[JSON], &body), (status, code));
    }
    let revived = post(&server, "/api/v1/commands", &json!({ "action": "revive", "where": { "gate": "killed" } }));
    assert!(revived["commands"].as_array().is_some_and(|commands| !commands.is_empty()), "{revived}");
    assert_eq!(get(&server, "/api/v1/agents?gate=killed")["agents"], json!({}));
    assert_eq!(server.terminate(), Some(0));
    let replayed = events.replay();
    assert_eq!(replayed["agents"]["carry-ada"]["gate"]["state"], "candidate");
}

#[test]
fn reservations_are_released_and_settled() {
    let (events, server) = empty(&[]);
    post(&server, "/api/v1/policy", &json!({ "policy": "[budget]\nreservation_ttl_sec = 1\n" }));
    let reserve = |agent: &str, run: &str, usd: f64| {
        post(
            &server,
            "/api/v1/reservations",
            &json!({ "agent": agent, "run_id": run, "amount_usd": usd, "event_id": run }),
        )
    };
    let reserved = || get(&server, "/api/v1/state")["budget"]["reserved_usd"].as_f64().expect("an amount");
    let granted = reserve("a", "one", 0.5);
    assert_eq!((&granted["granted"], reserved()), (&json!(true), 0.5), "{granted}");
    assert_eq!(reserve("a", "one", 0.5), granted, "sent twice, reserved once");
    let twice = json!({ "agent": "a", "run_id": "one", "amount_usd": 0.5 });
    assert_eq!(post(&server, "/api/v1/reservations", &twice)["decision"]["verdict"], "refused");
    assert_eq!(post(&server, "/api/v1/releases", &json!({ "run_id": "one" }))["released"], true);
    let none = post(&server, "/api/v1/releases", &json!({ "run_id": "one" }));
    assert_eq!((&none["released"], &none["decision"]["reason"]["rule"]), (&json!(false), &json!("not open")));
    assert_eq!(reserve("a", "huge", 1e9)["granted"], false);
    assert_eq!(reserve("a", "late", 1.0)["granted"], true);
    thread::sleep(Duration::from_millis(1100));
    let next = reserve("b", "next", 2.0);
    assert_eq!(next["decision"]["subject"], "b", "the answer is about what was asked, whatever expired meanwhile");
    assert_eq!((&next["granted"], reserved()), (&json!(true), 2.0));
    events.append("runs", "{\"agent\":\"b\",\"run_id\":\"next\",\"cost_usd\":0.25}\n");
    wait_until("it is settled", || reserved() == 0.0);
    assert_eq!(get(&server, "/api/v1/state")["budget"]["spent_usd"], json!(0.25));
}

#[test]
fn a_token_without_the_scope_commands_nobody_and_is_counted() {
    let events = Events::copy_of(&repository("events/demo"));
    let file = tokens(
        &events,
        "[[token]]\nname = \"bot\"\nsecret = \"a secret of the bot\"\nscopes = [\"read\", \"append\"]\nagent = \"news-sol\"\n",
        0o600,
    );
    let server = Server::start(events.path(), &["--tokens", &file]);
    let bearer = ("Authorization", "Bearer a secret of the bot");
    wait_until("it is ready", || ask(&server, "GET", "/readyz", &[bearer], "").status == 200);
    let revive = json!({ "action": "revive", "agent": "news-sol" }).to_string();
    refused(&server, ("POST", "/api/v1/commands", &[bearer, JSON], &revive), (403, "scope"));
    let check = |agent: &str| format!(r#"{{"agent":"{agent}",{ORDER}}}"#);
    refused(&server, ("POST", "/api/v1/checks", &[bearer, JSON], &check("carry-ada")), (403, "agent"));
    let own = ask(&server, "POST", "/api/v1/checks", &[bearer, JSON], &check("news-sol"));
    assert_eq!(own.status, 200, "{}", own.text());
    let lines = |line: &str| ask(&server, "POST", "/api/v1/events", &[bearer, NDJSON], line);
    assert_eq!(lines(r#"{"agent":"news-sol","reward":1}"#).status, 200);
    for (line, status) in [
        (r#"{"agent":"news-sol","symbol":"BTC","price":0.01}"#, 403),
        (r#"{"agent":"news-sol","strategy":"carry","realized_pnl_bps":-99}"#, 400),
        (r#"{"run_id":"of another","realized_pnl_bps":-99}"#, 403),
    ] {
        assert_eq!(lines(line).status, status, "{line}");
    }
    let page = ask(&server, "GET", "/metrics", &[bearer], "").text();
    for reason in ["scope", "agent"] {
        let count = if reason == "agent" { 3 } else { 1 };
        let series = format!("runtape_requests_refused_total{{reason=\"{reason}\"}} {count}");
        assert!(page.contains(&series), "{series}");
    }
    let mine = std::fs::read_to_string(events.stream("control")).expect("the stream");
    assert!(!mine.contains("revive") && !mine.contains("carry-ada"), "nothing of what was refused is on the tape");
}

#[test]
fn what_was_acknowledged_takes_effect_once_whatever_happens_then() {
    let events = Events::copy_of(&repository("events/demo"));
    for round in 0..6 {
        let server = Server::start(events.path(), &[]);
        server.ready();
        let action = if round % 2 == 0 { "pause" } else { "resume" };
        let id = format!("order-{round}");
        post(&server, "/api/v1/commands", &json!({ "action": action, "agent": "news-sol", "event_id": id }));
        server.kill();
        let server = Server::start(events.path(), &[]);
        server.ready();
        let reasons = get(&server, "/api/v1/verdicts/news-sol")["reasons"].to_string();
        assert_eq!(reasons.contains("\"paused\""), round % 2 == 0, "after a kill, round {round}: {reasons}");
        let again = json!({ "action": action, "agent": "news-sol", "event_id": id }).to_string();
        refused(&server, ("POST", "/api/v1/commands", &[JSON], &again), (409, "seen_before"));
        server.kill();
    }
    let decided = events.decisions();
    let of_desk = decided.lines().filter(|line| line.contains("\"consumer\":\"desk\"")).count();
    assert_eq!(of_desk, 6, "each order is decided once");
}
