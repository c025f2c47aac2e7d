use std::path::Path;

use super::holdings::Holding;
use crate::{
    consumers::REGISTRY,
    files::Inode,
    layout::Layout,
    streams::{Compression, name, source},
};

/// Consumers that append to a stream of their own, and the stream.
fn speakers() -> impl Iterator<Item = (&'static str, &'static str)> {
    REGISTRY.iter().filter_map(|registration| Some((registration.name, registration.stream?.0)))
}

/// The files that consumers append to, and how long they are just now.
pub fn said(layout: &Layout) -> Vec<(Inode, u64)> {
    let said = |path: &Path| {
        let name = name::parse(path.file_name()?.to_str()?)?;
        let spoken = speakers().any(|(_, stream)| *stream == *name.stream) && name.compression == Compression::None;
        let (id, len) = source::identify(&layout.files, path).ok().filter(|_| spoken)?;
        Some((id.inode(), len))
    };
    layout.files.list(&layout.dir).unwrap_or_default().iter().filter_map(|path| said(path)).collect()
}

/// Whether all of it is sealed. What is not is in no backup: a consumer that stood past it there would not say it again.
pub fn is_sealed(said: &[(Inode, u64)], holdings: &[Holding]) -> bool {
    said.iter().all(|(inode, len)| {
        let sealed = holdings.iter().filter(|holding| holding.inode == *inode).map(|holding| holding.sealed);
        *len <= sealed.max().unwrap_or(0)
    })
}

/// Whether a snapshot is of a consumer that appends to a stream.
pub fn is_of_speaker(snapshot: &Path) -> bool {
    let stem = snapshot.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    speakers().any(|(consumer, _)| stem.rsplit_once('-').is_some_and(|(of, _)| of == consumer))
}
