//! One binary for all integration tests: one link, and helpers shared by all.

/// Real processes, directories and requests.
mod support;
