use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use super::status::Status;
use crate::{
    files::{File, Files, How},
    fold::{Batch, Registration},
    store::{DurableMark, OwnLines, Snapshot, Snapshots, journal::Mark},
    streams::Place,
};

/// What the keeper is told. Whatever stands on a round is sent after the round.
pub enum ToKeeper {
    /// Lines up to `end` are on the tape; these files hold them.
    Sealed {
        end: u64,
        files: Vec<Place>,
        new_links: bool,
    },
    /// What files hold lies here now.
    Moved(Vec<Place>),
    /// Lines for one of our own files, in order.
    Lines {
        file: usize,
        lines: Vec<(Mark, String)>,
    },
    /// A state, and which consumer it is of; none for intake.
    Snapshot {
        snapshot: Snapshot,
        consumer: Option<usize>,
    },
    Stop,
}

impl ToKeeper {
    /// The malformed lines of a batch: where and why.
    pub fn rejects(file: usize, batch: &Batch) -> Option<ToKeeper> {
        let lines = batch.rejects.iter().map(|reject| {
            let line = serde_json::json!({
                "position": reject.position,
                "stream": &*reject.place.stream,
                "file": &*reject.place.file,
                "offset": reject.place.offset,
                "reason": reject.why.reason.name(),
                "detail": reject.why.detail,
            });
            (Mark { cause: reject.position, ordinal: 0 }, line.to_string())
        });
        let lines: Vec<(Mark, String)> = lines.collect();
        (!lines.is_empty()).then_some(ToKeeper::Lines { file, lines })
    }
}

/// Syncs what was sealed, then writes what stands on it: decisions, rejects, snapshots. Never the other way round.
pub struct Keeper {
    pub files: Files,
    pub status: Arc<Status>,
    pub inbox: Receiver<ToKeeper>,
    /// A handle of the tape's file.
    pub tape: File,
    /// Where our hard links lie, and the directory of the tape.
    pub dirs: Vec<PathBuf>,
    /// Decisions of each consumer, in list order; then the rejects; then the streams of consumers that have one.
    pub own: Vec<OwnLines>,
    pub snapshots: Snapshots,
    pub mark: DurableMark,
    pub registry: &'static [Registration],
    pub waiting: Waiting,
}

/// What waits to be written.
#[derive(Default)]
pub struct Waiting {
    sealed_to: u64,
    files: BTreeMap<Arc<str>, Place>,
    new_links: bool,
    /// By file: how many lots, and their lines.
    lines: BTreeMap<usize, (u64, Vec<(Mark, String)>)>,
    snapshots: Vec<(Snapshot, Option<usize>)>,
    stop: bool,
}

impl Keeper {
    pub fn run(mut self) {
        loop {
            match self.inbox.recv_timeout(Duration::from_secs(1)) {
                Ok(message) => self.waiting.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.waiting.stop = true,
            }
            if self.turn() {
                return;
            }
        }
    }

    /// Keeps what arrived; everything together shares one sync. True when it was told to stop.
    pub fn turn(&mut self) -> bool {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.inbox.try_iter().for_each(|message| waiting.take(message));
        if self.status.is_poisoned() {
            // Nothing more is written: all of it is made again from the tape at the next start.
            waiting = Waiting { stop: waiting.stop, ..Waiting::default() };
        } else {
            self.keep(&mut waiting);
        }
        self.waiting = waiting;
        self.waiting.stop
    }

    fn keep(&mut self, waiting: &mut Waiting) {
        let mut gone = None;
        if waiting.sealed_to > self.status.durable.load(Ordering::Acquire) {
            gone = match self.sync(waiting) {
                Ok(gone) => gone,
                Err(error) => return self.status.poison(&error),
            };
            // Elsewhere, of the same files.
            if self.status.is_poisoned() {
                return;
            }
            if gone.is_none() {
                self.durable(waiting);
            }
        }
        let some = waiting.lines.values().any(|(_, lines)| !lines.is_empty());
        let written = self.write_lines(waiting);
        if some {
            self.status.moved();
        }
        if written.is_ok()
            && !waiting.snapshots.is_empty()
            && let Err(error) = self.own.iter().try_for_each(OwnLines::sync)
        {
            return self.status.poison(&error);
        }
        let written = written.and_then(|()| self.write_snapshots(waiting));
        let trouble = written.err().map(|error| format!("cannot write below .runtape: {error}")).or(gone);
        if let Some(trouble) = &trouble {
            tracing::warn!("{trouble}; it is tried again");
        }
        self.status.trouble(|troubles| troubles.store = trouble);
    }

    fn durable(&mut self, waiting: &mut Waiting) {
        waiting.files.clear();
        waiting.new_links = false;
        // Nothing waits for it: without it the next start knows a little less.
        let _ = self.mark.note(waiting.sealed_to);
        self.status.durable.store(waiting.sealed_to, Ordering::Release);
        self.status.moved();
    }

    /// Says what is not there any more. It could not be linked, and was removed before it was synced: unless it is found
    /// under another name, what was sealed of it is lost, and nothing may stand on it. The next start seals the rest again.
    fn sync(&self, waiting: &Waiting) -> io::Result<Option<String>> {
        for Place { path, inode, .. } in waiting.files.values() {
            let gone = || {
                let path = path.display();
                let what = format!(
                    "{path} was removed before its lines were durable, and could not be linked: unless it comes back, \
                     nothing more is acknowledged until runtape is started again"
                );
                Ok(Some(what))
            };
            match self.files.open(path, How::Read) {
                // Another file took its name.
                Ok(file) if inode.is_some() && *inode != Some(file.about()?.id.inode()) => return gone(),
                Ok(file) => file.sync_data()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return gone(),
                Err(error) => return Err(error),
            }
        }
        if waiting.new_links {
            for dir in &self.dirs {
                self.files.sync_dir(dir)?;
            }
        }
        self.tape.sync_data().map(|()| None)
    }

    fn write_lines(&mut self, waiting: &mut Waiting) -> io::Result<()> {
        let durable = self.status.durable.load(Ordering::Acquire);
        for (file, (lots, lines)) in &mut waiting.lines {
            // A consumer that reads the tape by itself may be ahead of what was synced.
            let due = lines.partition_point(|(mark, _)| mark.cause < durable);
            let Some(last) = lines[..due].last().map(|(mark, _)| mark.cause) else { continue };
            if let Some(own) = self.own.get_mut(*file) {
                own.append(lines[..due].iter().map(|(mark, line)| (*mark, line.as_str())))?;
            }
            lines.drain(..due);
            if let Some(consumer) = self.status.consumers.get(*file) {
                consumer.written_upto.store(last + 1, Ordering::Release);
                if lines.is_empty() {
                    consumer.written.fetch_add(std::mem::take(lots), Ordering::AcqRel);
                }
            }
        }
        Ok(())
    }

    /// How far back a restart may have to go for a state: for a consumer, to where those who hear it may stand, for they
    /// must hear it again from there; for intake, to where anybody may.
    fn reach(&self, of: Option<usize>) -> io::Result<u64> {
        let Some(of) = of else {
            return (0..self.registry.len()).map(|index| self.stands(index)).try_fold(u64::MAX, least);
        };
        let name = self.registry[of].name;
        let hearers = (of + 1..self.registry.len()).filter(|index| self.registry[*index].hears.contains(&name));
        hearers.map(|index| self.stands(index)).try_fold(u64::MAX, least)
    }

    /// Where a consumer may stand after a restart, at worst.
    fn stands(&self, index: usize) -> io::Result<u64> {
        Ok(self.snapshots.oldest_kept(self.registry[index].name)?.min(self.reach(Some(index))?))
    }

    /// A state is only written once the lines made on the way to it are durable: restored, it would not make them again.
    fn write_snapshots(&self, waiting: &mut Waiting) -> io::Result<()> {
        let durable = self.status.durable.load(Ordering::Acquire);
        while let Some((snapshot, consumer)) = waiting.snapshots.first() {
            if snapshot.header.position <= durable {
                self.snapshots.write(snapshot, self.reach(*consumer)?)?;
                if let Some(consumer) = consumer.and_then(|index| self.status.consumers.get(index)) {
                    consumer.snapshot.store(snapshot.header.position, Ordering::Release);
                }
            }
            waiting.snapshots.remove(0);
        }
        Ok(())
    }
}

fn least(least: u64, next: io::Result<u64>) -> io::Result<u64> {
    next.map(|next| least.min(next))
}

impl Waiting {
    fn take(&mut self, message: ToKeeper) {
        match message {
            ToKeeper::Sealed { end, files, new_links } => {
                self.sealed_to = self.sealed_to.max(end);
                self.files.extend(files.into_iter().map(|place| (place.file.clone(), place)));
                self.new_links |= new_links;
            }
            ToKeeper::Moved(files) => {
                for place in files {
                    self.files.entry(place.file.clone()).and_modify(|before| *before = place);
                }
            }
            ToKeeper::Lines { file, mut lines } => {
                let waiting = self.lines.entry(file).or_default();
                waiting.0 += 1;
                waiting.1.append(&mut lines);
            }
            ToKeeper::Snapshot { snapshot, consumer } => {
                // Of those that could not be written yet the newest is enough.
                self.snapshots.retain(|(older, _)| older.header.of != snapshot.header.of);
                self.snapshots.push((snapshot, consumer));
            }
            ToKeeper::Stop => self.stop = true,
        }
    }
}
