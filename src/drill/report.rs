use std::{collections::BTreeMap, fmt};

use crate::files::simulated::{Kind, Tally};

/// A law that did not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub seed: u64,
    /// The call after which the power was cut; none where no power cut was needed.
    pub call: Option<u64>,
    pub what: String,
}

/// What came of one or more seeds.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub seeds: u64,
    /// Power cuts and deaths from which the program was started again and checked.
    pub points: u64,
    pub counts: BTreeMap<String, u64>,
    pub disk: Tally,
    pub violations: Vec<Violation>,
    /// Of every call and every outcome.
    pub trace: String,
    /// The calls in words, where they were asked for.
    pub told: Vec<String>,
}

impl Report {
    pub fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    /// Adds what came of another seed.
    pub fn add(&mut self, other: Report) {
        self.seeds += other.seeds;
        self.points += other.points;
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.disk.merge(&other.disk);
        self.violations.extend(other.violations);
        self.trace = blake3::hash(format!("{}{}", self.trace, other.trace).as_bytes()).to_hex().to_string();
        self.told.extend(other.told);
    }

    /// Classes of events that must have happened in a run of many seeds, and did not.
    pub fn missing(&self) -> Vec<String> {
        let counted = EXPECTED.iter().filter(|what| !self.counts.contains_key(**what)).map(|what| (*what).to_owned());
        let disk = Kind::ALL.into_iter().filter(|kind| self.disk.of(*kind) == 0).map(|kind| kind.name().to_owned());
        counted.chain(disk).collect()
    }
}

/// Classes of events beside those of the disk.
const EXPECTED: &[&str] = &[
    "power cut after cut",
    "power cut after link",
    "power cut after make",
    "power cut after mkdir",
    "power cut after remove",
    "power cut after rename",
    "power cut after sync",
    "power cut after sync directory",
    "power cut after write",
    "program killed",
    "power cut, went on",
    "program killed, went on",
    "lines written",
    "lines torn",
    "lines malformed",
    "lines repeated",
    "producer synced",
    "rotated by rename",
    "copy in the making",
    "rotated by copy and truncation",
    "while no program ran",
    "rotated file deleted",
    "rotated file packed",
    "late write to a rotated file",
    "appended, answered",
    "appended, refused",
    "command",
    "policy changed",
    "disk troubled",
    "disk full",
    "restored from snapshots",
    "tape cut at the start",
    "decisions checked",
    "controls checked",
    "permissions checked",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seeds, {} power cuts and deaths, trace {}", self.seeds, self.points, self.trace)?;
        let disk = Kind::ALL.into_iter().map(|kind| (kind.name().to_owned(), self.disk.of(kind)));
        for (what, count) in self.counts.clone().into_iter().chain(disk) {
            writeln!(f, "{count:>12}  {what}")?;
        }
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "violated: {}", self.what)?;
        self.call.map_or(Ok(()), |call| write!(f, ", at call {call}"))?;
        write!(f, "; again with: runtape drill --seeds {}", self.seed)
    }
}
