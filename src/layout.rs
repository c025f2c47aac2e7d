//! Floor 6: where things lie in an events directory, and on which disk.

use std::path::{Path, PathBuf};

use crate::files::Files;

/// The paths of an events directory. Streams lie at its top level; everything below `.runtape` is ours.
#[derive(Clone, Debug)]
pub struct Layout {
    pub dir: PathBuf,
    pub files: Files,
}

impl Layout {
    /// A directory of this machine.
    pub fn new(dir: impl Into<PathBuf>) -> Layout {
        Layout::on(Files::machine(), dir)
    }

    pub fn on(files: Files, dir: impl Into<PathBuf>) -> Layout {
        Layout { dir: dir.into(), files }
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

    /// Where the lines of each run are.
    pub fn index(&self) -> PathBuf {
        self.own().join("index")
    }

    /// States kept in the place of pruned history.
    pub fn horizon(&self) -> PathBuf {
        self.own().join("horizon")
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

    /// How far everything is durable, for the next start.
    pub fn durable(&self) -> PathBuf {
        self.own().join("durable")
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
