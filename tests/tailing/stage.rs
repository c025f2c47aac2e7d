use std::{fmt::Write as _, fs, ops::Deref, path::PathBuf};

use crate::support::{Events, Metrics, Server, append, run, wait_until};

/// Run lines of one agent, each with its own number as `tokens_in`: the count and the sum tell a lost line and a
/// repeated one.
pub struct Runs {
    agent: &'static str,
    next: u64,
    pub count: u64,
    pub sum: u64,
}

impl Runs {
    pub fn of(agent: &'static str) -> Runs {
        Runs { agent, next: 1, count: 0, sum: 0 }
    }

    /// The next lines, which the fleet must count from now on.
    pub fn take(&mut self, lines: u64) -> String {
        let mut text = String::new();
        for number in self.next..self.next + lines {
            text += &line(self.agent, number);
            self.sum += number;
        }
        self.next += lines;
        self.count += lines;
        text
    }
}

/// A run line of fixed length: only a few bytes tell it from another.
pub fn line(agent: &str, number: u64) -> String {
    let mut line = String::new();
    let _ = writeln!(
        line,
        r#"{{"run_id":"r{number:08}","event_id":"{agent}-{number:08}","agent":"{agent}","tokens_in":{number},"tokens_out":1,"cost_usd":0.0,"errors":0,"latency_ms":12,"model":"a model with a long name"}}"#
    );
    line
}

/// A server over a directory, and the lines it must have folded.
pub struct Stage {
    /// Dropped first: a server whose directory vanishes complains.
    server: Option<Server>,
    pub events: Events,
    /// On the same file system, and not followed.
    pub outside: Events,
    pub runs: Runs,
    probes: u64,
}

impl Deref for Stage {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.server.as_ref().expect("a running server")
    }
}

impl Stage {
    /// A directory and no server yet.
    pub fn dark() -> Stage {
        Stage { events: Events::new(), outside: Events::new(), server: None, runs: Runs::of("a"), probes: 0 }
    }

    pub fn new() -> Stage {
        let mut stage = Stage::dark();
        stage.start();
        stage
    }

    pub fn start(&mut self) {
        let server = Server::start(self.events.path(), &["--snapshot-every", "0.2"]);
        server.ready();
        self.server = Some(server);
    }

    pub fn kill(&mut self) {
        self.server.take().expect("a running server").kill();
    }

    pub fn terminate(&mut self) {
        let code = self.server.take().expect("a running server").terminate();
        assert_eq!(code, Some(0), "an orderly end");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.events.path().join(name)
    }

    /// Appends the next lines to a file.
    pub fn write(&mut self, name: &str, lines: u64) {
        let text = self.runs.take(lines);
        append(&self.path(name), text.as_bytes());
    }

    pub fn resets(&self, reason: &str) -> f64 {
        let series = format!("runtape_resets_total{{reason=\"{reason}\"}}");
        self.metrics().get(&series).expect("every reason is on the page")
    }

    /// Waits until the server shows all lines, and looks whether it still does after it read the whole directory again
    /// and again.
    pub fn settle(&mut self) {
        wait_until(&format!("{} runs are counted", self.runs.count), || counted(&self.metrics()).0 >= self.runs.count);
        for _ in 0..3 {
            self.full_look();
        }
        assert_eq!(counted(&self.metrics()), (self.runs.count, self.runs.sum), "count and sum of the lines folded");
    }

    /// Waits until the server has looked at the whole directory: at a line that no notification names.
    pub fn full_look(&mut self) {
        let outside = self.outside.stream("probe");
        append(&outside, line("probe", self.probes + 1).as_bytes());
        self.probes += 1;
        if self.probes == 1 {
            fs::hard_link(&outside, self.events.stream("probe")).expect("a hard link");
        }
        let want = self.probes as f64;
        wait_until("a full look", || self.metrics().get("agent_runs_total{agent=\"probe\"}") == Some(want));
    }

    /// Settles, and holds the server against a replay from scratch and a verification.
    pub fn check(&mut self) {
        self.settle();
        let state = self.events.replay();
        let row = &state["agents"]["a"];
        let replayed = (row["runs"].as_u64(), row["tokens_in"].as_u64());
        let want = if self.runs.count > 0 { (Some(self.runs.count), Some(self.runs.sum)) } else { (None, None) };
        assert_eq!(replayed, want, "count and sum of a replay from scratch");
        assert_eq!(state["position"].as_f64(), self.metrics().get("runtape_position"), "replay and server end alike");
        self.intact();
    }

    /// Everything that was sealed can be read as it was sealed.
    pub fn intact(&self) {
        let verified = run(&["verify", "--events", self.events.text()]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }

    /// What a verification finds, when it must find something.
    pub fn damage(&self) -> String {
        let verified = run(&["verify", "--events", self.events.text()]);
        assert_eq!(verified.status.code(), Some(1), "a damaged history is a finding");
        String::from_utf8_lossy(&verified.stdout).into_owned()
    }
}

/// Runs of the agent `a`, and the sum of their numbers.
pub fn counted(metrics: &Metrics) -> (u64, u64) {
    let runs = metrics.get("agent_runs_total{agent=\"a\"}").unwrap_or(0.0);
    let sum = metrics.get("agent_tokens_total{agent=\"a\",direction=\"in\"}").unwrap_or(0.0);
    (runs as u64, sum as u64)
}

/// A number from `/proc/PID/status`, in KiB.
pub fn memory_kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of the status");
    line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// Open descriptors of a process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a running process").count()
}
