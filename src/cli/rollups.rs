use std::path::{Path, PathBuf};

use clap::Args;

use super::Usage;
use crate::{layout::Layout, serve::Tables};

#[derive(Debug, Args)]
pub struct Rollups {
    /// Keep the table of runs, as `backfill` writes it, in this directory: what changed of it is written every five
    /// minutes
    #[arg(long, value_name = "DIR")]
    rollups: Option<PathBuf>,
    /// Seconds between two times that it is written
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, requires = "rollups")]
    rollups_every: f64,
}

impl Rollups {
    /// What is to be written beside the fold of an events directory.
    ///
    /// # Errors
    /// It cannot be written there whatever happens.
    pub fn tables(&self, layout: &Layout) -> Result<Option<Tables>, Usage> {
        let Some(out) = &self.rollups else { return Ok(None) };
        if !(self.rollups_every > 0.0 && self.rollups_every <= 86_400.0) {
            return Err(Usage(format!("--rollups-every {}: want 0 to 86400 seconds", self.rollups_every)));
        }
        if out.exists() && !out.is_dir() {
            return Err(Usage(format!("--rollups {}: that is a file; name a directory", out.display())));
        }
        let (place, events) = (place(out), place(&layout.dir));
        if place.starts_with(&events) || events.starts_with(place.join("runs")) {
            let what = "the events directory is for streams and the tape; name a directory beside it";
            return Err(Usage(format!("--rollups {}: {what}", out.display())));
        }
        written(self, layout, out).map(Some)
    }
}

#[cfg(feature = "history")]
fn written(rollups: &Rollups, layout: &Layout, out: &Path) -> Result<Tables, Usage> {
    use std::time::Duration;

    use crate::{files::Files, history};

    let mut tables = history::rollups::Rollups::new(layout.clone(), Files::machine(), out.to_owned());
    let turn = move |until, watch: &crate::replay::Watch| match tables.turn(until, watch) {
        Ok(rolled) => {
            let more = rolled.gaps.len().saturating_sub(1);
            let more = if more == 0 { String::new() } else { format!(", and {more} more") };
            Ok((rolled.position, rolled.gaps.first().map(|gap| format!("{gap}{more}"))))
        }
        Err(error) => Err(error.to_string()),
    };
    Ok(Tables { every: Duration::from_secs_f64(rollups.rollups_every), turn: Box::new(turn) })
}

#[cfg(not(feature = "history"))]
fn written(_: &Rollups, _: &Layout, _: &Path) -> Result<Tables, Usage> {
    let what = "this runtape was built without tables; build it with `--features history`, which is the default";
    Err(Usage(format!("--rollups: {what}")))
}

/// Where a path leads, links followed as far as it is there.
fn place(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    match there {
        Some((above, real)) => path.strip_prefix(above).map_or_else(|_| path.clone(), |rest| real.join(rest)),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_through_links_and_before_it_is_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().canonicalize().expect("a directory");
        std::fs::create_dir(root.join("events")).expect("a writable directory");
        std::os::unix::fs::symlink(root.join("events"), root.join("link")).expect("a writable directory");
        assert_eq!(place(&root.join("link/a/b")), root.join("events/a/b"));
        assert_eq!(place(&root.join("events")), root.join("events"));
    }
}
