use std::time::Duration;

use clap::Args;

use super::{Form, print, told};
use crate::{
    cli::Found,
    clock::Stopwatch,
    layout::Layout,
    replay::lookup::{self, Lines, Wanted, lines_of},
    report::{page, run},
    tape::Directory,
};

/// A search that takes longer is worth an index.
const SLOW: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct OfRun {
    /// Its `run_id`
    run_id: String,
    /// Print only its lines, and fold nothing: at once where there is an index
    #[arg(long)]
    lines: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

impl OfRun {
    /// Its lines where the index alone knows them, if only lines are asked for.
    pub fn at_once(&self, layout: Layout) -> anyhow::Result<Option<Found>> {
        if !self.lines {
            return Ok(None);
        }
        let found = lookup::at_once(layout, &self.run_id)?.filter(|found| !found.told.is_empty());
        found.map(|found| self.print_lines(&found)).transpose()
    }

    fn print_lines(&self, found: &Lines) -> anyhow::Result<Found> {
        print(self.output, &run::lines(&self.run_id, found), run::lines_page, page::run)
    }

    pub fn answer(self, directory: &Directory) -> anyhow::Result<Found> {
        let since = Stopwatch::start();
        let found = lines_of(directory, &self.run_id, &Wanted::default())?;
        let read_from = found.read_from;
        if since.elapsed() > SLOW && read_from < directory.sealed_to {
            eprintln!(
                "runtape: the history was read from position {read_from} on: `runtape forensics index` saves that"
            );
        }
        // Where lines cannot be read, those of the run may be among them.
        if found.told.is_empty() && found.gaps.is_empty() {
            return told("searching", None, |watch| Err(run::stranger(directory, &self.run_id, watch)?));
        }
        let Some(last) = found.told.last().filter(|_| !self.lines) else {
            return self.print_lines(&found);
        };
        let total = last.position + 1 - directory.first_position();
        let report = told("reading", Some(total), |watch| run::story(directory, &self.run_id, &found, watch))?;
        print(self.output, &report, run::page, page::run)
    }
}
