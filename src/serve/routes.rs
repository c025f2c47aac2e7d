use std::{
    convert::Infallible,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    api::{self, ApiError, PATIENCE, wait::Progress},
    guard::{Access, Refused},
    metrics, pages, process,
    room::{Bound, Room},
    tokens::Scope,
    wanted::Wanted,
};
use crate::{
    clock::{Clock, Stopwatch},
    event::Nanos,
    fold::Registration,
    layout::Layout,
    live::{Live, Now, Of},
    render::{self, Format, Section, everybody::Everybody},
    stats::Histogram,
    store::decisions::Source,
};

/// What every request is given.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// One per server.
pub struct Shared {
    pub live: Arc<Live>,
    pub access: Arc<Access>,
    pub clock: Clock,
    pub layout: Layout,
    registry: &'static [Registration],
    pub refused: Refused,
    pub progress: Progress,
    pub room: Arc<Room>,
    scrapes: Mutex<Histogram<metrics::ScrapeSeconds>>,
    /// When the last page was asked for, and by whom.
    pub scraped: Mutex<Option<(Nanos, String)>>,
    kept: metrics::Kept,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What a server is made of, for its requests.
pub struct Parts {
    pub live: Arc<Live>,
    pub access: Arc<Access>,
    pub clock: Clock,
    pub layout: Layout,
    pub registry: &'static [Registration],
}

/// Says that nobody waits for the result any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What the consumers show of somebody, as `replay -o json` does.
pub struct Rows {
    pub json: Value,
    /// Where the desk stood, if it answered.
    pub desk_position: Option<u64>,
    /// Who did not answer.
    pub silent: Vec<&'static str>,
}

impl App {
    pub fn new(parts: Parts) -> App {
        let Parts { live, access, clock, layout, registry } = parts;
        let progress = Progress::default();
        live.on_progress(progress.moved());
        App(Arc::new(Shared {
            live,
            access,
            clock,
            layout,
            registry,
            refused: Refused::default(),
            progress,
            room: Arc::default(),
            scrapes: Mutex::default(),
            scraped: Mutex::default(),
            kept: metrics::Kept::default(),
        }))
    }

    /// Does what blocks on a thread of its own; so many at once that some threads remain for scrapes.
    ///
    /// # Errors
    /// All places stay taken, or the work failed.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(Ok(permit)) = timeout(PATIENCE, self.room.questions.clone().acquire_owned()).await else {
            return Err(ApiError::busy(Bound::Questions));
        };
        let app = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&app)
        });
        done.await.map_err(|error| ApiError::internal("answering failed", &error))
    }

    /// Reads the whole history on a thread of its own, one question at a time. What does so is told when nobody waits any
    /// more.
    ///
    /// # Errors
    /// Others were asked before, or the work failed.
    pub async fn scan<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App, &dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(Ok(permit)) = timeout(PATIENCE, self.room.scans.clone().acquire_owned()).await else {
            return Err(ApiError::busy(Bound::Scans));
        };
        let gone = Gone(Arc::default());
        let (app, is_gone) = (self.clone(), gone.0.clone());
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&app, &|| !is_gone.load(Ordering::Acquire))
        });
        let done = done.await;
        drop(gone);
        done.map_err(|error| ApiError::internal("reading the history failed", &error))
    }

    /// The rows of everybody.
    ///
    /// # Errors
    /// As [`App::blocking`].
    pub async fn everybody(&self, of: Of) -> Result<Now<Everybody>, ApiError> {
        self.blocking(move |app| app.live.everybody(of)).await
    }

    /// The rows of an agent.
    ///
    /// # Errors
    /// As [`App::blocking`].
    pub async fn rows(&self, agent: String) -> Result<Rows, ApiError> {
        let now = self.blocking(move |app| app.live.rows("agent", &agent)).await?;
        let desk = now.consumers.iter().find(|(name, _)| *name == "desk");
        let desk_position = desk.map(|(_, position)| *position);
        Ok(Rows { json: now.state.json().into(), desk_position, silent: now.silent })
    }

    /// Why the fold is not to be relied on now; empty when it is.
    pub fn not_ready(&self) -> Vec<String> {
        self.live.status().not_ready(self.clock.now())
    }

    /// Whether every consumer folded the line at a position.
    pub fn stands_past(&self, position: u64) -> bool {
        self.live.status().consumers.iter().all(|consumer| consumer.position.load(Ordering::Acquire) > position)
    }

    /// Pages of metrics that were given out.
    pub fn scrapes(&self) -> u64 {
        self.scrapes.lock().unwrap_or_else(PoisonError::into_inner).count()
    }

    /// The decisions files, in list order.
    pub fn sources(&self) -> Vec<Source> {
        let source = |registration: &Registration| Source {
            consumer: registration.name,
            files: self.layout.files.clone(),
            path: self.layout.decisions(registration.name),
        };
        self.registry.iter().map(source).collect()
    }
}

/// All paths, behind the guard.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(api::router())
        .merge(pages::router())
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here; see /\n") })
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// Whether the length of a request is given twice: what one program takes for its end, another may not.
fn is_ambiguous(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH)
}

/// Lets in whoever may ask. Routes of the API demand their scope themselves; health is for anybody with a token.
async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_api = path == "/api" || path.starts_with("/api/");
    let is_free = is_api || matches!(path, "/healthz" | "/readyz");
    let caller = app
        .access
        .check(request.method(), request.headers())
        .map_err(ApiError::from)
        .and_then(|caller| if is_free { Ok(caller) } else { app.permit(&caller, Scope::Read).map(|()| caller) });
    // A length that came after the encoding is not seen here: nothing that follows on the connection is answered.
    let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = match caller {
        Ok(_) if is_ambiguous(request.headers()) => {
            let message = "both transfer-encoding and content-length are given";
            ApiError::new(400, "ambiguous_length", message, "give one of them").closing().into_response()
        }
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => {
            if let Some(reason) = error.refused {
                app.refused.count(reason);
            }
            if is_api {
                error.into_response()
            } else {
                (error.status, format!("{}: {}\n", error.message, error.way_out)).into_response()
            }
        }
    };
    let headers = response.headers_mut();
    if is_last {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
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
        "\n\n/metrics  the fleet and the recorder itself, for Prometheus\n/healthz  200 while the recorder works\n/readyz   200 once it has caught up\n/api/v1   questions, lines and commands; /api/v1/openapi.json describes them\n/fleet    why money was made and lost, for people; /agents/NAME and /runs/RUN_ID too\n"
    )
}

/// So much is kept of what somebody who asks says of himself.
const AGENT_CHARS: usize = 100;

async fn metrics(State(app): State<App>, query: Query<Vec<(String, String)>>, headers: HeaderMap) -> Response {
    let wanted = match Wanted::of(query.0) {
        Ok(wanted) => wanted,
        Err(what) => return (StatusCode::BAD_REQUEST, what).into_response(),
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let encodings = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let (format, gzip) = (Format::negotiate(accept), render::accepts_gzip(encodings));
    let agent = headers.get(header::USER_AGENT).map_or("nobody", |value| value.to_str().unwrap_or("?"));
    let by = agent.chars().take(AGENT_CHARS).collect();
    *app.scraped.lock().unwrap_or_else(PoisonError::into_inner) = Some((app.clock.now(), by));
    let Ok(sections) = tokio::task::spawn_blocking(move || page(&app, format, gzip, &wanted)).await else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered\n").into_response();
    };
    let length = sections.iter().map(|section| section.len()).sum::<usize>();
    let blocks = sections.into_iter().flat_map(blocks).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(stream::iter(blocks)));
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn page(app: &App, format: Format, gzip: bool, wanted: &Wanted) -> Vec<Arc<Section>> {
    let watch = Stopwatch::start();
    let scrapes = app.scrapes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let now = app.clock.now();
    let disks = if wanted.recorder() { process::disks(&app.layout) } else { Vec::new() };
    let mut sections =
        metrics::page(&app.live, now, scrapes, &app.refused, &app.room, &disks, (&app.kept, format, wanted));
    if gzip {
        let page = render::gzip(sections.iter().flat_map(|section| section.texts()));
        sections = vec![Arc::new(Section::new(page))];
    }
    app.scrapes.lock().unwrap_or_else(PoisonError::into_inner).observe(watch.elapsed().as_secs_f64());
    sections
}

/// A section in blocks, sent without being copied.
fn blocks(section: Arc<Section>) -> impl Iterator<Item = Bytes> {
    let count = section.blocks();
    let block = move |nth| Bytes::from_owner(Block { section: section.clone(), nth });
    (0..count).map(block).filter(|block| !block.is_empty())
}

struct Block {
    section: Arc<Section>,
    nth: usize,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.section.block(self.nth)
    }
}

/// 200 while the process works, whatever it is catching up with; 503 when it needs a person.
async fn healthz(State(app): State<App>) -> Response {
    let troubles = app.live.status().troubles();
    let why: Vec<String> = [troubles.not_durable, troubles.tailer].into_iter().flatten().collect();
    verdict(why)
}

async fn readyz(State(app): State<App>) -> Response {
    verdict(app.not_ready())
}

fn verdict(why: Vec<String>) -> Response {
    if why.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n").into_response()
}
