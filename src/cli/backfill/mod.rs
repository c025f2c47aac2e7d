//! Old logs as tables.

/// What is to be read.
mod inputs;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{
    Events, Found, Output, Usage, answer, figures,
    reading::{self, Progress},
};
use crate::{
    files::Files,
    history::{
        backfill::{Plan, RUNS, Report, backfill},
        pile::Pile,
    },
    render::state,
    report::gaps_of,
};
use inputs::Input;

#[derive(Debug, Args)]
pub struct Backfill {
    #[command(flatten)]
    events: Events,
    /// Logs: files, directories, patterns; `.gz` and `.zst` too. Without any, the events directory
    #[arg(value_name = "LOG")]
    logs: Vec<String>,
    /// Directory to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Policy file that replaces every policy in the logs
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Runs that may still get lines at once; fewer take less memory [default: as many as the policy joins]
    #[arg(long, value_name = "RUNS", value_parser = clap::value_parser!(u32).range(1..))]
    open_runs: Option<u32>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Backfill {
    pub fn run(self) -> anyhow::Result<Found> {
        let policy = reading::policy(self.policy.as_ref())?;
        if self.out.join(RUNS).exists() {
            let what = "holds tables already: choose another --out, or remove it";
            return Err(Usage(format!("{} {what}", self.out.display())).into());
        }
        let input = Input::of(&self.logs, &self.events, &self.out)?;
        let open_runs = self.open_runs.map(|runs| runs as usize);
        let plan = Plan { files: Files::machine(), out: self.out.clone(), policy, open_runs };
        let report = self.fill(&input, &plan)?;
        let told = told(&input, &report);
        answer::print(self.output, &told, |told| page(told, &self.out.display().to_string()))?;
        Ok(answer::found(&report.gaps))
    }

    fn fill(&self, input: &Input, plan: &Plan) -> anyhow::Result<Report> {
        let directory = input.directory();
        let bar = match input {
            Input::Taped(directory) => {
                Progress::new(Some(directory.sealed_to - directory.first_position()), "backfilling", false)
            }
            Input::Pile(pile) => Progress::new(Some(pile.bytes()), "backfilling", true),
        };
        let mut read = 0;
        let report = backfill(directory, plan, &mut |lines| match input {
            Input::Taped(_) => bar.inc(lines),
            Input::Pile(pile) => {
                let now = Pile::bytes_read(pile);
                bar.inc(now - read);
                read = now;
            }
        });
        bar.finish();
        Ok(report?)
    }
}

fn told(input: &Input, report: &Report) -> Value {
    let (files, copies) = match input {
        Input::Taped(_) => (None, Vec::new()),
        Input::Pile(pile) => {
            let copies = pile.copies.iter().map(|(copy, of)| json!({ "file": copy, "of": of })).collect();
            (Some(pile.files.len()), copies)
        }
    };
    json!({
        "position": report.position,
        "from": input.directory().first_position(),
        "files": files,
        "copies": copies,
        "lines": state::counts(&report.lines),
        "runs": report.runs,
        "parts": report.parts,
        "gaps": gaps_of(&report.gaps),
    })
}

fn page(told: &Value, out: &str) -> String {
    let parts = told["parts"].as_array().map_or(0, Vec::len);
    let mut text = format!(
        "{} lines, {} runs in {} below {out}/{RUNS}\n",
        figures::count(&told["position"]),
        figures::count(&told["runs"]),
        figures::some(parts, "file"),
    );
    for what in ["malformed", "unknown", "duplicate", "without_agent"] {
        if told["lines"][what].as_u64().is_some_and(|lines| lines > 0) {
            text += &format!("{} lines are {}\n", figures::count(&told["lines"][what]), what.replace('_', " "));
        }
    }
    for copy in told["copies"].as_array().into_iter().flatten() {
        text +=
            &format!("left out {}: the same bytes as {}\n", figures::text(&copy["file"]), figures::text(&copy["of"]));
    }
    text
}
