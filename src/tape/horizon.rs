use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::round::Extent;
use crate::{
    event::time,
    fold::{Intake, Registration, Slot},
    layout::Layout,
    policy::InForce,
    store::{Snapshot, Snapshots},
    streams::{copies::SealedExtent, generation::GenerationRecord},
};

/// The format of a horizon record: a program that knows none refuses the tape.
pub const HORIZON_FORMAT: u32 = 2;

/// Where history begins after it was pruned: the first line of the tape, in place of the rounds before. It keeps what they
/// said of the files, and names the states that stand for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizon {
    /// Format version.
    pub v: u32,
    /// The first position that is not pruned.
    #[serde(rename = "horizon")]
    pub position: u64,
    /// The number of the round that begins there.
    pub round: u64,
    /// When it was pruned, and when the last pruned round was sealed, RFC 3339.
    pub at: String,
    pub sealed: String,
    /// Decisions that the pruned lines caused.
    pub decisions: u64,
    pub files: Vec<PrunedFile>,
    /// Intake, then every consumer.
    pub states: Vec<KeptState>,
    /// The horizon record that this one replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Digest of the last pruned round, which the next one continues.
    pub prev: String,
    /// BLAKE3 of this line with an empty digest.
    pub digest: String,
}

/// A file that pruned rounds sealed lines of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedFile {
    pub record: GenerationRecord,
    /// What was pruned of it, as few ranges as possible: a copy of it is recognised by them.
    pub pruned: Vec<Range>,
    /// The last extent that was pruned.
    pub last: Option<Range>,
    /// Nothing is left of it: the file was removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// Bytes of a file with their BLAKE3.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub from: u64,
    pub to: u64,
    pub data: String,
}

/// A state kept at the horizon, in the place of the history that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptState {
    pub of: String,
    pub version: u32,
    /// BLAKE3 of the state. None: it begins there with nothing, since nobody could read the one that was kept.
    pub data: Option<String>,
}

/// What was kept in the place of pruned history cannot be used.
#[derive(Debug, Error)]
pub enum HorizonError {
    #[error("the state of {of} at position {position}, where history begins, cannot be read: {what}. Restore a backup")]
    Lost { of: String, position: u64, what: String },
    #[error(
        "{of} is of version {has} and its state at position {position}, where history begins, of version {kept}: what was pruned cannot be folded again. Use the runtape that pruned it, restore a backup from before, or let {of} begin there with nothing: runtape prune --begin-anew {of}"
    )]
    Version { of: String, position: u64, kept: u32, has: u32 },
}

impl Range {
    pub fn of(extent: &Extent) -> Range {
        Range { from: extent.from, to: extent.to, data: extent.data.clone() }
    }

    /// As copies are recognised by it.
    fn sealed(&self) -> Option<SealedExtent> {
        let data = blake3::Hash::from_hex(&self.data).ok()?;
        Some(SealedExtent { from: self.from, to: self.to, data })
    }
}

impl Horizon {
    /// Fills in the digest.
    pub fn seal(mut self) -> Horizon {
        self.digest = self.expected_digest();
        self
    }

    /// The digest the line ought to have.
    pub fn expected_digest(&self) -> String {
        let open = Horizon { digest: String::new(), ..self.clone() };
        blake3::hash(open.line().as_bytes()).to_hex().to_string()
    }

    /// The canonical line, without newline.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a horizon record holds only text and integers")
    }

    /// The tape time where history begins, as people read it; where no line had one, when the last pruned round was sealed.
    pub fn time(&self, intake: &Intake) -> String {
        intake.tape_time().map_or_else(|| self.sealed.clone(), time::format)
    }

    /// What was pruned, by file.
    pub fn extents(&self) -> impl Iterator<Item = (&Arc<str>, SealedExtent)> {
        self.files
            .iter()
            .flat_map(|file| file.pruned.iter().filter_map(|range| Some((&file.record.file, range.sealed()?))))
    }

    /// Where the states lie.
    pub fn paths(&self, layout: &Layout) -> Vec<PathBuf> {
        let kept = self.states.iter().filter(|state| state.data.is_some());
        let snapshots = Snapshots::new(layout.files.clone(), layout.horizon());
        kept.map(|state| snapshots.path(&state.of, self.position)).collect()
    }

    /// Intake at the horizon.
    ///
    /// # Errors
    /// Its state is gone, damaged, or of another version.
    pub fn intake(&self, layout: &Layout, base: Arc<InForce>) -> Result<Intake, HorizonError> {
        match self.state(layout, "intake", Intake::VERSION)? {
            Some(state) => Intake::load(base, &state).map_err(|error| self.lost("intake", error.to_string())),
            None => Err(self.lost("intake", "the horizon record does not name it".to_owned())),
        }
    }

    /// A consumer at the horizon. One that the record does not know had nothing to forget, and begins there.
    ///
    /// # Errors
    /// Its state is gone, damaged, or of another version.
    pub fn slot(&self, layout: &Layout, registration: &Registration) -> Result<Box<dyn Slot>, HorizonError> {
        let mut slot = (registration.new)();
        match self.state(layout, slot.name(), slot.version())? {
            Some(state) => {
                let loaded = slot.load(self.position, &state);
                loaded.map_err(|error| self.lost(registration.name, error.to_string()))?;
            }
            None => slot.begin(self.position),
        }
        Ok(slot)
    }

    fn state(&self, layout: &Layout, of: &str, version: u32) -> Result<Option<Vec<u8>>, HorizonError> {
        let Some(kept) = self.states.iter().find(|kept| kept.of == of) else { return Ok(None) };
        if kept.version != version {
            let (of, position) = (of.to_owned(), self.position);
            return Err(HorizonError::Version { of, position, kept: kept.version, has: version });
        }
        let Some(data) = &kept.data else { return Ok(None) };
        let read = Snapshots::new(layout.files.clone(), layout.horizon()).read(of, self.position);
        let Snapshot { header, state } = read.map_err(|what| self.lost(of, what))?;
        if header.data != *data || header.position != self.position {
            return Err(self.lost(of, "it is not the one that the horizon record names".to_owned()));
        }
        Ok(Some(state))
    }

    /// The kept states that are not as they were kept.
    pub fn damage(&self, layout: &Layout) -> Vec<(PathBuf, String)> {
        let snapshots = Snapshots::new(layout.files.clone(), layout.horizon());
        let mut damage = Vec::new();
        for kept in &self.states {
            let Some(data) = &kept.data else { continue };
            let what = match snapshots.read(&kept.of, self.position) {
                Ok(snapshot) if snapshot.header.data == *data => continue,
                Ok(_) => "it is not the one that the horizon record names".to_owned(),
                Err(what) => what,
            };
            damage.push((snapshots.path(&kept.of, self.position), what));
        }
        damage
    }

    fn lost(&self, of: &str, what: String) -> HorizonError {
        HorizonError::Lost { of: of.to_owned(), position: self.position, what }
    }
}
