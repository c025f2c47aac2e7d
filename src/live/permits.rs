use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::view::Row;

/// Something said of a subject that permits more or less.
pub trait Permit: Clone + PartialEq {
    /// What holds while `new` is not durable and `old` was released before.
    fn stricter(old: &Self, new: &Self) -> Self;

    /// What holds while `new` is not durable and nothing was released before.
    fn withheld(new: &Self) -> Self;
}

/// By name.
pub type Named<T> = BTreeMap<Arc<str>, Arc<T>>;

/// What may be shown: what restricts at once, what permits only once the position it was computed at is durable. Until
/// then the strictest of all since the last durable one.
#[derive(Debug)]
pub struct Permits<T> {
    /// As last computed, and where.
    current: Named<T>,
    position: u64,
    /// What may be shown now.
    shown: Named<T>,
    /// What may be shown once a position is durable: what was computed there, and whatever was stricter since.
    next: Option<(u64, Named<T>)>,
}

impl<T> Default for Permits<T> {
    fn default() -> Self {
        Permits { current: Named::new(), position: 0, shown: Named::new(), next: None }
    }
}

impl<T: Permit> Permits<T> {
    /// Takes in what was computed at a position; of whom nothing is said, nothing changed.
    pub fn offer(&mut self, position: u64, new: impl IntoIterator<Item = (Arc<str>, T)>) {
        let mut changed: Vec<(Arc<str>, Arc<T>)> = Vec::new();
        for (name, new) in new {
            if self.current.get(&name).is_none_or(|current| **current != new) {
                changed.push((name, Arc::new(new)));
            }
        }
        self.position = position;
        self.current.extend(changed.iter().cloned());
        restrict(&mut self.shown, &changed);
        match &mut self.next {
            Some((_, next)) => restrict(next, &changed),
            None if !changed.is_empty() => self.next = Some((position, self.current.clone())),
            None => {}
        }
    }

    /// Everything before `durable` is durable now. Whether that changed what is shown.
    pub fn release(&mut self, durable: u64) -> bool {
        let mut released = false;
        while self.next.as_ref().is_some_and(|(position, _)| *position <= durable)
            && let Some((_, next)) = self.next.take()
        {
            self.shown = next;
            released = true;
            if self.shown != self.current {
                self.next = Some((self.position, self.current.clone()));
            }
        }
        released
    }

    pub fn shown(&self) -> &Named<T> {
        &self.shown
    }

    /// Where it was last computed.
    pub fn position(&self) -> u64 {
        self.position
    }
}

fn restrict<T: Permit>(all: &mut Named<T>, changed: &[(Arc<str>, Arc<T>)]) {
    for (name, new) in changed {
        let value = all.get(name).map_or_else(|| T::withheld(new), |old| T::stricter(old, new));
        all.insert(name.clone(), Arc::new(value));
    }
}

/// What an agent may do.
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    pub verdict: String,
    pub live: bool,
    pub size_multiplier: f64,
    pub reasons: Vec<Value>,
    pub since_position: Option<u64>,
}

const ALLOW: &str = "allow";

impl Control {
    /// From the rows of the desk. Whatever is missing or odd permits nothing.
    pub fn of(row: &Row) -> Control {
        let Some(said) = row.get("verdict").and_then(Value::as_object) else {
            return Control::none("deny", "no_verdict");
        };
        let verdict = said.get("verdict").and_then(Value::as_str).unwrap_or("deny");
        let multiplier = said.get("size_multiplier").and_then(Value::as_f64).filter(|m| m.is_finite() && *m > 0.0);
        Control {
            verdict: verdict.to_owned(),
            live: said.get("live").and_then(Value::as_bool).unwrap_or(false),
            size_multiplier: multiplier.unwrap_or(0.0),
            reasons: said.get("reasons").and_then(Value::as_array).cloned().unwrap_or_default(),
            since_position: said.get("since_position").and_then(Value::as_u64),
        }
    }

    pub fn none(verdict: &str, reason: &str) -> Control {
        Control {
            verdict: verdict.to_owned(),
            live: false,
            size_multiplier: 0.0,
            reasons: vec![reason.into()],
            since_position: None,
        }
    }

    fn permits_less_than(&self, other: &Control) -> bool {
        let (allow, other_allows) = (self.verdict == ALLOW, other.verdict == ALLOW);
        let order = allow.cmp(&other_allows).then(self.live.cmp(&other.live));
        order.then(self.size_multiplier.total_cmp(&other.size_multiplier)).is_lt()
    }
}

impl Permit for Control {
    fn stricter(old: &Control, new: &Control) -> Control {
        let base = if old.permits_less_than(new) { old } else { new };
        Control {
            live: old.live && new.live,
            size_multiplier: old.size_multiplier.min(new.size_multiplier),
            ..base.clone()
        }
    }

    fn withheld(new: &Control) -> Control {
        Control::stricter(&Control::none("deny", "no_verdict"), new)
    }
}

/// What the desk says of the fleet: a pause ends, and a mode gives way to observing, once that is durable.
impl Permit for Map<String, Value> {
    fn stricter(old: &Self, new: &Self) -> Self {
        let mut fleet = new.clone();
        if old.get("paused") == Some(&Value::Bool(true)) {
            fleet.insert("paused".to_owned(), true.into());
        }
        if let Some(mode) = old.get("mode").filter(|_| new.get("mode").is_some_and(|mode| mode == "observe")) {
            fleet.insert("mode".to_owned(), mode.clone());
        }
        fleet
    }

    fn withheld(new: &Self) -> Self {
        new.clone()
    }
}

/// Whether an agent is quarantined.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quarantined {
    active: bool,
    reason: Value,
    /// Unix seconds.
    since: Value,
}

impl Quarantined {
    /// From the row of the quarantine, if it says anything.
    pub fn of(row: &Row) -> Option<Quarantined> {
        let said = row.get("quarantine")?;
        Some(Quarantined {
            active: said["active"].as_bool().unwrap_or(true),
            reason: said["reason"].clone(),
            since: said["since"].clone(),
        })
    }
}

impl Permit for Quarantined {
    fn stricter(old: &Quarantined, new: &Quarantined) -> Quarantined {
        if old.active && !new.active { old.clone() } else { new.clone() }
    }

    fn withheld(new: &Quarantined) -> Quarantined {
        new.clone()
    }
}

/// How often an agent may run: what the allocation says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs(pub Value);

impl Permit for Runs {
    fn stricter(old: &Runs, new: &Runs) -> Runs {
        let runs = |of: &Runs| of.0["runs_per_period"].as_u64();
        if runs(old) < runs(new) { old.clone() } else { new.clone() }
    }

    fn withheld(_new: &Runs) -> Runs {
        Runs(serde_json::json!({"runs_per_period": 0, "interval_min": null}))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn control(text: &str) -> Control {
        let row: Value = serde_json::from_str(text).expect("JSON");
        Control::of(row.as_object().expect("a row"))
    }

    fn verdict(verdict: &str, live: bool, multiplier: f64) -> Control {
        let said = json!({"verdict": verdict, "live": live, "size_multiplier": multiplier, "reasons": []});
        Control::of(json!({ "verdict": said }).as_object().expect("a row"))
    }

    #[test]
    fn what_is_missing_or_odd_permits_nothing() {
        for row in ["{}", r#"{"verdict":null}"#, r#"{"verdict":"allow"}"#, r#"{"verdict":{}}"#] {
            let control = control(row);
            assert_eq!(
                (control.verdict.as_str(), control.live, control.size_multiplier),
                ("deny", false, 0.0),
                "{row}"
            );
        }
        assert_eq!(control("{}").reasons, ["no_verdict"]);
        let odd = control(r#"{"verdict":{"verdict":"allow","live":1,"size_multiplier":-2,"reasons":"x"}}"#);
        assert_eq!((odd.live, odd.size_multiplier), (false, 0.0));
    }

    #[test]
    fn the_stricter_of_two() {
        #[track_caller]
        fn check(old: (&str, bool, f64), new: (&str, bool, f64), want: (&str, bool, f64)) {
            let [old, new] = [old, new].map(|(v, live, m)| verdict(v, live, m));
            let got = Control::stricter(&old, &new);
            assert_eq!((got.verdict.as_str(), got.live, got.size_multiplier), want);
        }
        check(("allow", true, 1.0), ("deny", false, 0.0), ("deny", false, 0.0));
        check(("deny", false, 0.0), ("allow", true, 1.0), ("deny", false, 0.0));
        check(("hold", false, 0.0), ("deny", false, 0.0), ("deny", false, 0.0));
        check(("allow", false, 0.8), ("allow", true, 0.5), ("allow", false, 0.5));
        check(("allow", true, 0.5), ("allow", true, 0.8), ("allow", true, 0.5));
        check(("allow", true, 0.5), ("allow", false, 0.8), ("allow", false, 0.5));
    }

    #[test]
    fn restrictions_at_once_permissions_once_they_are_durable() {
        let mut permits = Permits::default();
        let (allow, deny) = (verdict("allow", true, 1.0), verdict("deny", false, 0.0));
        let mut step = |position: u64, what: Option<&Control>, durable: u64, want: &str| {
            permits.offer(position, what.map(|control| (Arc::from("a"), control.clone())));
            permits.release(durable);
            let shown = permits.shown().get("a").map_or("-", |control| control.verdict.as_str());
            assert_eq!(shown, want, "at position {position}, durable {durable}");
        };
        step(1, None, 1, "-");
        step(5, Some(&allow), 4, "deny");
        step(6, None, 5, "allow");
        step(7, Some(&deny), 5, "deny");
        // Were the last line lost, the denial would stand.
        step(8, Some(&allow), 7, "deny");
        step(9, None, 8, "allow");
        // The denial is seen even if it passes before anything of it is durable.
        step(10, Some(&deny), 9, "deny");
        step(11, Some(&allow), 9, "deny");
        step(12, None, 11, "deny");
        step(13, None, 12, "allow");
        step(14, Some(&deny), 20, "deny");
        step(20, Some(&allow), 20, "allow");
    }

    #[test]
    fn a_pause_of_the_fleet_ends_once_its_end_is_durable() {
        let fleet = |paused: bool, mode: &str| {
            let said = json!({"mode": mode, "paused": paused});
            said.as_object().expect("an object").clone()
        };
        let stricter = |old, new| Value::Object(Permit::stricter(&old, &new));
        assert_eq!(stricter(fleet(true, "enforce"), fleet(false, "observe"))["paused"], true);
        assert_eq!(stricter(fleet(true, "enforce"), fleet(false, "observe"))["mode"], "enforce");
        assert_eq!(
            stricter(fleet(false, "observe"), fleet(true, "enforce")),
            json!({"mode": "enforce", "paused": true})
        );
    }

    #[test]
    fn a_quarantine_ends_once_its_end_is_durable() {
        let of = |active: bool| {
            let row = json!({"quarantine": {"active": active, "reason": "drawdown", "since": 5.0}});
            Quarantined::of(row.as_object().expect("a row")).expect("it says something")
        };
        let mut permits = Permits::default();
        permits.offer(3, [(Arc::from("a"), of(true))]);
        permits.release(3);
        permits.offer(5, [(Arc::from("a"), of(false))]);
        permits.release(4);
        let shown = |permits: &Permits<Quarantined>| json!(permits.shown().get("a").map(|held| &**held));
        assert_eq!(shown(&permits), json!({"active": true, "reason": "drawdown", "since": 5.0}));
        permits.release(5);
        assert_eq!(shown(&permits)["active"], json!(false));
    }
}
