use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    cli::{Events, Usage, reading},
    files::Files,
    history::pile::{self, Pile},
    layout::Layout,
    render::near::near,
    tape::Directory,
};

/// Names that are shown of what lies where nothing was found.
const SHOWN: usize = 5;

/// What is to be read.
pub enum Input {
    /// A directory in the order of its tape.
    Taped(Box<Directory>),
    Pile(Box<Pile>),
}

impl Input {
    /// What was named: files, directories, patterns. Without any, the events directory.
    ///
    /// # Errors
    /// Something that is not there, or cannot be read together with the rest.
    pub fn of(paths: &[String], events: &Events, out: &Path) -> anyhow::Result<Input> {
        if paths.is_empty() {
            return of_dir(events, &events.layout(), out);
        }
        if let [only] = paths
            && Path::new(only).is_dir()
        {
            let events = Events { events: only.into() };
            return of_dir(&events, &events.layout(), out);
        }
        let files = Files::machine();
        let mut found = Vec::new();
        for path in paths {
            for path in named(path)? {
                if !path.is_dir() {
                    found.push(path);
                    continue;
                }
                if Layout::new(&path).tape().exists() {
                    let what = "has a tape, which decides the order of its lines: backfill it alone";
                    return Err(Usage(format!("{} {what}, or name the files in it", path.display())).into());
                }
                found.extend(streams_of(&path)?);
            }
        }
        let found: Vec<PathBuf> = found.into_iter().map(|path| fs::canonicalize(&path).unwrap_or(path)).collect();
        Ok(Input::Pile(Box::new(Pile::of(&files, &found, out)?)))
    }

    /// What tells the history from any other.
    ///
    /// # Errors
    /// The tape cannot be read.
    pub fn identity(&self) -> anyhow::Result<String> {
        Ok(match self {
            Input::Taped(directory) => format!("tape {}", directory.identity()?.unwrap_or_default()),
            Input::Pile(pile) => format!("files {}", pile.identity()),
        })
    }

    pub fn directory(&self) -> &Directory {
        match self {
            Input::Taped(directory) => directory,
            Input::Pile(pile) => &pile.directory,
        }
    }
}

/// A directory by its tape, or without one as a pile.
fn of_dir(events: &Events, layout: &Layout, out: &Path) -> anyhow::Result<Input> {
    if layout.tape().exists() || !layout.dir.is_dir() {
        return Ok(Input::Taped(Box::new(reading::open(events)?)));
    }
    let found = streams_of(&layout.dir)?;
    let found: Vec<PathBuf> = found.into_iter().map(|path| fs::canonicalize(&path).unwrap_or(path)).collect();
    Ok(Input::Pile(Box::new(Pile::of(&layout.files, &found, out)?)))
}

fn streams_of(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let found = pile::of_dir(&Files::machine(), dir)?;
    if found.is_empty() {
        let what =
            format!("there is no stream (*.jsonl, rotated or packed) in {}: {}", dir.display(), lies_in(dir, ""));
        return Err(Usage(what).into());
    }
    Ok(found)
}

/// The paths that were meant: one, or all that a pattern matches.
fn named(text: &str) -> Result<Vec<PathBuf>, Usage> {
    let path = PathBuf::from(text);
    if path.exists() {
        return Ok(vec![path]);
    }
    if !text.contains(['*', '?', '[']) {
        return Err(Usage(format!("there is no {text}: {}", nearest(&path))));
    }
    let matches = glob::glob(text).map_err(|error| Usage(format!("the pattern {text:?} is none: {error}")))?;
    let mut found: Vec<PathBuf> = matches.filter_map(Result::ok).collect();
    found.sort();
    if found.is_empty() {
        return Err(Usage(format!("nothing matches {text:?}: {}", nearest(&path))));
    }
    Ok(found)
}

/// What there is in the place of a path that is not there.
fn nearest(path: &Path) -> String {
    let wild = |path: &Path| path.to_string_lossy().contains(['*', '?', '[']);
    let dir = path.ancestors().skip(1).find(|dir| dir.as_os_str().is_empty() || dir.is_dir() && !wild(dir));
    let dir = dir.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    lies_in(dir, &name)
}

/// The name in a folder that was meant, or some that there are.
fn lies_in(dir: &Path, name: &str) -> String {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let wanted: String = name.chars().filter(|c| !matches!(c, '*' | '?' | '[' | ']')).collect();
    if let Some(near) = near(&wanted, names.iter().map(String::as_str)).filter(|_| !wanted.is_empty()) {
        return format!("did you mean {}?", dir.join(near).display());
    }
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    names.truncate(SHOWN);
    match names.is_empty() {
        true => format!("{} is empty", dir.display()),
        false => format!("{} holds {}{more}", dir.display(), names.join(", ")),
    }
}
