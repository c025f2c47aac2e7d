use std::{collections::HashMap, fs, io, path::PathBuf, sync::Arc};

use super::{journal::Rounds, round::Round};
use crate::{
    layout::Layout,
    streams::{
        Compression, Generation,
        copies::SealedExtent,
        follow,
        generation::{GenerationRecord, State},
        source,
    },
};

/// What the rounds of a tape say of the files they sealed.
#[derive(Debug, Default)]
pub struct Known {
    records: Vec<GenerationRecord>,
    sealed: HashMap<Arc<str>, u64>,
}

impl Known {
    /// Takes in the next round.
    pub fn add(&mut self, round: &Round) {
        self.records.extend(round.files.iter().cloned());
        for extent in &round.extents {
            self.sealed.insert(extent.file.clone(), extent.to);
        }
    }

    /// The generations as a follower continues them.
    pub fn generations(self, layout: &Layout) -> Vec<Generation> {
        let mut latest: HashMap<(u64, u64), usize> = HashMap::new();
        for (index, record) in self.records.iter().enumerate() {
            latest.insert((record.id.dev, record.id.ino), index);
        }
        let mut list = Vec::with_capacity(self.records.len());
        for (index, record) in self.records.into_iter().enumerate() {
            let newest = latest.get(&(record.id.dev, record.id.ino)) == Some(&index);
            let sealed = self.sealed.get(&record.file).copied().unwrap_or(0);
            let (path, compression) = locate(layout, &record);
            let record = GenerationRecord { compression, ..record };
            let state = if newest { State::Open } else { State::Ended };
            let mut generation = Generation {
                record,
                path,
                sealed,
                scanned: sealed,
                len: u64::MAX,
                modified: 0,
                marker: Vec::new(),
                state,
                on_tape: true,
            };
            generation.marker = follow::read_marker(&generation).unwrap_or_default();
            list.push(generation);
        }
        list
    }
}

/// Where a generation's bytes are: our link, packed or not, else the name it was first seen under.
fn locate(layout: &Layout, record: &GenerationRecord) -> (PathBuf, Compression) {
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let link = follow::link_path(&layout.links(), &record.file, compression);
        if fs::symlink_metadata(&link).is_ok() {
            return (link, compression);
        }
    }
    let path = layout.dir.join(&record.name);
    let same = source::identify(&path).is_ok_and(|(id, _)| (id.dev, id.ino) == (record.id.dev, record.id.ino));
    if !same && let Some(moved) = find_inode(layout, record) {
        return (moved, record.compression);
    }
    (path, record.compression)
}

/// The inode under another name in the directory, after a rotation while nobody looked.
fn find_inode(layout: &Layout, record: &GenerationRecord) -> Option<PathBuf> {
    let entries = fs::read_dir(&layout.dir).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| source::identify(path).is_ok_and(|(id, _)| (id.dev, id.ino) == (record.id.dev, record.id.ino)))
}

/// The sealed extents of one file, in order.
///
/// # Errors
/// The tape cannot be read.
pub fn extents_of(layout: &Layout, file: &str) -> io::Result<Vec<SealedExtent>> {
    let mut extents = Vec::new();
    for round in Rounds::open(&layout.tape()).map_err(io::Error::other)? {
        let round = round.map_err(io::Error::other)?;
        for extent in round.extents.iter().filter(|extent| *extent.file == *file) {
            let data = blake3::Hash::from_hex(&extent.data).map_err(io::Error::other)?;
            extents.push(SealedExtent { from: extent.from, to: extent.to, data });
        }
    }
    Ok(extents)
}
