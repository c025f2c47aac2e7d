//! Everything below `/api/v1`. One table ([`table::ROUTES`]) says what there is; the router, the checks of a request and
//! the OpenAPI document are made of it, so that none of them can know a route the others do not.

/// Waiting for lines to be durable, and appending requests once.
mod append;
/// Bodies without a server.
pub mod bodies;
/// Bodies, within a size and a time.
pub mod body;
/// Operators' commands.
mod commands;
/// Decisions, page by page.
mod decisions;
/// What a request is told that could not be done.
pub mod errors;
/// Lines of producers.
pub mod events;
/// What values must be, for checks and schemas.
mod fields;
/// Decisions as they are made, as server-sent events.
mod follow;
/// The OpenAPI document.
mod openapi;
/// The policy in force, and another one.
mod policy;
/// State, agents, verdicts.
mod reads;
/// Checks, reservations, releases.
mod requests;
/// The lines and decisions of one run.
mod runs;
/// Requests already answered.
pub mod seen;
/// Every route.
mod table;
/// Waiting for progress.
pub mod wait;

use std::{future::Future, pin::Pin, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequestParts, Query, RawPathParams, Request, State},
    http::{HeaderMap, HeaderValue, Method, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Map, Value};

use body::Place;
pub use errors::ApiError;
use table::{Body, ROUTES, Route};

use super::{
    routes::App,
    tokens::{Caller, Scope},
};

/// How long an answer may wait for the fold.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A request that passed every check its row of the table demands.
pub struct Asked {
    pub caller: Caller,
    /// The one parameter in the path, decoded; empty where there is none.
    pub path: String,
    pub query: Map<String, Value>,
    /// The fields of a JSON body.
    pub body: Map<String, Value>,
    /// A body of lines, and its place in memory.
    pub bytes: Bytes,
    pub place: Place,
    pub method: Method,
    pub headers: HeaderMap,
}

impl Asked {
    pub fn text<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
        map.get(name).and_then(Value::as_str)
    }

    pub fn number(map: &Map<String, Value>, name: &str) -> Option<u64> {
        map.get(name).and_then(Value::as_u64)
    }
}

/// What answers a route.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response, ApiError>> + Send>>;

/// The routes, as the table has them.
pub fn router() -> Router<App> {
    let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    paths.sort_unstable();
    paths.dedup();
    let nothing = || async { ApiError::new(404, "not_found", "there is nothing here", "see /api/v1/openapi.json") };
    let mut router = Router::new().route("/api", any(nothing)).route("/api/{*rest}", any(nothing));
    for path in paths {
        let handler = move |State(app): State<App>, request: Request| answer(app, path, request);
        router = router.route(path, any(handler));
    }
    router
}

/// Any request to a path of the table.
async fn answer(app: App, path: &'static str, request: Request) -> Response {
    match checked(&app, path, request).await {
        Ok(response) => response,
        Err(error) => {
            if let Some(reason) = error.refused {
                app.refused.count(reason);
            }
            if let Some(bound) = error.reached {
                app.room.reached(bound);
            }
            error.into_response()
        }
    }
}

async fn checked(app: &App, path: &'static str, request: Request) -> Result<Response, ApiError> {
    let verb = if request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    let Some(route) = ROUTES.iter().find(|route| route.path == path && route.verb.name() == verb) else {
        return Ok(not_allowed(path, request.method()));
    };
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Err(ApiError::internal("nobody said who asks", &path));
    };
    app.permit(&caller, route.scope)?;
    let (mut parts, body) = request.into_parts();
    let query = parameters(route, &parts.uri)?;
    let params = RawPathParams::from_request_parts(&mut parts, &()).await;
    let params = params.map_err(|_| bad_path("the path is not UTF-8"))?;
    let path = path_parameter(route, params.iter().next().map(|(_, value)| value))?;
    let (fields, (bytes, place)) = match route.body {
        Body::None => (Map::new(), Default::default()),
        Body::Json(fields) => (body::json(&parts.headers, body, fields).await?, Default::default()),
        Body::Lines => (Map::new(), body::lines(app, &parts.headers, body).await?),
    };
    if let Some(position) = Asked::number(&query, "wait") {
        past(app, position).await?;
    }
    let asked = Asked { caller, path, query, body: fields, bytes, place, method: parts.method, headers: parts.headers };
    (route.run)(app.clone(), asked).await
}

/// Waits until every consumer stands past a position.
async fn past(app: &App, position: u64) -> Result<(), ApiError> {
    let there = || app.stands_past(position).then_some(());
    match app.progress.until(PATIENCE, there).await {
        Some(()) => Ok(()),
        None if app.progress.stopping() => Err(ApiError::stopping()),
        None => {
            let message = format!("not every consumer stands past position {position} yet");
            Err(ApiError::new(503, "behind", message, "ask again; /api/v1/status shows who is behind"))
        }
    }
}

fn parameters(route: &Route, uri: &Uri) -> Result<Map<String, Value>, ApiError> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| ApiError::new(400, "invalid_parameter", "the query cannot be read", "send ?name=value&..."))?;
    fields::query(route.query, pairs.0)
}

fn path_parameter(route: &Route, value: Option<&str>) -> Result<String, ApiError> {
    match (route.param, value) {
        (Some(field), Some(value)) => fields::parse(field.shape, value)
            .map(|_| value.to_owned())
            .ok_or_else(|| bad_path(&format!("{} = {:?} is no name", field.name, fields::shortened(value)))),
        _ => Ok(String::new()),
    }
}

fn bad_path(message: &str) -> ApiError {
    ApiError::new(
        400,
        "invalid_parameter",
        message,
        "want 1 to 128 bytes of percent-encoded UTF-8, no control characters",
    )
}

/// 405, with what is allowed.
fn not_allowed(path: &str, method: &Method) -> Response {
    let verbs: Vec<&str> = ROUTES.iter().filter(|route| route.path == path).map(|route| route.verb.allow()).collect();
    let message = format!("{method} is not allowed here");
    let error = ApiError::new(405, "method_not_allowed", message, format!("use {}", verbs.join(" or ")));
    let mut response = error.into_response();
    if let Ok(value) = HeaderValue::from_str(&verbs.join(",")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

impl App {
    /// Whether a caller's scopes reach.
    ///
    /// # Errors
    /// 403 when they do not.
    pub fn permit(&self, caller: &Caller, scope: Scope) -> Result<(), ApiError> {
        if caller.may(scope) {
            return Ok(());
        }
        let scope = scope.name();
        let message = format!("this token has no scope {scope}");
        let refused = Some(super::guard::Reason::Scope);
        Err(ApiError {
            refused,
            ..ApiError::new(403, "scope", message, format!("use a token with scopes = [{scope:?}]"))
        })
    }
}
