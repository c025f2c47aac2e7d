//! What hostile bytes are tried on, one module for each target: `judge` panics where the program does what it must not.
//! The fuzzer calls them with what it invents, `cargo test` with everything in `corpus`.

/// Bodies of HTTP requests.
pub mod bodies;
/// One line to its fields.
pub mod decoder;
/// A byte range to its lines.
pub mod lines;
/// Records of other programs through a mapping.
pub mod mapping;
/// A policy file.
pub mod policy;
/// A snapshot file, and the state in it.
pub mod snapshot;
/// The journal of rounds.
pub mod tape;
/// Every form of `ts`.
pub mod time;

/// A target: its name, which is the name of its folder in `corpus`, and its judge.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("bodies", bodies::judge),
    ("decoder", decoder::judge),
    ("lines", lines::judge),
    ("mapping", mapping::judge),
    ("policy", policy::judge),
    ("snapshot", snapshot::judge),
    ("tape", tape::judge),
    ("time", time::judge),
];
