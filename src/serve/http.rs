use std::{future::Future, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::OwnedSemaphorePermit, time::timeout};
use tower::ServiceExt;

use super::{
    room::{Bound, Room},
    seats::Seat,
};

/// How long a new connection waits for the place of one that was asked to go.
const PLACE_TIMEOUT: Duration = Duration::from_millis(100);
/// A request's head must arrive within this time, also on a connection kept alive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection lives so long at most, whatever its client does with it.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// What is being answered when the server stops may take so long.
const GRACE: Duration = Duration::from_secs(5);

/// Accepts connections until `stop` completes, then lets those in progress finish.
pub async fn accept(listener: TcpListener, router: Router, room: Arc<Room>, stop: impl Future<Output = ()>) {
    let (closing, closed) = tokio::sync::watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: whoever is idle makes room.
                tracing::warn!("cannot accept a connection: {error}");
                room.seats.vacate(None);
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let permit = match place(&room, peer.ip()).await {
            Ok(permit) => permit,
            Err(bound) => {
                room.reached(bound);
                // Whoever has a receive buffer learns why; nobody waits for him.
                let _ = stream.try_write(FULL);
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (router, closed, seat) = (router.clone(), closed.clone(), room.seats.take(peer.ip()));
        tokio::spawn(async move {
            connection(stream, router, closed, seat).await;
            drop(permit);
        });
    }
    let _ = closing.send(true);
    let _ = timeout(GRACE, room.connections.acquire_many(room.connections_max as u32)).await;
}

/// What a connection is told for which there is no place.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 71\r\n\r\n\
    too many connections: close those you do not need, and ask in a moment\n";

/// A place for one more connection of an address: where all are taken, that of one that is idle.
async fn place(room: &Room, address: IpAddr) -> Result<OwnedSemaphorePermit, Bound> {
    let crowded = room.seats.of(address) >= Bound::AddressConnections.max();
    if crowded && !room.seats.vacate(Some(address)) {
        return Err(Bound::AddressConnections);
    }
    if room.connections.available_permits() == 0 && !crowded && !room.seats.vacate(None) {
        return Err(Bound::Connections);
    }
    match timeout(PLACE_TIMEOUT, room.connections.clone().acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Bound::Connections),
    }
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
