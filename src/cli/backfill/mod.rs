//! Old logs as tables and series.

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
    event::{Nanos, time},
    files::Files,
    history::{
        HistoryError,
        backfill::{Plan, Report, backfill},
        pile::Pile,
    },
    render::{human, state},
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
    /// Series too: the state of everybody at each step, as a table and for a Prometheus (`30s`, `1m`, `5m`, `1h`)
    #[arg(long, value_name = "STEP", value_parser = step)]
    step: Option<Nanos>,
    /// Label `job` of the series for a Prometheus
    #[arg(long, value_name = "NAME", default_value = "runtape", requires = "step")]
    job: String,
    /// Label `instance` of them
    #[arg(long, value_name = "NAME", default_value = "backfill", requires = "step")]
    instance: String,
    /// Lines between two checkpoints; without it, as many as half a minute takes
    #[arg(long, value_name = "LINES", hide = true)]
    checkpoint_lines: Option<u64>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Backfill {
    pub fn run(self) -> anyhow::Result<Found> {
        let policy = reading::policy(self.policy.as_ref())?;
        let input = Input::of(&self.logs, &self.events, &self.out)?;
        let open_runs = self.open_runs.map(|runs| runs as usize);
        let labels = vec![("job", self.job.clone()), ("instance", self.instance.clone())];
        let plan = Plan {
            files: Files::machine(),
            out: self.out.clone(),
            history: input.identity()?,
            policy,
            open_runs,
            step: self.step,
            labels,
            every: self.checkpoint_lines,
        };
        let report = match self.fill(&input, &plan) {
            Err(error @ HistoryError::Other { .. }) => return Err(Usage(error.to_string()).into()),
            report => report?,
        };
        let told = told(&input, &report);
        answer::print(self.output, &told, |told| page(told, &self.out.display().to_string()))?;
        Ok(answer::found(&report.gaps))
    }

    fn fill(&self, input: &Input, plan: &Plan) -> Result<Report, HistoryError> {
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
        report
    }
}

/// The nanoseconds of a step.
fn step(text: &str) -> Result<Nanos, String> {
    let unit = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => 0,
    };
    let count = text.get(..text.len().saturating_sub(1)).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
    match i64::from(count) * unit {
        seconds @ 1..=86_400 => Ok(seconds * time::SECOND),
        _ => Err("want a time from 1s to 24h, as 30s, 5m or 1h".to_owned()),
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
        "went_on_from": report.went_on_from,
        "files": files,
        "copies": copies,
        "lines": state::counts(&report.lines),
        "runs": report.runs,
        "series": report.series,
        "samples": report.samples,
        "parts": report.parts,
        "gaps": gaps_of(&report.gaps),
    })
}

fn page(told: &Value, out: &str) -> String {
    let parts = told["parts"].as_array().map_or(0, Vec::len);
    let went_on = match told["went_on_from"].as_u64() {
        Some(position) => format!("went on from line {}\n", human::count(position)),
        None => String::new(),
    };
    let mut text = went_on
        + &format!(
            "{} lines, {} runs, {} rows of series, {} samples for a Prometheus: {} below {out}\n",
            figures::count(&told["position"]),
            figures::count(&told["runs"]),
            figures::count(&told["series"]),
            figures::count(&told["samples"]),
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
