use clap::Args;

use super::{Events, Found, Output, Usage, reading};
use crate::{clock::Clock, event::Nanos, keeping::archive, render::human};

#[derive(Debug, Args)]
pub struct Archive {
    #[command(flatten)]
    events: Events,
    /// Only files that nobody wrote to for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 3600.0)]
    still: f64,
    /// Say what would be packed, and pack nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Archive {
    pub fn run(self) -> anyhow::Result<Found> {
        if !(0.0..=1e9).contains(&self.still) {
            return Err(Usage(format!("--still {} is out of range: want 0 to 1000000000 seconds", self.still)).into());
        }
        let still = (self.still * 1e9) as Nanos;
        let report = archive::archive(&self.events.layout(), Clock::system().now(), still, self.dry_run)?;
        reading::print(&report, self.output, |out| {
            let name = |names: &[String], file: &str| names.first().map_or_else(|| file.to_owned(), Clone::clone);
            for packed in &report.packed {
                let after = packed.after.map_or("would be packed".to_owned(), human::bytes);
                let before = human::bytes(packed.before);
                writeln!(out, "  packed  {:<24} {before:>10} -> {after}", name(&packed.names, &packed.file))?;
            }
            for kept in &report.kept {
                writeln!(out, "  kept    {:<24} {}", name(&kept.names, &kept.file), kept.why)?;
            }
            let (before, after) = (human::bytes(report.before), human::bytes(report.after));
            writeln!(out, "{} files: {before} -> {after}", human::count(report.packed.len() as u64))
        })?;
        Ok(Found::Nothing)
    }
}
