use std::{
    io::{self, BufRead, BufReader},
    thread,
    time::Duration,
};

use serde_json::{Map, Value, json};
use ureq::{Agent, Body, http::Response};

use super::{Answer, Asking, Desk, DeskError, InForceNow, Look, Order, State, Whom};
use crate::{cli::Usage, policy::Policy, store::decisions::Filter};

const CONNECT: Duration = Duration::from_secs(5);
/// A reply waits for the disk, and for consumers that catch up.
const REPLY: Duration = Duration::from_secs(30);
/// Larger answers are refused: no fleet has such a state.
const BODY_MAX: u64 = 1 << 30;
/// How often a broken stream of decisions is taken up again before giving up.
const ATTEMPTS: u32 = 10;

/// A desk behind a server.
pub struct Client {
    url: String,
    token: Option<String>,
    agent: Agent,
    /// What to do when nobody answers.
    way_out: String,
}

impl Client {
    /// # Errors
    /// An address this program cannot speak to.
    pub fn new(url: &str, token: Option<String>, way_out: String) -> Result<Client, Usage> {
        let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let host = full.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let Some(host) = host.filter(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])) else {
            return Err(Usage(format!(
                "--server {url:?} is no address of a server: want http://HOST:PORT (for another machine, through a tunnel)"
            )));
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            // A token goes to the server that was named, and nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(REPLY))
            .user_agent(concat!("runtape/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Client { url: format!("http://{host}"), token, agent: config.into(), way_out })
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Appends lines of producers, all or none; answered once they are on disk.
    ///
    /// # Errors
    /// The server is silent, or will not have them.
    pub fn append(&self, lines: &[String]) -> Result<Value, DeskError> {
        self.send("/api/v1/events", "application/x-ndjson", lines.join("\n") + "\n")
    }

    /// # Errors
    /// The server is silent, or answers with an error.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, DeskError> {
        let mut request = self.agent.get(format!("{}{path}", self.url)).header("Accept", "application/json");
        for (key, value) in query {
            request = request.query(key, value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(Some(REPLY + CONNECT)).build();
        self.read(request.call().map_err(|error| self.silent(&error))?)
    }

    /// # Errors
    /// The server is silent, or answers with an error.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, DeskError> {
        self.send(path, "application/json", body.to_string())
    }

    fn send(&self, path: &str, kind: &str, body: String) -> Result<Value, DeskError> {
        let mut request = self.agent.post(format!("{}{path}", self.url)).content_type(kind);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(Some(REPLY + CONNECT)).build();
        self.read(request.send(body).map_err(|error| self.silent(&error))?)
    }

    /// The JSON of an answer; a refusal is an error.
    fn read(&self, mut answer: Response<Body>) -> Result<Value, DeskError> {
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(BODY_MAX).lossy_utf8(true).read_to_string();
        let text = text.map_err(|error| self.silent(&error))?;
        let value = serde_json::from_str::<Value>(&text);
        if (200..300).contains(&status) {
            return value.map_err(|error| self.nonsense(format!("no JSON ({error})")));
        }
        let error = value.map(|value| value["error"].clone()).unwrap_or_default();
        let field = |name: &str| error[name].as_str().unwrap_or("").to_owned();
        let (code, mut message, mut way_out) = (field("code"), field("message"), field("way_out"));
        if status == 401 && way_out.is_empty() {
            "give the file of its token with --token-file FILE".clone_into(&mut way_out);
        }
        if message.is_empty() {
            if status == 404 {
                return Err(self.nonsense("404 (nothing there)".to_owned()));
            }
            let said: String = text.lines().next().unwrap_or("").chars().take(200).collect();
            message = format!("the server {} answered {status} {said}", self.url).trim_end().to_owned();
        }
        Err(DeskError::Answered { status, code, message, way_out })
    }

    fn silent(&self, error: &ureq::Error) -> DeskError {
        DeskError::Silent { url: self.url.clone(), what: error.to_string(), way_out: self.way_out.clone() }
    }

    fn nonsense(&self, what: String) -> DeskError {
        DeskError::Nonsense { url: self.url.clone(), what }
    }

    /// Reads one connection's decisions; the id of the last one is kept, to go on after it.
    fn stream(
        &self,
        query: &[(&str, String)],
        last: &mut Option<String>,
        each: &mut dyn FnMut(Value) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut request =
            self.agent.get(format!("{}/api/v1/decisions", self.url)).header("Accept", "text/event-stream");
        for (key, value) in query {
            request = request.query(key, value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last.as_str());
        }
        let answer = request.call().map_err(|error| self.silent(&error))?;
        if !answer.status().is_success() {
            self.read(answer)?;
            return Ok(());
        }
        let (mut id, mut data) = (None, String::new());
        for line in BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader()).lines() {
            // A broken connection is taken up again where it broke.
            let Ok(line) = line else { break };
            if let Some(value) = line.strip_prefix("id:") {
                id = Some(value.trim_start().to_owned());
            } else if let Some(value) = line.strip_prefix("data:") {
                data.push_str(value.strip_prefix(' ').unwrap_or(value));
            } else if line.is_empty() && !data.is_empty() {
                let decision = serde_json::from_str(&data);
                each(decision.map_err(|error| self.nonsense(format!("a decision that is none ({error})")))?)?;
                data.clear();
                *last = id.take().or(last.take());
            }
        }
        Ok(())
    }
}

/// The parameters of a query for decisions.
fn query(filter: &Filter) -> Vec<(&'static str, String)> {
    let named = [
        ("consumer", filter.consumer.clone()),
        ("subject", filter.subject.clone()),
        ("subject_kind", filter.subject_kind.clone()),
        ("verdict", filter.verdict.clone()),
        ("from", (filter.from > 0).then(|| filter.from.to_string())),
        ("to", filter.to.map(|to| to.to_string())),
    ];
    named.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// The answer to a command, from the list of one that a server gives.
fn answer(reply: &Value) -> Answer {
    let first = &reply["commands"][0];
    Answer { position: first["position"].as_u64(), decision: Some(first["decision"].clone()).filter(Value::is_object) }
}

impl Desk for Client {
    fn state(&mut self) -> anyhow::Result<State> {
        Ok(self.get("/api/v1/state", &[])?)
    }

    fn policy(&mut self) -> anyhow::Result<InForceNow> {
        let reply = self.get("/api/v1/policy", &[])?;
        let policy: Policy = serde_json::from_value(reply["policy"].clone())
            .map_err(|error| self.nonsense(format!("a policy that is none ({error})")))?;
        Ok(InForceNow { hash: reply["hash"].as_str().unwrap_or("").to_owned(), policy })
    }

    fn health(&mut self) -> anyhow::Result<Option<Value>> {
        Ok(Some(self.get("/api/v1/status", &[])?))
    }

    fn look(&mut self, asking: &Asking) -> anyhow::Result<Option<Look>> {
        let health = self.health()?;
        let state = self.get("/api/v1/state", &[("recent", &asking.recent.to_string())])?;
        let about = match &asking.about {
            None => Vec::new(),
            Some(name) => self.newest(&Filter::of_agent(name), asking.lines)?,
        };
        let decisions = self.newest(&Filter::default(), asking.decisions)?;
        Ok(Some(Look { state, policy: self.policy()?, health, decisions, about }))
    }

    fn newest(&mut self, filter: &Filter, limit: usize) -> anyhow::Result<Vec<Value>> {
        let mut query = query(filter);
        query.extend([("newest", "true".to_owned()), ("limit", limit.to_string())]);
        let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let mut reply = self.get("/api/v1/decisions", &query)?;
        match reply["decisions"].take() {
            Value::Array(list) => Ok(list),
            _ => Err(self.nonsense("no list of decisions".to_owned()).into()),
        }
    }

    fn follow(&mut self, filter: &Filter, each: &mut dyn FnMut(Value) -> io::Result<()>) -> anyhow::Result<()> {
        let (query, mut last, mut failed) = (query(filter), None, 0);
        loop {
            match self.stream(&query, &mut last, each) {
                Ok(()) => failed = 0,
                Err(error) => {
                    let passing = matches!(error.downcast_ref(), Some(DeskError::Silent { .. })) && last.is_some();
                    failed += 1;
                    if !passing || failed >= ATTEMPTS {
                        return Err(error);
                    }
                }
            }
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn order(&mut self, orders: &[Order]) -> anyhow::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(orders.len());
        for order in orders {
            let mut body = json!({ "action": order.action.name(), "event_id": order.event_id });
            match &order.subject {
                Whom::Agent(name) => body["agent"] = name.as_str().into(),
                Whom::Strategy(name) => body["strategy"] = name.as_str().into(),
                Whom::Fleet => body["fleet"] = true.into(),
            }
            if let Some(reason) = &order.reason {
                body["reason"] = reason.as_str().into();
            }
            if order.actor_given {
                body["actor"] = order.actor.as_str().into();
            }
            answers.push(match self.post("/api/v1/commands", &body) {
                Ok(reply) => answer(&reply),
                Err(DeskError::Answered { status: 409, message, way_out, .. }) => {
                    let reason = json!({ "rule": message, "way_out": way_out });
                    Answer { position: None, decision: Some(json!({ "verdict": "refused", "reason": reason })) }
                }
                Err(error) => return Err(error.into()),
            });
        }
        Ok(answers)
    }

    fn check(&mut self, fields: Map<String, Value>) -> anyhow::Result<Value> {
        Ok(self.post("/api/v1/checks", &Value::Object(fields))?)
    }

    fn enforce(&mut self, toml: &str, actor: &str, reason: Option<&str>) -> anyhow::Result<Option<u64>> {
        let mut body = json!({ "policy": toml, "actor": actor });
        if let Some(reason) = reason {
            body["reason"] = reason.into();
        }
        Ok(self.post("/api/v1/policy", &body)?["position"].as_u64())
    }
}
