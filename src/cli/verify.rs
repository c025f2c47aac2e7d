use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::{
    Events, Found, Output,
    reading::{self, Progress},
};
use crate::{
    consumers::REGISTRY,
    layout::Layout,
    render::human,
    replay::audit::{self, Audit, AuditError},
    tape::{
        Directory,
        verify::{self, Finding},
    },
};

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
        let audit = self.decisions.then(|| audit(&self.events.layout(), &mut report)).transpose()?.flatten();
        bar.finish();
        let mut out = reading::stdout();
        if self.output == Output::Text {
            for finding in &report.findings {
                writeln!(out, "{finding}")?;
            }
            if let Some(pruned) = &report.pruned {
                writeln!(
                    out,
                    "pruned before position {} on {}: {} rounds are gone, {} decisions about them and {} states are kept",
                    pruned.position,
                    pruned.at,
                    human::count(pruned.rounds),
                    human::count(pruned.decisions),
                    human::count(pruned.states),
                )?;
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
            if let Some(audit) = &audit {
                tell(audit, &mut out)?;
            }
        } else {
            #[derive(Serialize)]
            struct Both<'a> {
                #[serde(flatten)]
                report: &'a verify::Report,
                #[serde(skip_serializing_if = "Option::is_none")]
                compared: Option<&'a Audit>,
            }
            serde_json::to_writer(&mut out, &Both { report: &report, compared: audit.as_ref() })?;
            writeln!(out)?;
        }
        out.flush()?;
        Ok(if report.findings.is_empty() { Found::Nothing } else { Found::Something })
    }
}

/// Adds what a comparison of all decisions finds; none where the history they follow from cannot be read.
fn audit(layout: &Layout, report: &mut verify::Report) -> anyhow::Result<Option<Audit>> {
    let directory = Directory::open(layout.clone(), None);
    let audit = match directory {
        Ok(directory) => audit::audit(&directory, REGISTRY),
        Err(error) if report.findings.is_empty() => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    match audit {
        Ok(mut audit) => {
            report.findings.append(&mut audit.findings);
            Ok(Some(audit))
        }
        Err(AuditError::Replay(error)) if !report.findings.is_empty() => {
            report.findings.push(Finding::of(format!("decisions are not compared: {error}")));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn tell(audit: &Audit, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{} decisions are what the tape gives", human::count(audit.same))?;
    for other in &audit.unjudged {
        let (decisions, consumer) = (human::count(other.decisions), other.consumer);
        writeln!(
            out,
            "{decisions} decisions of {consumer} are not compared: they name version {}, this runtape has {}",
            other.version, other.ours
        )?;
    }
    if audit.due > 0 {
        writeln!(
            out,
            "{} decisions are not written yet: the next start of serve writes them",
            human::count(audit.due)
        )?;
    }
    Ok(())
}
