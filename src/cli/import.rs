use std::{
    fs,
    io::{self, Read, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{Events, Found, Usage, append::stream_name, reading};
use crate::{
    event::Stamp,
    files::Files,
    import::{Draft, Drafts, Format, Mapping, Path, Record, Records, freqtrade, langfuse, litellm, report},
    policy::Limits,
    render::{human, table::Table},
    streams::Appender,
    tape::directory,
};

/// The archive that freqtrade writes its results into.
mod archive;

#[derive(Debug, Args)]
#[command(after_help = "Importing twice adds nothing: a line's event_id comes from its record. Try --dry-run first.")]
pub struct Import {
    #[command(flatten)]
    events: Events,
    /// Print what would be recognised, unused and refused; write nothing
    #[arg(long, global = true)]
    dry_run: bool,
    #[command(subcommand)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Source {
    /// Records of JSON: an array, an object, or one object per line
    Json(Mapped),
    /// Rows of CSV with a header
    Csv(Mapped),
    /// Trades of freqtrade backtests: signals and profits
    Freqtrade(Freqtrade),
    /// Spend logs of LiteLLM: runs
    Litellm(Litellm),
    /// Traces, observations and scores of Langfuse: runs
    Langfuse(Langfuse),
}

#[derive(Debug, Args)]
struct Mapped {
    /// TOML: field = "a.b[0].c", or { path, times, default }, or { value }
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Stream to append to
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Where in a JSON document the records stand, if not at its top
    #[arg(long, value_name = "PATH")]
    records: Option<String>,
    /// Files; - is standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Freqtrade {
    /// Result files: .json, or .zip as freqtrade writes them; - is standard input
    #[arg(required = true, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Agent of the trades [default: the strategy's name]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Stream to append to
    #[arg(long, value_name = "NAME", default_value = "freqtrade")]
    stream: String,
}

#[derive(Debug, Args)]
struct Litellm {
    /// Spend logs: .json, .jsonl or .csv; - is standard input
    #[arg(required = true, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Agent of all rows
    #[arg(long, value_name = "NAME", conflicts_with = "agent_from")]
    agent: Option<String>,
    /// Where a row names its agent, as end_user [default: key alias, end user, user, team, key]
    #[arg(long, value_name = "PATH")]
    agent_from: Option<String>,
    /// Where a row names its run, as metadata.spend_logs_metadata.run_id [default: request_id]
    #[arg(long, value_name = "PATH")]
    run_from: Option<String>,
    /// Strategy of all rows
    #[arg(long, value_name = "NAME")]
    strategy: Option<String>,
    /// Believe a cost of 0, instead of pricing the tokens
    #[arg(long)]
    zero_is_free: bool,
    /// Stream to append to
    #[arg(long, value_name = "NAME", default_value = "litellm")]
    stream: String,
}

#[derive(Debug, Args)]
struct Langfuse {
    /// Exports: .json, .jsonl or .csv, of traces, observations and scores; - is standard input
    #[arg(required = true, value_name = "FILE")]
    inputs: Vec<PathBuf>,
    /// Agent of all traces
    #[arg(long, value_name = "NAME", conflicts_with = "agent_from")]
    agent: Option<String>,
    /// Where a trace or observation names its agent, as metadata.agent [default: the trace's name]
    #[arg(long, value_name = "PATH")]
    agent_from: Option<String>,
    /// Strategy of all traces
    #[arg(long, value_name = "NAME")]
    strategy: Option<String>,
    /// The score that is the reward
    #[arg(long, value_name = "NAME")]
    reward_score: Option<String>,
    /// Believe a cost of 0, instead of pricing the tokens
    #[arg(long)]
    zero_is_free: bool,
    /// Stream to append to
    #[arg(long, value_name = "NAME", default_value = "langfuse")]
    stream: String,
}

impl Import {
    pub fn run(self) -> anyhow::Result<Found> {
        let layout = self.events.layout();
        let stream = stream_name(self.source.stream())?;
        if !self.dry_run {
            directory::check_dir(&layout)?;
        }
        let (mut all, source) = self.source.drafts()?;
        let limit = Limits::default().line_bytes;
        let (drafts, faults): (Vec<Draft>, Vec<_>) = {
            let judged = std::mem::take(&mut all.drafts).into_iter().map(|draft| (draft.fault(limit), draft));
            let (good, bad): (Vec<_>, Vec<_>) = judged.partition(|(fault, _)| fault.is_none());
            (good.into_iter().map(|(_, draft)| draft).collect(), bad)
        };
        for (fault, draft) in faults {
            all.refuse(&draft.place, fault.unwrap_or_default());
        }
        all.drafts = drafts;
        all.finish(&source);
        if self.dry_run {
            show(&all)?;
        } else {
            append(&all, layout.files.clone(), layout.stream(&stream))?;
        }
        Ok(if all.refused.is_empty() { Found::Nothing } else { Found::Something })
    }
}

impl Source {
    fn stream(&self) -> &str {
        match self {
            Source::Json(given) | Source::Csv(given) => &given.stream,
            Source::Freqtrade(given) => &given.stream,
            Source::Litellm(given) => &given.stream,
            Source::Langfuse(given) => &given.stream,
        }
    }

    /// Everything the inputs hold, and the name of the source.
    fn drafts(self) -> anyhow::Result<(Drafts, String)> {
        let (mut all, refused, source) = match self {
            Source::Json(given) => given.drafts(Format::Json)?,
            Source::Csv(given) => given.drafts(Format::Csv)?,
            Source::Freqtrade(given) => {
                let read = read(&given.inputs, Some(Format::Json), None)?;
                let options = freqtrade::Options { agent: given.agent };
                (freqtrade::convert(&read.records, &options), read.refused, "freqtrade".to_owned())
            }
            Source::Litellm(given) => {
                let read = rows(&given.inputs)?;
                let options = litellm::Options {
                    agent: given.agent,
                    agent_from: checked("--agent-from", given.agent_from)?,
                    run_from: checked("--run-from", given.run_from)?,
                    strategy: given.strategy,
                    zero_is_free: given.zero_is_free,
                };
                (litellm::convert(&read.records, &options), read.refused, "litellm".to_owned())
            }
            Source::Langfuse(given) => {
                let read = rows(&given.inputs)?;
                let options = langfuse::Options {
                    agent: given.agent,
                    agent_from: checked("--agent-from", given.agent_from)?,
                    strategy: given.strategy,
                    reward_score: given.reward_score,
                    zero_is_free: given.zero_is_free,
                };
                (langfuse::convert(&read.records, &options), read.refused, "langfuse".to_owned())
            }
        };
        all.refused.splice(0..0, refused);
        Ok((all, source))
    }
}

impl Mapped {
    fn drafts(self, format: Format) -> anyhow::Result<(Drafts, Vec<crate::import::Refusal>, String)> {
        let text =
            fs::read_to_string(&self.map).with_context(|| format!("cannot read the mapping {}", self.map.display()))?;
        let mapping = Mapping::parse(&text).map_err(|why| Usage(format!("mapping {}: {why}", self.map.display())))?;
        let within = checked("--records", self.records)?.map(|path| Path::parse(&path)).transpose();
        let within = within.map_err(Usage)?;
        let read = read(&self.inputs, Some(format), within.as_ref())?;
        Ok((mapping.convert(&read.records), read.refused, self.stream))
    }
}

fn checked(flag: &str, path: Option<String>) -> Result<Option<String>, Usage> {
    if let Some(Err(why)) = path.as_deref().map(Path::parse) {
        return Err(Usage(format!("{flag}: {why}")));
    }
    Ok(path)
}

/// The records of files. `format`: of all of them, else by the names.
fn read(inputs: &[PathBuf], format: Option<Format>, within: Option<&Path>) -> anyhow::Result<Records> {
    let mut all = Records::default();
    for input in inputs {
        let name = input.display().to_string();
        let mut bytes = Vec::new();
        let read = match name.as_str() {
            "-" => io::stdin().lock().read_to_end(&mut bytes),
            _ => fs::File::open(input).and_then(|mut file| file.read_to_end(&mut bytes)),
        };
        read.with_context(|| format!("cannot read {name}"))?;
        let documents = if archive::is_one(&bytes) { archive::documents(&name, &bytes)? } else { vec![(name, bytes)] };
        for (name, bytes) in documents {
            let format = format.unwrap_or_else(|| Format::of_name(&name));
            let read = Records::read(&name, &bytes, format, within);
            all.records.extend(read.records);
            all.refused.extend(read.refused);
        }
    }
    Ok(all)
}

/// Rows of an API's answer: at the top of the document, or in its `data`.
fn rows(inputs: &[PathBuf]) -> anyhow::Result<Records> {
    let mut all = read(inputs, None, None)?;
    let mut records = Vec::with_capacity(all.records.len());
    for mut record in std::mem::take(&mut all.records) {
        match record.value.get_mut("data").map(serde_json::Value::take) {
            Some(serde_json::Value::Array(rows)) => {
                let file = record.place.strip_suffix(" record 1").unwrap_or(&record.place).to_owned();
                records.extend(
                    rows.into_iter()
                        .enumerate()
                        .map(|(number, value)| Record { place: format!("{file} data[{number}]"), value }),
                );
            }
            Some(other) => {
                record.value["data"] = other;
                records.push(record);
            }
            None => records.push(record),
        }
    }
    all.records = records;
    Ok(all)
}

/// Lines that one write appends.
const BATCH: usize = 1000;

fn append(all: &Drafts, files: Files, path: PathBuf) -> anyhow::Result<()> {
    let mut appender = Appender::shared(files, path);
    let mut done = 0;
    for batch in all.drafts.chunks(BATCH) {
        let lines: Vec<String> = batch.iter().map(Draft::line).collect();
        let written = appender.append(&lines);
        written.with_context(|| format!("cannot append to {} ({done} lines before were)", appender_path(&appender)))?;
        done += batch.len();
    }
    if done > 0 {
        appender.sync().with_context(|| format!("cannot sync {}", appender_path(&appender)))?;
    }
    for refusal in &all.refused {
        eprintln!("{}: refused: {}", refusal.place, refusal.why);
    }
    notes(all).iter().for_each(|note| eprintln!("note: {note}"));
    eprintln!(
        "appended {done} lines of {} records to {}, refused {}",
        all.records,
        appender_path(&appender),
        all.refused.len()
    );
    Ok(())
}

fn appender_path(appender: &Appender) -> String {
    appender.path().display().to_string()
}

fn notes(all: &Drafts) -> Vec<String> {
    let undated = all.drafts.iter().filter(|draft| draft.stamp() == Stamp::Absent).count();
    let undated = (undated > 0).then(|| format!("{undated} lines have no ts: they take the time of the tape"));
    all.notes.iter().cloned().chain(undated).collect()
}

/// Refusals that are printed one by one.
const SHOWN: usize = 20;

fn show(all: &Drafts) -> io::Result<()> {
    let mut out = reading::stdout();
    let mut table = Table::new(&["field", "recognised", "from", "example"]);
    for row in report::recognised(all) {
        let from: Vec<String> = match row.paths.as_slice() {
            [(path, _)] => vec![path.clone()],
            paths => paths.iter().map(|(path, count)| format!("{path} ({count})")).collect(),
        };
        let lines = format!("{} of {}", row.lines, all.drafts.len());
        table.row(vec![row.field.to_owned(), lines, from.join(", "), human::visible(&row.example).into_owned()]);
    }
    writeln!(out, "{} records, {} lines\n", all.records, all.drafts.len())?;
    if !table.is_empty() {
        write!(out, "{}", table.render(reading::color()))?;
    }
    let unused = all.unused();
    if !unused.is_empty() {
        writeln!(out, "\nnot used:")?;
        for (path, count) in unused {
            writeln!(out, "  {} (in {count})", human::visible(path))?;
        }
    }
    if !all.refused.is_empty() {
        writeln!(out, "\nrefused: {}", all.refused.len())?;
        for refusal in all.refused.iter().take(SHOWN) {
            writeln!(out, "  {}: {}", refusal.place, refusal.why)?;
        }
        if let Some(more) = all.refused.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            writeln!(out, "  and {more} more")?;
        }
    }
    for note in notes(all) {
        writeln!(out, "\nnote: {note}")?;
    }
    out.flush()
}
