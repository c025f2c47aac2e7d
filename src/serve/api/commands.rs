use std::sync::Arc;

use axum::{http::StatusCode, response::Response};
use serde_json::{Map, Value, json};

use super::{
    Asked,
    append::{self, Claim, Claimed},
    errors::{ApiError, json_response},
    reads,
    requests::{content, event_id},
};
use crate::{
    event::{
        Action, Kind, Nanos,
        control::{self, About, Mint},
    },
    live::Of,
    serve::{routes::App, tokens::Caller},
    view::Row,
};

/// Whom a request is about.
#[derive(Debug, PartialEq)]
enum Target {
    Agent(String),
    Strategy(String),
    Fleet,
    Where(Map<String, Value>),
}

/// POST /api/v1/commands
pub async fn post(app: App, asked: Asked) -> Result<Response, ApiError> {
    let Asked { caller, mut body, .. } = asked;
    let target = target(&body)?;
    if let (Some(own), false) = (&caller.agent, matches!(&target, Target::Agent(name) if caller.speaks_for(Some(name))))
    {
        return Err(ApiError::foreign_agent(own, "name this agent in the field agent"));
    }
    let action = Asked::text(&body, "action").and_then(Action::from_name);
    let action =
        action.ok_or_else(|| ApiError::new(400, "invalid_field", "there is no such action", "see the schema"))?;
    let given = event_id(&mut body);
    let positions = match append::claim(&app, "command", given.as_deref(), &content(&body)).await? {
        Claimed::At(positions) => positions,
        Claimed::New(claim) => {
            let actor = actor(&caller, &body);
            let order = Order { action, actor: &actor, reason: Asked::text(&body, "reason") };
            new(&app, claim, &target, &order).await?
        }
    };
    answer(&app, action, &positions).await
}

/// What is to be done, by whom, and why.
struct Order<'a> {
    action: Action,
    actor: &'a str,
    reason: Option<&'a str>,
}

async fn new(app: &App, claim: Claim, target: &Target, order: &Order<'_>) -> Result<Arc<[u64]>, ApiError> {
    let agents = select(app, target).await?;
    let lines = lines(&claim.event_id, app.clock.now(), target, &agents, order);
    append::control(app, Kind::Command, claim, lines).await
}

/// The agents a `where` means, by name; of other targets nobody, but they must exist.
async fn select(app: &App, target: &Target) -> Result<Vec<String>, ApiError> {
    if *target == Target::Fleet {
        return Ok(Vec::new());
    }
    let knows = |kind: &'static str, name: &str| app.live.knows(kind, name);
    match target {
        Target::Agent(name) if !knows("agent", name) => Err(reads::unknown_agent(name)),
        Target::Strategy(name) if !knows("strategy", name) => {
            let message = format!("there is no strategy {name:?}");
            Err(ApiError::new(404, "unknown_strategy", message, "see the strategies in /api/v1/state"))
        }
        Target::Where(wanted) => {
            let asked = wanted.clone();
            let of_agents = move |app: &App| {
                let now = app.live.everybody(Of::Agents);
                (now.silent, chosen(&asked, now.state.agents()))
            };
            let (silent, agents) = app.blocking(of_agents).await?;
            // Only those who say what is asked for must answer: an operator is needed most when something is down.
            let needed = |name: &&str| wanted.keys().any(|key| says(key) == *name) || **name == *"intake";
            reads::complete(&silent.into_iter().filter(needed).collect::<Vec<_>>())?;
            if agents.is_empty() {
                let message = format!("no agent is as {} says", Value::Object(wanted.clone()));
                return Err(ApiError::new(404, "nobody_selected", message, "see /api/v1/agents"));
            }
            Ok(agents)
        }
        _ => Ok(Vec::new()),
    }
}

fn target(body: &Map<String, Value>) -> Result<Target, ApiError> {
    let way_out = "give exactly one of agent, strategy, fleet: true, where";
    let text = |name| Asked::text(body, name).map(str::to_owned);
    let fleet = body.get("fleet").and_then(Value::as_bool);
    let wanted = body.get("where").and_then(Value::as_object).cloned();
    match (text("agent"), text("strategy"), fleet, wanted) {
        (Some(name), None, None, None) => Ok(Target::Agent(name)),
        (None, Some(name), None, None) => Ok(Target::Strategy(name)),
        (None, None, Some(true), None) => Ok(Target::Fleet),
        (None, None, None, Some(wanted)) if !wanted.is_empty() => Ok(Target::Where(wanted)),
        (None, None, None, Some(_)) => {
            let way_out = "say which agents; to mean all of them, give fleet: true";
            Err(ApiError::new(400, "invalid_field", "where is empty", way_out))
        }
        _ => Err(ApiError::new(400, "invalid_field", "a command has exactly one subject", way_out)),
    }
}

/// Who is named on the line: the token says who asks, whatever the body claims.
pub fn actor(caller: &Caller, body: &Map<String, Value>) -> String {
    caller.name.as_deref().or(Asked::text(body, "actor")).unwrap_or("local").to_owned()
}

/// The consumer whose rows tell what a key of `where` asks for.
fn says(key: &str) -> &'static str {
    match key {
        "gate" | "policy" => "gates",
        "quarantined" => "quarantine",
        _ => "desk",
    }
}

/// The agents whose rows are as wanted, by name.
fn chosen(wanted: &Map<String, Value>, rows: impl Iterator<Item = (Arc<str>, Row)>) -> Vec<String> {
    let is = |row: &Row| {
        let says = |name: &str| row.get(name).unwrap_or(&Value::Null);
        wanted.iter().all(|(key, want)| match key.as_str() {
            "gate" => says("gate")["state"] == *want,
            "verdict" => says("verdict")["verdict"] == *want,
            "strategy" => says("strategy") == want,
            "quarantined" => says("quarantine")["active"] == *want,
            "policy" => says("gate")["policy"] == *want,
            _ => false,
        })
    };
    let mut names: Vec<String> = rows.filter(|(_, row)| is(row)).map(|(name, _)| name.to_string()).collect();
    names.sort_unstable();
    names
}

fn lines(event_id: &str, ts: Nanos, target: &Target, agents: &[String], order: &Order) -> Vec<String> {
    let line =
        |event_id: &str, about| control::command(Mint { event_id, ts }, order.action, about, order.actor, order.reason);
    match target {
        Target::Agent(name) => vec![line(event_id, About::Agent(name))],
        Target::Strategy(name) => vec![line(event_id, About::Strategy(name))],
        Target::Fleet => vec![line(event_id, About::Fleet)],
        Target::Where(_) => {
            agents.iter().map(|name| line(&control::derived_id(event_id, name), About::Agent(name))).collect()
        }
    }
}

/// What became of each command. All of them must be on disk before anybody relies on them: also one that stops an agent
/// would let it go on, had it been lost.
async fn answer(app: &App, action: Action, positions: &[u64]) -> Result<Response, ApiError> {
    let decisions = append::decisions(app, action.consumer(), positions).await?;
    let refused = decisions.iter().filter(|decision| decision.verdict == "refused").count();
    let shown = positions.iter().zip(&decisions);
    let commands: Vec<Value> =
        shown.map(|(position, decision)| json!({ "position": position, "decision": decision })).collect();
    if refused == commands.len() {
        let first = |name: &str| commands.first().map_or(Value::Null, |c| c["decision"]["reason"][name].clone());
        let rule = first("rule");
        let message = rule.as_str().unwrap_or("see the reason of its decision").to_owned();
        let way_out = first("way_out").as_str().unwrap_or("see the reason of its decision").to_owned();
        return Err(ApiError::new(409, "refused", message, way_out).with("commands", commands));
    }
    if let Some(last) = positions.iter().max() {
        append::durable(app, *last).await?;
    }
    Ok(json_response(StatusCode::OK, &json!({ "commands": commands, "refused": refused })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_command_has_one_subject() {
        let check = |body: Value, want: Option<Target>| {
            assert_eq!(target(&map(body.clone())).ok(), want, "{body}");
        };
        check(json!({ "agent": "a" }), Some(Target::Agent("a".to_owned())));
        check(json!({ "strategy": "s" }), Some(Target::Strategy("s".to_owned())));
        check(json!({ "fleet": true }), Some(Target::Fleet));
        let wanted = json!({ "gate": "killed" });
        check(json!({ "where": wanted }), Some(Target::Where(map(wanted))));
        check(json!({ "where": {} }), None);
        check(json!({ "fleet": false }), None);
        check(json!({}), None);
        check(json!({ "agent": "a", "fleet": true }), None);
        check(json!({ "agent": "a", "fleet": false }), None);
        check(json!({ "agent": "a", "where": { "gate": "killed" } }), None);
    }

    #[test]
    fn agents_are_chosen_by_their_rows() {
        let rows = map(json!({
            "b": { "gate": { "state": "killed", "policy": "b3:1" }, "quarantine": { "active": true }, "strategy": "s" },
            "a": { "gate": { "state": "killed", "policy": "b3:2" }, "quarantine": { "active": false }, "verdict": { "verdict": "deny" } },
            "c": {},
        }));
        let check = |wanted: Value, want: &[&str]| {
            let rows = rows.clone().into_iter().map(|(name, row)| (Arc::from(name), map(row)));
            assert_eq!(chosen(&map(wanted.clone()), rows), want, "{wanted}");
        };
        check(json!({ "gate": "killed" }), &["a", "b"]);
        check(json!({ "gate": "killed", "policy": "b3:1" }), &["b"]);
        check(json!({ "quarantined": false }), &["a"]);
        check(json!({ "verdict": "deny" }), &["a"]);
        check(json!({ "strategy": "s" }), &["b"]);
        check(json!({ "gate": "live" }), &[]);
        check(json!({ "other": "x" }), &[]);
    }

    #[test]
    fn one_line_per_agent_with_ids_of_their_own() {
        let order = Order { action: Action::Revive, actor: "ops", reason: None };
        let agents = ["a".to_owned(), "b".to_owned()];
        let made = lines("id", 0, &Target::Where(Map::new()), &agents, &order);
        assert_eq!(made, lines("id", 0, &Target::Where(Map::new()), &agents, &order));
        let line = |n: usize| serde_json::from_str::<Value>(&made[n]).expect("JSON");
        assert_eq!((&line(0)["agent"], &line(1)["agent"]), (&json!("a"), &json!("b")));
        assert_ne!(line(0)["event_id"], line(1)["event_id"]);
        let one = lines("id", 0, &Target::Fleet, &[], &order);
        assert!(one[0].contains("\"event_id\":\"id\"") && one[0].contains("\"fleet\":true"), "{one:?}");
    }

    #[test]
    fn a_token_names_the_actor() {
        let body = map(json!({ "actor": "eve" }));
        let named = Caller { name: Some("ops".into()), ..Caller::local() };
        assert_eq!(actor(&named, &body), "ops");
        assert_eq!(actor(&Caller::local(), &body), "eve");
        assert_eq!(actor(&Caller::local(), &Map::new()), "local");
    }
}
