use std::path::PathBuf;

use clap::Args;

use super::{Events, Found, Output, reading};
use crate::{files::Files, keeping::restore, render::human};

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    #[arg(value_name = "SRC")]
    from: PathBuf,
    #[command(flatten)]
    events: Events,
    /// Hold every byte of the backup against its digest, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Restore {
    pub fn run(self) -> anyhow::Result<Found> {
        let report = match self.dry_run {
            true => restore::check(&Files::machine(), &self.from)?,
            false => restore::restore(&self.from, &self.events.layout())?,
        };
        reading::print(&report, self.output, |out| {
            let done = if self.dry_run { "is sound, and holds" } else { "now holds" };
            writeln!(
                out,
                "{} {done} everything before position {}: {} rounds, {} in {} files",
                report.events.display(),
                report.position,
                human::count(report.rounds),
                human::bytes(report.bytes),
                human::count(report.files as u64),
            )
        })?;
        Ok(Found::Nothing)
    }
}
