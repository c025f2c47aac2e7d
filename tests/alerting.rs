//! From a fault to a person: the real server, Prometheus with the shipped alerts, Alertmanager with the shipped routes, and
//! a listener in the place of whoever is called. Only the waiting is shortened.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::{
    prometheus::Prometheus,
    support::{
        Events, Server,
        programs::{Daemon, tool},
        repository, run, stdout, wait_until,
    },
};

/// What arrived: the path it was sent to, and each alert of it.
type Arrived = Arc<Mutex<Vec<(String, Value)>>>;

/// Listens for webhooks until the process ends.
fn listener() -> (SocketAddr, Arrived) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (address, arrived) = (listener.local_addr().expect("an address"), Arrived::default());
    let kept = arrived.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some((path, body)) = received(stream) {
                let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
                kept.lock().expect("a lock").extend(alerts.into_iter().map(|alert| (path.clone(), alert)));
            }
        }
    });
    (address, arrived)
}

/// One request, answered with 200.
fn received(mut stream: TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), serde_json::from_slice(&body).ok()?))
}

/// An Alertmanager with the shipped routes, which end at the listener.
fn routing(program: &Path, listener: SocketAddr) -> Daemon {
    let routes = fs::read_to_string(repository("ops/prometheus/alertmanager.yml")).expect("the routes");
    let routes = routes.replace("127.0.0.1:9099", &listener.to_string());
    let routes: Vec<String> = routes.lines().map(sooner).collect();
    let alone = ["--cluster.listen-address="];
    Daemon::start(program, "alertmanager.yml", &routes.join("\n"), "--storage.path", &alone)
}

/// A line of a configuration, with the waiting cut to a second.
fn sooner(line: &str) -> String {
    let key = line.trim_start().split(':').next().unwrap_or("");
    if ["group_wait", "group_interval", "for"].contains(&key) {
        return format!("{}{key}: 1s", &line[..line.len() - line.trim_start().len()]);
    }
    line.to_owned()
}

fn alert_arrives(arrived: &Arrived, path: &str, name: &str, status: &str) {
    wait_until(&format!("{name} arrives as {status} at {path}"), || {
        let arrived = arrived.lock().expect("a lock");
        arrived
            .iter()
            .any(|(to, alert)| to == path && alert["labels"]["alertname"] == name && alert["status"] == status)
    });
}

#[test]
fn a_fault_calls_somebody_and_its_end_is_told() {
    let (Some(prometheus), Some(alertmanager)) = (tool("prometheus"), tool("prometheus-alertmanager")) else { return };
    let (listener, arrived) = listener();
    let alertmanager = routing(&alertmanager, listener);
    let events = Events::new();
    for number in 0..5 {
        events
            .append("runs", format!("{{\"agent\":\"eth\",\"run_id\":\"r{number}\",\"reward\":1,\"cost_usd\":0.01}}\n"));
    }
    let server = Server::start(events.path(), &[]);
    server.ready();
    let rules = tempfile::tempdir().expect("a temporary directory");
    let text = fs::read_to_string(repository("ops/prometheus/runtape.rules.yml")).expect("the alerts");
    let text: Vec<String> = text.lines().map(sooner).collect();
    fs::write(rules.path().join("rules.yml"), text.join("\n")).expect("a writable directory");
    let more = format!(
        "rule_files:\n  - {}\nalerting:\n  alertmanagers:\n    - static_configs:\n        - targets: ['{}']\n",
        rules.path().join("rules.yml").display(),
        alertmanager.address
    );
    let prometheus = Prometheus::scraping(&prometheus, server.address, &more);
    wait_until("the target is up", || prometheus.value("up{job=\"runtape\"}") == Some(1.0));
    let address = format!("http://{}", server.address);
    let order = |verb: &str| stdout(&run(&[verb, "eth", "--reason", "test", "--yes", "--server", &address]));

    order("kill");
    alert_arrives(&arrived, "/people", "RuntapeAgentKilled", "firing");
    order("revive");
    alert_arrives(&arrived, "/people", "RuntapeAgentKilled", "resolved");

    events.append("runs", "{\"agent\":\"eth\",\"run_id\":\"dear\",\"cost_usd\":6}\n");
    alert_arrives(&arrived, "/pager", "RuntapeBudgetExhausted", "firing");

    let named: Vec<String> =
        arrived.lock().expect("a lock").iter().map(|(_, a)| a["labels"]["agent"].to_string()).collect();
    assert!(named.iter().any(|agent| agent == "\"eth\""), "whoever is called is told which agent: {named:?}");
    let delivered = arrived.lock().expect("a lock").len();
    drop(server);
    alert_arrives(&arrived, "/pager", "RuntapeRecorderAbsent", "firing");
    println!("{delivered} alerts delivered before the recorder was stopped");
}
