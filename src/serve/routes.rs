use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{guard::Access, metrics};
use crate::{
    clock::{Clock, Stopwatch},
    live::Live,
    render::{self, Format},
    stats::Histogram,
};

/// What every request is given.
#[derive(Clone)]
pub struct App {
    live: Arc<Live>,
    access: Access,
    clock: Clock,
    scrapes: Arc<Mutex<Histogram<metrics::ScrapeSeconds>>>,
}

impl App {
    pub fn new(live: Arc<Live>, access: Access, clock: Clock) -> App {
        App { live, access, clock, scrapes: Arc::default() }
    }
}

/// All paths, behind the guard.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here; see /\n") })
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = match app.access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'"),
    );
    response
}

async fn index() -> &'static str {
    concat!(
        "runtape ",
        env!("CARGO_PKG_VERSION"),
        "\n\n/metrics  the fleet and the recorder itself, for Prometheus\n/healthz  200 while the recorder works\n/readyz   200 once it has caught up\n"
    )
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let encodings = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let (format, gzip) = (Format::negotiate(accept), render::accepts_gzip(encodings));
    let Ok(body) = tokio::task::spawn_blocking(move || page(&app, format, gzip)).await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered\n").into_response();
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn page(app: &App, format: Format, gzip: bool) -> Vec<u8> {
    let watch = Stopwatch::start();
    let scrapes = app.scrapes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let pages = metrics::pages(&app.live, app.clock.now(), scrapes);
    let mut body = Vec::new();
    render::render(format, &pages, &mut body);
    if gzip {
        body = render::gzip(&body);
    }
    app.scrapes.lock().unwrap_or_else(PoisonError::into_inner).observe(watch.elapsed().as_secs_f64());
    body
}

/// 200 while the process works, whatever it is catching up with; 503 when it needs a person.
async fn healthz(State(app): State<App>) -> Response {
    let troubles = app.live.status().troubles();
    let why: Vec<String> = [troubles.not_durable, troubles.tailer].into_iter().flatten().collect();
    verdict(why)
}

async fn readyz(State(app): State<App>) -> Response {
    verdict(app.live.status().not_ready(app.clock.now()))
}

fn verdict(why: Vec<String>) -> Response {
    if why.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n").into_response()
}
