use std::{fs, io::Write, path::PathBuf};

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::{Cli, Found, reading};

#[derive(Debug, Args)]
pub struct Man {
    /// Where to write them, one file per command; - prints the page of runtape itself
    #[arg(value_name = "DIR|-")]
    to: PathBuf,
}

impl Man {
    pub fn run(self) -> anyhow::Result<Found> {
        let command = Cli::command().disable_help_subcommand(true);
        if self.to.as_os_str() == "-" {
            // The same page as in a directory, whatever the crate does differently for one alone.
            let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
            clap_mangen::generate_to(command, dir.path())?;
            let page = fs::read(dir.path().join("runtape.1")).context("cannot read the page back")?;
            let mut out = reading::stdout();
            out.write_all(&page)?;
            out.flush()?;
            return Ok(Found::Nothing);
        }
        let write = || {
            fs::create_dir_all(&self.to)?;
            clap_mangen::generate_to(command, &self.to)
        };
        write().with_context(|| format!("cannot write the man pages to {}", self.to.display()))?;
        Ok(Found::Nothing)
    }
}
