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
        let mut command = Cli::command().disable_help_subcommand(true);
        if self.to.as_os_str() == "-" {
            command.build();
            let mut out = reading::stdout();
            clap_mangen::Man::new(command).render(&mut out)?;
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
