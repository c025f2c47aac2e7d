use std::{ffi::OsString, fs, path::Path};

use anyhow::Context;
use toml::Table;

use crate::{
    cli::Usage,
    clock::Clock,
    event::control::{self, Mint},
    policy::Policy,
};

/// Variables of the environment that go before the policy file they are applied with, and the key each one sets.
const OVERRIDES: [(&str, &str); 2] =
    [("AGENT_DAILY_BUDGET_USD", "daily_usd"), ("AGENT_BUDGET_BUFFER_USD", "buffer_usd")];

/// A policy as it is to be put in force: its file, with what the environment says in its place.
#[derive(Debug)]
pub struct Ready {
    pub toml: String,
    pub policy: Policy,
    pub hash: String,
    /// What the environment changed, to be told.
    pub changed: Vec<String>,
}

/// Reads and validates a policy file, with the overrides of the environment.
///
/// # Errors
/// No such file, a variable that is no amount, or a policy that cannot be used.
pub fn ready(file: &Path) -> anyhow::Result<Ready> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read the policy {}", file.display()))?;
    ready_with(&text, |name| std::env::var_os(name))
}

/// Whether the environment says anything of a policy.
pub fn is_overridden() -> bool {
    OVERRIDES.iter().any(|(name, _)| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The policy that is in force, with the overrides of the environment.
///
/// # Errors
/// A variable that is no amount, or a policy that cannot be used.
pub fn overriding(in_force: &Policy) -> anyhow::Result<Ready> {
    ready_with(&toml::to_string(in_force)?, |name| std::env::var_os(name))
}

fn ready_with(text: &str, env: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Ready> {
    // First as it stands, so that a mistake is told of the text that its author knows.
    let plain = Policy::from_toml(text)?;
    let (mut table, mut changed) = (text.parse::<Table>()?, Vec::new());
    for (name, key) in OVERRIDES {
        let Some(value) = env(name).filter(|value| !value.is_empty()) else { continue };
        let usd = amount(name, &value)?;
        let budget = table.entry("budget").or_insert_with(|| Table::new().into());
        if let Some(budget) = budget.as_table_mut() {
            budget.insert(key.to_owned(), usd.into());
            changed.push(format!("{name} sets budget.{key} = {usd}"));
        }
    }
    if changed.is_empty() {
        return Ok(Ready { toml: text.to_owned(), hash: plain.hash(), policy: plain, changed });
    }
    let toml = toml::to_string(&table)?;
    let policy = Policy::from_toml(&toml)?;
    Ok(Ready { toml, hash: policy.hash(), policy, changed })
}

fn amount(name: &str, value: &OsString) -> Result<f64, Usage> {
    let usd = value.to_str().and_then(|text| text.trim().parse::<f64>().ok());
    usd.filter(|usd| (0.0..=1e12).contains(usd)).ok_or_else(|| {
        Usage(format!("{name} = {value:?} is no amount in US dollars: want a number from 0 to 1e12, or unset it"))
    })
}

/// Puts the policy of a file in force where another one is: `append` is given the line for the control stream. Returns
/// what was put in force, if anything was.
///
/// # Errors
/// The policy cannot be used (nothing was appended), or the line cannot be appended.
pub fn keep(
    file: &Path,
    in_force: &str,
    clock: &Clock,
    append: impl FnOnce(String) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Ready>> {
    enforce(ready(file)?, in_force, &format!("the file {}", file.display()), clock, append)
}

/// Puts a policy in force where another one is, and says why on its line.
///
/// # Errors
/// The line cannot be appended.
pub fn enforce(
    ready: Ready,
    in_force: &str,
    reason: &str,
    clock: &Clock,
    append: impl FnOnce(String) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Ready>> {
    if ready.hash == in_force {
        return Ok(None);
    }
    let event_id = uuid::Uuid::new_v4().to_string();
    let mint = Mint { event_id: &event_id, ts: clock.now() };
    append(control::policy(mint, &ready.toml, "serve", Some(reason)))?;
    Ok(Some(ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, env: &[(&str, &str)]) -> anyhow::Result<Ready> {
        ready_with(text, |name| env.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let text = "# mine\n[budget]\ndaily_usd = 3\n";
        let plain = with(text, &[("AGENT_DAILY_BUDGET_USD", "")]).expect("a policy");
        assert_eq!((plain.toml.as_str(), plain.policy.budget.daily_usd), (text, 3.0));
        let ready = with(text, &[("AGENT_DAILY_BUDGET_USD", "12.5"), ("AGENT_BUDGET_BUFFER_USD", " 1 ")]);
        let ready = ready.expect("a policy");
        assert_eq!((ready.policy.budget.daily_usd, ready.policy.budget.buffer_usd), (12.5, 1.0));
        assert_eq!(Policy::from_toml(&ready.toml).expect("a policy").hash(), ready.hash);
        assert_eq!(ready.changed.len(), 2);
        let ready = with("profile = \"desk\"", &[("AGENT_DAILY_BUDGET_USD", "1")]).expect("a policy");
        assert_eq!((ready.policy.budget.daily_usd, ready.policy.confidence.window), (1.0, 50));
        for bad in ["much", "-1", "NaN", "inf", "1e13"] {
            let told = with(text, &[("AGENT_DAILY_BUDGET_USD", bad)]).expect_err(bad).to_string();
            assert!(told.contains("AGENT_DAILY_BUDGET_USD") && told.contains("0 to 1e12"), "{told}");
        }
    }

    #[test]
    fn what_is_in_force_already_is_not_appended_again() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("policy.toml");
        let (clock, mut lines) = (Clock::fixed(|| 1_772_372_096_250_000_000), Vec::new());
        fs::write(&file, "[rolling]\nwindow = 7\n").expect("a writable directory");
        let put = keep(&file, "b3:other", &clock, |line| {
            lines.push(line);
            Ok(())
        });
        let put = put.expect("a policy").expect("another one");
        assert!(lines[0].contains("\"policy\":\"[rolling]\\nwindow = 7\\n\",\"actor\":\"serve\""), "{lines:?}");
        let again = keep(&file, &put.hash, &clock, |_| panic!("nothing is to be appended")).expect("a policy");
        assert!(again.is_none());
        fs::write(&file, "[rolling]\nwindow = 0\n").expect("a writable directory");
        assert!(keep(&file, &put.hash, &clock, |_| panic!("nothing is to be appended")).is_err());
    }
}
