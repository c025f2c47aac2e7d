//! A server whose words are kept, and what it left behind.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use runtape::{decision::DecisionLine, layout::Layout};

use crate::support::{self, Events, Metrics, RUNTAPE, wait_until};

/// A serving process with everything it prints.
pub struct Talk {
    child: Child,
    said: Said,
    pub address: SocketAddr,
}

/// What a process printed so far, both streams in one.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn listen(&self, from: impl Read + Send + 'static) {
        let said = self.0.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                *said += &line;
                said.push('\n');
            }
        });
    }
}

impl Talk {
    /// Starts `runtape serve` and waits until it has caught up.
    pub fn start(events: &Path, more: &[&str]) -> Talk {
        let mut child = Command::new(RUNTAPE)
            .args(["serve", "--events", events.to_str().expect("a UTF-8 path"), "--listen", "127.0.0.1:0"])
            .args(more)
            .env("RUNTAPE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = Said::default();
        said.listen(child.stdout.take().expect("a pipe"));
        said.listen(child.stderr.take().expect("a pipe"));
        wait_until("the server greets", || {
            assert!(child.try_wait().expect("a child").is_none(), "it ended: {}", said.get());
            said.get().contains("\ntry: ")
        });
        let text = said.get();
        let address = text.split_once("on http://").expect("an address").1;
        let address = address.lines().next().expect("a line").parse().expect("an address");
        let talk = Talk { child, said, address };
        wait_until("the server is ready", || {
            support::request(talk.address, "/readyz", &[]).is_ok_and(|response| response.status == 200)
        });
        talk
    }

    pub fn said(&self) -> String {
        self.said.get()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn metrics(&self) -> Metrics {
        Metrics(support::request(self.address, "/metrics", &[]).expect("the server answers").body)
    }

    /// SIGTERM; what it said in all. It must end well.
    pub fn terminate(mut self) -> String {
        support::signal(self.pid(), "TERM");
        let status = self.child.wait().expect("a dead server");
        assert_eq!(status.code(), Some(0), "{}", self.said());
        wait_until("its last words arrive", || self.said().contains("stopped; everything is saved"));
        self.said()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The decisions of a file, without the digests they stand on.
pub fn decided(layout: &Layout, consumer: &str) -> Vec<DecisionLine> {
    let text = fs::read_to_string(layout.decisions(consumer)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("whole lines")).collect()
}

/// Asserts that what a server left is what a replay from the start makes of the tape: decisions, each once.
pub fn assert_decisions_are_those_of_a_replay(events: &Events) -> usize {
    let mut want: BTreeMap<String, Vec<DecisionLine>> = BTreeMap::new();
    for line in events.decisions().lines() {
        let line: DecisionLine = serde_json::from_str(line).expect("whole lines");
        want.entry(line.consumer.clone()).or_default().push(line);
    }
    let layout = Layout::new(events.path());
    for registration in runtape::consumers::REGISTRY {
        let (got, want) = (decided(&layout, registration.name), want.remove(registration.name).unwrap_or_default());
        let differs = got.iter().zip(&want).position(|(got, want)| got != want);
        assert_eq!(differs, None, "the decision of {} that differs first", registration.name);
        assert_eq!(got.len(), want.len(), "decisions of {}", registration.name);
    }
    assert!(want.is_empty(), "decisions of nobody: {want:?}");
    events.decisions().lines().count()
}

/// Asserts that the page shows what a replay computes.
pub fn assert_page_is_that_of_a_replay(events: &Events, page: &Metrics) {
    let state = events.replay();
    let agents = state["agents"].as_object().expect("agents");
    let sum = |field: &str| agents.values().filter_map(|row| row[field].as_f64()).sum::<f64>();
    assert_eq!(page.sum("agent_runs_total"), sum("runs"));
    let held = agents.values().filter(|row| row["quarantine"]["active"] == true).count();
    assert_eq!(page.sum("agent_quarantined"), held as f64);
    assert_eq!(page.get("runtape_position"), state["position"].as_f64());
    let cost = page.sum("agent_cost_usd_total");
    assert!((cost - sum("cost_usd")).abs() <= 1e-9 * cost.abs().max(1.0), "{cost} is not {}", sum("cost_usd"));
    let lines = page.sum("runtape_lines_total");
    assert_eq!(Some(lines), state["position"].as_f64(), "every line has one outcome");
}

/// Somebody changes a decision that was written live.
pub fn assert_an_edited_decision_is_named(events: &Events) {
    let path = events.path().join(".runtape/decisions/quarantine.jsonl");
    let text = std::fs::read_to_string(&path).expect("decisions");
    let line = text.lines().find(|line| line.contains("\"quarantined\"")).expect("somebody was quarantined");
    let edited = line.replace("\"quarantined\"", "\"cleared\"");
    std::fs::write(&path, text.replacen(line, &edited, 1)).expect("a writable directory");
    let found = support::run(&["verify", "--decisions", "--events", events.text()]);
    let decision: DecisionLine = serde_json::from_str(line).expect("a decision");
    let said = String::from_utf8_lossy(&found.stdout).into_owned() + &String::from_utf8_lossy(&found.stderr);
    assert_eq!(found.status.code(), Some(1), "{said}");
    assert!(said.contains(&decision.subject) && said.contains(&format!("position {}", decision.cause)), "{said}");
}
