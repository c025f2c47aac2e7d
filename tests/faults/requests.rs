use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use crate::{
    http::client::Connection,
    support::{Events, RUNTAPE, Server, repository, wait_until},
};

fn open() -> (Events, Server) {
    let events = Events::copy_of(&repository("events/demo"));
    let server = Server::start(events.path(), &[]);
    server.ready();
    (events, server)
}

/// Everything that comes back on a connection until the server closes it, or says nothing more.
fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).expect("a listening server");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    stream.write_all(bytes).expect("a connection");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn answers(text: &str) -> Vec<u16> {
    let heads = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]);
    heads.filter_map(|code| code.parse().ok()).collect()
}

#[test]
fn no_request_hides_in_another() {
    let (events, server) = open();
    let host = format!("Host: {}\r\nContent-Type: application/json\r\n", server.address);
    let hidden = format!("POST /api/v1/commands HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\n{{}}");
    let check = |lengths: &str, body: &str, want: &[u16]| {
        let text = format!("POST /api/v1/checks HTTP/1.1\r\n{host}{lengths}\r\n{body}{hidden}");
        let got = answers(&exchange(&server, text.as_bytes()));
        assert_eq!(got, want, "{lengths:?}");
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    // Whichever of the two lengths somebody in between believes: one answer, and the connection ends.
    check(&format!("Content-Length: 5\r\n{chunked}"), "0\r\n\r\n", &[400]);
    check(&format!("{chunked}Content-Length: 5\r\n"), "0\r\n\r\n", &[400]);
    check("Content-Length: 2\r\nContent-Length: 3\r\n", "{}", &[400]);
    check("Content-Length: 2, 2\r\n", "{}", &[400]);
    check("Content-Length: +2\r\n", "{}", &[400]);
    check("Content-Length: -1\r\n", "{}", &[400]);
    check("Transfer-Encoding: gzip\r\n", "", &[400]);
    check("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", &[400]);
    check(chunked, "2\r\n{}\r\n0\r\n\r\n", &[400]);
    assert!(!events.stream("control").exists(), "no command came through");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    let (_events, server) = open();
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    let text = [one("/healthz"), one("/nothing"), one("/readyz"), one("/api/v1/nothing")].concat();
    assert_eq!(answers(&exchange(&server, text.as_bytes())), [200, 404, 200, 404]);
}

#[test]
fn a_packed_body_is_not_unpacked() {
    let (events, server) = open();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 64 << 20]).expect("memory");
    let body = encoder.finish().expect("memory");
    for path in ["/api/v1/events", "/api/v1/checks"] {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
        let answer = Connection::open(server.address).ask_with("POST", path, &headers, &body).expect("an answer");
        assert_eq!(answer.status, 415, "{path}: {}", answer.text());
        assert!(answer.text().contains("content_encoding"), "{}", answer.text());
    }
    assert!(!events.stream("api").exists());
}

#[test]
fn a_secret_is_in_no_log_and_in_no_file_of_ours() {
    const SECRET: &str = "a secret that nobody may read";
    let events = Events::new();
    let elsewhere = Events::new();
    let file = elsewhere.path().join("token");
    fs::write(&file, SECRET).expect("a writable directory");
    let log = fs::File::create(elsewhere.path().join("log")).expect("a writable directory");
    let mut child = Command::new(RUNTAPE)
        .args(["serve", "--events", events.text(), "--listen", "127.0.0.1:0", "--token-file"])
        .arg(&file)
        .env("RUNTAPE_LOG", "trace")
        .stdout(log.try_clone().expect("a descriptor"))
        .stderr(log)
        .spawn()
        .expect("the program starts");
    let said = || fs::read_to_string(elsewhere.path().join("log")).expect("a log");
    wait_until("it listens", || said().contains("\ntry: "));
    let said_address = said().split_once("on http://").expect("an address").1.lines().next().unwrap_or("").to_owned();
    let address = said_address.parse().expect("an address");
    let bearer = format!("Bearer {SECRET}");
    for (method, path, value) in [
        ("GET", "/metrics", bearer.as_str()),
        ("POST", "/api/v1/checks", bearer.as_str()),
        ("GET", "/metrics", "Bearer a secret that nobody may read either"),
        ("GET", "/\u{1}", bearer.as_str()),
    ] {
        let headers = [("Authorization", value), ("Content-Type", "application/json")];
        let mut connection = Connection::open(address);
        let _ = connection.ask_with(method, path, &headers, b"{\"agent\":\"a\"}");
    }
    crate::support::signal(child.id(), "TERM");
    child.wait().expect("a dead server");
    assert!(!said().contains("secret that nobody"), "{}", said());
    let own = Command::new("grep").args(["-r", "-l", "secret that nobody", events.text()]).output().expect("grep");
    assert!(own.stdout.is_empty(), "{}", String::from_utf8_lossy(&own.stdout));
}

#[test]
fn only_commands_call_anybody() {
    let mut callers = Vec::new();
    for path in super::sources(&repository("src")) {
        let text = fs::read_to_string(&path).expect("a readable file");
        if ["ureq", "TcpStream::connect", "UdpSocket"].iter().any(|word| text.contains(word)) {
            callers.push(path.strip_prefix(repository("src")).expect("below").to_string_lossy().into_owned());
        }
    }
    assert!(!callers.is_empty() && callers.iter().all(|path| path.starts_with("cli/")), "{callers:?}");
}

#[test]
fn a_server_out_of_descriptors_goes_on_folding_and_answers() {
    let events = Events::new();
    for n in 0..30 {
        events.append(&format!("s{n}"), "{\"agent\":\"a\",\"reward\":1}\n");
    }
    let script = format!("ulimit -n 96; exec {RUNTAPE} serve --events {} --listen 127.0.0.1:0", events.text());
    let log = events.path().join("log");
    let file = fs::File::create(&log).expect("a writable directory");
    let mut child = Command::new("sh").args(["-c", &script]).stdout(file).spawn().expect("a shell");
    let said = || fs::read_to_string(&log).expect("a log");
    wait_until("it listens", || said().contains("\ntry: "));
    let address = said().split_once("on http://").expect("an address").1.lines().next().unwrap_or("").to_owned();
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let page = || crate::support::request(address, "/metrics", &[]).map(|answer| crate::support::Metrics(answer.body));
    let idle: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(address).ok()).collect();
    events.append("new", "{\"agent\":\"a\",\"reward\":1}\n");
    wait_until("a line in a new file counts, and somebody is told", || {
        page().is_ok_and(|page| page.get("agent_runs_total{agent=\"a\"}") == Some(31.0))
    });
    let shown = page().expect("an answer");
    assert_eq!(shown.get("runtape_limit{limit=\"connections\"}"), Some(48.0), "half of the descriptors");
    assert_eq!(shown.get("runtape_limit{limit=\"descriptors\"}"), Some(96.0));
    drop(idle);
    crate::support::signal(child.id(), "TERM");
    assert!(child.wait().expect("a dead server").success());
}
