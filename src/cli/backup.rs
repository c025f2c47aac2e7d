use std::path::PathBuf;

use clap::Args;

use super::{Events, Found, Output, reading};
use crate::{clock::Clock, keeping::backup, render::human};

#[derive(Debug, Args)]
pub struct Backup {
    /// Where the backup is kept: a new directory, or a backup of this history, to which what is new is added
    #[arg(value_name = "DEST")]
    to: PathBuf,
    #[command(flatten)]
    events: Events,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Backup {
    pub fn run(self) -> anyhow::Result<Found> {
        let report = backup::backup(&self.events.layout(), &self.to, Clock::system().now())?;
        reading::print(&report, self.output, |out| {
            writeln!(
                out,
                "{} holds everything before position {}: {} rounds, {} in {} files, {} of it copied now",
                report.backup.display(),
                report.position,
                human::count(report.rounds),
                human::bytes(report.bytes),
                human::count(report.files as u64),
                human::bytes(report.copied),
            )
        })?;
        Ok(Found::Nothing)
    }
}
