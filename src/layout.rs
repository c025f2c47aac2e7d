//! Floor 5: where things lie in an events directory.

use std::path::{Path, PathBuf};

/// The paths of an events directory. Streams lie at its top level; everything below `.runtape` is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub dir: PathBuf,
}

impl Layout {
    pub fn new(dir: impl Into<PathBuf>) -> Layout {
        Layout { dir: dir.into() }
    }

    pub fn own(&self) -> PathBuf {
        self.dir.join(".runtape")
    }

    pub fn tape(&self) -> PathBuf {
        self.own().join("tape.jsonl")
    }

    /// Hard links to every file with sealed lines.
    pub fn links(&self) -> PathBuf {
        self.own().join("streams")
    }

    pub fn decisions(&self, consumer: &str) -> PathBuf {
        self.own().join("decisions").join(format!("{consumer}.jsonl"))
    }

    pub fn snapshots(&self) -> PathBuf {
        self.own().join("snapshots")
    }

    pub fn rejects(&self) -> PathBuf {
        self.own().join("rejects.jsonl")
    }

    /// The verdict of every agent, for processes without a network.
    pub fn controls(&self) -> PathBuf {
        self.own().join("controls.json")
    }

    /// Who is quarantined, unless another place was chosen.
    pub fn quarantine(&self) -> PathBuf {
        self.own().join("quarantine.json")
    }

    pub fn lock(&self) -> PathBuf {
        self.own().join("lock")
    }

    /// Where the server that holds the directory is reached.
    pub fn server(&self) -> PathBuf {
        self.own().join("server.json")
    }

    pub fn stream(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.jsonl"))
    }
}

impl AsRef<Path> for Layout {
    fn as_ref(&self) -> &Path {
        &self.dir
    }
}
