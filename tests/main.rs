//! One binary for all integration tests: one link, and helpers shared by all.

/// Alerts on their way to people, through the real programs.
mod alerting;
/// The API over real sockets.
mod api;
/// Lines from standard input.
mod append;
/// The house as `src/lib.rs` describes it.
mod architecture;
/// Old logs as tables.
#[cfg(feature = "history")]
mod backfill;
/// Consumers that only tests register.
mod cast;
/// What people type, and what they are told.
mod cli;
/// What producers take along, against the real server.
mod clients;
/// What kills and failures leave.
mod crash;
/// Bytes that are not what they were.
mod damage;
/// What a machine is given to run it.
mod deploy;
/// What operators order, and what comes of it.
mod desk;
/// The documentation, typed.
mod docs;
/// What is said of places that are not fit.
mod doctor;
/// Power cuts on a simulated disk.
mod drill;
/// Every fault of docs/faults.md.
mod faults;
/// Why money was made and lost.
mod forensics;
/// The output for every sample, kept as files.
mod golden;
/// The dashboards, asked of a real Prometheus.
mod grafana;
/// Bytes that a fuzzer invents, or invented before.
mod hostile;
/// The server over real sockets.
mod http;
/// What other programs recorded.
mod import;
/// History copied away, brought back, dropped, packed.
mod keeping;
/// The laws of the fold.
mod laws;
/// What is bounded, and what happens at the bound.
mod limits;
/// The running fold from inside: what it appends, shows and permits.
mod live;
/// Alerts, their routes and what to do when one fires.
mod ops;
/// The command line as programs use it.
mod programs;
/// The pages as Prometheus and its tools read them.
mod prometheus;
/// Signals and prices to realized profit.
mod reconcile;
/// Commands as recorded runs.
mod run;
/// What shells and readers of manuals are given.
mod shell;
/// A long run under everything at once.
mod soak;
/// Real processes, directories and requests.
mod support;
/// Whatever happens to the files: nothing lost, nothing folded twice, or said aloud.
mod tailing;
/// A server whose words are kept.
mod talk;
/// The fleet on a terminal.
mod top;
/// The same facts under other policies.
mod whatif;
