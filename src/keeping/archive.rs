use std::{io::Read, path::Path, sync::Arc};

use serde::Serialize;

use super::{
    KeepError, copy, failed,
    holdings::{History, Holding},
    prune::is_all_sealed,
};
use crate::{
    event::Nanos,
    files::How,
    layout::Layout,
    store::Lock,
    streams::{Compression, links, seekable, source},
};

/// What was packed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub packed: Vec<Packed>,
    /// Bytes on disk before and after.
    pub before: u64,
    pub after: u64,
    /// Files left as they are, and why.
    pub kept: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Packed {
    pub file: Arc<str>,
    pub names: Vec<String>,
    pub before: u64,
    /// None when nothing was done yet.
    pub after: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    pub file: Arc<str>,
    pub names: Vec<String>,
    pub why: String,
}

/// Packs files that nobody appends to any more, sealed to their end and still for so long. The packed file takes the place
/// of the plain one, under each of its names with `.zst` behind it, once it was read back and held against the tape.
///
/// # Errors
/// A server holds the directory, a file is damaged, or something cannot be written.
pub fn archive(layout: &Layout, now: Nanos, still: Nanos, dry_run: bool) -> Result<Report, KeepError> {
    crate::tape::directory::check_dir(layout)?;
    let _lock = Lock::take(&layout.files, &layout.lock())?;
    let mut report = Report::default();
    for holding in History::of(layout, |_, _| ())?.holdings {
        if holding.compression != Compression::None {
            continue;
        }
        let Some(file) = holding.files.first().cloned() else { continue };
        let names = holding.names.clone();
        if let Some(why) = keeps(layout, &holding, now, still)? {
            report.kept.push(Kept { file, names, why });
            continue;
        }
        let after = if dry_run { None } else { Some(pack(layout, &holding)?) };
        report.before += holding.len;
        report.after += after.unwrap_or(0);
        report.packed.push(Packed { file, names, before: holding.len, after });
    }
    Ok(report)
}

/// Why a file stays as it is.
fn keeps(layout: &Layout, holding: &Holding, now: Nanos, still: Nanos) -> Result<Option<String>, KeepError> {
    let about = layout.files.about(&holding.path).map_err(failed("read", &holding.path))?;
    let age = now - Nanos::from(about.modified);
    let taken = holding.names.iter().map(|name| format!("{name}.zst")).find(|name| is_taken(layout, holding, name));
    Ok(if holding.is_appended_to() {
        Some("producers append to it".to_owned())
    } else if !is_all_sealed(layout, holding) {
        Some("not all of its lines are sealed: start a server, and it seals them".to_owned())
    } else if age < still {
        Some(format!(
            "it was written to {} s ago; it is packed once it kept still for {} s",
            age / SECOND,
            still / SECOND
        ))
    } else {
        taken.map(|name| format!("there is a {name} already"))
    })
}

const SECOND: Nanos = 1_000_000_000;

/// Whether a name belongs to something else than what we pack the file into.
fn is_taken(layout: &Layout, holding: &Holding, name: &str) -> bool {
    let ours = holding.files.first().map(|file| links::path(&layout.links(), file, Compression::Zstd));
    let id = |path: &Path| source::identify(&layout.files, path).ok().map(|(id, _)| id.inode());
    let there = id(&layout.dir.join(name));
    there.is_some() && ours.and_then(|ours| id(&ours)) != there
}

/// Packs one file; its size then. Each step leaves the history readable: by the plain file until it is removed last.
fn pack(layout: &Layout, holding: &Holding) -> Result<u64, KeepError> {
    let files = &layout.files;
    let Some((first, others)) = holding.files.split_first() else { return Ok(0) };
    let packed = links::path(&layout.links(), first, Compression::Zstd);
    // What a broken off run left is used when it is sound.
    if copy::check(files, &packed, Compression::Zstd, holding.sealed, &holding.extents).is_err() {
        write(layout, holding, &packed)?;
    }
    let about = files.about(&holding.path).map_err(failed("read", &holding.path))?;
    if about.len != holding.len {
        let what = "it was written to while it was packed; nothing was removed. Type the same again".to_owned();
        return Err(KeepError::Damaged { path: holding.path.clone(), what });
    }
    let link = |to: &Path| match source::identify(files, to) {
        Ok(_) => Ok(()),
        Err(_) => files.link(&packed, to).map_err(failed("make", to)),
    };
    for other in others {
        link(&links::path(&layout.links(), other, Compression::Zstd))?;
    }
    for name in &holding.names {
        link(&layout.dir.join(format!("{name}.zst")))?;
    }
    for dir in [&layout.links(), &layout.dir] {
        files.sync_dir(dir).map_err(failed("sync", dir))?;
    }
    let names = holding.names.iter().map(|name| layout.dir.join(name));
    let plain = holding.files.iter().map(|file| links::path(&layout.links(), file, Compression::None));
    for path in names.chain(plain) {
        links::remove(files, &path).map_err(failed("remove", &path))?;
    }
    for dir in [&layout.dir, &layout.links()] {
        files.sync_dir(dir).map_err(failed("sync", dir))?;
    }
    Ok(files.about(&packed).map_err(failed("read", &packed))?.len)
}

/// Writes the packed file beside, reads it back, and puts it in its place.
fn write(layout: &Layout, holding: &Holding, packed: &Path) -> Result<(), KeepError> {
    let files = &layout.files;
    let Some(first) = holding.files.first() else { return Ok(()) };
    let beside = layout.links().join(format!(".{first}.zst.tmp"));
    let out = files.open(&beside, How::Anew).map_err(failed("write", &beside))?;
    let bytes = source::open(files, &holding.path, Compression::None, 0).map_err(failed("read", &holding.path))?;
    let read = seekable::pack(&mut bytes.take(holding.sealed), &mut |block| out.append(block).map(drop));
    let read = read.and_then(|read| out.sync_all().map(|()| read)).map_err(failed("pack", &holding.path))?;
    if read != holding.sealed {
        let what = format!("it holds {read} bytes of {}; run `runtape verify`", holding.sealed);
        return Err(KeepError::Damaged { path: holding.path.clone(), what });
    }
    copy::check(files, &beside, Compression::Zstd, holding.sealed, &holding.extents)?;
    files.rename(&beside, packed).map_err(failed("make", packed))
}
