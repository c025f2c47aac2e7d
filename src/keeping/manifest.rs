use std::{
    collections::BTreeSet,
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{KeepError, failed};
use crate::{
    files::Files,
    store::atomic,
    streams::{Compression, name},
};

/// What a backup holds. Written last and replaced as one: the files of a backup that was broken off are longer than it
/// says, or not named, and what it does say stays true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of the backup.
    pub v: u32,
    /// The version of runtape that made it.
    pub by: String,
    /// When, RFC 3339.
    pub at: String,
    /// Digest of the first record of the tape: two backups of one history have the same.
    pub origin: String,
    /// Where history begins, when it was pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<u64>,
    /// How many rounds and lines it holds, counted from the begin of the tape; pruned ones too.
    pub rounds: u64,
    pub position: u64,
    /// Bytes of the tape, and the digest of its last round.
    pub tape: u64,
    pub head: String,
    pub streams: Vec<StreamFile>,
    pub files: Vec<OwnFile>,
    /// BLAKE3 of this document with an empty digest.
    pub digest: String,
}

/// A file with sealed history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFile {
    pub path: PathBuf,
    /// The ids that the tape gave it.
    pub files: Vec<Arc<str>>,
    /// Its names in the events directory.
    pub names: Vec<String>,
    /// Unpacked bytes that are sealed. Their digests are on the tape.
    pub sealed: u64,
    #[serde(default)]
    pub compression: Compression,
    /// Bytes of the file as it lies there, and the digest of a packed one.
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// A file of ours beside the tape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnFile {
    pub path: PathBuf,
    pub bytes: u64,
    pub data: String,
}

/// The format of backups this program writes; it reads this one and older.
pub const FORMAT: u32 = 1;

/// The manifest's name in a backup.
pub const NAME: &str = "backup.json";

/// There while a backup is being made.
pub const UNFINISHED: &str = "unfinished";

impl Manifest {
    fn expected_digest(&self) -> String {
        let open = Manifest { digest: String::new(), ..self.clone() };
        blake3::hash(&open.bytes()).to_hex().to_string()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest holds only text and integers");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the manifest of a backup; none where there is none.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or newer than this program.
    pub fn read(files: &Files, backup: &Path) -> Result<Option<Manifest>, KeepError> {
        let path = backup.join(NAME);
        let bytes = match files.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed("read", &path))?,
        };
        #[derive(Deserialize)]
        struct Format {
            v: u32,
        }
        if let Ok(Format { v }) = serde_json::from_slice::<Format>(&bytes)
            && v > FORMAT
        {
            return Err(KeepError::Refused(format!(
                "the backup {} is of format {v}, newer than the format {FORMAT} this runtape reads: use the runtape that made it, or a later one",
                backup.display()
            )));
        }
        let damaged = |what: String| KeepError::Damaged { path: path.clone(), what };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| damaged(format!("not a manifest: {error}")))?;
        if manifest.digest != manifest.expected_digest() {
            return Err(damaged("its digest does not match its content".to_owned()));
        }
        if let Some(stray) = manifest.stray() {
            return Err(damaged(format!("{stray} is no place in a backup or an events directory")));
        }
        Ok(Some(manifest))
    }

    /// A path or a name that leads out of the directory it belongs to.
    fn stray(&self) -> Option<String> {
        let out = |path: &&Path| path.components().any(|part| !matches!(part, Component::Normal(_)));
        let paths = self.paths().into_iter().find(out).map(|path| path.display().to_string());
        let mut names = self.streams.iter().flat_map(|stream| &stream.names);
        paths.or_else(|| names.find(|name| name.contains('/') || name::parse(name).is_none()).cloned())
    }

    /// Puts it in place, durably.
    ///
    /// # Errors
    /// It could not be written; the one before stays.
    pub fn write(mut self, files: &Files, backup: &Path) -> Result<Manifest, KeepError> {
        self.digest = self.expected_digest();
        let path = backup.join(NAME);
        atomic::replace(files, &path, &self.bytes()).map_err(failed("write", &path))?;
        Ok(self)
    }

    /// Every file of the backup beside the manifest and the tape.
    pub fn paths(&self) -> BTreeSet<&Path> {
        let streams = self.streams.iter().map(|stream| stream.path.as_path());
        streams.chain(self.files.iter().map(|file| file.path.as_path())).collect()
    }

    /// Bytes of all its files.
    pub fn size(&self) -> u64 {
        let streams: u64 = self.streams.iter().map(|stream| stream.bytes).sum();
        self.tape + streams + self.files.iter().map(|file| file.bytes).sum::<u64>()
    }
}
