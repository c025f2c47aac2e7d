use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tower::ServiceExt;

use super::seats::{Seat, Seats};

/// Connections at once. One more takes the place of the one that has been idle longest.
const CONNECTIONS_MAX: usize = 512;
/// How long a new connection waits for that place.
const PLACE_TIMEOUT: Duration = Duration::from_millis(100);
/// A request's head must arrive within this time, also on a connection kept alive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection lives so long at most, whatever its client does with it.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// What is being answered when the server stops may take so long.
const GRACE: Duration = Duration::from_secs(5);

/// Accepts connections until `stop` completes, then lets those in progress finish.
pub async fn accept(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let seats = Arc::new(Seats::default());
    let (closing, closed) = tokio::sync::watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: others will be closed.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if room.available_permits() == 0 {
            seats.vacate();
        }
        let Ok(Ok(permit)) = timeout(PLACE_TIMEOUT, room.clone().acquire_owned()).await else { continue };
        let _ = stream.set_nodelay(true);
        let (router, closed, seat) = (router.clone(), closed.clone(), seats.take());
        tokio::spawn(async move {
            connection(stream, router, closed, seat).await;
            drop(permit);
        });
    }
    let _ = closing.send(true);
    let _ = timeout(GRACE, room.acquire_many(CONNECTIONS_MAX as u32)).await;
}

async fn connection(
    stream: tokio::net::TcpStream,
    router: Router,
    mut closed: tokio::sync::watch::Receiver<bool>,
    seat: Seat,
) {
    let service = service_fn(|request| {
        let answer = router.clone().oneshot(request);
        let busy = seat.busy();
        async move {
            let answer = answer.await;
            drop(busy);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = seat.wanted() => return,
        _ = closed.wait_for(|closed| *closed) => {}
        () = tokio::time::sleep(CONNECTION_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}
