use std::{collections::BTreeMap, fs, io::Write, path::PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Found, Usage, reading};
use crate::{
    policy::{self, PROFILES, Policy},
    render::Table,
};

#[derive(Debug, Args)]
pub struct PolicyCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print every threshold, as a policy file
    Show {
        /// A policy file, or the name of a profile
        #[arg(default_value = "seed")]
        policy: String,
    },
    /// Say whether a policy file can be used, and what is wrong with it
    Check { file: PathBuf },
    /// Print the thresholds that differ; exit 1 when any do
    Diff {
        /// A policy file, or the name of a profile
        from: String,
        /// A policy file, or the name of a profile
        to: String,
    },
}

impl PolicyCommand {
    pub fn run(self) -> anyhow::Result<Found> {
        let mut out = reading::stdout();
        match self.verb {
            Verb::Show { policy } => {
                let policy = read(&policy)?;
                writeln!(out, "# {}", policy.hash())?;
                write!(out, "{}", toml::to_string(&policy)?)?;
            }
            Verb::Check { file } => {
                let policy = read(&file.to_string_lossy())?;
                writeln!(out, "{} is a policy, {}", file.display(), policy.hash())?;
            }
            Verb::Diff { from, to } => {
                let (a, b) = (leaves(&read(&from)?)?, leaves(&read(&to)?)?);
                let mut table = Table::new(&["threshold", &from, &to]);
                let shown = |value: Option<&Value>| value.map_or("-".to_owned(), Value::to_string);
                for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                    if a.get(key) != b.get(key) {
                        table.row(vec![key.clone(), shown(a.get(key)), shown(b.get(key))]);
                    }
                }
                write!(out, "{}", table.render(reading::color()))?;
                out.flush()?;
                return Ok(if table.is_empty() { Found::Nothing } else { Found::Something });
            }
        }
        out.flush()?;
        Ok(Found::Nothing)
    }
}

/// A policy by the name of its profile or of its file.
fn read(name: &str) -> anyhow::Result<Policy> {
    if let Some(policy) = policy::profile_defaults(name) {
        return Ok(policy);
    }
    let text = match fs::read_to_string(name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let profiles = PROFILES.join(", ");
            return Err(Usage(format!("{name:?} is neither a policy file nor a profile ({profiles})")).into());
        }
        other => other.with_context(|| format!("cannot read the policy {name}"))?,
    };
    Ok(Policy::from_toml(&text)?)
}

/// Every threshold under its full name.
fn leaves(policy: &Policy) -> anyhow::Result<BTreeMap<String, Value>> {
    fn walk(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(&full, value, into);
                }
            }
            leaf => {
                into.insert(path.to_owned(), leaf.clone());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk("", &serde_json::to_value(policy)?, &mut all);
    Ok(all)
}
