use std::{collections::BTreeSet, io::Write, path::PathBuf};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::Value;

use super::{
    Events, Found, Output, Usage, between,
    reading::{self, Progress},
};
use crate::{
    consumers::REGISTRY,
    event::time,
    fold::Registration,
    render::{
        Table, human,
        state::{Asked, Head, shown},
    },
    replay::{Replayed, Walk, replay},
    store::decisions::{Source, count},
    tape::{Directory, Until},
};

/// The word for no consumer at all.
const NONE: &str = "none";

#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    events: Events,
    /// Policy file that replaces every policy on the tape
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Stop at a position (lines before it are applied) or a time (up to the first line later than it)
    #[arg(long, value_name = "POSITION|TIME")]
    at: Option<String>,
    /// Print what changed between two moments, agent by agent, and what was decided there
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], conflicts_with_all = ["at", "decisions", "consumers"])]
    diff: Option<Vec<String>>,
    /// Fold everything from the beginning: without it, `--at` begins at the newest snapshot before the moment
    #[arg(long)]
    whole: bool,
    /// Threads to use; by default as many as there are processors. The result is the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the decisions instead of the state
    #[arg(long)]
    decisions: bool,
    /// Fold only these consumers, and those they hear; `none` only reads
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = names())]
    consumers: Option<Vec<String>>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Replay {
    pub fn run(self) -> anyhow::Result<Found> {
        let until = self.at.as_deref().map_or(Ok(Until::End), |at| moment("at", at))?;
        let policy = reading::policy(self.policy.as_ref())?;
        let registry = self.consumers.as_deref().map_or_else(|| REGISTRY.to_vec(), chosen);
        let directory = reading::open(&self.events)?;
        if let Some(horizon) = &directory.horizon {
            let position = horizon.position;
            let policy = if policy.is_some() { "; the other policy applies from there on" } else { "" };
            eprintln!("runtape: history begins at position {position}, with the state it had there{policy}");
        }
        if let Some([from, to]) = self.diff.as_deref() {
            return between::answer(&directory, policy, (moment("diff", from)?, moment("diff", to)?), self.output);
        }
        if policy.is_none() && self.is_plain() && directory.horizon.is_none() {
            let walk = Walk::nearest(&directory, REGISTRY, until)?;
            if walk.intake.position() > 0 {
                return self.forward(&directory, walk, until);
            }
        }
        let threads = self.threads.map_or_else(processors, usize::from);
        let mut out = reading::stdout();
        let bar = Progress::new(None, "replaying", false);
        let mut written = Ok(());
        let replayed = replay(&directory, &registry, policy, until, threads, |batch, emitted| {
            bar.inc(batch.next - batch.first);
            if self.decisions && written.is_ok() {
                written = emitted.iter().try_for_each(|e| self.decision(&mut out, &e.line()));
            }
        })?;
        bar.finish();
        written?;
        if !self.decisions {
            self.state(&mut out, &replayed)?;
        }
        out.flush()?;
        Ok(Found::Nothing)
    }

    /// Asks for nothing but the state at a moment.
    fn is_plain(&self) -> bool {
        self.at.is_some() && !self.whole && !self.decisions && self.consumers.is_none()
    }

    /// The state at a moment, from a snapshot before it.
    fn forward(&self, directory: &Directory, mut walk: Walk, until: Until) -> anyhow::Result<Found> {
        let layout = directory.layout();
        let mut decisions = 0;
        for slot in walk.engine.slots() {
            let (consumer, files) = (slot.name(), layout.files.clone());
            let source = Source { consumer, files, path: layout.decisions(consumer) };
            decisions += count(&source, slot.position())?;
        }
        let bar = Progress::new(None, "replaying", false);
        walk.to(until, |batch, emitted| {
            bar.inc(batch.next - batch.first);
            decisions += emitted.len() as u64;
        })?;
        bar.finish();
        if let Some(gap) = walk.gaps.first() {
            anyhow::bail!("cannot replay: {}; run `runtape verify`", gap.what);
        }
        let mut out = reading::stdout();
        let Walk { engine, intake, .. } = walk;
        self.state(&mut out, &Replayed { engine, intake, decisions })?;
        out.flush()?;
        Ok(Found::Nothing)
    }

    fn decision(&self, out: &mut impl Write, line: &crate::decision::DecisionLine) -> std::io::Result<()> {
        if self.output == Output::Text {
            let reason: Vec<String> = line.reason.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let subject = human::visible(&line.subject);
            return writeln!(
                out,
                "{:>9}  {:<12} {:<24} {:<12} {}",
                line.cause,
                line.consumer,
                subject,
                line.verdict,
                reason.join(" ")
            );
        }
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    }

    fn state(&self, out: &mut impl Write, replayed: &Replayed) -> anyhow::Result<()> {
        let Replayed { engine, intake, decisions } = replayed;
        let state_hash = Some(engine.state_hash());
        let head = Head { state_hash, decisions: Some(*decisions), ..Head::of(intake) };
        let asked = Asked::All(intake.now());
        let state = shown(engine, intake, head, &asked);
        match self.output {
            Output::Json => serde_json::to_writer_pretty(&mut *out, &state)?,
            Output::Jsonl => serde_json::to_writer(&mut *out, &state)?,
            Output::Text => return Ok(self.table(out, &state)?),
        }
        out.write_all(b"\n")?;
        Ok(())
    }

    fn table(&self, out: &mut impl Write, state: &Value) -> std::io::Result<()> {
        let mut table =
            Table::new(&["agent", "runs", "errors", "cost", "sharpe", "drawdown", "pnl bps", "latency", "quarantine"]);
        let number = |value: &Value| value.as_f64().map_or("-".to_owned(), human::number);
        for (name, row) in state["agents"].as_object().into_iter().flatten() {
            let quarantine = row["quarantine"]["reason"].as_str().unwrap_or("-");
            table.row(vec![
                name.clone(),
                human::count(row["runs"].as_u64().unwrap_or(0)),
                human::count(row["errors"].as_u64().unwrap_or(0)),
                human::usd(row["cost_usd"].as_f64().unwrap_or(0.0)),
                number(&row["reward"]["sharpe"]),
                number(&row["reward"]["drawdown"]),
                number(&row["pnl_bps"]["sum"]),
                number(&row["latency_ms"]["median"]),
                quarantine.to_owned(),
            ]);
        }
        write!(out, "{}", table.render(reading::color()))?;
        let lines = state["lines"].as_object().into_iter().flatten();
        let lines: Vec<String> = lines.map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(out, "position {}  lines: {}", state["position"], lines.join(", "))?;
        writeln!(out, "decisions {}  state {}", state["decisions"], state["state_hash"].as_str().unwrap_or("-"))
    }
}

/// How many threads run at once on this machine.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What `--consumers` may name.
fn names() -> PossibleValuesParser {
    REGISTRY.iter().map(|consumer| consumer.name).chain([NONE]).collect::<Vec<_>>().into()
}

/// The consumers of these names, and whom they hear: without those they would conclude something else.
fn chosen(names: &[String]) -> Vec<Registration> {
    let mut wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    // Whom a consumer hears stands before it in the list.
    for consumer in REGISTRY.iter().rev() {
        if wanted.contains(consumer.name) {
            wanted.extend(consumer.hears);
        }
    }
    REGISTRY.iter().filter(|consumer| wanted.contains(consumer.name)).copied().collect()
}

/// A position, or a time.
fn moment(option: &str, text: &str) -> Result<Until, Usage> {
    if let Ok(position) = text.parse() {
        return Ok(Until::Position(position));
    }
    time::parse_text(text).map(Until::Time).ok_or_else(|| {
        Usage(format!(
            "--{option} {text:?} is neither a position (a whole number) nor a time (RFC 3339, as 2026-03-01T14:30:00Z)"
        ))
    })
}
