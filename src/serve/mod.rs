//! Floor 10: the only place that names tokio. Collects requests and signals; what they mean is decided by `live` below.

/// Questions, lines and commands as JSON.
mod api;
/// Who may ask.
mod guard;
/// Connections, with a limit and a timeout on everything.
mod http;
/// The metric page from what the threads show.
mod metrics;
/// Pages for people.
mod pages;
/// What the system gives the process.
mod process;
/// Tables that are written beside the fold.
mod rollups;
/// Bounds of what is done at once, and how far all limits are used.
mod room;
/// Which path answers what.
mod routes;
/// Which connection goes when all places are taken.
mod seats;
/// Threads that write a page together.
mod together;
/// Secrets, and whom they stand for.
mod tokens;
/// What of the page of metrics is asked for.
mod wanted;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Weak},
};

use thiserror::Error;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

pub use api::bodies;
pub use guard::Access;
pub use rollups::Tables;
pub use together::Threads;
pub use tokens::{Tokens, TokensError};

use crate::{
    fold::lines::Outcome,
    live::{AppendError, Config, Live, OwnStream, StartError, Started},
};

/// The server cannot start.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(
        "refusing to listen on {0} without a token: anybody who reaches it could read the fleet's figures and command it. Give --tokens FILE, or listen on 127.0.0.1"
    )]
    NeedsToken(SocketAddr),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot start the server's threads: {0}")]
    Runtime(io::Error),
}

/// What is done at SIGHUP: whatever is read from files is read again.
pub type OnHangup = Box<dyn Fn(&Control) + Send + Sync>;

/// A line of ours that does not count.
#[derive(Debug, Error)]
pub enum NotTaken {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("the line at position {position} counts as {outcome}; see `.runtape/rejects.jsonl`")]
    Read { position: u64, outcome: &'static str },
}

/// A hold on a running server, for what is read again while it runs.
pub struct Control {
    pub access: Arc<Access>,
    live: Weak<Live>,
}

impl Control {
    /// The hash of the policy in force.
    pub fn policy_hash(&self) -> String {
        self.live.upgrade().map_or_else(String::new, |live| live.status().policy().hash.clone())
    }

    /// Appends a line to the control stream, and waits until it is sealed.
    ///
    /// # Errors
    /// It was not appended.
    pub fn append(&self, line: String) -> Result<(), NotTaken> {
        let (reply, answer) = std::sync::mpsc::channel();
        let live = self.live.upgrade().ok_or(AppendError::Stopped)?;
        live.append(OwnStream::Control, vec![line], move |result| drop(reply.send(result)));
        drop(live);
        let appended = answer.recv().unwrap_or(Err(AppendError::Stopped))?;
        match appended.first() {
            Some(line) if matches!(line.outcome, Outcome::Kind(_)) => Ok(()),
            Some(line) => Err(NotTaken::Read { position: line.position, outcome: line.outcome.name() }),
            None => Err(AppendError::Stopped.into()),
        }
    }

    /// Keeps in mind what is wrong with the policy that should be in force; nothing when all is well.
    pub fn note_policy(&self, problem: Option<String>) {
        if let Some(live) = self.live.upgrade() {
            live.note_policy(problem);
        }
    }
}

/// Where a server listens, whom it answers, and what it does beside.
pub struct Options {
    pub address: SocketAddr,
    /// Without tokens whoever is on this machine is answered.
    pub tokens: Option<Tokens>,
    /// Without it SIGHUP ends the process, as is usual.
    pub on_hangup: Option<OnHangup>,
    pub tables: Option<Tables>,
}

/// A server that holds its address and its directory but answers nobody yet.
pub struct Server {
    listener: TcpListener,
    runtime: Runtime,
    signals: Signals,
    app: routes::Parts,
    on_hangup: Option<OnHangup>,
    tables: Option<Tables>,
}

impl Server {
    /// Takes address and directory, and starts the fold.
    ///
    /// # Errors
    /// The address or the directory cannot be had.
    pub fn start(options: Options, config: Config) -> Result<Server, ServeError> {
        let Options { address, tokens, on_hangup, tables } = options;
        if !address.ip().is_loopback() && tokens.is_none() {
            return Err(ServeError::NeedsToken(address));
        }
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let local = listener.local_addr().map_err(listen)?;
        let (clock, layout, registry) = (config.clock.clone(), config.layout.clone(), config.registry);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(ServeError::Runtime)?;
        let signals = Signals::catch(&runtime, on_hangup.is_some()).map_err(ServeError::Runtime)?;
        let live = Arc::new(Live::start(config)?);
        let access = Arc::new(Access::new(local, tokens));
        let app = routes::Parts { live, access, clock, layout, registry };
        Ok(Server { listener, runtime, signals, app, on_hangup, tables })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.app.access.address()
    }

    /// What was found in the directory.
    pub fn started(&self) -> &Started {
        &self.app.live.started
    }

    /// Answers until SIGTERM or SIGINT; then takes a last look at the streams and writes final snapshots.
    ///
    /// # Errors
    /// No threads for it.
    pub fn run(self) -> Result<(), ServeError> {
        let Server { listener, runtime, mut signals, app, on_hangup, tables } = self;
        let live = app.live.clone();
        let start = |tables| rollups::Running::start(tables, live.status().clone(), app.clock.clone());
        let tables = tables.map(start).transpose().map_err(ServeError::Runtime)?;
        let app = routes::App::new(app);
        if let (Some(hangup), Some(call)) = (signals.hangup.take(), on_hangup) {
            let control = Control { access: app.access.clone(), live: Arc::downgrade(&live) };
            runtime.spawn(hangups(hangup, Arc::new(control), call.into()));
        }
        runtime
            .block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let stop = async {
                    signals.stopped().await;
                    app.progress.stop();
                };
                http::accept(listener, routes::router(app.clone()), app.room.clone(), stop).await;
                io::Result::Ok(())
            })
            .map_err(ServeError::Runtime)?;
        if let Some(tables) = tables {
            tables.stop();
        }
        drop((app, runtime));
        if let Some(live) = Arc::into_inner(live) {
            live.stop();
        }
        Ok(())
    }
}

/// Calls back at each SIGHUP; on a thread of its own, since it reads files.
async fn hangups(mut hangup: Signal, control: Arc<Control>, call: Arc<dyn Fn(&Control) + Send + Sync>) {
    while hangup.recv().await.is_some() {
        let (control, call) = (control.clone(), call.clone());
        let _ = tokio::task::spawn_blocking(move || call(&control)).await;
    }
}

/// The signals that mean something to the server, caught from before it takes anything.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Also, a file that may grow no further (`ulimit -f`) is a failed write like any other from here on, not the end of
    /// the process.
    fn catch(runtime: &Runtime, with_hangup: bool) -> io::Result<Signals> {
        let _inside = runtime.enter();
        // Once there was a handler, the signal never kills again.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        let hangup = if with_hangup { Some(signal(SignalKind::hangup())?) } else { None };
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hangup })
    }

    /// Completes at the first signal to stop.
    async fn stopped(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
