use axum::{http::StatusCode, response::Response};
use serde_json::{Map, Value, json};

use super::{
    Asked, decisions,
    errors::{ApiError, json_response},
};
use crate::{
    layout::Layout,
    policy::Limits,
    serve::routes::App,
    store::decisions::{Filter, Source, page},
    streams::RawLine,
    tape::{Directory, each_line},
};

/// Lines of a run that are shown.
const LINES_MAX: usize = 10_000;

/// GET /api/v1/runs/{run_id}
pub async fn get(app: App, asked: Asked) -> Result<Response, ApiError> {
    let run_id = asked.path.clone();
    let found = app.scan(move |app, wanted| search(app.layout.clone(), &app.sources(), &run_id, wanted)).await?;
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
    wanted: &dyn Fn() -> bool,
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
            let nobody_waits = position % 1024 == 0 && !wanted();
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
