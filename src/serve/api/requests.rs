use axum::{http::StatusCode, response::Response};
use serde_json::{Map, Value, json};

use super::{
    Asked,
    append::{self, Claimed},
    errors::{ApiError, json_response},
};
use crate::{
    decision::DecisionLine,
    event::{
        Kind,
        control::{self, Mint},
    },
    serve::{routes::App, tokens::Caller},
};

/// POST /api/v1/checks
pub async fn check(app: App, asked: Asked) -> Result<Response, ApiError> {
    let Asked { caller, mut body, .. } = asked;
    speaks_for(&caller, &body)?;
    let problems = app.not_ready();
    if !problems.is_empty() {
        return Ok(json_response(StatusCode::OK, &on_hold(problems)));
    }
    let given = event_id(&mut body);
    let position = match append::claim(&app, "check", given.as_deref(), &content(&body)).await? {
        Claimed::At(positions) => positions.first().copied().unwrap_or_default(),
        Claimed::New(claim) => {
            let line = control::check(Mint { event_id: &claim.event_id, ts: app.clock.now() }, body);
            one(&app, Kind::Check, claim, line).await?
        }
    };
    let decision = append::decision(&app, "desk", position).await?;
    if decision.verdict == "allow" {
        append::durable(&app, position).await?;
    }
    Ok(json_response(StatusCode::OK, &checked(position, &decision)))
}

/// POST /api/v1/reservations
pub async fn reserve(app: App, asked: Asked) -> Result<Response, ApiError> {
    let Asked { caller, mut body, .. } = asked;
    speaks_for(&caller, &body)?;
    let given = event_id(&mut body);
    let position = match append::claim(&app, "reserve", given.as_deref(), &content(&body)).await? {
        Claimed::At(positions) => positions.first().copied().unwrap_or_default(),
        Claimed::New(claim) => {
            let text = |name| Asked::text(&body, name).unwrap_or_default();
            let amount = body.get("amount_usd").and_then(Value::as_f64).unwrap_or_default();
            let mint = Mint { event_id: &claim.event_id, ts: app.clock.now() };
            let line = control::reserve(mint, text("agent"), text("run_id"), amount);
            one(&app, Kind::Reserve, claim, line).await?
        }
    };
    settled(&app, position, "granted").await
}

/// POST /api/v1/releases
pub async fn release(app: App, asked: Asked) -> Result<Response, ApiError> {
    let Asked { caller, mut body, .. } = asked;
    speaks_for(&caller, &body)?;
    let given = event_id(&mut body);
    let position = match append::claim(&app, "release", given.as_deref(), &content(&body)).await? {
        Claimed::At(positions) => positions.first().copied().unwrap_or_default(),
        Claimed::New(claim) => {
            let mint = Mint { event_id: &claim.event_id, ts: app.clock.now() };
            let run_id = Asked::text(&body, "run_id").unwrap_or_default();
            let line = control::release(mint, Asked::text(&body, "agent"), run_id);
            one(&app, Kind::Release, claim, line).await?
        }
    };
    settled(&app, position, "released").await
}

/// The answer of the budget: the wanted verdict is given only once the line is durable.
async fn settled(app: &App, position: u64, wanted: &'static str) -> Result<Response, ApiError> {
    let decision = append::decision(app, "budget", position).await?;
    let is_wanted = decision.verdict == wanted;
    if is_wanted {
        append::durable(app, position).await?;
    }
    let body = json!({ wanted: is_wanted, "position": position, "decision": decision });
    Ok(json_response(StatusCode::OK, &body))
}

async fn one(app: &App, kind: Kind, claim: append::Claim, line: String) -> Result<u64, ApiError> {
    let positions = append::control(app, kind, claim, vec![line]).await?;
    Ok(positions.first().copied().unwrap_or_default())
}

/// Takes the id out of a body: what remains is what is asked.
pub fn event_id(body: &mut Map<String, Value>) -> Option<String> {
    match body.shift_remove("event_id") {
        Some(Value::String(id)) => Some(id),
        _ => None,
    }
}

/// What is asked, whatever the order of its fields.
pub fn content(body: &Map<String, Value>) -> Value {
    let mut sorted = body.clone();
    sorted.sort_keys();
    Value::Object(sorted)
}

fn speaks_for(caller: &Caller, body: &Map<String, Value>) -> Result<(), ApiError> {
    if caller.speaks_for(Asked::text(body, "agent")) {
        return Ok(());
    }
    Err(ApiError::foreign_agent(caller.agent.as_deref().unwrap_or_default(), "name this agent in the field agent"))
}

/// The answer while something a verdict depends on is not to be relied on: nothing is appended.
fn on_hold(problems: Vec<String>) -> Value {
    json!({
        "verdict": "hold", "position": null, "reasons": ["not_ready"], "size_multiplier": 0.0, "mode": null,
        "decision": null, "problems": problems,
    })
}

fn checked(position: u64, decision: &DecisionLine) -> Value {
    let of = |name: &str| decision.reason.get(name).cloned().unwrap_or_default();
    let reasons = match of("reasons") {
        Value::Array(reasons) => Value::Array(reasons),
        _ => json!([]),
    };
    json!({
        "verdict": decision.verdict,
        "position": position,
        "reasons": reasons,
        "size_multiplier": of("size_multiplier"),
        "mode": of("mode"),
        "decision": decision,
        "problems": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_shows_what_the_desk_said() {
        let text = r#"{"cause":7,"ordinal":0,"consumer":"desk","version":1,"subject_kind":"agent","subject":"a","verdict":"deny",
            "reason":{"rule":"check","reasons":["killed","missing:symbol"],"size_multiplier":0.0,"mode":"enforce"},"policy":"b3:x","tape_time":null}"#;
        let decision: DecisionLine = serde_json::from_str(text).expect("a decision");
        let shown = checked(7, &decision);
        assert_eq!(shown["verdict"], "deny");
        assert_eq!(shown["reasons"], json!(["killed", "missing:symbol"]));
        assert_eq!((&shown["position"], &shown["mode"]), (&json!(7), &json!("enforce")));
        assert_eq!(shown["decision"]["reason"]["rule"], "check");
        let bare = DecisionLine { reason: Map::new(), ..decision };
        assert_eq!(checked(7, &bare)["reasons"], json!([]));
    }

    #[test]
    fn the_same_request_has_the_same_content() {
        let map = |text: &str| serde_json::from_str::<Map<String, Value>>(text).expect("an object");
        let (mut one, other) = (map(r#"{"b":1,"event_id":"e","a":2}"#), map(r#"{"a":2,"b":1}"#));
        assert_eq!(event_id(&mut one).as_deref(), Some("e"));
        assert_eq!(content(&one).to_string(), content(&other).to_string());
    }
}
