use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Semaphore;

use super::{
    api::{body, events, seen::Seen},
    process,
    seats::Seats,
};
use crate::{
    live::{IntakeLook, Live, Look, SHOWN_MAX},
    view::Load,
};

/// What the server bounds for itself. Each bound has a row in `docs/limits.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Connections,
    /// Of them, those of one address.
    AddressConnections,
    /// Bytes of a JSON body.
    JsonBytes,
    /// Bytes of a body of lines.
    LinesBytes,
    /// Lines of a body.
    BodyLines,
    /// KiB of bodies of lines in memory.
    BodiesKib,
    /// Questions that block a thread.
    Questions,
    /// Questions that read the whole history.
    Scans,
    /// Connections that follow decisions.
    Followers,
    /// Requests that can be told from one another.
    Requests,
}

impl Bound {
    pub const ALL: [Bound; 10] = [
        Bound::Connections,
        Bound::AddressConnections,
        Bound::JsonBytes,
        Bound::LinesBytes,
        Bound::BodyLines,
        Bound::BodiesKib,
        Bound::Questions,
        Bound::Scans,
        Bound::Followers,
        Bound::Requests,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Bound::Connections => "connections",
            Bound::AddressConnections => "address_connections",
            Bound::JsonBytes => "json_body_bytes",
            Bound::LinesBytes => "lines_body_bytes",
            Bound::BodyLines => "body_lines",
            Bound::BodiesKib => "bodies_kib",
            Bound::Questions => "questions",
            Bound::Scans => "scans",
            Bound::Followers => "followers",
            Bound::Requests => "requests",
        }
    }

    /// The most there may be.
    pub const fn max(self) -> usize {
        match self {
            Bound::Connections => 512,
            // Whoever asks from another address always finds a place.
            Bound::AddressConnections => 384,
            Bound::JsonBytes => body::JSON_MAX,
            Bound::LinesBytes => body::LINES_MAX,
            Bound::BodyLines => events::LINES_MAX,
            Bound::BodiesKib => 64 * 1024,
            Bound::Questions => 16,
            Bound::Scans => 1,
            Bound::Followers => 64,
            Bound::Requests => super::api::seen::REQUESTS_MAX,
        }
    }
}

/// Places for what is done at once, and how often there were too few.
#[derive(Debug)]
pub struct Room {
    pub seats: Arc<Seats>,
    pub connections: Arc<Semaphore>,
    /// Half of the descriptors at most are for connections.
    pub connections_max: usize,
    pub bodies: Arc<Semaphore>,
    pub questions: Arc<Semaphore>,
    /// Reading the whole history, one at a time.
    pub scans: Arc<Semaphore>,
    pub followers: Arc<Semaphore>,
    pub seen: Arc<Seen>,
    reached: [AtomicU64; Bound::ALL.len()],
}

impl Default for Room {
    fn default() -> Room {
        let places = |bound: Bound| Arc::new(Semaphore::new(bound.max()));
        // Streams, tape and snapshots are opened with what is left.
        let half = process::descriptors().map_or(usize::MAX, |(_, most)| most as usize / 2);
        let connections_max = Bound::Connections.max().min(half).max(1);
        Room {
            seats: Arc::default(),
            connections: Arc::new(Semaphore::new(connections_max)),
            connections_max,
            bodies: places(Bound::BodiesKib),
            questions: places(Bound::Questions),
            scans: places(Bound::Scans),
            followers: places(Bound::Followers),
            seen: Arc::default(),
            reached: Default::default(),
        }
    }
}

impl Room {
    /// A bound was reached, and somebody was told.
    pub fn reached(&self, bound: Bound) {
        self.reached[bound as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn load(&self, bound: Bound) -> Load {
        let max = if bound == Bound::Connections { self.connections_max } else { bound.max() };
        let taken = |places: &Semaphore| max.saturating_sub(places.available_permits());
        let used = match bound {
            Bound::Connections => Some(taken(&self.connections)),
            Bound::AddressConnections => Some(self.seats.most_of_an_address()),
            Bound::BodiesKib => Some(taken(&self.bodies)),
            Bound::Questions => Some(taken(&self.questions)),
            Bound::Scans => Some(taken(&self.scans)),
            Bound::Followers => Some(taken(&self.followers)),
            Bound::Requests => Some(self.seen.len()),
            Bound::JsonBytes | Bound::LinesBytes | Bound::BodyLines => None,
        };
        let forgotten = if bound == Bound::Requests { self.seen.forgotten() } else { 0 };
        let reached = self.reached[bound as usize].load(Ordering::Relaxed) + forgotten;
        Load { limit: bound.name(), max: max as u64, used: used.map(|used| used as u64), reached }
    }

    /// How far every limit of the program is used, as far as it is known.
    pub fn loads(&self, live: &Live, intake: Option<&IntakeLook>, looks: &[Arc<Look>]) -> Vec<Load> {
        let mut loads: Vec<Load> = intake.map_or_else(Vec::new, |intake| intake.loads.clone());
        for (name, of) in [("shown_agents", "agents"), ("shown_strategies", "strategies")] {
            let known = loads.iter().find(|load| load.limit == of).and_then(|load| load.used);
            loads.extend(known.map(|known| {
                let (max, known) = (SHOWN_MAX as usize, known as usize);
                Load::new(name, max, known.min(max), known.saturating_sub(max) as u64)
            }));
        }
        for look in looks {
            loads.extend(look.loads.iter().cloned());
        }
        loads.push(live.remembered());
        loads.extend(Bound::ALL.map(|bound| self.load(bound)));
        loads.extend(process::loads());
        loads
    }
}
