//! The files for processes without a network: what they permit is durable, and they never outlive whoever writes them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use runtape::{clock::Clock, fold::Registration, layout::Layout, live::OwnStream};
use serde_json::{Value, json};

use super::Stage;
use crate::{
    cast::{Fuse, fails},
    support::{Events, wait_until},
};

fn read(path: std::path::PathBuf) -> Value {
    fs::read(path).map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).expect("a whole file"))
}

fn controls(events: &Events) -> Value {
    read(Layout::new(events.path()).controls())
}

fn verdict(events: &Events, agent: &str) -> String {
    controls(events)["agents"][agent]["verdict"].as_str().unwrap_or("-").to_owned()
}

#[test]
fn verdicts_are_written_and_expire() {
    let now = Arc::new(AtomicI64::new(1_800_000_000_000_000_000));
    let clock = {
        let now = now.clone();
        Clock::fixed(move || now.load(Ordering::Acquire))
    };
    let stage = Stage::at(Events::new(), &[], clock);
    let line = |agent: &str, reward: f64| {
        let line = format!("{{\"agent\":\"{agent}\",\"reward\":{reward},\"ts\":1800000000}}");
        stage.append(OwnStream::Api, &[&line]).expect("it is appended");
    };
    line("a", 1.0);
    wait_until("it is allowed", || verdict(&stage.events, "a") == "allow");
    line("a", -4.0);
    wait_until("it is denied", || verdict(&stage.events, "a") == "deny");
    line("b", 1.0);
    wait_until("both are there", || verdict(&stage.events, "b") == "allow");
    let file = controls(&stage.events);
    assert_eq!(
        (&file["position"], &file["tape_time"], &file["valid_until"], &file["mode"]),
        (&json!(3), &json!(1_800_000_000.0), &json!(1_800_000_030.0), &json!("enforce"))
    );
    assert_eq!((&file["fleet"]["mode"], &file["fleet"]["paused"]), (&json!("enforce"), &json!(false)));
    let want = json!({
        "verdict": "deny", "live": false, "size_multiplier": 0.0, "reasons": ["quarantined"], "since_position": 1,
        "runs_per_period": 0, "interval_min": null,
    });
    assert_eq!(file["agents"]["a"], want);
    let quarantine = || read(Layout::new(stage.events.path()).quarantine());
    wait_until("it is quarantined", || quarantine()["agents"]["a"]["active"] == true);
    assert_eq!(quarantine()["updated_at"], json!(1_800_000_000.0));
    wait_until("the other is free", || quarantine()["agents"]["b"]["active"] == false);
    let clear = r#"{"kind":"command","event_id":"c","action":"clear","agent":"a","actor":"ann"}"#;
    stage.append(OwnStream::Control, &[clear]).expect("it is appended");
    wait_until("it is allowed again", || verdict(&stage.events, "a") == "allow");
    now.fetch_add(7_000_000_000, Ordering::AcqRel);
    let events = stage.close();
    let file = controls(&events);
    assert_eq!(file["valid_until"], json!(1_800_000_007.0), "nobody writes it any more");
    for agent in ["a", "b"] {
        let agent = &file["agents"][agent];
        assert_eq!(agent["verdict"], "hold");
        assert_eq!((&agent["live"], &agent["size_multiplier"]), (&json!(false), &json!(0.0)));
    }
}

#[test]
fn a_fold_that_is_not_to_be_relied_on_permits_nothing() {
    fails::<6>(2, i64::MAX);
    let stage = Stage::open(Events::new(), &[Registration::of::<Fuse<6>>()]);
    let line = "{\"agent\":\"a\",\"reward\":1}";
    stage.append(OwnStream::Api, &[line]).expect("it is appended");
    wait_until("it is allowed", || verdict(&stage.events, "a") == "allow");
    stage.append(OwnStream::Api, &[line, line]).expect("they are appended");
    wait_until("it is held", || verdict(&stage.events, "a") == "hold");
    assert_eq!(controls(&stage.events)["agents"]["a"]["reasons"], json!(["not_ready"]));
    stage.close();
}
