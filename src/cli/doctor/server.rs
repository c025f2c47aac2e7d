use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use super::finding::Finding;
use crate::{
    cli::{
        desk::{DeskError, Way, beacon},
        figures,
        policy::file,
    },
    event::{Nanos, time},
    layout::Layout,
    render::human,
    store::Lock,
};

/// Whether a process holds the directory.
pub fn is_held(layout: &Layout) -> bool {
    Lock::is_held(&layout.files, &layout.lock())
}

/// Looks at who serves, and who asks.
pub fn look(way: &Way, listen: SocketAddr, held: bool, now: Nanos, findings: &mut Vec<Finding>) {
    let layout = way.events.layout();
    if !held {
        if let Some(beacon) = beacon::read(&layout) {
            let what = format!("the one of pid {} ended without taking leave", beacon.pid);
            findings.push(Finding::warn("server", what, "start `runtape serve` again: it goes on where it was"));
        }
        findings.push(port(listen));
        return;
    }
    match way.client().map(|client| client.map(|client| (client.url().to_owned(), client.get("/api/v1/status", &[])))) {
        Ok(Some((url, Ok(status)))) => {
            findings.push(served(&url, &status));
            findings.push(scraped(&url, &status["scrapes"], now));
        }
        Ok(Some((_, Err(DeskError::Answered { status: 401 | 403, message, .. })))) => {
            findings.push(Finding::warn(
                "server",
                message,
                "give the file of a token with the scope `read`: --token-file FILE",
            ));
        }
        Ok(Some((_, Err(error)))) => {
            let way_out = "see its log; if it hangs, end it and start it again: it goes on where it was";
            findings.push(Finding::fail("server", error.to_string(), way_out));
        }
        Ok(None) => {
            let way_out = "ask again: a command may just be writing";
            findings.push(Finding::warn(
                "server",
                "a process holds the directory and does not say where it is reached",
                way_out,
            ));
        }
        Err(error) => findings.push(Finding::fail("server", error.to_string(), "say which server with --server URL")),
    }
}

/// Whether a server could listen there.
fn port(listen: SocketAddr) -> Finding {
    let error = match TcpListener::bind(listen) {
        Ok(_) => return Finding::ok("port", format!("{listen} is free; no server runs")),
        Err(error) => error,
    };
    let what = match error.kind() {
        io::ErrorKind::AddrInUse if is_runtape(listen) => {
            format!("{listen} is taken by a runtape that follows another directory")
        }
        io::ErrorKind::AddrInUse => format!("{listen} is taken by another program"),
        _ => format!("nobody can listen on {listen}: {error}"),
    };
    Finding::fail("port", what, "end that one, or choose another address: `runtape serve --listen ADDRESS`")
}

/// Whether somebody says there that he is a runtape.
fn is_runtape(address: SocketAddr) -> bool {
    let patience = Duration::from_secs(1);
    let asked = || {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer)?;
        io::Result::Ok(answer)
    };
    asked().is_ok_and(|answer| String::from_utf8_lossy(&answer).contains("runtape"))
}

fn served(url: &str, status: &Value) -> Finding {
    let version = status["version"].as_str().unwrap_or("?");
    let ours = env!("CARGO_PKG_VERSION");
    if version != ours {
        let what = format!("{url} is of version {}, this one of {ours}", human::visible(version));
        return Finding::warn("server", what, "start it again with this version, or use the other one here");
    }
    if status["ready"] != true {
        let why = status["problems"][0].as_str().unwrap_or("it reads its history");
        return Finding::fail(
            "server",
            format!("{url} is not ready: {}", human::visible(why)),
            "`runtape status` says what is first",
        );
    }
    if let Some(problem) = status["problems"][0].as_str() {
        let what = format!("{url} serves it, but {}", human::visible(problem));
        return Finding::warn("server", what, "`runtape status` lists what is wrong; the server's log says more");
    }
    Finding::ok("server", format!("{url} serves it, and is ready"))
}

/// Longer than any Prometheus waits between two looks.
const SCRAPE_GAP: Nanos = 300 * time::SECOND;

/// Whether anybody reads the metrics.
fn scraped(url: &str, scrapes: &Value, now: Nanos) -> Finding {
    let way_out = format!("let Prometheus scrape {url}/metrics (ops/prometheus/prometheus.yml)");
    let last = scrapes["last"].as_f64().map(|seconds| (seconds * time::SECOND as f64) as Nanos);
    let Some(last) = last else {
        return Finding::warn("scrapes", "nobody has asked for the metrics since the server started", way_out);
    };
    let (count, by) = (figures::count(&scrapes["count"]), scrapes["by"].as_str().unwrap_or("?"));
    let gap = now.saturating_sub(last).max(0);
    let what = format!("{count} so far, the last {} s ago by {}", gap / time::SECOND, human::visible(by));
    if gap > SCRAPE_GAP { Finding::warn("scrapes", what, way_out) } else { Finding::ok("scrapes", what) }
}

/// Whether the policy that holds, or is to hold, can be used, with what the environment says.
pub fn policy(way: &Way, file: Option<&Path>) -> Finding {
    let ready = || match file {
        Some(path) => file::ready(path),
        None => file::overriding(&way.open()?.policy()?.policy),
    };
    match ready() {
        Ok(ready) => {
            let changed =
                if ready.changed.is_empty() { String::new() } else { format!(" ({})", ready.changed.join(", ")) };
            Finding::ok("policy", format!("{}{changed}", ready.hash))
        }
        Err(error) => Finding::fail("policy", format!("{error:#}"), "`runtape policy check FILE` says more"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_serves_and_who_scrapes() {
        let first = |finding: Finding| finding.to_string().lines().next().unwrap_or("").to_owned();
        let status =
            |version: &str, ready: bool| json!({ "version": version, "ready": ready, "problems": ["a\u{7}b"] });
        let ours = env!("CARGO_PKG_VERSION");
        let fine = json!({ "version": ours, "ready": true, "problems": [] });
        assert_eq!(first(served("http://x", &fine)), "ok   server      http://x serves it, and is ready");
        let but = "warn server      http://x serves it, but a\\u{7}b";
        assert_eq!(first(served("http://x", &status(ours, true))), but);
        assert_eq!(first(served("http://x", &status(ours, false))), "FAIL server      http://x is not ready: a\\u{7}b");
        assert!(
            first(served("http://x", &status("0.0.0", true)))
                .starts_with("warn server      http://x is of version 0.0.0")
        );
        let scrapes = |last: Value| json!({ "count": 1234, "last": last, "by": "Prometheus/2.42.0" });
        let now = 1000 * time::SECOND;
        assert_eq!(
            first(scraped("http://x", &scrapes(json!(990.5)), now)),
            "ok   scrapes     1,234 so far, the last 9 s ago by Prometheus/2.42.0"
        );
        assert_eq!(
            first(scraped("http://x", &scrapes(json!(10)), now)),
            "warn scrapes     1,234 so far, the last 990 s ago by Prometheus/2.42.0"
        );
        assert_eq!(
            first(scraped("http://x", &scrapes(Value::Null), now)),
            "warn scrapes     nobody has asked for the metrics since the server started"
        );
    }
}
