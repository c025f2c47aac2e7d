//! Is the place fit for a recorder: every finding a line, with what to do where something is wrong. Nothing is written.

/// What was looked at, and how it is.
mod finding;
/// The sealed history and the streams.
mod history;
/// What the machine grants this user.
mod machine;
/// The directory and its disk.
mod place;
/// The configuration of logrotate.
mod rotation;
/// The port, the server behind it, and who asks it.
mod server;

use std::{io::Write, net::SocketAddr, path::PathBuf};

use clap::Args;
use serde_json::json;

use self::finding::{Finding, Level};
use super::{Events, Found, Output, desk::Way, reading};
use crate::clock::Clock;

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing failed, 1 something did, 2 usage. Warnings leave it at 0.")]
pub struct Doctor {
    /// Events directory, as with --events
    #[arg(conflicts_with = "events")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    way: Way,
    /// Address that `serve` is to be given
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8273")]
    listen: SocketAddr,
    /// Policy file that `serve` is to be given
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where the configuration of logrotate lies
    #[arg(long, value_name = "DIR", default_value = "/etc")]
    etc: PathBuf,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Doctor {
    pub fn run(mut self) -> anyhow::Result<Found> {
        if let Some(events) = self.dir.take() {
            self.way.events = Events { events };
        }
        let findings = self.look();
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let (failed, warned) = (count(Level::Fail), count(Level::Warn));
        let mut out = reading::stdout();
        match self.output {
            Output::Text => {
                findings.iter().try_for_each(|finding| writeln!(out, "{finding}"))?;
                writeln!(out, "{} checks, {failed} failed, {warned} with a warning", findings.len())?;
            }
            Output::Json => {
                let report = json!({ "fit": failed == 0, "failed": failed, "warned": warned, "checks": findings });
                serde_json::to_writer_pretty(&mut out, &report)?;
                writeln!(out)?;
            }
            Output::Jsonl => {
                findings.iter().try_for_each(|finding| writeln!(out, "{}", json!(finding)))?;
            }
        }
        out.flush()?;
        Ok(if failed == 0 { Found::Nothing } else { Found::Something })
    }

    fn look(&self) -> Vec<Finding> {
        let layout = self.way.events.layout();
        let mut findings = vec![place::directory(&layout)];
        if findings[0].level == Level::Fail {
            return findings;
        }
        let now = Clock::system().now();
        place::permissions(&layout, &mut findings);
        place::disks(&layout, &mut findings);
        findings.push(machine::notifications(&layout));
        findings.push(machine::descriptors());
        let held = server::is_held(&layout);
        let newest = history::look(&layout, now, held, &mut findings);
        findings.push(machine::clock(now, newest));
        rotation::look(&layout, &self.etc, &mut findings);
        server::look(&self.way, self.listen, held, now, &mut findings);
        findings.push(server::policy(&self.way, self.policy.as_deref()));
        findings
    }
}
