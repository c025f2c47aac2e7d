use toml::{Table, Value};

use crate::{cli::Usage, policy::Policy, render::near::near};

/// Values of one threshold that are tried, from one end to the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    pub key: String,
    from: f64,
    to: f64,
    count: usize,
}

/// Values of a sweep at most.
const MOST: usize = 200;

impl Sweep {
    pub fn new(key: &str, from: f64, to: f64, count: usize) -> Sweep {
        Sweep { key: key.to_owned(), from, to, count }
    }

    /// `quarantine.drawdown_limit=-1..-10:10`
    pub fn parse(text: &str) -> Result<Sweep, String> {
        let want = "want KEY=FROM..TO:COUNT, as quarantine.drawdown_limit=-1..-10:10";
        let (key, range) = text.split_once('=').ok_or(want)?;
        let (ends, count) = range.rsplit_once(':').ok_or(want)?;
        let (from, to) = ends.split_once("..").ok_or(want)?;
        let end = |text: &str| text.trim().parse::<f64>().ok().filter(|end| end.is_finite()).ok_or(want);
        let count: usize = count.trim().parse().map_err(|_| want)?;
        if !(2..=MOST).contains(&count) {
            return Err(format!("{count} values; want 2 to {MOST}"));
        }
        Ok(Sweep::new(key.trim(), end(from)?, end(to)?, count))
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let step = (self.to - self.from) / (self.count - 1) as f64;
        (0..self.count).map(move |nth| if nth + 1 == self.count { self.to } else { self.from + step * nth as f64 })
    }

    /// A policy for each value, with the name by which it is told.
    pub fn policies(&self, base: &Policy) -> anyhow::Result<Vec<(String, Policy)>> {
        let mut policies: Vec<(String, Policy)> = Vec::new();
        for value in self.values() {
            let mut table: Table = toml::from_str(&toml::to_string(base)?)?;
            let shown = self.set(&mut table, value)?;
            follow(&mut table);
            let name = format!("{}={shown}", self.key);
            let policy = Policy::from_toml(&toml::to_string(&table)?);
            let policy = policy.map_err(|error| Usage(format!("--sweep {name}: {error}")))?;
            if policies.iter().all(|(known, _)| *known != name) {
                policies.push((name, policy));
            }
        }
        Ok(policies)
    }

    /// Sets the key; returns its value as it stands then.
    fn set(&self, table: &mut Table, value: f64) -> Result<String, Usage> {
        let mut parts: Vec<&str> = self.key.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut within = table;
        for part in parts {
            let names: Vec<String> = within.keys().cloned().collect();
            within = match within.get_mut(part) {
                Some(Value::Table(inner)) => inner,
                _ => return Err(self.unknown(part, &names)),
            };
        }
        let names: Vec<String> = within.keys().cloned().collect();
        let slot = within.get_mut(last).ok_or_else(|| self.unknown(last, &names))?;
        *slot = match slot {
            Value::Integer(_) => Value::Integer(value.round() as i64),
            Value::Float(_) => Value::Float(value),
            _ => return Err(Usage(format!("--sweep {}: its value is no number", self.key))),
        };
        Ok(slot.to_string())
    }

    fn unknown(&self, part: &str, names: &[String]) -> Usage {
        let near = near(part, names.iter().map(String::as_str));
        let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        Usage(format!("--sweep {}: a policy has no {part}{hint}", self.key))
    }
}

/// Nobody may leave quarantine while the rule to enter holds: the one limit follows the other.
fn follow(table: &mut Table) {
    let Some(Value::Table(quarantine)) = table.get_mut("quarantine") else { return };
    let limit = |key: &str| quarantine.get(key).and_then(Value::as_float);
    if let (Some(enter), Some(leave)) = (limit("drawdown_limit"), limit("clear_drawdown"))
        && leave < enter
    {
        quarantine.insert("clear_drawdown".to_owned(), Value::Float(enter));
    }
}

/// Whether each of some points is on the frontier: no other avoids at least as much loss at less profit forgone, or more
/// loss at no more.
pub fn frontier(points: &[(f64, f64)]) -> Vec<bool> {
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 >= b.0 && a.1 <= b.1 && a != b;
    points.iter().map(|point| !points.iter().any(|other| beats(other, point))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_values_from_end_to_end() {
        let sweep = Sweep::parse("quarantine.drawdown_limit=-1..-10:10").expect("a sweep");
        assert_eq!(sweep.values().collect::<Vec<_>>(), (1..=10).map(|n| -f64::from(n)).collect::<Vec<_>>());
        let names: Vec<String> =
            sweep.policies(&Policy::default()).expect("policies").into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            (names.len(), &*names[0], &*names[9]),
            (10, "quarantine.drawdown_limit=-1.0", "quarantine.drawdown_limit=-10.0")
        );
        let policies = sweep.policies(&Policy::default()).expect("policies");
        let limits =
            |nth: usize| (policies[nth].1.quarantine.drawdown_limit, policies[nth].1.quarantine.clear_drawdown);
        assert_eq!((limits(0), limits(9)), ((-1.0, -1.0), (-10.0, -3.0)));
        let window = Sweep::parse("gates.window=20..22:5").expect("a sweep").policies(&Policy::default());
        let names: Vec<String> = window.expect("policies").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["gates.window=20", "gates.window=21", "gates.window=22"]);
        for wrong in ["", "a", "a=1", "a=1..2", "a=1..2:1", "a=x..2:3", "a=1..inf:3", "a=1..2:1000"] {
            assert!(Sweep::parse(wrong).is_err(), "{wrong}");
        }
        let told =
            |key: &str| Sweep::new(key, 1.0, 2.0, 2).policies(&Policy::default()).map(drop).expect_err(key).to_string();
        assert!(told("quarantine.drawdwon_limit").contains("drawdown_limit"));
        assert!(told("gates.kill").contains("no number"));
        assert!(told("gates.window").contains("window"));
    }

    #[test]
    fn the_frontier_is_what_no_other_point_beats() {
        let points = [(5.0, 1.0), (9.0, 4.0), (5.0, 2.0), (9.0, 4.0), (0.0, 0.0), (8.0, 5.0)];
        assert_eq!(frontier(&points), [true, true, false, true, true, false]);
        assert!(frontier(&[]).is_empty());
    }
}
