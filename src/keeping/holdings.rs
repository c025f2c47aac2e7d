use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use super::KeepError;
use crate::{
    files::Inode,
    layout::Layout,
    streams::{Compression, Follower, copies::SealedExtent, generation::State, name, source},
    tape::{
        self, Known,
        horizon::Horizon,
        journal::{Rounds, Seam},
        round::Round,
    },
};

/// A file that holds sealed history. Several generations may share one: a copy that went on to be appended to.
#[derive(Debug)]
pub struct Holding {
    /// Ids of its generations, the oldest first.
    pub files: Vec<Arc<str>>,
    pub path: PathBuf,
    pub inode: Inode,
    pub compression: Compression,
    /// Unpacked bytes that are sealed.
    pub sealed: u64,
    /// Its size on disk.
    pub len: u64,
    /// Its names in the events directory.
    pub names: Vec<String>,
    /// What the tape sealed of it, in order, without overlaps.
    pub extents: Vec<SealedExtent>,
}

/// The sealed history as a tape tells it, and where it lies.
pub struct History {
    /// Before the first round, and the end of the last whole one.
    pub start: Seam,
    pub end: Seam,
    /// Digest of the first round, or of the horizon record: what tells one history from another.
    pub origin: String,
    pub horizon: Option<Arc<Horizon>>,
    pub holdings: Vec<Holding>,
}

impl History {
    /// Reads a tape to its last whole round; `each` is told the place after every one.
    ///
    /// # Errors
    /// There is no tape, it is damaged, or a file it names is gone.
    pub fn of(layout: &Layout, mut each: impl FnMut(&Seam, &Round)) -> Result<History, KeepError> {
        tape::directory::check_dir(layout)?;
        let mut rounds = Rounds::open(&layout.files, &layout.tape())?;
        let horizon = rounds.horizon().cloned();
        let start = rounds.seam();
        let mut known = Known::of(horizon.as_deref());
        let mut extents: HashMap<Arc<str>, Vec<SealedExtent>> = HashMap::new();
        for (file, pruned) in horizon.iter().flat_map(|horizon| horizon.extents()) {
            extents.entry(file.clone()).or_default().push(pruned);
        }
        let mut origin = horizon.as_ref().map(|horizon| horizon.digest.clone());
        while let Some(round) = rounds.next() {
            let round = round?;
            known.add(&round);
            for extent in &round.extents {
                extents.entry(extent.file.clone()).or_default().extend(extent.sealed());
            }
            origin.get_or_insert_with(|| round.digest.clone());
            each(&rounds.seam(), &round);
        }
        let origin = origin.ok_or_else(|| no_tape(layout))?;
        let holdings = holdings(layout, known, extents)?;
        Ok(History { start, end: rounds.seam(), origin, horizon, holdings })
    }
}

/// There is nothing to keep yet, and what to do.
pub fn no_tape(layout: &Layout) -> KeepError {
    KeepError::Refused(format!(
        "there is no tape in {}: nothing was sealed yet. Start `runtape serve` on it once, or copy its files as they are",
        layout.dir.display()
    ))
}

fn holdings(
    layout: &Layout,
    known: Known,
    mut extents: HashMap<Arc<str>, Vec<SealedExtent>>,
) -> Result<Vec<Holding>, KeepError> {
    let mut follower = Follower::new(layout.files.clone(), layout.dir.clone(), None, known.generations(layout));
    // A file that stays lost is found below.
    let _ = follower.recover(&|file| tape::extents_of(layout, file));
    let mut names = names(layout);
    let mut by_inode: BTreeMap<Inode, Holding> = BTreeMap::new();
    for generation in follower.generations().iter().filter(|generation| generation.state != State::Dropped) {
        let path = &generation.path;
        let (id, len) = source::identify(&layout.files, path).map_err(|error| KeepError::Damaged {
            path: path.clone(),
            what: format!(
                "the history of stream {} (file {}) is gone: {error}; run `runtape verify`",
                generation.stream(),
                generation.file()
            ),
        })?;
        let holding = by_inode.entry(id.inode()).or_insert_with(|| Holding {
            files: Vec::new(),
            path: path.clone(),
            inode: id.inode(),
            compression: generation.record.compression,
            sealed: 0,
            len,
            names: names.remove(&id.inode()).unwrap_or_default(),
            extents: Vec::new(),
        });
        holding.files.push(generation.file().clone());
        holding.sealed = holding.sealed.max(generation.sealed);
        holding.extents.append(&mut extents.remove(generation.file()).unwrap_or_default());
    }
    let mut holdings: Vec<Holding> = by_inode.into_values().collect();
    holdings.iter_mut().for_each(|holding| in_order(&mut holding.extents));
    holdings.sort_by(|a, b| a.files.cmp(&b.files));
    Ok(holdings)
}

/// Extents of the generations of one file, in order and without overlaps.
pub fn in_order(extents: &mut Vec<SealedExtent>) {
    extents.sort_by_key(|extent| (extent.from, extent.to));
    let mut end = 0;
    extents.retain(|extent| {
        let next = extent.from >= end;
        end = if next { extent.to } else { end };
        next
    });
}

/// The names of stream files in the events directory, by inode.
fn names(layout: &Layout) -> HashMap<Inode, Vec<String>> {
    let mut names: HashMap<Inode, Vec<String>> = HashMap::new();
    for path in layout.files.list(&layout.dir).unwrap_or_default() {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name::parse(name).is_some()
            && let Ok((id, _)) = source::identify(&layout.files, &path)
        {
            names.entry(id.inode()).or_default().push(name.to_owned());
        }
    }
    names.values_mut().for_each(|names| names.sort());
    names
}
