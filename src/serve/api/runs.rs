use axum::{http::StatusCode, response::Response};
use serde_json::{Map, Value, json};

use super::{
    Asked, decisions,
    errors::{ApiError, json_response},
};
use crate::{
    layout::Layout,
    replay::{
        Watch,
        lookup::{Told, Wanted, sealed_lines},
    },
    serve::routes::App,
    store::decisions::{Filter, Source, page},
};

/// Lines of a run that are shown, and their bytes.
const LINES_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;

/// GET /api/v1/runs/{run_id}
pub async fn get(app: App, asked: Asked) -> Result<Response, ApiError> {
    let run_id = asked.path.clone();
    let found = app.scan(move |app, wanted| search(app.layout.clone(), &app.sources(), &run_id, &|_| wanted())).await?;
    let mut found = found.map_err(|error| ApiError::internal("cannot read the history", &error))?;
    if found["lines"].as_array().is_none_or(Vec::is_empty) {
        let message = format!("no line of the tape names the run {:?}", asked.path);
        return Err(ApiError::new(404, "unknown_run", message, "a run is known by the field run_id of its lines"));
    }
    found.insert("run_id".to_owned(), asked.path.into());
    Ok(json_response(StatusCode::OK, &Value::Object(found)))
}

/// Every sealed line of a run, and the decisions these lines caused.
fn search(layout: Layout, sources: &[Source], run_id: &str, watch: &Watch) -> anyhow::Result<Map<String, Value>> {
    let found = sealed_lines(layout, run_id, &Wanted { lines: LINES_MAX, bytes: BYTES_MAX, watch })?;
    if let Some(gap) = found.gaps.first() {
        anyhow::bail!("{gap}");
    }
    let mut caused = Vec::new();
    for told in &found.told {
        let filter = Filter { from: told.position, to: Some(told.position + 1), ..Filter::default() };
        caused.extend(page(sources, &filter, None, usize::MAX)?.found);
    }
    let lines: Vec<Value> = found.told.iter().map(line).collect();
    let found = json!({
        "run_id": run_id, "lines": lines, "decisions": decisions::values(&caused)?, "truncated": found.more,
    });
    Ok(found.as_object().cloned().unwrap_or_default())
}

fn line(told: &Told) -> Value {
    let Told { position, stream, file, offset, line } = told;
    let line = String::from_utf8_lossy(line);
    json!({ "position": position, "stream": stream, "file": file, "offset": offset, "line": line })
}
