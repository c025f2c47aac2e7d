use axum::{
    http::{StatusCode, header},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    Asked,
    errors::{ApiError, json_response},
    follow,
};
use crate::{
    serve::routes::App,
    store::decisions::{Cursor, Filter, Found, Page, newest, page},
};

/// Decisions of an answer, unless asked otherwise.
const LIMIT: u64 = 100;

/// GET /api/v1/decisions
pub async fn get(app: App, asked: Asked) -> Result<Response, ApiError> {
    let accept = asked.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let filter = filter(&asked.query);
    let after = Asked::text(&asked.query, "after").and_then(|text| text.parse().ok());
    if accept.contains("text/event-stream") && asked.method == axum::http::Method::GET {
        return follow::follow(app, filter, after, &asked.headers).await;
    }
    let limit = Asked::number(&asked.query, "limit").unwrap_or(LIMIT) as usize;
    let is_newest = asked.query.get("newest").and_then(Value::as_bool) == Some(true);
    let (found, next) =
        read(&app, filter, after, if is_newest { Read::Newest(limit) } else { Read::Next(limit) }).await?;
    let body = json!({ "decisions": values(&found).map_err(failed)?, "next": next.map(|cursor| cursor.to_string()) });
    Ok(json_response(StatusCode::OK, &body))
}

/// Which end of the decisions is wanted.
pub enum Read {
    Next(usize),
    Newest(usize),
}

/// Decisions that are settled: a consumer that lags may still decide about an earlier line, and who goes on behind a
/// later one would never hear of it.
pub async fn read(
    app: &App,
    filter: Filter,
    after: Option<Cursor>,
    which: Read,
) -> Result<(Vec<Found>, Option<Cursor>), ApiError> {
    let read = move |app: &App| {
        let settled = app.live.status().decided();
        let filter = Filter { to: Some(filter.to.map_or(settled, |to| to.min(settled))), ..filter };
        match which {
            Read::Next(limit) => page(&app.sources(), &filter, after.as_ref(), limit),
            Read::Newest(limit) => newest(&app.sources(), &filter, limit),
        }
    };
    let Page { found, next } = app.blocking(read).await?.map_err(failed)?;
    Ok((found, next))
}

fn failed(error: impl std::fmt::Display) -> ApiError {
    ApiError::internal("cannot read the decisions", &error)
}

/// Decisions as JSON.
///
/// # Errors
/// One of them is not.
pub fn values(found: &[Found]) -> serde_json::Result<Vec<Value>> {
    found.iter().map(|found| serde_json::from_str(&found.text)).collect()
}

fn filter(query: &Map<String, Value>) -> Filter {
    let text = |name| Asked::text(query, name).map(str::to_owned);
    Filter {
        consumer: text("consumer"),
        subject: text("subject"),
        subject_kind: text("subject_kind"),
        verdict: text("verdict"),
        from: Asked::number(query, "from").unwrap_or(0),
        to: Asked::number(query, "to"),
    }
}
