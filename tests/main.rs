//! One binary for all integration tests: one link, and helpers shared by all.

/// The house as `src/lib.rs` describes it.
mod architecture;
/// The output for every sample, kept as files.
mod golden;
/// The server over real sockets.
mod http;
/// The pages as Prometheus and its tools read them.
mod prometheus;
/// Real processes, directories and requests.
mod support;
/// Whatever happens to the files: nothing lost, nothing folded twice, or said aloud.
mod tailing;
