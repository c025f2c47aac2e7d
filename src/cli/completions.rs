use std::io::Write;

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{Cli, Found, reading};

#[derive(Debug, Args)]
pub struct Completions {
    shell: Known,
}

/// The shells there are completions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub fn run(self) -> anyhow::Result<Found> {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut offered(&Cli::command()), "runtape", &mut script);
        let mut out = reading::stdout();
        out.write_all(&script)?;
        out.flush()?;
        Ok(Found::Nothing)
    }
}

/// The program without the commands that its help does not show: shells would offer them all the same.
fn offered(whole: &Command) -> Command {
    let shown = whole.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("runtape").version(env!("CARGO_PKG_VERSION")).subcommands(shown.cloned()).args(whole.get_arguments())
}
