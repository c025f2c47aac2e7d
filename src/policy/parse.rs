use toml::{Table, Value};

use super::{GateMode, Policy, PolicyError};

/// The named sets of defaults a policy file may start from.
pub const PROFILES: [&str; 2] = ["seed", "desk"];

/// The policy that stands in the TOML of a file: the defaults of its profile, with what the file says in their place.
pub fn parse(text: &str) -> Result<Policy, PolicyError> {
    let mut given: Table = text.parse().map_err(|error: toml::de::Error| PolicyError::Syntax(error.to_string()))?;
    let profile = match given.remove("profile") {
        None => "seed".to_owned(),
        Some(Value::String(name)) => name,
        Some(other) => return Err(unknown_profile(&other.to_string())),
    };
    let defaults = profile_defaults(&profile).ok_or_else(|| unknown_profile(&format!("{profile:?}")))?;
    let mut merged = to_table(&defaults)?;
    check_keys("", &given, &merged)?;
    merge(&mut merged, given);
    let policy: Policy = merged.try_into().map_err(|error: toml::de::Error| PolicyError::Syntax(error.to_string()))?;
    policy.validate()?;
    Ok(policy)
}

/// The defaults of a profile.
pub fn profile_defaults(name: &str) -> Option<Policy> {
    let mut policy = Policy::default();
    match name {
        "seed" => {}
        "desk" => {
            policy.quarantine.clear_drawdown = -1.5;
            policy.quarantine.min_dwell_runs = 20;
            policy.confidence.window = 50;
            policy.confidence.floor = 0.2;
            policy.gates.promote.mode = GateMode::Both;
            policy.gates.promote.max_median_latency_ms = 30_000.0;
            policy.gates.kill.mode = GateMode::Both;
        }
        _ => return None,
    }
    Some(policy)
}

fn unknown_profile(value: &str) -> PolicyError {
    PolicyError::Range { field: "profile".to_owned(), value: value.to_owned(), allowed: "\"seed\" or \"desk\"" }
}

fn to_table(policy: &Policy) -> Result<Table, PolicyError> {
    Table::try_from(policy).map_err(|error| PolicyError::Syntax(error.to_string()))
}

/// Keys a table may have without a default: names that people choose, and thresholds that are off by default.
fn is_open(path: &str) -> bool {
    matches!(path, "prices" | "budget.agents" | "allocation.min_runs" | "allocation.max_runs")
}

const OFF_BY_DEFAULT: [&str; 1] = ["quarantine.pnl_drawdown_limit_bps"];

/// Refuses keys that no table has, with the nearest one that does.
fn check_keys(path: &str, given: &Table, known: &Table) -> Result<(), PolicyError> {
    for (key, value) in given {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (known.get(key), value) {
            (Some(Value::Table(known)), Value::Table(given)) if !is_open(&full) || full == "prices" => {
                check_keys(&full, given, known)?;
            }
            (Some(_), _) => {}
            (None, _) if is_open(path) || OFF_BY_DEFAULT.contains(&full.as_str()) => {}
            (None, _) => {
                let nearest = known.keys().map(|name| (distance(name, key), name)).min();
                let suggestion = nearest.filter(|(far, _)| *far <= 1 + key.len() / 3).map(|(_, name)| name.clone());
                return Err(PolicyError::UnknownKey { key: full, suggestion });
            }
        }
    }
    Ok(())
}

/// Puts what is given in the place of the defaults, table by table. A number without fraction is as good as one with.
fn merge(into: &mut Table, given: Table) {
    for (key, value) in given {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(given)) => merge(into, given),
            (Some(slot @ Value::Float(_)), Value::Integer(whole)) => *slot = Value::Float(whole as f64),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let got = match parse(text) {
            Ok(policy) => format!("ok {}", policy == Policy::default()),
            Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        assert!(got.contains(want), "{text}\n want {want}\n got  {got}");
    }

    #[test]
    fn a_policy_says_what_is_wrong_with_it() {
        check("", "ok true");
        check("profile = \"seed\"", "ok true");
        check("profile = \"desk\"", "ok false");
        check("profile = \"dusk\"", "policy profile = \"dusk\" is out of range: want \"seed\" or \"desk\"");
        check("[quarantine]\ndrawdown_limit = -5\nclear_drawdown = -4", "ok false");
        check("[quarantine]\ndrawdon_limit = -5.0", "no key quarantine.drawdon_limit; did you mean drawdown_limit?");
        check("[quarantin]\n", "no key quarantin; did you mean quarantine?");
        check("[quarantine]\nzzz = 1", "no key quarantine.zzz");
        check(
            "[quarantine]\ndrawdown_limit = 5.0",
            "quarantine.drawdown_limit = 5 is out of range: want a number <= 0",
        );
        check("[quarantine]\nclear_drawdown = -9.0", "an agent would leave while the rule to enter still holds");
        check("[quarantine]\npnl_drawdown_limit_bps = -300", "ok false");
        check("[rolling]\nwindow = \"many\"", "not valid TOML for runtape");
        check("rolling = 3 3", "not valid TOML for runtape");
        check("[budget.agents]\n\"momentum-eth\" = 1", "ok false");
        check("[[prices.opus]]\ninput = 15\noutput = 75\nfrom = \"2026-01-01\"", "ok false");
        check("[[prices.opus]]\ninput = 15\noutput = 75\nfrom = \"yesterday\"", "want a day as YYYY-MM-DD");
        check("[prices.default]\ninput = -1", "prices.default.input = -1 is out of range");
        check("[confidence]\nfloor = 0.9\ncap = 0.5", "confidence.floor");
        check("[gates.promote]\nmode = \"maybe\"", "not valid TOML for runtape");
    }

    #[test]
    fn every_profile_is_valid() {
        for profile in PROFILES {
            let policy = profile_defaults(profile).expect("a profile of the list");
            assert_eq!(policy.validate(), Ok(()), "{profile}");
            assert_eq!(parse(&format!("profile = {profile:?}")), Ok(policy));
        }
    }

    #[test]
    fn the_hash_follows_the_values_and_not_the_spelling() {
        let plain = parse("").expect("the defaults");
        let spelled = parse("[rolling]\nwindow = 500").expect("the defaults, spelled out");
        let other = parse("[rolling]\nwindow = 400").expect("another window");
        assert_eq!(plain.hash(), spelled.hash());
        assert_ne!(plain.hash(), other.hash());
    }
}
