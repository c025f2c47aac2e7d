use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context;
use clap::Args;

use super::{
    Found, Usage,
    desk::beacon,
    serve::{Listen, log},
    simulate::{self, Shape},
};
use crate::{
    clock::Clock,
    consumers::REGISTRY,
    event::control::{self, Mint},
    files::Files,
    fold::intake::CONTROL_STREAM,
    layout::Layout,
    live::{Cadence, Config},
    serve::Server,
    streams::Appender,
};

/// Lines written before the first live one, so that every window has something in it.
const HISTORY_LINES: u64 = 6_000;

/// Under the defaults a fleet as busy as this one has spent its day's money within a minute, and nobody trades live.
const POLICY: &str = "[budget]\ndaily_usd = 10000.0\n\n[confidence]\nwindow = 50\nfloor = 0.2\n\n[desk]\npaper_only = false\nlive_requires_promotion = false\n";

#[derive(Debug, Args)]
pub struct Demo {
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    shape: Shape,
    /// Lines per second
    #[arg(long, value_name = "LINES", default_value_t = 60.0)]
    rate: f64,
    /// Keep the streams here instead of in a temporary directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Demo {
    pub fn run(self) -> anyhow::Result<Found> {
        if !(self.rate >= 1.0 && self.rate <= 1e6) {
            return Err(Usage(format!("--rate {}: want 1 to 1000000 lines per second", self.rate)).into());
        }
        log();
        // Dropped, and with it the directory, when the server has stopped.
        let temporary = tempfile::Builder::new().prefix("runtape-demo-").tempdir()?;
        let dir = self.keep.clone().unwrap_or_else(|| temporary.path().join("events"));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut fleet = self.shape.fleet(Some(self.rate), HISTORY_LINES)?;
        simulate::bulk(&dir, &mut fleet, HISTORY_LINES)?;
        allow(&dir)?;
        let config = Config {
            layout: Layout::new(&dir),
            registry: REGISTRY,
            clock: Clock::system(),
            cadence: Cadence::default(),
            quarantine_file: None,
        };
        let layout = config.layout.clone();
        let server = Server::start(self.listen.options(None)?, config)?;
        // Gone when the server has stopped.
        let lit = beacon::light(&layout, server.address())?;
        tell(&server, &dir, self.rate);
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, rate) = (stop.clone(), self.rate);
        let writer =
            thread::spawn(move || simulate::live(&dir, &mut fleet, rate, None, &|| stopped.load(Ordering::Acquire)));
        server.run()?;
        drop(lit);
        stop.store(true, Ordering::Release);
        if let Ok(written) = writer.join() {
            written?;
        }
        Ok(Found::Nothing)
    }
}

/// Puts the policy of the demo in force, as an operator does.
fn allow(dir: &Path) -> anyhow::Result<()> {
    let mint = Mint { event_id: "demo-policy", ts: Clock::system().now() };
    let line = control::policy(mint, POLICY, "demo", Some("a day's money for a busy fleet"));
    let mut appender = Appender::own(Files::machine(), Layout::new(dir).stream(CONTROL_STREAM));
    appender.append(&[line]).map(|_| ()).with_context(|| format!("cannot write to {}", appender.path().display()))
}

fn tell(server: &Server, dir: &Path, rate: f64) {
    let address = server.address();
    // As it was typed: a program that was only built is not in the PATH.
    let runtape = std::env::args().next().unwrap_or_else(|| "runtape".to_owned());
    println!("runtape demo: a simulated fleet writes {rate} lines a second into {}", dir.display());
    println!();
    println!("  metrics    curl -s http://{address}/metrics | grep agent_");
    println!("  who is in quarantine");
    println!("             curl -s http://{address}/metrics | grep 'agent_quarantined.* 1'");
    println!("  the lines  tail -f {}/runs.jsonl", dir.display());
    println!("  who may trade, and why");
    println!("             {runtape} agents --events {}", dir.display());
    println!("  the fleet, live");
    println!("             {runtape} top --events {}", dir.display());
    println!("  what was decided, as it happens");
    println!("             {runtape} decisions -f --events {}", dir.display());
    println!("  stop all   {runtape} pause --fleet --events {}", dir.display());
    println!();
    println!("Ctrl-C ends it{}.", if dir.starts_with(std::env::temp_dir()) { " and removes everything" } else { "" });
}
