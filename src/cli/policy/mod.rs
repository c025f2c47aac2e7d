/// The file of a policy that is to be put in force.
pub mod file;

use std::{collections::BTreeMap, fs, io::Write, path::PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Found, Usage, desk::Way, order, reading, whatif::suggest::Suggest};
use crate::{
    policy::{self, PROFILES, Policy},
    render::{Table, human},
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
        /// The one in force, of a server or a directory
        #[arg(long, conflicts_with = "policy")]
        in_force: bool,
        #[command(flatten)]
        way: Way,
    },
    /// Say whether a policy file can be used, and what is wrong with it
    Check {
        file: PathBuf,
    },
    /// Print the thresholds that differ; exit 1 when any do
    Diff {
        /// A policy file, or the name of a profile
        from: String,
        /// A policy file, or the name of a profile
        to: String,
    },
    /// Put a policy file in force from now on; the variables AGENT_DAILY_BUDGET_USD and AGENT_BUDGET_BUFFER_USD go before
    /// what it says of the budget
    Apply(Apply),
    Suggest(Suggest),
}

#[derive(Debug, Args)]
struct Apply {
    #[command(flatten)]
    way: Way,
    file: PathBuf,
    /// Why; it stands in the log for ever
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who applies it (default: the user of this machine; a server goes by the token)
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Show what would change, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl PolicyCommand {
    pub fn run(self) -> anyhow::Result<Found> {
        let mut out = reading::stdout();
        match self.verb {
            Verb::Show { policy, in_force, way } => {
                let policy = if in_force { way.open()?.policy()?.policy } else { read(&policy)? };
                writeln!(out, "# {}", policy.hash())?;
                write!(out, "{}", toml::to_string(&policy)?)?;
            }
            Verb::Check { file } => {
                let policy = read(&file.to_string_lossy())?;
                writeln!(out, "{} is a policy, {}", file.display(), policy.hash())?;
            }
            Verb::Diff { from, to } => {
                let table = difference((&from, &read(&from)?), (&to, &read(&to)?))?;
                write!(out, "{}", table.render(reading::color()))?;
                out.flush()?;
                return Ok(if table.is_empty() { Found::Nothing } else { Found::Something });
            }
            Verb::Apply(apply) => apply.run(&mut out)?,
            Verb::Suggest(suggest) => {
                drop(out);
                return suggest.run();
            }
        }
        out.flush()?;
        Ok(Found::Nothing)
    }
}

impl Apply {
    fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let ready = file::ready(&self.file)?;
        for changed in &ready.changed {
            eprintln!("runtape: {changed}");
        }
        let mut desk = self.way.open()?;
        let now = desk.policy()?;
        let name = self.file.display().to_string();
        if now.hash == ready.hash {
            writeln!(out, "{} is in force already, {}", human::visible(&name), ready.hash)?;
            return Ok(());
        }
        let table = difference(("in force", &now.policy), (&name, &ready.policy))?;
        write!(out, "{}", table.render(reading::color()))?;
        if self.dry_run {
            writeln!(out, "nothing was done; {} would be in force", ready.hash)?;
            return Ok(());
        }
        out.flush()?;
        let at = desk.enforce(&ready.toml, &order::actor(self.actor.as_deref()), self.reason.as_deref())?;
        let at = at.map_or(String::new(), |at| format!(" from position {at} on"));
        writeln!(out, "{} is in force{at}", ready.hash)?;
        Ok(())
    }
}

/// The thresholds that differ between two named policies.
fn difference(from: (&str, &Policy), to: (&str, &Policy)) -> anyhow::Result<Table> {
    let (a, b) = (leaves(from.1)?, leaves(to.1)?);
    let mut table = Table::new(&["threshold", from.0, to.0]);
    let shown = |value: Option<&Value>| value.map_or("-".to_owned(), Value::to_string);
    for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
        if a.get(key) != b.get(key) {
            table.row(vec![key.clone(), shown(a.get(key)), shown(b.get(key))]);
        }
    }
    Ok(table)
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
