use std::{
    io::Read,
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::*;
use crate::support::request;

/// A connection from another address of this machine.
fn from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddr::from((Ipv4Addr::from(address), 0))).expect("an address of this machine");
    connect(&socket, &to).expect("a listening server");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    stream
}

/// Followers of decisions are busy as long as they like: as many as there are places.
fn follow(server: &Server, stream: &mut TcpStream) -> u16 {
    let head =
        format!("GET /api/v1/decisions HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).expect("a connection");
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).expect("an answer");
    String::from_utf8_lossy(&begin[9..]).parse().expect("a status")
}

#[test]
fn followers_and_bodies_beyond_their_limit_are_told_and_counted() {
    let events = Events::new();
    events.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
    let server = Server::start(events.path(), &[]);
    server.ready();
    let mut followers: Vec<TcpStream> = (0..65).map(|_| from([127, 0, 0, 1], server.address)).collect();
    let statuses: Vec<u16> = followers.iter_mut().map(|stream| follow(&server, stream)).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 64);
    assert_eq!(statuses[64], 503);
    let post = |path: &str, kind: &str, body: &[u8]| {
        let answer = Connection::open(server.address).ask_with("POST", path, &[("Content-Type", kind)], body);
        answer.expect("an answer").status
    };
    assert_eq!(post("/api/v1/checks", "application/json", &vec![b' '; 65_537]), 413);
    assert_eq!(post("/api/v1/events", "application/x-ndjson", &vec![b' '; 8_388_609]), 413);
    assert_eq!(post("/api/v1/events", "application/x-ndjson", "{}\n".repeat(50_001).as_bytes()), 413);
    assert_eq!(post("/api/v1/events", "application/x-ndjson", "{}\n".repeat(100).as_bytes()), 200);
    let page = server.metrics();
    for limit in ["followers", "json_body_bytes", "lines_body_bytes", "body_lines"] {
        assert_eq!(load(&page, limit, "limit_reached_total"), Some(1.0), "{limit}");
    }
    assert_eq!(load(&page, "followers", "limit_used"), Some(64.0));
    assert_eq!(load(&page, "bodies_kib", "limit_used"), Some(0.0), "what was appended takes no place");
    drop(followers);
    wait_until("followers that left give their places back", || {
        load(&server.metrics(), "followers", "limit_used") <= Some(1.0)
    });
}

#[test]
fn one_address_does_not_keep_the_others_out() {
    let events = Events::new();
    let server = Server::start(events.path(), &[]);
    server.ready();
    // Requests whose bodies do not come keep their places for ten seconds.
    let head = format!(
        "POST /api/v1/checks HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n",
        server.address
    );
    let mut greedy: Vec<TcpStream> = Vec::new();
    for _ in 0..384 {
        let mut stream = from([127, 0, 0, 2], server.address);
        stream.write_all(head.as_bytes()).expect("a connection");
        greedy.push(stream);
    }
    wait_until("all of them are busy", || load(&server.metrics(), "address_connections", "limit_used") == Some(384.0));
    let mut refused = String::new();
    wait_until("one more is told", || {
        let mut stream = from([127, 0, 0, 2], server.address);
        refused.clear();
        // A connection whose place another one just left is answered in the end, too.
        stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        let _ = stream.read_to_string(&mut refused);
        refused.starts_with("HTTP/1.1 503 ")
    });
    assert!(refused.contains("retry-after: 1") && refused.ends_with("ask in a moment\n"), "{refused}");
    assert_eq!(request(server.address, "/healthz", &[]).expect("an answer").status, 200, "from another address");
    let page = server.metrics();
    assert!(load(&page, "address_connections", "limit_reached_total") >= Some(1.0));
    assert_eq!(load(&page, "connections", "limit_reached_total"), Some(0.0));
}

/// A page that reads the whole history keeps the only place for that no longer than somebody waits for it.
#[test]
fn a_page_whose_reader_leaves_is_not_made() {
    let events = Events::new();
    stdout(&run(&["simulate", "--events", events.text(), "--lines", "150000", "--seed", "8"]));
    let place = Events::new();
    let log = place.path().join("log");
    let server = Server::start_logging(events.path(), &log);
    server.ready();
    let scans = || load(&server.metrics(), "scans", "limit_used");
    for (nth, path) in ["/fleet", "/agents/breakout-xrp", "/runs/nobody-knows-it"].into_iter().enumerate() {
        let mut stream = TcpStream::connect(server.address).expect("a connection");
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
        stream.write_all(head.as_bytes()).expect("a connection");
        wait_until("it is read for", || scans() == Some(1.0));
        drop(stream);
        wait_until("nothing is read any more", || scans() == Some(0.0));
        let log = fs::read_to_string(&log).expect("a log");
        assert_eq!(log.matches("an answer is not made").count(), nth + 1, "{path} was made to its end:\n{log}");
    }
}
