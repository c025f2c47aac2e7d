use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    errors::ApiError,
    fields::{self, Field},
};
use crate::serve::{
    room::{Bound, Room},
    routes::App,
};

/// A body must be there within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a JSON body.
pub const JSON_MAX: usize = 64 * 1024;
/// Bytes of a body of lines.
pub const LINES_MAX: usize = 8 << 20;

/// The fields of a JSON body. Demanding its content type keeps forms of foreign pages out: they cannot send it.
pub async fn json(headers: &HeaderMap, body: Body, known: &'static [Field]) -> Result<Map<String, Value>, ApiError> {
    demand(headers, &["application/json"])?;
    let (bytes, _) = read(headers, body, Bound::JsonBytes, None).await?;
    parse(&bytes, known)
}

/// The fields in the bytes of a JSON body.
///
/// # Errors
/// It is not JSON, or not of these fields.
pub fn parse(bytes: &[u8], known: &'static [Field]) -> Result<Map<String, Value>, ApiError> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::new(400, "invalid_json", format!("the body is not JSON: {error}"), "send {...}"))?;
    fields::body(known, value)
}

/// The memory that a body of lines takes, free again when dropped.
pub type Place = Option<OwnedSemaphorePermit>;

/// A body of lines, and the place it takes in the memory there is for all such bodies.
pub async fn lines(app: &App, headers: &HeaderMap, body: Body) -> Result<(Bytes, Place), ApiError> {
    demand(headers, &["application/x-ndjson", "application/json"])?;
    read(headers, body, Bound::LinesBytes, Some(&app.room)).await
}

fn demand(headers: &HeaderMap, types: &[&str]) -> Result<(), ApiError> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|value| value.as_bytes() != b"identity") {
        let message = format!("content-encoding {encoding:?} is not taken here");
        return Err(ApiError::new(415, "content_encoding", message, "send the body as it is").closing());
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if types.iter().any(|wanted| essence.eq_ignore_ascii_case(wanted)) {
        return Ok(());
    }
    let message = format!("content-type {:?} is not taken here", fields::shortened(given));
    let way_out = format!("send content-type: {}", types.join(" or "));
    Err(ApiError::new(415, "content_type", message, way_out).closing())
}

async fn read(headers: &HeaderMap, body: Body, bound: Bound, room: Option<&Room>) -> Result<(Bytes, Place), ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bound.max() as u64) {
        return Err(too_large(bound));
    }
    let mut waits = false;
    match timeout(BODY_TIMEOUT, collect(body, bound, room, &mut waits)).await {
        Ok(result) => result,
        Err(_) if waits => Err(ApiError::busy(Bound::BodiesKib).closing()),
        Err(_) => {
            let message = format!("the body was not there within {} s", BODY_TIMEOUT.as_secs());
            Err(ApiError::new(408, "slow_body", message, "send it at once").closing())
        }
    }
}

/// The parts of a body. Each takes its place in memory as it comes, so that whoever announces much and sends nothing takes
/// none; `waits` says whether it is our turn to make room.
async fn collect(body: Body, bound: Bound, room: Option<&Room>, waits: &mut bool) -> Result<(Bytes, Place), ApiError> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut place) = (Vec::new(), Place::None);
    while let Some(part) = stream.next().await {
        let part = part.map_err(|error| {
            ApiError::new(400, "broken_body", format!("the body broke off: {error}"), "send all of it").closing()
        })?;
        if bytes.len() + part.len() > bound.max() {
            return Err(too_large(bound));
        }
        if let Some(room) = room {
            *waits = true;
            let kib = part.len().div_ceil(1024) as u32;
            let more = room.bodies.clone().acquire_many_owned(kib).await.ok();
            *waits = false;
            match (&mut place, more) {
                (Some(place), Some(more)) => place.merge(more),
                (place, more) => *place = more,
            }
        }
        bytes.extend_from_slice(&part);
    }
    Ok((bytes.into(), place))
}

fn too_large(bound: Bound) -> ApiError {
    let message = format!("the body is larger than {} bytes", bound.max());
    ApiError::new(413, "too_large", message, "send less at once").at(bound).closing()
}
