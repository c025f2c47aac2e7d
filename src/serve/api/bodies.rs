//! What the bytes of a body become before anything is done with them, without a server: for trying hostile ones.

use serde_json::{Map, Value};

use super::{
    body, events,
    table::{Body, ROUTES},
};
use crate::{event::Nanos, serve::tokens::Caller};

/// The lines that would be appended, of anybody or of the token of one agent.
///
/// # Errors
/// Why nothing would be.
pub fn lines(bytes: &[u8], now: Nanos, agent: Option<&str>, line_bytes_max: usize) -> Result<Vec<String>, String> {
    let caller = Caller { agent: agent.map(Into::into), ..Caller::local() };
    events::prepare(bytes, now, &caller, line_bytes_max).map_err(|error| error.message)
}

/// The routes that take JSON, by id.
pub fn routes() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter(|route| matches!(route.body, Body::Json(_))).map(|route| route.id)
}

/// The fields of a JSON body of one of [`routes`].
///
/// # Errors
/// Why the request would be refused.
pub fn json(route: &str, bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let known = ROUTES.iter().filter(|known| known.id == route).find_map(|known| match known.body {
        Body::Json(fields) => Some(fields),
        _ => None,
    });
    let known = known.ok_or_else(|| format!("route {route} takes no JSON"))?;
    body::parse(bytes, known).map_err(|error| error.message)
}
