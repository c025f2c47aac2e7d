use std::sync::{Arc, atomic::Ordering};

use serde_json::Value;
use tokio::sync::oneshot;

use super::{
    PATIENCE,
    body::Place,
    errors::ApiError,
    fields,
    seen::{Known, Seen},
};
use crate::{
    decision::DecisionLine,
    event::{Key, Kind},
    fold::lines::Outcome,
    live::{AppendError, AppendResult, Appended, OwnStream},
    serve::routes::App,
};

/// The right to append a request, and its id. Unless it is settled, the request is forgotten when this is dropped, so
/// that it can be sent again.
pub struct Claim {
    pub event_id: String,
    /// Where others look the request up; none when the client does not know the id and cannot send it again.
    held: Option<(Arc<Seen>, Key)>,
}

impl Claim {
    fn settle(mut self, positions: &Arc<[u64]>) {
        if let Some((seen, key)) = self.held.take() {
            seen.put(key, positions.clone());
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((seen, key)) = self.held.take() {
            seen.forget(key);
        }
    }
}

/// A request as far as it is known.
pub enum Claimed {
    /// It has to be appended.
    New(Claim),
    /// Its lines stand there.
    At(Arc<[u64]>),
}

/// Takes a request of some kind by the id it gave, or by a random one. One that is underway is waited for.
///
/// # Errors
/// The id stands for a request with another content.
pub async fn claim(app: &App, kind: &str, given: Option<&str>, content: &Value) -> Result<Claimed, ApiError> {
    let Some(event_id) = given.map(str::to_owned) else {
        return Ok(Claimed::New(Claim { event_id: uuid::Uuid::new_v4().to_string(), held: None }));
    };
    let (key, content) = (Key::of_parts(kind, &event_id), blake3::hash(content.to_string().as_bytes()));
    let settled = || match app.room.seen.take(key, content) {
        Known::Underway => None,
        known => Some(known),
    };
    match app.progress.until(PATIENCE, settled).await {
        Some(Known::At(positions)) => Ok(Claimed::At(positions)),
        Some(Known::Other) => {
            let message = format!("event_id {:?} stands for another request", fields::shortened(&event_id));
            Err(ApiError::new(409, "event_id_reused", message, "give each request an event_id of its own"))
        }
        Some(Known::New) => Ok(Claimed::New(Claim { event_id, held: Some((app.room.seen.clone(), key)) })),
        Some(Known::Underway) | None => Err(unanswered(app, "the same request is still being appended")),
    }
}

/// Appends the lines of a request to the control stream; where they stand.
///
/// # Errors
/// They could not be appended, or were before, so long ago that nobody remembers where.
pub async fn control(app: &App, kind: Kind, claim: Claim, lines: Vec<String>) -> Result<Arc<[u64]>, ApiError> {
    let moved = app.progress.moved();
    // The claim goes with the lines: the client may leave before they are appended, and ask again.
    let judged = move |result: Result<Vec<Appended>, AppendError>| {
        let judged = result.map_err(ApiError::from).and_then(|appended| taken(kind, &appended));
        match &judged {
            Ok(positions) => claim.settle(positions),
            Err(_) => drop(claim),
        }
        moved();
        judged
    };
    append(app, OwnStream::Control, lines, judged).await?
}

/// Appends lines of producers; where each came to stand. They keep their place in memory until they are appended, whether
/// or not somebody still waits for the answer.
///
/// # Errors
/// They could not be appended.
pub async fn events(app: &App, lines: Vec<String>, place: Place) -> Result<Vec<Appended>, ApiError> {
    let then = move |result: AppendResult| {
        drop(place);
        result.map_err(ApiError::from)
    };
    append(app, OwnStream::Api, lines, then).await?
}

async fn append<T: Send + 'static>(
    app: &App,
    stream: OwnStream,
    lines: Vec<String>,
    then: impl FnOnce(Result<Vec<Appended>, AppendError>) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (reply, answer) = oneshot::channel();
    let live = app.live.clone();
    // A queue may be full, or a disk slow.
    let sent = tokio::task::spawn_blocking(move || {
        live.append(stream, lines, move |result| {
            let _ = reply.send(then(result));
        });
    });
    sent.await.map_err(|error| ApiError::internal("appending failed", &error))?;
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        _ => Err(unanswered(app, "the recorder did not say whether the lines were appended")),
    }
}

/// The positions of lines that count as what they are.
fn taken(kind: Kind, appended: &[Appended]) -> Result<Arc<[u64]>, ApiError> {
    // Of a request for several, some may have been made before it was cut short: the others are answered.
    let new: Vec<&Appended> = appended.iter().filter(|line| line.outcome != Outcome::Duplicate).collect();
    if new.is_empty() {
        let message = "a request with this event_id was appended before, too long ago to know its answer by it";
        let way_out = "find the decision with GET /api/v1/decisions?subject=AGENT&newest=true, or use a new event_id";
        return Err(ApiError::new(409, "seen_before", message, way_out));
    }
    if let Some(line) = new.iter().find(|line| line.outcome != Outcome::Kind(kind)) {
        let what =
            format!("the line at position {} counts as {}, not as {}", line.position, line.outcome.name(), kind.name());
        return Err(ApiError::internal("a line of ours was not understood", &what));
    }
    Ok(new.iter().map(|line| line.position).collect())
}

/// Whether a decision answers a request. At the same position others may follow from it: that a reservation expired, or
/// that a budget is restored.
fn is_answer(decision: &DecisionLine) -> bool {
    !matches!(decision.verdict.as_str(), "expired" | "exhausted" | "restored")
}

/// The decision that answers the request at a position.
///
/// # Errors
/// There is none within the patience of a request.
pub async fn decision(app: &App, consumer: &str, position: u64) -> Result<DecisionLine, ApiError> {
    let made = || app.live.decision(consumer, position).into_iter().find(is_answer);
    app.progress.until(PATIENCE, made).await.ok_or_else(|| undecided(app, consumer, position))
}

/// The decisions that a consumer made at several positions, in their order.
///
/// # Errors
/// Not all of them are there within the patience of a request.
pub async fn decisions(app: &App, consumer: &str, positions: &[u64]) -> Result<Vec<DecisionLine>, ApiError> {
    let mut made = Vec::with_capacity(positions.len());
    let mut all = || {
        while let Some(position) = positions.get(made.len()) {
            made.push(app.live.decision(consumer, *position).into_iter().find(is_answer)?);
        }
        Some(())
    };
    match app.progress.until(PATIENCE, &mut all).await {
        Some(()) => Ok(made),
        None => Err(undecided(app, consumer, positions.get(made.len()).copied().unwrap_or_default())),
    }
}

fn undecided(app: &App, consumer: &str, position: u64) -> ApiError {
    let message = format!("the request stands at position {position}, but consumer {consumer} has not decided yet");
    unanswered(app, &message).with("position", position)
}

/// Waits until a position is synced.
///
/// # Errors
/// It is not within the patience of a request, or will never be.
pub async fn durable(app: &App, position: u64) -> Result<(), ApiError> {
    let status = app.live.status();
    let settled = || {
        let durable = status.durable.load(Ordering::Acquire) > position;
        (durable || status.troubles().not_durable.is_some()).then_some(durable)
    };
    match app.progress.until(PATIENCE, settled).await {
        Some(true) => Ok(()),
        _ => {
            let message = format!("the request stands at position {position}, but is not known to be on disk");
            Err(ApiError::new(503, "not_durable", message, "see /healthz; do not act on it").with("position", position))
        }
    }
}

fn unanswered(app: &App, message: &str) -> ApiError {
    if app.progress.stopping() {
        return ApiError::stopping();
    }
    ApiError::new(503, "no_answer", message, "send the request again with the same event_id, or see /api/v1/decisions")
}
