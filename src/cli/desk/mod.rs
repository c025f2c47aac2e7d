//! One desk, two ways to it: through the server that follows a directory, or in the directory itself while nobody does.
//! Both give the same answers, so a command is written once.

/// Where a running server is reached, said in its directory.
pub mod beacon;
/// Through a server.
mod client;
/// In the directory itself.
mod local;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Map, Value};

use super::{Events, Usage};
use crate::{
    event::{Action, control::About},
    policy::Policy,
    render::near,
    store::{Lock, decisions::Filter},
};

pub use client::Client;
pub use local::Local;

/// The file of a token where no option names one.
const TOKEN_FILE: &str = "RUNTAPE_TOKEN_FILE";

/// Where the desk is.
#[derive(Debug, Clone, Args)]
pub struct Way {
    #[command(flatten)]
    pub events: Events,
    /// Ask this server; without it, the one that holds the directory, or else the directory itself
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// File with the token the server wants to see (default: the file that RUNTAPE_TOKEN_FILE names)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The policy in force.
pub struct InForceNow {
    pub hash: String,
    pub policy: Policy,
}

/// One command to one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub action: Action,
    pub subject: Whom,
    pub event_id: String,
    pub actor: String,
    /// Somebody said who acts; a server otherwise goes by its token.
    pub actor_given: bool,
    pub reason: Option<String>,
}

/// Whom an order is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    Agent(String),
    Strategy(String),
    Fleet,
}

impl Whom {
    pub fn about(&self) -> About<'_> {
        match self {
            Whom::Agent(name) => About::Agent(name),
            Whom::Strategy(name) => About::Strategy(name),
            Whom::Fleet => About::Fleet,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Whom::Agent(_) => "agent",
            Whom::Strategy(_) => "strategy",
            Whom::Fleet => "fleet",
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Whom::Agent(name) | Whom::Strategy(name) => name,
            Whom::Fleet => "fleet",
        }
    }
}

/// What came of a line that was appended.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub position: Option<u64>,
    /// The decision it caused; none where its event id was used before, so that nothing was done again.
    pub decision: Option<Value>,
}

impl Answer {
    pub fn verdict(&self) -> &str {
        self.decision.as_ref().and_then(|decision| decision["verdict"].as_str()).unwrap_or("repeated")
    }
}

/// What is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asking {
    /// Newest entries of the windows, with each row.
    pub recent: usize,
    /// Newest decisions, whoever they are about.
    pub decisions: usize,
    /// An agent whose own newest decisions are wanted too, and how many.
    pub about: Option<String>,
    pub lines: usize,
}

/// All that a command or a screen shows of a fleet, at one moment.
pub struct Look {
    pub state: State,
    pub policy: InForceNow,
    /// What a server says of itself; none where none runs.
    pub health: Option<Value>,
    /// Oldest first.
    pub decisions: Vec<Value>,
    pub about: Vec<Value>,
}

/// The state as `replay -o json` prints it.
pub type State = Value;

/// What a command asks of the fleet's book-keeping.
pub trait Desk: Send {
    /// Every row, as `replay -o json` shows them.
    fn state(&mut self) -> anyhow::Result<State>;
    fn policy(&mut self) -> anyhow::Result<InForceNow>;
    /// What a server says of itself; none where none runs.
    fn health(&mut self) -> anyhow::Result<Option<Value>>;
    /// All of it at once; none where nothing changed since the same was asked last.
    fn look(&mut self, asking: &Asking) -> anyhow::Result<Option<Look>>;
    /// The newest decisions that pass the filter, oldest first.
    fn newest(&mut self, filter: &Filter, limit: usize) -> anyhow::Result<Vec<Value>>;
    /// Decisions from now on, until `each` fails.
    fn follow(&mut self, filter: &Filter, each: &mut dyn FnMut(Value) -> io::Result<()>) -> anyhow::Result<()>;
    /// Carries out orders, one answer each.
    fn order(&mut self, orders: &[Order]) -> anyhow::Result<Vec<Answer>>;
    /// Asks whether an order may be placed; the fields are those of a check line.
    fn check(&mut self, fields: Map<String, Value>) -> anyhow::Result<Value>;
    /// Brings a policy into force; the position from which on it is.
    fn enforce(&mut self, toml: &str, actor: &str, reason: Option<&str>) -> anyhow::Result<Option<u64>>;
}

/// What is in the way of getting an answer from a server.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The server answered, and will not do it.
    #[error("{message}{}", said(.way_out))]
    Answered { status: u16, code: String, message: String, way_out: String },
    #[error("the server {url} does not answer: {what}; {way_out}")]
    Silent { url: String, what: String, way_out: String },
    #[error("the server {url} answered {what}: is it a runtape of this version?")]
    Nonsense { url: String, what: String },
}

fn said(way_out: &str) -> String {
    if way_out.is_empty() { String::new() } else { format!(": {way_out}") }
}

impl DeskError {
    pub fn exit_code(&self) -> u8 {
        match self {
            DeskError::Answered { status: 400 | 422, .. } => 2,
            DeskError::Answered { status: 404, code, .. } if code.starts_with("unknown_") => 2,
            DeskError::Answered { status: 409, .. } => 1,
            _ => 3,
        }
    }
}

impl Way {
    /// A directory, and the server that holds it if there is one.
    pub fn to(dir: &Path) -> Way {
        Way { events: Events { events: dir.to_owned() }, server: None, token_file: None }
    }

    /// The desk: the server that was named, else the one that holds the directory, else the directory.
    ///
    /// # Errors
    /// No such directory, or a token that cannot be read.
    pub fn open(&self) -> anyhow::Result<Box<dyn Desk>> {
        match self.client()? {
            Some(client) => Ok(Box::new(client)),
            None => Ok(Box::new(Local::new(self.events.clone()))),
        }
    }

    /// The server that was named, else the one that holds the directory, if there is one.
    ///
    /// # Errors
    /// No such directory, or a token that cannot be read.
    pub fn client(&self) -> anyhow::Result<Option<Client>> {
        if let Some(url) = &self.server {
            let way_out = "check the address, or start `runtape serve` there";
            return Ok(Some(Client::new(url, self.token()?, way_out.to_owned())?));
        }
        let layout = self.events.layout();
        crate::tape::directory::check_dir(&layout)?;
        let Some(beacon) = beacon::read(&layout).filter(|_| Lock::is_held(&layout.files, &layout.lock())) else {
            return Ok(None);
        };
        let way_out = format!(
            "it holds {} (pid {}): wait for it, or stop it, and the command works in the directory itself",
            layout.dir.display(),
            beacon.pid
        );
        let url = format!("http://{}", near(beacon.address)?);
        Ok(Some(Client::new(&url, self.token()?, way_out)?))
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        let named = std::env::var_os(TOKEN_FILE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let Some(path) = self.token_file.clone().or(named) else { return Ok(None) };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let path = path.display();
            Usage(format!("cannot read the token {path}: {error}; give another --token-file, or unset {TOKEN_FILE}"))
        })?;
        Ok(Some(text.trim().to_owned()))
    }
}

/// The address of a server on this machine. A file that anybody may have written must not say where a token is sent.
fn near(address: SocketAddr) -> Result<SocketAddr, Usage> {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    if ip.is_loopback() {
        return Ok(SocketAddr::new(ip, address.port()));
    }
    Err(Usage(format!(
        "the server of this directory listens on {address}: say that you mean it with --server {address}"
    )))
}

/// Refuses an agent that the state does not know, with the nearest name that it does.
pub fn known_agent(state: &State, name: &str) -> Result<(), Usage> {
    known(state, "agents", "agent", name)
}

/// The same for a strategy.
pub fn known_strategy(state: &State, name: &str) -> Result<(), Usage> {
    known(state, "strategies", "strategy", name)
}

fn known(state: &State, rows: &str, kind: &str, name: &str) -> Result<(), Usage> {
    let names: BTreeSet<&str> = state[rows].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    if names.contains(name) {
        return Ok(());
    }
    let shown = crate::render::human::visible(name);
    let hint = match near::near(name, names.iter().copied()) {
        Some(near) => format!("did you mean {}?", crate::render::human::visible(near)),
        None if names.is_empty() => format!("there is no {kind} yet"),
        None => "`runtape agents` lists those there are".to_owned(),
    };
    Err(Usage(format!("there is no {kind} {shown}: {hint}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_is_unknown_is_told_the_nearest_name() {
        let state = json!({ "agents": { "momentum-eth": {}, "carry-ada": {} }, "strategies": {} });
        let told = |name: &str| known_agent(&state, name).map_or_else(|usage| usage.to_string(), |()| String::new());
        assert_eq!(told("carry-ada"), "");
        assert_eq!(told("momentm-eth"), "there is no agent momentm-eth: did you mean momentum-eth?");
        assert_eq!(told("x\u{1b}"), "there is no agent x\\u{1b}: `runtape agents` lists those there are");
        let told = known_strategy(&state, "carry").expect_err("unknown").to_string();
        assert_eq!(told, "there is no strategy carry: there is no strategy yet");
    }

    #[test]
    fn answers_of_a_server_have_exit_codes() {
        let answered = |status, code: &str| {
            let (message, way_out) = ("no".to_owned(), "ask".to_owned());
            DeskError::Answered { status, code: code.to_owned(), message, way_out }
        };
        assert_eq!(answered(404, "unknown_agent").to_string(), "no: ask");
        for (status, code, exit) in [
            (404, "unknown_agent", 2),
            (404, "not_found", 3),
            (422, "policy", 2),
            (409, "refused", 1),
            (401, "token", 3),
            (503, "behind", 3),
        ] {
            assert_eq!(answered(status, code).exit_code(), exit, "{status} {code}");
        }
    }
}
