use std::{
    fmt::Write as _,
    io::{self, Write},
};

use clap::Args;
use serde_json::Value;

use super::{Found, Output, Usage, desk::Way, figures, reading, suggest};
use crate::{consumers::REGISTRY, render::human, store::decisions::Filter};

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

/// A decision in one line: cause, consumer, subject, verdict, and the numbers behind it.
pub fn line(decision: &Value) -> String {
    let mut text = format!(
        "{:>9}  {:<12} {:<24} {:<12}",
        decision["cause"].as_u64().unwrap_or(0),
        figures::text(&decision["consumer"]),
        figures::text(&decision["subject"]),
        figures::text(&decision["verdict"]),
    );
    for (key, value) in decision["reason"].as_object().into_iter().flatten() {
        let _ = write!(text, " {}={}", human::visible(key), human::visible(&value.to_string()));
    }
    text
}

/// A decision about whoever it stands below, in one line, with the numbers to three digits.
pub fn brief(decision: &Value) -> String {
    format!(
        "{:>9}  {:<12} {:<12}{}",
        decision["cause"].as_u64().unwrap_or(0),
        figures::text(&decision["consumer"]),
        figures::text(&decision["verdict"]),
        numbers(decision),
    )
}

/// The numbers behind a decision, to three digits, each after a blank.
pub fn numbers(decision: &Value) -> String {
    let mut text = String::new();
    for (key, value) in decision["reason"].as_object().into_iter().flatten() {
        let shown = match value {
            Value::Number(_) => figures::short(value),
            Value::String(word) => human::visible(word).into_owned(),
            other => human::visible(&other.to_string()).into_owned(),
        };
        let _ = match key.as_str() {
            "rule" => write!(text, " {shown}"),
            _ => write!(text, " {}={shown}", human::visible(key)),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_is_one_line() {
        let decision = json!({
            "cause": 12, "ordinal": 0, "consumer": "gates", "subject_kind": "agent", "subject": "a\nb",
            "verdict": "killed", "reason": { "rule": "error rate", "error_rate": 0.25, "by": "\u{202e}x" },
        });
        let want = "       12  gates        a\\nb                     killed       rule=\"error rate\" error_rate=0.25 \
                    by=\"\\u{202e}x\"";
        assert_eq!(line(&decision), want);
        assert_eq!(brief(&decision), "       12  gates        killed       error rate error_rate=0.25 by=\\u{202e}x");
    }
}
