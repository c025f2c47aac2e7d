use std::io::Write;

use clap::Args;

use super::{
    Events, Found, Output,
    reading::{self, Progress},
};
use crate::{render::human, tape::verify};

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    events: Events,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Verify {
    pub fn run(self) -> anyhow::Result<Found> {
        let bar = Progress::new(None, "verifying", true);
        let report = verify::verify(&self.events.layout(), |bytes| bar.inc(bytes))?;
        bar.finish();
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
