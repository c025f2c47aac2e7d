use std::{
    io,
    sync::{PoisonError, atomic::Ordering},
};

use axum::{http::StatusCode, response::Response};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::{
    Asked,
    errors::{ApiError, json_response, text_response},
    openapi,
};
use crate::{
    event::time,
    files::Space,
    fold::lines::{Oddity, Outcome},
    live::Of,
    render::everybody::Change,
    serve::{process, routes::App},
    view::Row,
};

/// GET /api/v1/openapi.json
pub async fn document(_app: App, _asked: Asked) -> Result<Response, ApiError> {
    Ok(json_response(StatusCode::OK, &openapi::document()))
}

/// GET /api/v1/status
pub async fn status(app: App, _asked: Asked) -> Result<Response, ApiError> {
    let status = app.blocking(status_of).await?;
    Ok(json_response(StatusCode::OK, &status))
}

fn status_of(app: &App) -> Value {
    let (status, now) = (app.live.status(), app.clock.now());
    let intake = app.live.look_at_intake();
    let intake = intake.as_ref();
    let troubles = status.troubles();
    let not_ready = status.not_ready(now);
    let ready = not_ready.is_empty();
    let files = troubles.files.iter().map(|file| format!("cannot follow {}: {}", file.path.display(), file.what));
    let beside = [troubles.store, troubles.policy, troubles.rollups];
    let problems: Vec<String> = not_ready.into_iter().chain(beside.into_iter().flatten()).chain(files).collect();
    let consumers: Vec<Value> = status
        .consumers
        .iter()
        .map(|consumer| {
            let (lines, nanos) = status.lag(consumer, now);
            json!({
                "name": consumer.name,
                "up": consumer.up.load(Ordering::Acquire),
                "position": consumer.position.load(Ordering::Acquire),
                "lag_lines": lines,
                "lag_seconds": nanos as f64 / time::SECOND as f64,
                "problem": consumer.down(),
            })
        })
        .collect();
    let lines: Map<String, Value> = intake.map_or_else(Map::new, |intake| {
        let outcomes = Outcome::all().map(|outcome| (outcome.name(), intake.lines.total(outcome)));
        let oddities = Oddity::ALL.into_iter().map(|oddity| (oddity.name(), intake.lines.oddity(oddity)));
        outcomes.chain(oddities).map(|(name, count)| (name.to_owned(), count.into())).collect()
    });
    let limits: Map<String, Value> = app
        .room
        .loads(&app.live, intake, &app.live.look_at_consumers())
        .into_iter()
        .map(|load| {
            let of = json!({ "max": load.max, "used": load.used, "reached": load.reached });
            (load.limit.to_owned(), of)
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": ready,
        "problems": problems,
        "position": status.head.load(Ordering::Acquire),
        "durable": status.durable.load(Ordering::Acquire),
        "tape_time": intake.and_then(|intake| intake.tape_time).map(time::unix_seconds),
        "policy": status.policy().hash,
        "consumers": consumers,
        "lines": lines,
        "waiting": intake.map_or(0, |intake| intake.waiting),
        "agents": intake.map_or(0, |intake| intake.agents),
        "limits": limits,
        "disks": disks(app),
        "scrapes": scrapes(app),
    })
}

fn disks(app: &App) -> Map<String, Value> {
    let of = |disk: Space| json!({ "free_bytes": disk.free, "bytes": disk.bytes });
    process::disks(&app.layout).into_iter().map(|(holds, disk)| (holds.to_owned(), of(disk))).collect()
}

fn scrapes(app: &App) -> Value {
    let last = app.scraped.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (last, by) = last.unzip();
    json!({ "count": app.scrapes(), "last": last.map(time::unix_seconds), "by": by })
}

/// GET /api/v1/state
pub async fn state(app: App, asked: Asked) -> Result<Response, ApiError> {
    let recent = Asked::number(&asked.query, "recent").filter(|count| *count > 0);
    let now = app.everybody(recent.map_or(Of::All, |count| Of::Lately(count as usize))).await?;
    complete(&now.silent)?;
    let held = !app.not_ready().is_empty();
    let change = move |row: &mut Row| {
        hold(row);
        true
    };
    Ok(text_response(now.state.text(None, held.then(|| Box::new(change) as Change))))
}

/// GET /api/v1/agents
pub async fn agents(app: App, asked: Asked) -> Result<Response, ApiError> {
    let now = app.everybody(Of::All).await?;
    complete(&now.silent)?;
    let (held, query) = (!app.not_ready().is_empty(), asked.query);
    let chosen = ["gate", "verdict", "strategy"].iter().any(|name| query.contains_key(*name));
    let change = move |row: &mut Row| {
        if held {
            hold(row);
        }
        is_meant(row, &query)
    };
    let change = (held || chosen).then(|| Box::new(change) as Change);
    Ok(text_response(now.state.text(Some(&["position", "agents"]), change)))
}

/// While something is not to be relied on, nobody is shown as allowed.
fn hold(row: &mut Row) {
    if let Some(verdict) = row.get_mut("verdict") {
        verdict["verdict"] = "hold".into();
        verdict["live"] = false.into();
        verdict["size_multiplier"] = 0.0.into();
        verdict["reasons"] = json!(["not_ready"]);
    }
}

/// Whether a query means a row.
fn is_meant(row: &Row, query: &Map<String, Value>) -> bool {
    let says = |name: &str, field: &str| row.get(name).map_or(&Value::Null, |value| &value[field]);
    let is = |name: &str, has: &Value| query.get(name).is_none_or(|wanted| has == wanted);
    is("gate", says("gate", "state"))
        && is("verdict", says("verdict", "verdict"))
        && is("strategy", row.get("strategy").unwrap_or(&Value::Null))
}

/// GET /api/v1/agents/{name}
pub async fn agent(app: App, asked: Asked) -> Result<Response, ApiError> {
    let mut state = app.rows(asked.path.clone()).await?;
    complete(&state.silent)?;
    let row = state.json["agents"].get_mut(&asked.path).and_then(Value::as_object_mut);
    let row = row.ok_or_else(|| unknown_agent(&asked.path))?;
    if !app.not_ready().is_empty() {
        hold(row);
    }
    let row = std::mem::take(row);
    let mut shown = Map::new();
    shown.insert("position".to_owned(), state.json["position"].clone());
    shown.insert("agent".to_owned(), asked.path.into());
    shown.extend(row);
    Ok(json_response(StatusCode::OK, &Value::Object(shown)))
}

/// GET /api/v1/verdicts/{agent}
pub async fn verdict(app: App, asked: Asked) -> Result<Response, ApiError> {
    let state = app.rows(asked.path.clone()).await?;
    let mut problems = app.not_ready();
    problems.extend(complete(&state.silent).err().map(|error| error.message));
    let shown = verdict_of(&asked.path, &problems, &state.json);
    if shown["verdict"] == "allow"
        && let Some(last) = state.desk_position.and_then(|position| position.checked_sub(1))
    {
        // What permits is said once it is on disk.
        super::append::durable(&app, last).await?;
    }
    Ok(json_response(StatusCode::OK, &shown))
}

/// Whoever is not known is denied; while something is not to be relied on, nobody is allowed.
fn verdict_of(agent: &str, problems: &[String], state: &Value) -> Value {
    let row = &state["agents"][agent];
    let verdict = &row["verdict"];
    let (word, reasons) = match verdict["verdict"].as_str() {
        _ if !problems.is_empty() => ("hold", json!(["not_ready"])),
        Some(word) => (word, verdict["reasons"].clone()),
        None if row.is_object() => ("hold", json!(["no_verdict"])),
        None => ("deny", json!(["unknown_agent"])),
    };
    let allowed = word == "allow";
    json!({
        "agent": agent,
        "position": state["position"].as_u64(),
        "tape_time": state["tape_time"].as_f64(),
        "mode": state["fleet"]["desk"]["mode"].as_str(),
        "verdict": word,
        "live": allowed && verdict["live"] == true,
        "size_multiplier": if allowed { verdict["size_multiplier"].as_f64().unwrap_or(0.0) } else { 0.0 },
        "reasons": if reasons.is_array() { reasons } else { json!([]) },
        "since_position": verdict["since_position"].as_u64(),
    })
}

/// GET /api/v1/controls
pub async fn controls(app: App, _asked: Asked) -> Result<Response, ApiError> {
    let text = app.blocking(|app| std::fs::read_to_string(app.layout.own().join("controls.json"))).await?;
    let failed = |what: &dyn std::fmt::Display| ApiError::internal("cannot read controls.json", what);
    match text {
        Ok(text) => {
            serde_json::from_str::<IgnoredAny>(&text).map_err(|error| failed(&error))?;
            Ok(text_response(std::iter::once(text.into_bytes())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = "no controls are written yet";
            Err(ApiError::new(404, "no_controls", message, "treat every agent as denied, and ask again"))
        }
        Err(error) => Err(failed(&error)),
    }
}

pub fn unknown_agent(name: &str) -> ApiError {
    ApiError::new(404, "unknown_agent", format!("there is no agent {name:?}"), "see /api/v1/agents")
}

/// Whether every consumer said what it shows.
///
/// # Errors
/// 503 with the names of those that did not.
pub fn complete(silent: &[&str]) -> Result<(), ApiError> {
    if silent.is_empty() {
        return Ok(());
    }
    let message = format!("no answer in time from: {}", silent.join(", "));
    Err(ApiError::new(503, "behind", message, "ask again; /api/v1/status shows who is behind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_fail_closed() {
        let state = json!({ "position": 9, "tape_time": 1.5, "agents": {
            "good": { "verdict": { "verdict": "allow", "live": true, "size_multiplier": 0.85, "reasons": [], "mode": "enforce", "since_position": 3 } },
            "bad": { "verdict": { "verdict": "deny", "live": true, "size_multiplier": 0.5, "reasons": ["killed"], "mode": "enforce" } },
            "odd": { "verdict": { "verdict": "allow" } },
            "bare": {},
        }});
        let check = |agent: &str, problems: &[&str], want: (&str, bool, f64, Value)| {
            let problems: Vec<String> = problems.iter().map(|text| (*text).to_owned()).collect();
            let got = verdict_of(agent, &problems, &state);
            let (word, live, size, reasons) = want;
            let want = json!([agent, 9, word, live, size, reasons]);
            let got = json!([
                got["agent"],
                got["position"],
                got["verdict"],
                got["live"],
                got["size_multiplier"],
                got["reasons"]
            ]);
            assert_eq!(got, want);
        };
        check("good", &[], ("allow", true, 0.85, json!([])));
        check("good", &["behind"], ("hold", false, 0.0, json!(["not_ready"])));
        check("bad", &[], ("deny", false, 0.0, json!(["killed"])));
        check("odd", &[], ("allow", false, 0.0, json!([])));
        check("bare", &[], ("hold", false, 0.0, json!(["no_verdict"])));
        check("nobody", &[], ("deny", false, 0.0, json!(["unknown_agent"])));
        check("nobody", &["behind"], ("hold", false, 0.0, json!(["not_ready"])));
    }

    #[test]
    fn agents_are_filtered_by_their_rows() {
        let rows =
            json!({ "a": { "gate": { "state": "live" }, "strategy": "s" }, "b": { "gate": { "state": "killed" } } });
        let check = |query: Value, want: &[&str]| {
            let query = query.as_object().expect("a query");
            let meant = |(_, row): &(&String, &Value)| is_meant(row.as_object().expect("a row"), query);
            let rows = rows.as_object().expect("rows").iter().filter(meant);
            assert_eq!(rows.map(|(name, _)| name).collect::<Vec<_>>(), want);
        };
        check(json!({}), &["a", "b"]);
        check(json!({ "gate": "killed" }), &["b"]);
        check(json!({ "strategy": "s", "gate": "live" }), &["a"]);
        check(json!({ "verdict": "deny" }), &[]);
    }
}
