use std::{
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{Events, Found, Usage};
use crate::{
    clock::Clock,
    consumers::REGISTRY,
    live::{Cadence, Config},
    render::human,
    serve::{Access, Options, Server, Tokens},
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
    /// What a server is started with.
    pub fn options(&self) -> anyhow::Result<Options> {
        let Some((path, single)) = self.token_path() else {
            return Ok(Options { address: self.listen, tokens: None, on_hangup: None });
        };
        let tokens = Tokens::read(&path, single)?;
        let on_hangup = Box::new(move |access: &Access| match Tokens::read(&path, single) {
            Ok(tokens) => {
                access.replace(tokens);
                tracing::info!("read the tokens {} again", path.display());
            }
            Err(error) => tracing::error!("{error}; the tokens stay as they were"),
        });
        Ok(Options { address: self.listen, tokens: Some(tokens), on_hangup: Some(on_hangup) })
    }

    fn token_path(&self) -> Option<(PathBuf, bool)> {
        let single = self.token_file.clone().map(|path| (path, true));
        single.or_else(|| self.tokens.clone().map(|path| (path, false)))
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
        let config = Config {
            layout: layout.clone(),
            registry: REGISTRY,
            clock: Clock::system(),
            cadence,
            quarantine_file: None,
        };
        let server = Server::start(self.listen.options()?, config)?;
        greet(&layout.dir, &server);
        server.run()?;
        say("stopped; everything is saved");
        Ok(Found::Nothing)
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
