use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::Ordering,
    thread::{Scope, ScopedJoinHandle},
    time::Duration,
};

use super::{
    Ground,
    client::{SECRET, ask_as, connect},
};
use crate::support::{Server, draws, signal};

/// The server is killed, told to stop, and held up, for the first part of the run. After that it is only held up, so that
/// one process shows whether it grows. Returns the one that runs at the end.
pub fn drive(ground: &Ground, mut server: Server) -> Server {
    let mut draw = draws(ground.session + 5);
    while ground.part() < 1.0 {
        ground.pause(Duration::from_millis(1500 + draw(5000)));
        let is_early = ground.part() < 0.4;
        match draw(4) {
            0 | 1 if is_early => {
                ground.gone();
                server.kill();
                ground.kills.fetch_add(1, Ordering::AcqRel);
                ground.pause(Duration::from_millis(draw(800)));
                server = ground.serve();
            }
            2 if is_early => {
                ground.gone();
                assert_eq!(server.terminate(), Some(0), "it ends well");
                server = ground.serve();
            }
            _ => {
                signal(server.pid(), "STOP");
                ground.pause(Duration::from_millis(100 + draw(900)));
                signal(server.pid(), "CONT");
            }
        }
    }
    server
}

/// Clients that misbehave, and somebody who keeps the disk busy.
pub fn spawn<'scope>(scope: &'scope Scope<'scope, '_>, ground: &'scope Ground) -> Vec<ScopedJoinHandle<'scope, ()>> {
    vec![
        scope.spawn(|| disk(ground)),
        scope.spawn(|| scrapes(ground)),
        scope.spawn(|| again(ground, 300, slow)),
        scope.spawn(|| again(ground, 150, half_open)),
        scope.spawn(|| again(ground, 400, leaves_early)),
        scope.spawn(|| again(ground, 700, too_much)),
        scope.spawn(|| again(ground, 250, stranger)),
    ]
}

/// Does the same to whatever server there is, again and again; keeps what it opened for a while.
fn again(ground: &Ground, every_ms: u64, what: fn(SocketAddr) -> std::io::Result<Vec<TcpStream>>) {
    const KEPT: usize = 60;
    let mut kept: Vec<TcpStream> = Vec::new();
    while ground.pause(Duration::from_millis(every_ms)) {
        // Whether the server hangs up is its own business.
        let opened = ground.address().map(|address| what(address).unwrap_or_default());
        kept.extend(opened.into_iter().flatten());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

/// A head that comes byte by byte.
fn slow(address: SocketAddr) -> std::io::Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = connect(address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHo")?;
        streams.push(stream);
    }
    Ok(streams)
}

/// Connections on which nothing is said.
fn half_open(address: SocketAddr) -> std::io::Result<Vec<TcpStream>> {
    (0..3).map(|_| connect(address)).collect()
}

/// Asks for pages and decisions, and leaves in the middle.
fn leaves_early(address: SocketAddr) -> std::io::Result<Vec<TcpStream>> {
    for (path, accept) in [("/metrics", "*/*"), ("/api/v1/decisions", "text/event-stream"), ("/api/v1/state", "*/*")] {
        let mut stream = connect(address)?;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {SECRET}\r\nAccept: {accept}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut begin = [0; 64];
        let _ = stream.read(&mut begin)?;
    }
    Ok(Vec::new())
}

/// Bodies that are too large, said or not, and such that never come.
fn too_much(address: SocketAddr) -> std::io::Result<Vec<TcpStream>> {
    let head = |more: &str| {
        format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {SECRET}\r\n\
             Content-Type: application/x-ndjson\r\n{more}\r\n\r\n"
        )
    };
    let mut announced = connect(address)?;
    announced.write_all(head("Content-Length: 999999999").as_bytes())?;
    let mut pending = connect(address)?;
    pending.write_all((head("Content-Length: 8000000") + "{").as_bytes())?;
    let mut endless = connect(address)?;
    endless.write_all(head("Transfer-Encoding: chunked").as_bytes())?;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..140 {
        if endless.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    Ok(vec![announced, pending, endless])
}

/// No secret, a wrong one, and no request at all.
fn stranger(address: SocketAddr) -> std::io::Result<Vec<TcpStream>> {
    for secret in ["", "some other secret"] {
        let (status, _) = ask_as(address, secret, "POST", "/api/v1/commands", "{\"action\":\"pause\",\"fleet\":true}")?;
        assert_eq!(status, 401, "a stranger commands nobody");
    }
    let mut stream = connect(address)?;
    stream.write_all(&[0, 159, 146, 150, 13, 10, 13, 10])?;
    Ok(vec![stream])
}

/// Somebody scrapes all the time.
fn scrapes(ground: &Ground) {
    while ground.pause(Duration::from_millis(100)) {
        if let Some(address) = ground.address() {
            let _ = ask_as(address, SECRET, "GET", "/metrics", "");
        }
    }
}

/// Somebody else writes and syncs on the same disk.
fn disk(ground: &Ground) {
    let path = ground.events.path().join("soak.noise");
    let bytes = vec![7; 4 << 20];
    while ground.pause(Duration::from_millis(400)) {
        let mut file = fs::File::create(&path).expect("a writable directory");
        file.write_all(&bytes).and_then(|()| file.sync_all()).expect("a writable directory");
    }
    let _ = fs::remove_file(path);
}
