use std::io::{self, Write};

use clap::Args;
use serde_json::Value;

use super::{Found, Output, Usage, desk::Way, reading, suggest};
use crate::{consumers::REGISTRY, render::decision::line, store::decisions::Filter};

#[derive(Debug, Args)]
pub struct Decisions {
    #[command(flatten)]
    way: Way,
    /// Only those of this consumer
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Only those about this agent or strategy, or about `fleet`
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Only those with this verdict, as killed
    #[arg(long)]
    verdict: Option<String>,
    /// Only those that a position from here on caused
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    from: u64,
    /// Only those that a position before this caused
    #[arg(long, value_name = "POSITION")]
    to: Option<u64>,
    /// How many of the last ones
    #[arg(short = 'n', long, value_name = "DECISIONS", default_value_t = 20)]
    lines: usize,
    /// Go on as they are made
    #[arg(short, long)]
    follow: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Decisions {
    pub fn run(self) -> anyhow::Result<Found> {
        if let Some(consumer) = &self.consumer
            && !REGISTRY.iter().any(|registration| registration.name == consumer)
        {
            let known: Vec<&str> = REGISTRY.iter().map(|registration| registration.name).collect();
            return Err(suggest::unknown("consumer", consumer, &known).into());
        }
        if self.follow && self.output == Output::Json {
            return Err(Usage("--follow never ends, and so no JSON document does: want -o jsonl".to_owned()).into());
        }
        let filter = Filter {
            consumer: self.consumer.clone(),
            subject: self.subject.clone(),
            subject_kind: None,
            verdict: self.verdict.clone(),
            from: self.from,
            to: self.to,
        };
        let mut desk = self.way.open()?;
        let mut out = reading::stdout();
        let last = if self.lines == 0 { Vec::new() } else { desk.newest(&filter, self.lines)? };
        if self.output == Output::Json {
            serde_json::to_writer_pretty(&mut out, &last)?;
            writeln!(out)?;
        } else {
            last.iter().try_for_each(|decision| self.print(&mut out, decision))?;
        }
        out.flush()?;
        if self.follow {
            desk.follow(&filter, &mut |decision| {
                self.print(&mut out, &decision)?;
                out.flush()
            })?;
        }
        Ok(Found::Nothing)
    }

    fn print(&self, out: &mut impl Write, decision: &Value) -> io::Result<()> {
        if self.output == Output::Text { writeln!(out, "{}", line(decision)) } else { writeln!(out, "{decision}") }
    }
}
