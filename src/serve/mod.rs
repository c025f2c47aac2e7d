//! Floor 9: the only place that names tokio. Collects requests and signals; what they mean is decided by `live` below.

/// Who may ask.
mod guard;
/// Connections, with a limit and a timeout on everything.
mod http;
/// The metric page from what the threads show.
mod metrics;
/// Which path answers what.
mod routes;
/// Which connection goes when all places are taken.
mod seats;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use thiserror::Error;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

pub use guard::{Access, Token};

use crate::live::{Config, Live, StartError, Started};

/// The server cannot start.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(
        "refusing to listen on {0} without a token: anybody who reaches it could read the fleet's figures. Give --token-file, or listen on 127.0.0.1"
    )]
    NeedsToken(SocketAddr),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot start the server's threads: {0}")]
    Runtime(io::Error),
}

/// A server that holds its address and its directory but answers nobody yet.
pub struct Server {
    listener: TcpListener,
    live: Live,
    runtime: Runtime,
    signals: Signals,
    access: Access,
    clock: crate::clock::Clock,
}

impl Server {
    /// Takes address and directory, and starts the fold.
    ///
    /// # Errors
    /// The address or the directory cannot be had.
    pub fn start(address: SocketAddr, token: Option<Token>, config: Config) -> Result<Server, ServeError> {
        if !address.ip().is_loopback() && token.is_none() {
            return Err(ServeError::NeedsToken(address));
        }
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let clock = config.clock.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(ServeError::Runtime)?;
        let signals = Signals::catch(&runtime).map_err(ServeError::Runtime)?;
        let live = Live::start(config)?;
        Ok(Server { listener, live, runtime, signals, access: Access::new(local, token), clock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.access.address()
    }

    /// What was found in the directory.
    pub fn started(&self) -> &Started {
        &self.live.started
    }

    /// Answers until SIGTERM or SIGINT; then takes a last look at the streams and writes final snapshots.
    ///
    /// # Errors
    /// No threads for it.
    pub fn run(self) -> Result<(), ServeError> {
        let Server { listener, live, runtime, signals, access, clock } = self;
        let live = Arc::new(live);
        let state = routes::App::new(live.clone(), access, clock);
        runtime
            .block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                http::accept(listener, routes::router(state), signals.stopped()).await;
                io::Result::Ok(())
            })
            .map_err(ServeError::Runtime)?;
        drop(runtime);
        if let Some(live) = Arc::into_inner(live) {
            live.stop();
        }
        Ok(())
    }
}

/// The signals that end the server, caught from before it takes anything.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Also, a file that may grow no further (`ulimit -f`) is a failed write like any other from here on, not the end of
    /// the process.
    fn catch(runtime: &Runtime) -> io::Result<Signals> {
        let _inside = runtime.enter();
        // Once there was a handler, the signal never kills again.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Completes at the first signal to stop.
    async fn stopped(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
