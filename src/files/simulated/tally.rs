use std::collections::BTreeMap;

/// A class of what can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    DroppedWrites,
    TornWrites,
    ZeroedPages,
    ReorderedPages,
    LostNames,
    FailedReads,
    FailedWrites,
    FailedSyncs,
    FailedNames,
    ShortWrites,
    FullDisk,
    FileTooLarge,
}

impl Kind {
    pub const ALL: [Kind; 12] = [
        Kind::DroppedWrites,
        Kind::TornWrites,
        Kind::ZeroedPages,
        Kind::ReorderedPages,
        Kind::LostNames,
        Kind::FailedReads,
        Kind::FailedWrites,
        Kind::FailedSyncs,
        Kind::FailedNames,
        Kind::ShortWrites,
        Kind::FullDisk,
        Kind::FileTooLarge,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::DroppedWrites => "writes dropped",
            Kind::TornWrites => "writes torn",
            Kind::ZeroedPages => "sizes kept and bytes zeroed",
            Kind::ReorderedPages => "pages reordered",
            Kind::LostNames => "names lost",
            Kind::FailedReads => "reads failed",
            Kind::FailedWrites => "writes failed",
            Kind::FailedSyncs => "syncs failed, pages lost",
            Kind::FailedNames => "name changes failed",
            Kind::ShortWrites => "writes cut short",
            Kind::FullDisk => "writes to a full disk",
            Kind::FileTooLarge => "files too large",
        }
    }
}

/// How often each class happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Kind, u64>);

impl Tally {
    pub fn add(&mut self, kind: Kind) {
        *self.0.entry(kind).or_default() += 1;
    }

    pub fn of(&self, kind: Kind) -> u64 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    pub fn merge(&mut self, other: &Tally) {
        for (kind, count) in &other.0 {
            *self.0.entry(*kind).or_default() += count;
        }
    }
}
