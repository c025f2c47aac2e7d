use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::support::programs::Daemon;

/// A Prometheus of its own.
pub struct Prometheus {
    daemon: Daemon,
}

impl Prometheus {
    /// Scrapes a server each second; `more` is appended to its configuration.
    pub fn scraping(program: &Path, target: SocketAddr, more: &str) -> Prometheus {
        let config = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\nscrape_configs:\n  - job_name: runtape\n    static_configs:\n      - targets: ['{target}']\n{more}"
        );
        let more = ["--enable-feature=exemplar-storage"];
        Prometheus { daemon: Daemon::start(program, "prometheus.yml", &config, "--storage.tsdb.path", &more) }
    }

    /// Stands on blocks that lie in a directory as `data`, however old, and scrapes nobody.
    pub fn over(program: &Path, dir: tempfile::TempDir) -> Prometheus {
        let (storage, more) = ("--storage.tsdb.path", ["--storage.tsdb.retention.time=100y"]);
        Prometheus { daemon: Daemon::start_in(dir, program, "prometheus.yml", "global: {}\n", storage, &more) }
    }

    /// The value of a query with one result at a moment, Unix seconds.
    pub fn value_at(&self, query: &str, at: u64) -> Option<f64> {
        let data = self.ask(&format!("/api/v1/query?time={at}&query={}", encoded(query)))?;
        let [result] = data["result"].as_array()?.as_slice() else { return None };
        result["value"][1].as_str()?.parse().ok()
    }

    /// What its HTTP API answers as `data`, once it does.
    pub fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.daemon.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        // 1.0, so that the answer is not chunked.
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let value: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        (value["status"] == "success").then(|| value["data"].clone())
    }

    /// The results of an instant query; none when it is refused.
    pub fn results(&self, query: &str) -> Option<Vec<Value>> {
        self.ask(&format!("/api/v1/query?query={}", encoded(query)))?["result"].as_array().cloned()
    }

    /// The value of an instant query with one result.
    pub fn value(&self, query: &str) -> Option<f64> {
        let results = self.results(query)?;
        let [result] = results.as_slice() else { return None };
        result["value"][1].as_str()?.parse().ok()
    }
}

pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
