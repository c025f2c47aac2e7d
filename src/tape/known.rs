use std::{
    collections::HashMap,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    journal::Rounds,
    round::{Extent, Round},
};
use crate::{
    files::Files,
    layout::Layout,
    streams::{
        Compression, Generation,
        copies::SealedExtent,
        generation::{GenerationRecord, State},
        links,
        scan::Inode,
        source,
    },
};

/// What the rounds of a tape say of the files they sealed.
#[derive(Clone, Debug, Default)]
pub struct Known {
    records: Vec<GenerationRecord>,
    /// The last extent of each file.
    last: HashMap<Arc<str>, Extent>,
}

impl Known {
    /// Takes in the next round.
    pub fn add(&mut self, round: &Round) {
        self.records.extend(round.files.iter().cloned());
        for extent in &round.extents {
            self.last.insert(extent.file.clone(), extent.clone());
        }
    }

    /// The generations as a follower continues them.
    pub fn generations(self, layout: &Layout) -> Vec<Generation> {
        let mut latest: HashMap<Inode, usize> = HashMap::new();
        for (index, record) in self.records.iter().enumerate() {
            latest.insert(record.id.inode(), index);
        }
        let mut unlinked = Unlinked { files: &layout.files, dir: &layout.dir, names: None };
        let mut list = Vec::with_capacity(self.records.len());
        for (index, record) in self.records.into_iter().enumerate() {
            let inode = record.id.inode();
            let last = self.last.get(&record.file);
            let sealed = last.map_or(0, |extent| extent.to);
            let (path, compression) = locate(layout, &record, &mut unlinked);
            // A link to another inode is history that only a copy still holds: the file itself was emptied since.
            let same = source::identify(&layout.files, &path).is_ok_and(|(id, _)| id.inode() == inode);
            let state = if same && latest.get(&inode) == Some(&index) { State::Open } else { State::Ended };
            let mut generation =
                Generation::new(&layout.files, GenerationRecord { compression, ..record }, path, sealed, state);
            generation.on_tape = true;
            generation.replaced =
                state == State::Open && !last.is_none_or(|extent| still_holds(&layout.files, &generation, extent));
            list.push(generation);
        }
        list
    }
}

/// Whether a file still ends its sealed part as it did. One that is too short, or cannot be read, says so itself when it
/// is read.
fn still_holds(files: &Files, generation: &Generation, extent: &Extent) -> bool {
    let mut hasher = blake3::Hasher::new();
    if generation.is_packed() {
        return true;
    }
    let read = source::open(files, &generation.path, generation.record.compression, extent.from)
        .and_then(|bytes| io::copy(&mut bytes.take(extent.to - extent.from), &mut hasher));
    match read {
        Ok(read) if read == extent.to - extent.from => hasher.finalize().to_hex().as_str() == extent.data,
        _ => true,
    }
}

/// Where a generation's bytes are: our link, packed or not, else the directory, under whatever name.
fn locate(layout: &Layout, record: &GenerationRecord, unlinked: &mut Unlinked) -> (PathBuf, Compression) {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let link = links::path(&layout.links(), &record.file, compression);
        if layout.files.about_name(&link).is_ok() {
            return (link, compression);
        }
    }
    let found = unlinked.find(record.id.inode());
    (found.unwrap_or_else(|| layout.dir.join(&record.name)), record.compression)
}

/// The directory's files by inode, read when the first file without a link is looked for.
struct Unlinked<'a> {
    files: &'a Files,
    dir: &'a Path,
    names: Option<HashMap<Inode, PathBuf>>,
}

impl Unlinked<'_> {
    fn find(&mut self, inode: Inode) -> Option<PathBuf> {
        let names = self.names.get_or_insert_with(|| {
            let paths = self.files.list(self.dir).unwrap_or_default().into_iter();
            paths.filter_map(|path| Some((source::identify(self.files, &path).ok()?.0.inode(), path))).collect()
        });
        names.get(&inode).cloned()
    }
}

/// The sealed extents of one file, in order.
///
/// # Errors
/// The tape cannot be read.
pub fn extents_of(layout: &Layout, file: &str) -> io::Result<Vec<SealedExtent>> {
    let mut extents = Vec::new();
    for round in Rounds::open(&layout.files, &layout.tape()).map_err(io::Error::other)? {
        let round = round.map_err(io::Error::other)?;
        for extent in round.extents.iter().filter(|extent| *extent.file == *file) {
            let data = blake3::Hash::from_hex(&extent.data).map_err(io::Error::other)?;
            extents.push(SealedExtent { from: extent.from, to: extent.to, data });
        }
    }
    Ok(extents)
}
