use axum::{http::StatusCode, response::Response};
use serde_json::json;

use super::{
    Asked,
    append::{self, Claimed},
    commands::actor,
    errors::{ApiError, json_response},
    requests::{content, event_id},
};
use crate::{
    event::{
        Kind,
        control::{self, Mint},
    },
    policy::{InForce, Policy},
    serve::routes::App,
};

/// GET /api/v1/policy
pub async fn get(app: App, _asked: Asked) -> Result<Response, ApiError> {
    let policy = app.live.status().policy();
    let InForce { policy, hash } = &*policy;
    let toml =
        toml::to_string(policy).map_err(|error| ApiError::internal("cannot write the policy as TOML", &error))?;
    Ok(json_response(StatusCode::OK, &json!({ "hash": hash, "toml": toml, "policy": policy })))
}

/// POST /api/v1/policy
pub async fn post(app: App, asked: Asked) -> Result<Response, ApiError> {
    let Asked { caller, mut body, .. } = asked;
    if let Some(own) = &caller.agent {
        return Err(ApiError::foreign_agent(own, "use a token without agent: a policy is about everybody"));
    }
    let toml = Asked::text(&body, "policy").unwrap_or_default().to_owned();
    let policy = Policy::from_toml(&toml).map_err(|error| {
        ApiError::new(422, "invalid_policy", error.to_string(), "check it with `runtape policy check FILE`")
    })?;
    let given = event_id(&mut body);
    let position = match append::claim(&app, "policy", given.as_deref(), &content(&body)).await? {
        Claimed::At(positions) => positions.first().copied().unwrap_or_default(),
        Claimed::New(claim) => {
            let mint = Mint { event_id: &claim.event_id, ts: app.clock.now() };
            let line = control::policy(mint, &toml, &actor(&caller, &body), Asked::text(&body, "reason"));
            let positions = append::control(&app, Kind::Policy, claim, vec![line]).await?;
            positions.first().copied().unwrap_or_default()
        }
    };
    append::durable(&app, position).await?;
    Ok(json_response(StatusCode::OK, &json!({ "position": position, "hash": policy.hash() })))
}
