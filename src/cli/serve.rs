use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use super::{
    Events, Found, Usage,
    desk::{Desk, Local, beacon},
    policy::file,
};
use crate::{
    clock::Clock,
    consumers::REGISTRY,
    live::{Cadence, Config},
    render::human,
    serve::{Server, Token},
};

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    listen: Listen,
    /// Seconds between snapshots, at least
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    snapshot_every: f64,
    /// Policy file to put in force where another one is; the variables AGENT_DAILY_BUDGET_USD and AGENT_BUDGET_BUFFER_USD
    /// go before what it says of the budget
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Where a server listens, and who may ask.
#[derive(Debug, Clone, Args)]
pub struct Listen {
    /// Address for metrics, API and pages; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8273")]
    listen: SocketAddr,
    /// File with the token every request must show; needed for any address that is not loopback
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Listen {
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    pub fn token(&self) -> anyhow::Result<Option<Token>> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = fs::read_to_string(path).with_context(|| format!("cannot read the token {}", path.display()))?;
        let secret = text.trim();
        if secret.len() < 16 {
            return Err(Usage(format!(
                "the token in {} has {} characters; want at least 16",
                path.display(),
                secret.len()
            ))
            .into());
        }
        Ok(Some(Token::new(secret)))
    }
}

impl Serve {
    pub fn run(self) -> anyhow::Result<Found> {
        if !(self.snapshot_every > 0.0 && self.snapshot_every <= 86_400.0) {
            return Err(Usage(format!("--snapshot-every {}: want 0 to 86400 seconds", self.snapshot_every)).into());
        }
        log();
        let cadence = Cadence { snapshot: Duration::from_secs_f64(self.snapshot_every), ..Cadence::default() };
        let layout = self.events.layout();
        let token = self.listen.token()?;
        let put = self.policy.as_deref().map_or(Ok(Vec::new()), |policy| self.put_in_force(policy))?;
        let config = Config { layout: layout.clone(), registry: REGISTRY, clock: Clock::system(), cadence };
        let server = Server::start(self.listen.address(), token, config)?;
        let lit = beacon::light(&layout, server.address());
        if let Err(error) = &lit {
            // Commands then need --server; the fleet needs the server more than that.
            tracing::warn!("cannot write {}: {error}", layout.server().display());
        }
        greet(&layout.dir, &server);
        put.iter().for_each(say);
        server.run()?;
        drop(lit);
        say("stopped; everything is saved");
        Ok(Found::Nothing)
    }
}

impl Serve {
    /// Appends the policy of a file before anything is served, so that nothing is decided under another one. Returns what
    /// is to be told of it.
    fn put_in_force(&self, policy: &Path) -> anyhow::Result<Vec<String>> {
        let unusable = |error: std::io::Error| Usage(format!("--policy {}: {error}", policy.display()));
        fs::metadata(policy).map_err(unusable)?;
        // A policy that cannot be used is told before a directory that cannot.
        file::ready(policy)?;
        let mut desk = Local::new(self.events.clone());
        let now = desk.policy()?.hash;
        let put = file::keep(policy, &now, &Clock::system(), |line| desk.append(&[line]).map(drop))?;
        let Some(mut ready) = put else { return Ok(Vec::new()) };
        ready.changed.push(format!("{} is the policy from now on, {}", policy.display(), ready.hash));
        Ok(ready.changed)
    }
}

/// What was found, for whoever started it.
fn greet(dir: &Path, server: &Server) {
    let started = server.started();
    say(format!("runtape serves {} on http://{}", dir.display(), server.address()));
    if started.rounds == 0 {
        say("no tape yet: everything in the directory is read from its start");
    } else {
        let (lines, rounds) = (human::count(started.sealed_to), human::count(started.rounds));
        say(format!("found a tape of {lines} lines in {rounds} rounds, {} files", human::count(started.files as u64)));
        let restored: Vec<String> =
            started.restored.iter().map(|(name, at)| format!("{name} {}", human::count(*at))).collect();
        say(format!("restored to: {}", restored.join(", ")));
    }
    for passed in &started.passed_over {
        say(format!("passed over {passed}"));
    }
    say(format!("try: curl -s http://{}/metrics | grep agent_", server.address()));
}

/// A line on standard output; a server goes on when nobody reads it.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Logs to standard error; `RUNTAPE_LOG` says how much.
pub fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RUNTAPE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A second logger in one process is refused, and the first one goes on.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
