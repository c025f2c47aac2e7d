use std::convert::Infallible;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde_json::{Value, json};

use crate::{
    live::AppendError,
    replay::ReplayError,
    serve::{
        guard::{Reason, Refusal},
        room::Bound,
    },
};

/// A request that could not be done: for programs the code, for people what is wrong and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub way_out: String,
    /// One more field beside the error.
    pub more: Option<Box<(&'static str, Value)>>,
    /// Counted as a refusal.
    pub refused: Option<Reason>,
    /// The bound that was reached.
    pub reached: Option<Bound>,
    /// What is left of the request was not read: the connection cannot go on.
    pub close: bool,
}

impl ApiError {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>, way_out: impl Into<String>) -> ApiError {
        ApiError {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            message: message.into(),
            way_out: way_out.into(),
            more: None,
            refused: None,
            reached: None,
            close: false,
        }
    }

    pub fn with(self, name: &'static str, value: impl Into<Value>) -> ApiError {
        ApiError { more: Some(Box::new((name, value.into()))), ..self }
    }

    pub fn closing(self) -> ApiError {
        ApiError { close: true, ..self }
    }

    /// A token that speaks for one agent was used for another, or for none.
    pub fn foreign_agent(own: &str, way_out: impl Into<String>) -> ApiError {
        let message = format!("this token speaks for agent {own:?} only");
        ApiError { refused: Some(Reason::Agent), ..ApiError::new(403, "agent", message, way_out) }
    }

    /// All places for such requests are taken.
    pub fn busy(bound: Bound) -> ApiError {
        let message = format!("all places are taken (limit {}: {})", bound.name(), bound.max());
        ApiError::new(503, "busy", message, "ask again in a moment").at(bound)
    }

    /// A bound was reached.
    pub fn at(self, bound: Bound) -> ApiError {
        ApiError { reached: Some(bound), ..self }
    }

    pub fn stopping() -> ApiError {
        ApiError::new(503, "stopping", "the server stops", "ask again when it runs")
    }

    /// Something on our side failed; the details are in the log.
    pub fn internal(what: &str, error: &dyn std::fmt::Display) -> ApiError {
        tracing::error!("{what}: {error}");
        ApiError::new(500, "internal", format!("{what}: {error}"), "see the server's log; run `runtape verify`")
    }

    /// The history could not be read; that nobody waits for the answer any more is no fault.
    pub fn unread(error: &ReplayError) -> ApiError {
        if matches!(error, ReplayError::Unwanted) {
            tracing::debug!("an answer is not made: {error}");
            return ApiError::new(503, "unwanted", error.to_string(), "ask again");
        }
        ApiError::internal("cannot read the history", error)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let Refusal { status, reason, what, way_out } = refusal;
        ApiError { refused: Some(reason), ..ApiError::new(status.as_u16(), reason.name(), what, way_out) }
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> ApiError {
        let message = format!("the lines were not appended: {error}");
        match error {
            AppendError::Full { .. } => {
                ApiError::new(507, "disk_full", message, "make room on the disk of the events directory")
            }
            AppendError::Starting => ApiError::new(503, "starting", message, "ask again when /readyz says so"),
            AppendError::Stopped => ApiError::stopping(),
            AppendError::Failed(_) => ApiError::new(503, "not_durable", message, "see /healthz; restart runtape"),
            AppendError::Unknown { .. } => {
                ApiError::new(503, "unknown", message, "send the request again with the same event_id")
            }
            AppendError::NotALine { .. } | AppendError::Io { .. } => {
                ApiError::new(500, "append_failed", message, "see the server's log")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = json!({ "code": self.code, "message": self.message, "way_out": self.way_out });
        let mut body = json!({ "error": error });
        if let (Some(more), Some(body)) = (self.more, body.as_object_mut()) {
            let (name, value) = *more;
            body.insert(name.to_owned(), value);
        }
        let mut response = json_response(self.status, &body);
        let headers = response.headers_mut();
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A JSON text of many pieces as an answer: they are made as it is sent, but for short ones.
pub fn text_response(mut pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Response {
    const SHORT_BYTES: usize = 1 << 20;
    let mut first = Vec::new();
    while first.len() < SHORT_BYTES {
        match pieces.next() {
            Some(piece) => first.extend(piece),
            None => return json_body(StatusCode::OK, Body::from(first)),
        }
    }
    let pieces = std::iter::once(first).chain(pieces).map(Ok::<_, Infallible>);
    json_body(StatusCode::OK, Body::from_stream(stream::iter(pieces)))
}

/// A JSON document as an answer.
pub fn json_response(status: StatusCode, value: &Value) -> Response {
    json_body(status, Body::from(value.to_string() + "\n"))
}

/// What was true a moment ago must not come from a cache.
fn json_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
