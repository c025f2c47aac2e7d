use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    event::{Nanos, time},
    streams::{copies::SealedExtent, generation::GenerationRecord},
};

/// The format of the rounds this program writes; it reads this one and older.
pub const FORMAT: u32 = 1;

/// The digest before the first round.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What arrived since the last round, sealed. One line of `tape.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Format version.
    pub v: u32,
    pub round: u64,
    /// Position of its first line.
    pub first: u64,
    /// How many lines it holds.
    pub count: u64,
    /// When it was sealed, RFC 3339. Bounds the tape time; orders nothing.
    pub at: String,
    /// Files met for the first time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<GenerationRecord>,
    pub extents: Vec<Extent>,
    /// Digest of the round before.
    pub prev: String,
    /// BLAKE3 of this line with an empty digest.
    pub digest: String,
}

/// A range of whole lines of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub stream: Arc<str>,
    /// Generation id of the file.
    pub file: Arc<str>,
    pub from: u64,
    pub to: u64,
    /// BLAKE3 of the bytes: a changed byte is found in its extent, and a copy of the file is recognised by it.
    pub data: String,
}

impl Extent {
    /// As content is recognised by it; none when its digest is no digest.
    pub fn sealed(&self) -> Option<SealedExtent> {
        let data = blake3::Hash::from_hex(&self.data).ok()?;
        Some(SealedExtent { from: self.from, to: self.to, data })
    }
}

impl Round {
    /// Fills in the digest.
    pub fn seal(mut self) -> Round {
        self.digest = self.expected_digest();
        self
    }

    /// The digest the line ought to have.
    pub fn expected_digest(&self) -> String {
        let open = Round { digest: String::new(), ..self.clone() };
        blake3::hash(open.line().as_bytes()).to_hex().to_string()
    }

    /// The canonical line, without newline.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a round holds only text and integers")
    }

    /// One past its last position.
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The sealing time, Unix nanoseconds.
    pub fn sealed_at(&self) -> Option<Nanos> {
        time::parse_text(&self.at)
    }
}
