use std::io::Write;

use clap::Args;
use serde_json::{Map, Value};

use super::{Found, reading, suggest};
use crate::event::schema::schemas;

#[derive(Debug, Args)]
pub struct Schema {
    /// One schema only: line, run, alpha, pnl, price, ...
    kind: Option<String>,
}

impl Schema {
    pub fn run(self) -> anyhow::Result<Found> {
        let all: Map<String, Value> =
            schemas().into_iter().map(|(file, schema)| (file.trim_end_matches(".json").to_owned(), schema)).collect();
        let mut out = reading::stdout();
        match self.kind {
            None => serde_json::to_writer_pretty(&mut out, &all)?,
            Some(kind) => {
                let known: Vec<&str> = all.keys().map(String::as_str).collect();
                let schema = all.get(&kind).ok_or_else(|| suggest::unknown("schema", &kind, &known))?;
                serde_json::to_writer_pretty(&mut out, schema)?;
            }
        }
        writeln!(out)?;
        out.flush()?;
        Ok(Found::Nothing)
    }
}
