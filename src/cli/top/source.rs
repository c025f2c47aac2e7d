use std::{
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::Duration,
};

use super::{fleet::Fleet, state::Event};
use crate::{
    cli::desk::{Asking, Desk, Local, Way},
    clock::Stopwatch,
};

/// Newest entries that the charts are drawn of.
pub const RECENT: usize = 40;
/// Decisions that can be scrolled through.
pub const DECISIONS: usize = 400;
/// Decisions on the page of an agent.
const ABOUT: usize = 20;
/// Looking takes at most this share of the time: what it looks at has other work to do.
const SHARE: u32 = 4;
/// The longest wait after a failure.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// Where looks come from: the server while there is one, else the directory.
pub struct Source {
    way: Way,
    desk: Option<(String, Box<dyn Desk>)>,
    interval: Duration,
}

impl Source {
    pub fn new(way: Way, interval: Duration) -> Source {
        Source { way, desk: None, interval }
    }

    /// What happens in a directory.
    pub fn of(dir: &Path) -> Source {
        Source::new(Way::to(dir), Duration::from_secs(1))
    }

    /// A look at the fleet; none where nothing changed since the last.
    ///
    /// # Errors
    /// Nobody answers, or the directory cannot be folded.
    pub fn look(&mut self, about: Option<&str>) -> anyhow::Result<Option<(String, Fleet)>> {
        let asking = Asking { recent: RECENT, decisions: DECISIONS, about: about.map(str::to_owned), lines: ABOUT };
        // A server may have come, or gone, since.
        let client = self.way.client()?;
        let desk: &mut (String, Box<dyn Desk>) = match (client, self.desk.take()) {
            (Some(client), Some(held)) if held.0 == client.url() => self.desk.insert(held),
            (Some(client), _) => self.desk.insert((client.url().to_owned(), Box::new(client))),
            (None, Some(held)) if held.0.starts_with("directory") => self.desk.insert(held),
            (None, _) => {
                let name = format!("directory {}", self.way.events.layout().dir.display());
                self.desk.insert((name, Box::new(Local::new(self.way.events.clone()))))
            }
        };
        let look = desk.1.look(&asking)?;
        Ok(look.map(|look| (desk.0.clone(), Fleet::of(&look, about))))
    }

    /// Looks again and again, and at once when it is woken with whom to look at besides; ends with whoever listens.
    pub fn keep_looking(mut self, wake: &Receiver<Option<String>>, events: &Sender<Event>) {
        let (mut about, mut failed) = (None, 0u32);
        loop {
            let watch = Stopwatch::start();
            let event = self.look(about.as_deref());
            let rest = match &event {
                Ok(_) => self.interval.max(watch.elapsed() * SHARE),
                Err(_) => (self.interval * 2u32.saturating_pow(failed)).min(BACK_OFF_MAX),
            };
            failed = if event.is_ok() { 0 } else { failed + 1 };
            let event = match event {
                Ok(Some((source, fleet))) => Event::Looked(source, Box::new(fleet)),
                // Nothing new is as good as a look.
                Ok(None) => Event::Unchanged,
                Err(error) => Event::Failed(format!("{error:#}"), rest.as_secs()),
            };
            if events.send(event).is_err() {
                return;
            }
            match wake.recv_timeout(rest) {
                Ok(wanted) => about = wanted,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // Of many wishes the last one counts.
            about = wake.try_iter().last().unwrap_or(about);
        }
    }
}
