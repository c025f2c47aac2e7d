use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

/// A Prometheus of its own, killed with its value.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

/// An address on this machine that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

impl Prometheus {
    /// Scrapes a server each second; `more` is appended to its configuration.
    pub fn scraping(program: &Path, target: SocketAddr, more: &str) -> Prometheus {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\nscrape_configs:\n  - job_name: runtape\n    static_configs:\n      - targets: ['{target}']\n{more}"
        );
        fs::write(dir.path().join("prometheus.yml"), config).expect("a writable directory");
        let address = free_address();
        let child = Command::new(program)
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--enable-feature=exemplar-storage", "--log.level=error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("Prometheus starts");
        Prometheus { child, address, _dir: dir }
    }

    /// What its HTTP API answers as `data`, once it does.
    pub fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
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

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
