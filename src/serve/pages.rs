//! Pages for people: a run, an agent, the fleet, as `runtape forensics -o html` writes them, with links between them.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{api::ApiError, routes::App};
use crate::{
    render::html::{STYLE, Style},
    replay::{
        Watch,
        lookup::{Wanted, lines_of},
    },
    report::{Depth, Report, Unanswered, history, page, run},
    tape::Directory,
};

const STYLE_PATH: &str = "/style.css";
const STYLED: Style = Style::At(STYLE_PATH);

/// The pages, and what they look like.
pub fn router() -> Router<App> {
    Router::new()
        .route("/runs/{run_id}", get(of_run))
        .route("/agents/{name}", get(of_agent))
        .route("/fleet", get(of_fleet))
        .route(STYLE_PATH, get(style))
}

async fn of_run(State(app): State<App>, Path(run_id): Path<String>) -> Response {
    let story = move |directory: &Directory, watch: &Watch| {
        let found = lines_of(directory, &run_id, &Wanted { watch, ..Wanted::default() })?;
        if found.told.is_empty() && found.gaps.is_empty() {
            return Err(run::stranger(directory, &run_id, watch)?);
        }
        run::story(directory, &run_id, &found, watch)
    };
    answer(&app, story, page::run).await
}

async fn of_agent(State(app): State<App>, Path(name): Path<String>) -> Response {
    answer(&app, move |directory, watch| history::agent(directory, &name, &Depth::default(), watch), page::history)
        .await
}

async fn of_fleet(State(app): State<App>) -> Response {
    answer(&app, |directory, watch| history::fleet(directory, &Depth::default(), watch), page::history).await
}

async fn style() -> Response {
    let kinds = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (kinds, STYLE).into_response()
}

/// Asks the history, and shows the answer or why there is none.
async fn answer(
    app: &App,
    ask: impl FnOnce(&Directory, &Watch) -> Result<Report, Unanswered> + Send + 'static,
    show: fn(&Report, Style) -> String,
) -> Response {
    let shown = app.scan(move |app, wanted| {
        let directory = Directory::open(app.layout.clone(), None)
            .map_err(|error| ApiError::internal("cannot read the history", &error))?;
        match ask(&directory, &|_| wanted()) {
            Ok(report) => Ok(show(&report, STYLED)),
            Err(Unanswered::Stranger(why)) => Err(ApiError::new(404, "unknown", why, "")),
            Err(Unanswered::Replay(error)) => Err(ApiError::unread(&error)),
        }
    });
    match shown.await.and_then(|shown| shown) {
        Ok(html) => page_response(StatusCode::OK, html),
        Err(error) => {
            if let Some(bound) = error.reached {
                app.room.reached(bound);
            }
            let mut response = page_response(error.status, page::missing(&error.message, &error.way_out, STYLED));
            if error.status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        }
    }
}

/// What was true a moment ago must not come from a cache.
fn page_response(status: StatusCode, html: String) -> Response {
    let kinds = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (status, kinds, html).into_response()
}
