use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    decisions::{Read, read},
    errors::ApiError,
};
use crate::{
    serve::{room::Bound, routes::App},
    store::decisions::{Cursor, Filter, Found},
};

/// A silence of this length is broken by a comment, so that a dead connection is noticed on both sides.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Decisions sent at once.
const BATCH: usize = 256;

/// One who follows. Its connection may be the last one that is kept, but not the only one: places are few.
struct Follower {
    app: App,
    filter: Filter,
    after: Option<Cursor>,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

/// The decisions after a cursor (else: from now on) as server-sent events, until the client leaves or the server stops.
///
/// # Errors
/// All places are taken, or the cursor in `Last-Event-ID` is none.
pub async fn follow(
    app: App,
    filter: Filter,
    after: Option<Cursor>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let last = headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|text| text.parse().ok()));
    let last = match last {
        Some(None) => {
            let message = "Last-Event-ID is no cursor";
            return Err(ApiError::new(400, "invalid_parameter", message, "send the id of an event, or none"));
        }
        Some(cursor) => cursor,
        None => None,
    };
    let place = app.room.followers.clone().try_acquire_owned().map_err(|_| ApiError::busy(Bound::Followers))?;
    // A browser that connects again sends the same address as before: what it saw last counts more.
    let after = last.or(after).or_else(|| behind(app.live.status().decided()));
    let follower = Follower { app, filter, after, begun: false, _place: place };
    let mut response = Response::new(Body::from_stream(stream::unfold(follower, next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

type Part = Result<Bytes, std::convert::Infallible>;

/// What is sent next, and who goes on; the end when the server stops or the files cannot be read.
async fn next(mut follower: Follower) -> Option<(Part, Follower)> {
    if !follower.begun {
        follower.begun = true;
        return Some((Ok(Bytes::from_static(b"retry: 1000\n\n")), follower));
    }
    loop {
        if follower.app.progress.stopping() {
            return None;
        }
        let decided = follower.app.live.status().decided();
        let read = read(&follower.app, follower.filter.clone(), follower.after.clone(), Read::Next(BATCH));
        let (found, next) = read.await.ok()?;
        let text: String = found.iter().map(event).collect();
        follower.after = next.clone().or_else(|| found.last().map(|found| found.at.clone())).or(follower.after);
        if !text.is_empty() {
            return Some((Ok(text.into()), follower));
        }
        // A page full of what nobody wants ends before the end.
        if next.is_some() {
            continue;
        }
        // Nothing before was wanted: it need not be looked at again.
        if follower.after.as_ref().is_none_or(|after| after.cause < decided) {
            follower.after = behind(decided).or(follower.after);
        }
        let app = &follower.app;
        let moved = || (app.live.status().decided() > decided).then_some(());
        if app.progress.until(HEARTBEAT, moved).await.is_none() && !app.progress.stopping() {
            return Some((Ok(Bytes::from_static(b": waiting\n\n")), follower));
        }
    }
}

/// The place behind every decision with a cause before this one.
fn behind(cause: u64) -> Option<Cursor> {
    Some(Cursor { cause: cause.checked_sub(1)?, consumer: String::new(), ordinal: u32::MAX })
}

fn event(found: &Found) -> String {
    format!("id: {}\ndata: {}\n\n", found.at, found.text)
}
