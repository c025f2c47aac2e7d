use super::*;
use crate::support::wait_until;

/// The decisions of a page by cause, consumer and ordinal.
fn places(page: &Value) -> Vec<String> {
    let place = |d: &Value| format!("{}.{}.{}", d["cause"], d["consumer"].as_str().unwrap_or("?"), d["ordinal"]);
    page["decisions"].as_array().expect("decisions").iter().map(place).collect()
}

/// As `replay` makes them, which lists those of a position in the order of the consumers.
fn replayed(events: &Events) -> Vec<String> {
    let lines: Vec<Value> = events.decisions().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    places(&serde_json::json!({ "decisions": lines }))
}

fn all_written(server: &Server, count: usize) {
    wait_until("every decision is written", || {
        get(server, "/api/v1/decisions?limit=1000")["decisions"].as_array().is_some_and(|list| list.len() == count)
    });
}

#[test]
fn pages_hold_every_decision_once_and_in_order() {
    let (events, server) = open();
    let want = replayed(&events);
    assert!(want.len() > 50, "only {} decisions", want.len());
    all_written(&server, want.len());
    let (mut got, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(&server, &format!("/api/v1/decisions?limit=7{after}"));
        got.extend(places(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(got, want);
    assert_eq!(places(&get(&server, "/api/v1/decisions?newest=true&limit=5")), want[want.len() - 5..]);
    let confidence = places(&get(&server, "/api/v1/decisions?consumer=confidence&limit=1000"));
    assert!(!confidence.is_empty() && confidence.iter().all(|place| place.contains(".confidence.")));
    let none = get(&server, "/api/v1/decisions?verdict=nonsense");
    assert_eq!((none["decisions"].as_array().map(Vec::len), &none["next"]), (Some(0), &Value::Null));
}

/// Reads events until there are so many; ids and data.
fn events_of(connection: &mut Connection, count: usize) -> Vec<(String, Value)> {
    let mut text = String::new();
    loop {
        let events: Vec<(String, Value)> = text
            .split_inclusive("\n\n")
            .filter(|event| event.ends_with("\n\n"))
            .filter_map(|event| {
                let (id, data) = event.trim_end().strip_prefix("id: ")?.split_once("\ndata: ")?;
                Some((id.to_owned(), serde_json::from_str(data).expect("JSON")))
            })
            .collect();
        if events.len() >= count {
            return events;
        }
        text += &String::from_utf8(connection.chunk().expect("a chunk").expect("more")).expect("UTF-8");
    }
}

fn follow(server: &Server, path: &str, more: &[(&str, &str)]) -> Connection {
    let mut connection = Connection::open(server.address);
    let headers = [&[("Accept", "text/event-stream")], more].concat();
    connection.begin("GET", path, &headers).expect("a connection");
    let head = connection.head().expect("an answer");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    let first = connection.chunk().expect("a chunk").expect("a beginning");
    assert_eq!(String::from_utf8_lossy(&first), "retry: 1000\n\n");
    connection
}

#[test]
fn decisions_are_followed_from_a_cursor_or_from_now() {
    let (events, server) = open();
    let want = replayed(&events);
    all_written(&server, want.len());
    let mut now = follow(&server, "/api/v1/decisions", &[]);
    let mut from = follow(&server, &format!("/api/v1/decisions?after={}", want[2]), &[]);
    let mut last = follow(&server, &format!("/api/v1/decisions?after={}", want[2]), &[("Last-Event-ID", &want[9])]);
    let ids = |events: Vec<(String, Value)>| events.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(events_of(&mut from, want.len() - 3)), want[3..]);
    assert_eq!(ids(events_of(&mut last, want.len() - 10)), want[10..]);
    // A loss changes the confidence of whoever has none yet.
    events.append("pnl", "{\"agent\":\"momentum-btc\",\"realized_pnl_bps\":-5}\n");
    let (id, data) = events_of(&mut now, 1).remove(0);
    assert_eq!(id, format!("{}.{}.{}", data["cause"], data["consumer"].as_str().expect("a name"), data["ordinal"]));
    assert_eq!(data["subject"], "momentum-btc");
    assert!(!want.contains(&id), "{id} was there before");
    let answer =
        ask(&server, "GET", "/api/v1/decisions", &[("Accept", "text/event-stream"), ("Last-Event-ID", "x")], "");
    assert_eq!((answer.status, &json(&answer)["error"]["code"]), (400, &"invalid_parameter".into()));
}

#[test]
fn followers_are_few_and_leave_with_the_server() {
    let (_events, server) = open();
    let mut followers: Vec<Connection> = (0..64).map(|_| follow(&server, "/api/v1/decisions", &[])).collect();
    let answer = ask(&server, "GET", "/api/v1/decisions", &[("Accept", "text/event-stream")], "");
    assert_eq!((answer.status, &json(&answer)["error"]["code"]), (503, &"busy".into()));
    drop(followers.split_off(1));
    wait_until("a place is free again", || {
        ask(&server, "HEAD", "/api/v1/decisions", &[("Accept", "text/event-stream")], "").status == 200
    });
    let mut one = followers.remove(0);
    let ended = std::thread::spawn(move || {
        while let Ok(Some(_)) = one.chunk() {}
        runtape::clock::Stopwatch::start()
    });
    let watch = runtape::clock::Stopwatch::start();
    assert_eq!(server.terminate(), Some(0));
    ended.join().expect("a thread");
    assert!(watch.elapsed() < std::time::Duration::from_secs(4), "a follower held the server up");
}
