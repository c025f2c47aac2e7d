//! Floor 10: disasters, rehearsed. Producers, rotations, commands, a failing disk and power cuts are drawn from a seed; the
//! very code that serves runs on a simulated disk, one step at a time; and after each power cut it must come back with
//! nothing lost, nothing told twice and nothing permitted too early.

/// What must hold after a power cut.
mod laws;
/// The program under test: one life between two power cuts.
mod life;
/// What happened how often, and what was violated.
mod report;
/// One seed: who does what when.
mod script;
/// Everybody else who uses the disk.
mod world;

pub use report::{Report, Violation};

/// How a seed is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Things that happen in one seed.
    pub steps: u64,
    /// Of the power cuts that are possible in a seed, at most so many are tried, drawn evenly.
    pub points: Option<u64>,
    /// A disk whose syncs do nothing: then laws must be seen violated.
    pub lying_disk: bool,
    /// Keep every call in words.
    pub trace: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { steps: 60, points: None, lying_disk: false, trace: false }
    }
}

/// Plays one seed.
pub fn play(seed: u64, settings: Settings) -> Report {
    script::Script::new(seed, settings).play()
}
