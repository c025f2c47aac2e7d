use serde_json::json;

use super::*;

#[test]
fn lines_are_appended_stamped_and_answered_with_their_places() {
    let (events, server) = open();
    let before = get(&server, "/api/v1/status")["position"].as_u64().expect("a position");
    let body = "{\"agent\":\"poster\",\"reward\":1.5,\"event_id\":\"p1\"}\r\n\n{\"ts\":\"2026-03-05T00:00:00Z\",\"agent\":\"poster\",\"reward\":2}\n";
    let answer = ask(&server, "POST", "/api/v1/events", &[NDJSON], body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let appended = json(&answer);
    assert_eq!((&appended["appended"], &appended["duplicates"]), (&json!(2), &json!(0)), "{appended}");
    assert_eq!(appended["positions"], json!([before, before + 1]));
    assert_eq!(appended["outcomes"], json!(["run", "run"]));
    let status = get(&server, &format!("/api/v1/status?wait={}", before + 1));
    assert!(status["durable"].as_u64() >= Some(before + 2), "answered before it was durable: {status}");
    let agent = get(&server, &format!("/api/v1/agents/poster?wait={}", before + 1));
    assert_eq!(agent["runs"], 2);
    let text = std::fs::read_to_string(events.stream("api")).expect("the stream");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    let ts = first["ts"].as_str().expect("a time");
    assert!(ts.len() == 30 && ts.ends_with('Z'), "{ts}");
    let again = "{\"agent\":\"poster\",\"reward\":1.5,\"event_id\":\"p1\"}";
    let appended = json(&ask(&server, "POST", "/api/v1/events", &[JSON], again));
    assert_eq!((&appended["appended"], &appended["duplicates"]), (&json!(0), &json!(1)), "{appended}");
}

#[test]
fn a_policy_comes_into_force_once() {
    let (_events, server) = open();
    let body = json!({ "policy": "[rolling]\nwindow = 400\n", "reason": "shorter", "event_id": "p1" });
    let set = post(&server, "/api/v1/policy", &body);
    let position = set["position"].as_u64().expect("a position");
    let policy = get(&server, &format!("/api/v1/policy?wait={position}"));
    assert_eq!(policy["hash"], set["hash"]);
    assert_eq!(policy["policy"]["rolling"]["window"], 400);
    assert!(policy["toml"].as_str().is_some_and(|toml| toml.contains("window = 400")), "{policy}");
    assert_eq!(post(&server, "/api/v1/policy", &body), set, "sent again, it is done once");
    let end = get(&server, "/api/v1/status")["position"].as_u64();
    assert_eq!(end, Some(position + 1));
    let other = json!({ "policy": "profile = \"seed\"", "event_id": "p1" }).to_string();
    refused(&server, ("POST", "/api/v1/policy", &[JSON], &other), (409, "event_id_reused"));
}

#[test]
fn what_was_seen_before_a_restart_is_said_to_be() {
    let (events, server) = open();
    let body = json!({ "policy": "profile = \"seed\"", "event_id": "p1" });
    post(&server, "/api/v1/policy", &body);
    assert_eq!(server.terminate(), Some(0));
    let server = Server::start(events.path(), &[]);
    server.ready();
    refused(&server, ("POST", "/api/v1/policy", &[JSON], &body.to_string()), (409, "seen_before"));
}

#[test]
fn whoever_waits_for_what_does_not_come_is_told() {
    let (_events, server) = open();
    refused(&server, ("GET", "/api/v1/status?wait=9007199254740992", &[], ""), (503, "behind"));
}
