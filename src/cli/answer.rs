//! Answers about a history: printed, with what is missing of it.

use std::io::Write;

use serde_json::Value;

use super::{Found, Output, reading};
use crate::replay::Gap;

/// Tells what is missing: that is a finding.
pub fn found(gaps: &[Gap]) -> Found {
    for gap in gaps {
        eprintln!("runtape: {gap}");
    }
    if gaps.is_empty() { Found::Nothing } else { Found::Something }
}

/// Prints an answer as a page for people, or as JSON.
pub fn print(output: Output, answer: &Value, page: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
    let mut out = reading::stdout();
    match output {
        Output::Text => write!(out, "{}", page(answer))?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, answer)?;
            writeln!(out)?;
        }
        Output::Jsonl => {
            serde_json::to_writer(&mut out, answer)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(())
}
