use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{
    Events, Found, Usage,
    desk::{Desk, Local, beacon},
    policy::file,
    rollups::Rollups,
};
use crate::{
    clock::Clock,
    consumers::REGISTRY,
    live::{Cadence, Config},
    render::human,
    serve::{Control, Options, Server, Tokens},
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
    /// Policy file to put in force where another one is, and again at SIGHUP; the variables AGENT_DAILY_BUDGET_USD and AGENT_BUDGET_BUFFER_USD
    /// go before what it says of the budget
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where to write who is quarantined, for code that reads such a file [default: .runtape/quarantine.json]
    #[arg(long, value_name = "FILE")]
    quarantine_file: Option<PathBuf>,
    #[command(flatten)]
    rollups: Rollups,
}

/// Where a server listens, and who may ask.
#[derive(Debug, Clone, Args)]
pub struct Listen {
    /// Address for metrics, API and pages; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8273")]
    listen: SocketAddr,
    /// File of tokens (TOML: [[token]] name, secret, scopes, agent); read again at SIGHUP. Tokens are needed for any
    /// address that is not loopback
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    tokens: Option<PathBuf>,
    /// File with one secret that permits everything
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Listen {
    /// What a server is started with. At SIGHUP the tokens and the policy are read again.
    pub fn options(&self, policy: Option<PathBuf>) -> anyhow::Result<Options> {
        let path = self.token_path();
        let tokens = path.as_ref().map(|(path, single)| Tokens::read(path, *single)).transpose()?;
        let on_hangup = Box::new(move |control: &Control| {
            if let Some((path, single)) = &path {
                match Tokens::read(path, *single) {
                    Ok(tokens) => {
                        control.access.replace(tokens);
                        tracing::info!("read the tokens {} again", path.display());
                    }
                    Err(error) => tracing::error!("{error}; the tokens stay as they were"),
                }
            }
            if let Some(policy) = &policy {
                reload(policy, control);
            }
        });
        Ok(Options { address: self.listen, tokens, on_hangup: Some(on_hangup), tables: None })
    }

    fn token_path(&self) -> Option<(PathBuf, bool)> {
        let single = self.token_file.clone().map(|path| (path, true));
        single.or_else(|| self.tokens.clone().map(|path| (path, false)))
    }
}

/// Puts the policy of a file in force where it says something else; one that cannot be used changes nothing, and is told.
fn reload(policy: &Path, control: &Control) {
    let append = |line| Ok(control.append(line)?);
    let problem = match file::keep(policy, &control.policy_hash(), &Clock::system(), append) {
        Ok(put) => {
            if let Some(ready) = put {
                tracing::info!("{} is the policy from now on, {}", policy.display(), ready.hash);
            }
            None
        }
        Err(error) => {
            Some(format!("the policy {} cannot be used: {error:#}; the one before stays in force", policy.display()))
        }
    };
    if let Some(problem) = &problem {
        tracing::error!("{problem}");
    }
    control.note_policy(problem);
}

impl Serve {
    pub fn run(self) -> anyhow::Result<Found> {
        if !(self.snapshot_every > 0.0 && self.snapshot_every <= 86_400.0) {
            return Err(Usage(format!("--snapshot-every {}: want 0 to 86400 seconds", self.snapshot_every)).into());
        }
        let tables = self.rollups.tables(&self.events.layout())?;
        log();
        let cadence = Cadence { snapshot: Duration::from_secs_f64(self.snapshot_every), ..Cadence::default() };
        let layout = self.events.layout();
        let options = self.listen.options(self.policy.clone())?;
        let put = match self.policy.as_deref() {
            Some(policy) => self.put_in_force(policy)?,
            None if file::is_overridden() => self.override_in_force()?,
            None => Vec::new(),
        };
        let config = Config {
            layout: layout.clone(),
            registry: REGISTRY,
            clock: Clock::system(),
            cadence,
            quarantine_file: self.quarantine_file.clone(),
        };
        let server = Server::start(Options { tables, ..options }, config)?;
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
        std::fs::metadata(policy).map_err(unusable)?;
        // A policy that cannot be used is told before a directory that cannot.
        file::ready(policy)?;
        let mut desk = Local::new(self.events.clone());
        let now = desk.policy()?.hash;
        let put = file::keep(policy, &now, &Clock::system(), |line| desk.append(&[line]).map(drop))?;
        let Some(mut ready) = put else { return Ok(Vec::new()) };
        ready.changed.push(format!("{} is the policy from now on, {}", policy.display(), ready.hash));
        Ok(ready.changed)
    }

    /// Without a policy file the environment changes the policy that is in force.
    fn override_in_force(&self) -> anyhow::Result<Vec<String>> {
        let mut desk = Local::new(self.events.clone());
        let now = desk.policy()?;
        let (ready, clock) = (file::overriding(&now.policy)?, Clock::system());
        let put = file::enforce(ready, &now.hash, "the environment", &clock, |line| desk.append(&[line]).map(drop))?;
        Ok(put.map_or(Vec::new(), |ready| ready.changed))
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
    if let Some(torn) = &started.torn {
        say(crate::live::told(torn));
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
