use clap::Args;

use super::{Form, print, told};
use crate::{
    cli::{Found, Usage},
    render::human,
    report::{Depth, history, page},
    tape::Directory,
};

/// How an answer is made and printed.
#[derive(Debug, Args)]
struct How {
    /// How many of the worst runs
    #[arg(short = 'n', long, value_name = "RUNS", default_value_t = 10)]
    worst: usize,
    /// Share of false patterns among those reported that is accepted
    #[arg(long, value_name = "Q", default_value_t = 0.05)]
    q: f64,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Form,
}

impl How {
    fn depth(&self) -> Result<Depth, Usage> {
        if self.q > 0.0 && self.q < 1.0 {
            Ok(Depth { worst: self.worst, q: self.q })
        } else {
            Err(Usage(format!("--q {}: want a share between 0 and 1", self.q)))
        }
    }
}

#[derive(Debug, Args)]
pub struct OfAgent {
    /// Its name
    name: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub struct OfFleet {
    #[command(flatten)]
    how: How,
}

impl OfAgent {
    pub fn answer(self, directory: &Directory) -> anyhow::Result<Found> {
        let depth = self.how.depth()?;
        let report = told("reading", None, |watch| history::agent(directory, &self.name, &depth, watch))?;
        let who = human::visible(&self.name);
        print(self.how.output, &report, |answer| history::page(&who, answer), page::history)
    }
}

impl OfFleet {
    pub fn answer(self, directory: &Directory) -> anyhow::Result<Found> {
        let depth = self.how.depth()?;
        let report = told("reading", None, |watch| history::fleet(directory, &depth, watch))?;
        print(self.how.output, &report, |answer| history::page("the fleet", answer), page::history)
    }
}
