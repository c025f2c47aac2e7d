use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    errors::ApiError,
    fields::{self, Field},
};
use crate::serve::routes::App;

/// A body must be there within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a JSON body.
pub const JSON_MAX: usize = 64 * 1024;
/// Bytes of a body of lines.
pub const LINES_MAX: usize = 8 << 20;

/// The fields of a JSON body. Demanding its content type keeps forms of foreign pages out: they cannot send it.
pub async fn json(headers: &HeaderMap, body: Body, known: &'static [Field]) -> Result<Map<String, Value>, ApiError> {
    demand(headers, &["application/json"])?;
    let bytes = read(headers, body, JSON_MAX).await?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::new(400, "invalid_json", format!("the body is not JSON: {error}"), "send {...}"))?;
    fields::body(known, value)
}

/// A body of lines. Few are read at the same time, since they are held in memory.
pub async fn lines(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    demand(headers, &["application/x-ndjson", "application/json"])?;
    let permit = timeout(BODY_TIMEOUT, app.bodies.acquire()).await;
    let Ok(Ok(_permit)) = permit else { return Err(ApiError::busy("bodies").closing()) };
    read(headers, body, LINES_MAX).await
}

fn demand(headers: &HeaderMap, types: &[&str]) -> Result<(), ApiError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if types.iter().any(|wanted| essence.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let message = format!("content-type {:?} is not taken here", fields::shortened(given));
    let way_out = format!("send content-type: {}", types.join(" or "));
    Err(ApiError::new(415, "content_type", message, way_out).closing())
}

async fn read(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max as u64) {
        return Err(too_large(max));
    }
    match timeout(BODY_TIMEOUT, collect(body, max)).await {
        Ok(result) => result,
        Err(_) => {
            let message = format!("the body was not there within {} s", BODY_TIMEOUT.as_secs());
            Err(ApiError::new(408, "slow_body", message, "send it at once").closing())
        }
    }
}

async fn collect(body: Body, max: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|error| {
            ApiError::new(400, "broken_body", format!("the body broke off: {error}"), "send all of it").closing()
        })?;
        if bytes.len() + part.len() > max {
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.into())
}

fn too_large(max: usize) -> ApiError {
    ApiError::new(413, "too_large", format!("the body is larger than {max} bytes"), "send less at once").closing()
}
