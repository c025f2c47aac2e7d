use std::io::Write;

use clap::Args;

use super::{
    Events, Found, Output,
    reading::{self, Progress},
};
use crate::{render::human, tape::verify};

/// Decisions against a fold of the whole tape.
mod decided;

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    events: Events,
    /// Also fold the whole tape anew, and compare every decision that was written
    #[arg(long)]
    decisions: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Verify {
    pub fn run(self) -> anyhow::Result<Found> {
        let bar = Progress::new(None, "verifying", true);
        let mut report = verify::verify(&self.events.layout(), |bytes| bar.inc(bytes))?;
        bar.finish();
        // Of a damaged history nothing else comes out than what was decided by it.
        if self.decisions && report.findings.is_empty() {
            report.findings = decided::findings(&self.events.layout())?;
        }
        let mut out = reading::stdout();
        if self.output == Output::Text {
            for finding in &report.findings {
                writeln!(out, "{finding}")?;
            }
            let intact = if report.findings.is_empty() { "intact" } else { "DAMAGED" };
            writeln!(
                out,
                "{intact}: {} rounds, {} lines, {} in {} extents, {} decisions, {} snapshots",
                human::count(report.rounds),
                human::count(report.lines),
                human::bytes(report.bytes),
                human::count(report.extents),
                human::count(report.decisions),
                human::count(report.snapshots),
            )?;
        } else {
            serde_json::to_writer(&mut out, &report)?;
            writeln!(out)?;
        }
        out.flush()?;
        Ok(if report.findings.is_empty() { Found::Nothing } else { Found::Something })
    }
}
