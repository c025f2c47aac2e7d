use serde_json::Value;

use super::{Usage, desk::State, suggest};

/// What agents can be selected by.
pub const KEYS: [&str; 5] = ["gate", "verdict", "strategy", "quarantined", "policy"];

/// Digits of a hash that are enough to name it.
const HASH_MIN: usize = 8;

/// One condition on agents: `gate=killed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub key: &'static str,
    pub value: String,
}

impl Condition {
    /// # Errors
    /// A key there is not, or a value it cannot have.
    pub fn new(key: &str, value: &str) -> Result<Condition, Usage> {
        let Some(known) = KEYS.into_iter().find(|known| *known == key) else {
            return Err(suggest::unknown("key of --where", key, &KEYS));
        };
        let allowed: &[&str] = match known {
            "gate" => &["candidate", "promoted", "killed"],
            "verdict" => &["allow", "deny"],
            "quarantined" => &["true", "false"],
            "policy" if digits(value).len() < HASH_MIN => {
                return Err(Usage(format!(
                    "--where policy={value}: want the hash of a policy, or at least {HASH_MIN} digits of its begin"
                )));
            }
            _ => &[],
        };
        if value.is_empty() || !(allowed.is_empty() || allowed.contains(&value)) {
            let want = if allowed.is_empty() { "a name".to_owned() } else { allowed.join(" or ") };
            return Err(Usage(format!("--where {key}={value}: want {want}")));
        }
        Ok(Condition { key: known, value: value.to_owned() })
    }

    /// From `KEY=VALUE`.
    ///
    /// # Errors
    /// As [`Condition::new`], or no such pair.
    pub fn parse(text: &str) -> Result<Condition, Usage> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Usage(format!("--where {text:?} is no KEY=VALUE; the keys are {}", KEYS.join(", "))))?;
        Condition::new(key, value)
    }

    /// Whether the row of an agent fits.
    fn fits(&self, row: &Value) -> bool {
        match self.key {
            "gate" => row["gate"]["state"] == self.value.as_str(),
            "verdict" => row["verdict"]["verdict"] == self.value.as_str(),
            "quarantined" => row["quarantine"]["active"].as_bool().unwrap_or(false) == (self.value == "true"),
            "policy" => {
                row["gate"]["policy"].as_str().is_some_and(|hash| digits(hash).starts_with(digits(&self.value)))
            }
            _ => row["strategy"] == self.value.as_str(),
        }
    }
}

fn digits(hash: &str) -> &str {
    hash.strip_prefix("b3:").unwrap_or(hash)
}

/// The agents that meet every condition, by name.
///
/// # Errors
/// A strategy nobody knows.
pub fn agents(state: &State, conditions: &[Condition]) -> Result<Vec<String>, Usage> {
    for condition in conditions.iter().filter(|condition| condition.key == "strategy") {
        super::desk::known_strategy(state, &condition.value)?;
    }
    let rows = state["agents"].as_object().into_iter().flatten();
    let fits = |row: &Value| conditions.iter().all(|condition| condition.fits(row));
    Ok(rows.filter(|(_, row)| fits(row)).map(|(name, _)| name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_select_agents() {
        let state = json!({ "strategies": { "carry": {} }, "agents": {
            "a": { "strategy": "carry", "gate": { "state": "killed", "policy": "b3:0123456789" }, "verdict": { "verdict": "deny" },
                   "quarantine": { "active": true } },
            "b": { "gate": { "state": "killed", "policy": "b3:0123999999" }, "verdict": { "verdict": "deny" },
                   "quarantine": { "active": false } },
            "c": { "gate": { "state": "candidate", "policy": null }, "verdict": { "verdict": "allow" },
                   "quarantine": { "active": false } },
        } });
        for (conditions, want) in [
            (vec!["gate=killed"], vec!["a", "b"]),
            (vec!["gate=killed", "quarantined=false"], vec!["b"]),
            (vec!["policy=b3:01234567"], vec!["a"]),
            (vec!["policy=0123456789"], vec!["a"]),
            (vec!["verdict=allow"], vec!["c"]),
            (vec!["strategy=carry", "gate=killed"], vec!["a"]),
            (vec!["verdict=allow", "gate=killed"], vec![]),
            (vec![], vec!["a", "b", "c"]),
        ] {
            let parsed: Vec<_> = conditions.iter().map(|text| Condition::parse(text).expect("a condition")).collect();
            assert_eq!(agents(&state, &parsed).expect("strategies there are"), want, "{conditions:?}");
        }
    }

    #[test]
    fn conditions_that_are_none_say_what_they_want() {
        for (text, want) in [
            ("gate", "no KEY=VALUE"),
            (
                "colour=red",
                "there is no key of --where \"colour\": there are gate, verdict, strategy, quarantined, policy",
            ),
            ("gaet=killed", "did you mean gate?"),
            ("gate=dead", "want candidate or promoted or killed"),
            ("quarantined=yes", "want true or false"),
            ("policy=b3:0123", "at least 8 digits"),
            ("strategy=", "want a name"),
        ] {
            let told = Condition::parse(text).expect_err(text).to_string();
            assert!(told.contains(want), "{text}: {told}");
        }
    }
}
