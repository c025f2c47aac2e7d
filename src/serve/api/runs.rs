use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{http::StatusCode, response::Response};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{
    Asked, PATIENCE, decisions,
    errors::{ApiError, json_response},
};
use crate::{
    layout::Layout,
    policy::Limits,
    serve::{room::Bound, routes::App},
    store::decisions::{Filter, Source, page},
    streams::RawLine,
    tape::{Directory, each_line},
};

/// Lines of a run that are shown.
const LINES_MAX: usize = 10_000;

/// Says that nobody waits for the result any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// GET /api/v1/runs/{run_id}
pub async fn get(app: App, asked: Asked) -> Result<Response, ApiError> {
    // Each reads the whole history: one after the other.
    let Ok(Ok(permit)) = timeout(PATIENCE, app.room.scans.clone().acquire_owned()).await else {
        return Err(ApiError::busy(Bound::Scans));
    };
    let gone = Gone(Arc::default());
    let (is_gone, run_id, layout, sources) = (gone.0.clone(), asked.path.clone(), app.layout.clone(), app.sources());
    let found = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        search(layout, &sources, &run_id, &|| is_gone.load(Ordering::Acquire))
    });
    let found = found.await.map_err(|error| ApiError::internal("reading the history failed", &error))?;
    let mut found = found.map_err(|error| ApiError::internal("cannot read the history", &error))?;
    if found["lines"].as_array().is_none_or(Vec::is_empty) {
        let message = format!("no line of the tape names the run {:?}", asked.path);
        return Err(ApiError::new(404, "unknown_run", message, "a run is known by the field run_id of its lines"));
    }
    found.insert("run_id".to_owned(), asked.path.into());
    Ok(json_response(StatusCode::OK, &Value::Object(found)))
}

/// Every sealed line of a run, and the decisions these lines caused.
fn search(
    layout: Layout,
    sources: &[Source],
    run_id: &str,
    is_gone: &dyn Fn() -> bool,
) -> anyhow::Result<Map<String, Value>> {
    let directory = Directory::open(layout, None)?;
    let (mut lines, mut positions, mut truncated) = (Vec::new(), Vec::new(), false);
    let mut position = directory.first_position();
    for source in directory.rounds(0)? {
        let source = source?;
        // What is not sealed has no position yet.
        if source.round.is_none() || truncated {
            break;
        }
        let whole = each_line(&source, Limits::default().line_bytes, &mut |line, place, raw| {
            if line.as_ref().is_ok_and(|line| line.run_id.as_deref() == Some(run_id)) {
                truncated = lines.len() >= LINES_MAX;
                if !truncated {
                    positions.push(position);
                    lines.push(json!({
                        "position": position, "stream": &*place.stream, "file": &*place.file, "offset": place.offset,
                        "line": text(raw),
                    }));
                }
            }
            position += 1;
            let nobody_waits = position % 1024 == 0 && is_gone();
            !truncated && !nobody_waits
        })?;
        anyhow::ensure!(whole || truncated, "nobody waits for the answer");
    }
    let mut caused = Vec::new();
    for at in positions {
        let filter = Filter { from: at, to: Some(at + 1), ..Filter::default() };
        caused.extend(page(sources, &filter, None, usize::MAX)?.found);
    }
    let found =
        json!({ "run_id": run_id, "lines": lines, "decisions": decisions::values(&caused)?, "truncated": truncated });
    Ok(found.as_object().cloned().unwrap_or_default())
}

fn text(raw: RawLine) -> Value {
    match raw {
        RawLine::Line(bytes) => String::from_utf8_lossy(bytes).into(),
        RawLine::Oversize(_) => Value::Null,
    }
}
