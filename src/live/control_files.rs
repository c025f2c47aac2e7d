use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::permits::{Control, Named, Quarantined, Runs};

/// When a file is written, and how far it may be believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    pub position: u64,
    /// Unix seconds, as the rest.
    pub tape_time: Option<f64>,
    pub valid_until: f64,
    /// Why nothing is permitted, whatever was computed.
    pub hold: Option<&'static str>,
}

/// A map by name, written as it is gone through.
struct ByName<I>(I);

impl<'a, T: Serialize, I: Iterator<Item = (&'a str, T)> + Clone> Serialize for ByName<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.clone())
    }
}

/// What `controls.json` says of an agent.
#[derive(Serialize)]
struct Told<'a> {
    verdict: &'a str,
    live: bool,
    size_multiplier: f64,
    reasons: &'a [Value],
    since_position: Option<u64>,
    runs_per_period: Option<&'a Value>,
    interval_min: Option<&'a Value>,
}

#[derive(Serialize)]
struct Controls<'a, A> {
    position: u64,
    tape_time: Option<f64>,
    valid_until: f64,
    mode: Option<&'a Value>,
    fleet: &'a Map<String, Value>,
    agents: A,
}

#[derive(Serialize)]
struct Quarantine<A> {
    agents: A,
    updated_at: f64,
}

/// The content of `controls.json`. `fleet` is what the desk says of the fleet, `allocation` of each agent's runs.
pub fn controls(
    moment: Moment,
    fleet: &Map<String, Value>,
    agents: &Named<Control>,
    allocation: &Named<Runs>,
) -> String {
    let held = moment.hold.map(|reason| Control::none("hold", reason));
    let agents = agents.iter().map(|(name, control)| {
        let Control { verdict, live, size_multiplier, reasons, .. } = held.as_ref().unwrap_or(control);
        let runs = allocation.get(name);
        let told = Told {
            verdict,
            live: *live,
            size_multiplier: *size_multiplier,
            reasons,
            since_position: control.since_position,
            runs_per_period: runs.map(|runs| &runs.0["runs_per_period"]),
            interval_min: runs.map(|runs| &runs.0["interval_min"]),
        };
        (&**name, told)
    });
    let Moment { position, tape_time, valid_until, .. } = moment;
    json(&Controls { position, tape_time, valid_until, mode: fleet.get("mode"), fleet, agents: ByName(agents) })
}

/// The content of `quarantine.json`; `now` in Unix seconds.
pub fn quarantine(now: f64, agents: &Named<Quarantined>) -> String {
    let agents = ByName(agents.iter().map(|(name, held)| (&**name, &**held)));
    json(&Quarantine { agents, updated_at: now })
}

fn json(content: &impl Serialize) -> String {
    serde_json::to_string(content).expect("names and numbers always serialise")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn parsed(file: &str) -> Value {
        serde_json::from_str(file).expect("JSON")
    }

    #[test]
    fn a_file_that_holds_permits_nothing() {
        let allowed = json!({"verdict": {"verdict": "allow", "live": true, "size_multiplier": 1.0, "reasons": []}});
        let allowed = Control::of(allowed.as_object().expect("a row"));
        let agents = Named::from([(Arc::from("a"), Arc::new(allowed))]);
        let runs = Named::from([(Arc::from("a"), Arc::new(Runs(json!({"runs_per_period": 3, "interval_min": 5}))))]);
        let fleet = json!({"mode": "enforce", "paused": false});
        let fleet = fleet.as_object().expect("an object");
        let at = Moment { position: 7, tape_time: Some(1.5), valid_until: 30.0, hold: None };
        let file = parsed(&controls(at, fleet, &agents, &runs));
        assert_eq!(
            (&file["mode"], &file["position"], &file["valid_until"]),
            (&json!("enforce"), &json!(7), &json!(30.0))
        );
        assert_eq!(file["agents"]["a"]["verdict"], "allow");
        assert_eq!(
            (&file["agents"]["a"]["runs_per_period"], &file["agents"]["a"]["interval_min"]),
            (&json!(3), &json!(5))
        );
        let held = parsed(&controls(Moment { hold: Some("not_ready"), ..at }, fleet, &agents, &runs));
        let agent = &held["agents"]["a"];
        assert_eq!((&agent["verdict"], &agent["live"]), (&json!("hold"), &json!(false)));
        assert_eq!((&agent["size_multiplier"], &agent["reasons"]), (&json!(0.0), &json!(["not_ready"])));
    }

    #[test]
    fn who_is_quarantined_is_named() {
        let quarantined = json!({"quarantine": {"active": true, "reason": "drawdown", "since": 5.0}});
        let held = Quarantined::of(quarantined.as_object().expect("a row")).expect("it says something");
        let file = parsed(&quarantine(9.5, &Named::from([(Arc::from("a"), Arc::new(held))])));
        assert_eq!(file, json!({"agents": {"a": quarantined["quarantine"]}, "updated_at": 9.5}));
    }
}
