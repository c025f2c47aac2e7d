use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use clap::Args;

use super::{Events, Found, Output, Usage, reading};
use crate::{
    clock::Clock,
    consumers::REGISTRY,
    event::time,
    keeping::prune::{self, Before, Lying, Report},
    render::human,
};

#[derive(Debug, Args)]
pub struct Prune {
    #[command(flatten)]
    events: Events,
    /// Drop whole rounds before this position, or sealed before this time
    #[arg(long, value_name = "POSITION|TIME", required_unless_present = "begin_anew", conflicts_with = "begin_anew")]
    before: Option<String>,
    /// Say what would be dropped, and drop nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Where history was pruned already: let a consumer begin there with nothing, because what was kept of it is of another
    /// version
    #[arg(long, value_name = "CONSUMER")]
    begin_anew: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Prune {
    pub fn run(self) -> anyhow::Result<Found> {
        let (layout, now) = (self.events.layout(), Clock::system().now());
        if !self.begin_anew.is_empty() {
            self.confirm(&format!("let {} forget all it knew", self.begin_anew.join(", ")))?;
            let position = prune::begin_anew(&layout, REGISTRY, &self.begin_anew, now)?;
            println!("{}: folded again from position {position} on, with nothing before", self.begin_anew.join(", "));
            return Ok(Found::Nothing);
        }
        let before = moment(self.before.as_deref().unwrap_or_default())?;
        let plan = prune::prune(&layout, REGISTRY, before, now, true)?;
        if self.dry_run || plan.rounds == 0 {
            return self.print(&plan, "would be dropped");
        }
        self.confirm(&format!("drop {} lines before position {} for good", human::count(plan.lines), plan.position))?;
        self.print(&prune::prune(&layout, REGISTRY, before, now, false)?, "dropped")
    }

    fn confirm(&self, what: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Usage(format!("{what}: nobody can be asked here; give --yes, or --dry-run to see what")).into());
        }
        eprint!("{what}? [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Usage("nothing was done".to_owned()).into()),
        }
    }

    fn print(&self, report: &Report, done: &str) -> anyhow::Result<Found> {
        reading::print(report, self.output, |out| {
            if report.rounds == 0 {
                return writeln!(out, "nothing to drop: history begins at position {}", report.position);
            }
            let (lines, rounds) = (human::count(report.lines), human::count(report.rounds));
            let bytes = human::bytes(report.bytes);
            writeln!(out, "{lines} lines in {rounds} rounds {done}, sealed up to {}; {bytes} of files", report.sealed)?;
            let name = |lying: &Lying| lying.names.first().map_or_else(|| lying.file.to_string(), Clone::clone);
            for file in &report.files {
                writeln!(out, "  {done:<17} {:<24} {:>10}", name(file), human::bytes(file.bytes))?;
            }
            for file in &report.kept {
                let why = file.why.as_deref().unwrap_or_default();
                writeln!(out, "  {:<17} {:<24} {:>10}  {why}", "kept whole", name(file), human::bytes(file.bytes))?;
            }
            writeln!(out, "history begins at position {}", report.position)
        })?;
        Ok(Found::Nothing)
    }
}

fn moment(text: &str) -> Result<Before, Usage> {
    if let Ok(position) = text.parse() {
        return Ok(Before::Position(position));
    }
    time::parse_text(text).map(Before::Time).ok_or_else(|| {
        Usage(format!(
            "--before {text:?} is neither a position (a whole number) nor a time (RFC 3339, as 2026-03-01T14:30:00Z)"
        ))
    })
}
