use std::time::Duration;

/// How often things happen.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    /// The truth, where notifications fail.
    pub poll: Duration,
    /// Rounds at least so far apart.
    pub coalesce: Duration,
    /// Snapshots at least so far apart.
    pub snapshot: Duration,
}

impl Default for Cadence {
    fn default() -> Self {
        Cadence {
            poll: Duration::from_millis(100),
            coalesce: Duration::from_millis(5),
            snapshot: Duration::from_secs(10),
        }
    }
}
