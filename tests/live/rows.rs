//! What the running fold shows is what a replay shows.

use runtape::{
    fold::Registration,
    live::{Of, OwnStream},
};
use serde_json::{Map, Value};

use super::Stage;
use crate::{
    cast::{Fuse, fails},
    support::{Events, wait_until},
};

#[test]
fn the_state_of_the_running_fold_is_that_of_a_replay() {
    let stage = Stage::open(Events::new(), &[]);
    for n in 0..60 {
        let line = format!(
            "{{\"agent\":\"a{}\",\"strategy\":\"s{}\",\"reward\":-0.{n},\"cost_usd\":0.01,\"ts\":{}}}\n",
            n % 7,
            n % 3,
            1_767_225_600 + n
        );
        stage.events.append("runs", line);
    }
    let now = stage.live.everybody(Of::All);
    assert_eq!((now.silent.len(), now.consumers.len()), (0, stage.live.status().consumers.len()));
    assert!(now.consumers.iter().all(|(_, position)| *position == 60), "{:?}", now.consumers);
    let text: Vec<u8> = now.state.text(None, None).flatten().collect();
    let got: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(String::from_utf8_lossy(&text), format!("{got}\n"), "no two consumers use the same field");
    let one = stage.live.rows("agent", "a3");
    assert_eq!((one.state.head.position, one.state.agents.len(), one.state.strategies.len()), (60, 1, 0));
    assert_eq!(one.state.agents["a3"], got["agents"]["a3"]);
    // What takes all agents to say is said only of all.
    let mut fleet = got["fleet"].clone();
    fleet.as_object_mut().expect("an object").shift_remove("evidence").expect("what the fleet proves");
    assert_eq!(Value::Object(one.state.fleet), fleet);
    let agents = stage.live.everybody(Of::Agents).state.agents();
    let agents: Map<String, Value> = agents.map(|(name, row)| (name.to_string(), row.into())).collect();
    assert_eq!(Value::Object(agents), got["agents"]);
    assert!(stage.live.rows("agent", "nobody").state.agents.is_empty());
    let mut want = stage.close().replay();
    for only_there in ["state_hash", "decisions"] {
        want.as_object_mut().expect("an object").shift_remove(only_there);
    }
    assert_eq!(serde_json::to_string(&got).expect("JSON"), serde_json::to_string(&want).expect("JSON"));
}

#[test]
fn a_consumer_that_is_down_is_named_and_the_others_answer() {
    fails::<7>(3, i64::MAX);
    let stage = Stage::open(Events::new(), &[Registration::of::<Fuse<7>>()]);
    for _ in 0..5 {
        stage.append(OwnStream::Api, &["{\"agent\":\"a\",\"reward\":1}"]).expect("it is appended");
    }
    let down = || stage.live.status().consumers.iter().any(|consumer| consumer.down().is_some());
    wait_until("it is down", down);
    let now = stage.live.rows("agent", "a");
    assert_eq!(now.silent, ["pulse"]);
    assert_eq!(now.state.agents["a"]["runs"], 5);
    stage.close();
}
