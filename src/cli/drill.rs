use std::{ops::Range, str::FromStr};

use anyhow::anyhow;
use clap::Args;

use super::Found;
use crate::drill::{self, Report, Settings};

/// Plays disasters on a simulated disk: power cuts, torn writes, failing calls, a full disk.
#[derive(Debug, Args)]
pub struct Drill {
    /// Seeds to play: one, or the first and one past the last
    #[arg(long, value_name = "N|FROM..TO", default_value = "0..20")]
    seeds: Seeds,
    /// Things that happen in each seed
    #[arg(long, value_name = "N", default_value_t = Settings::default().steps)]
    steps: u64,
    /// Power cuts tried in each seed, at most
    #[arg(long, value_name = "N")]
    points: Option<u64>,
    /// Print every call that changed the disk, or failed
    #[arg(long)]
    trace: bool,
    /// Find it wrong too when some class of events never happened
    #[arg(long)]
    whole: bool,
    /// Stop at the first violation
    #[arg(long)]
    first: bool,
}

#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Seeds, anyhow::Error> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| anyhow!("want N or FROM..TO"));
        match text.split_once("..") {
            Some((from, to)) => Ok(Seeds(number(from)?..number(to)?)),
            None => number(text).map(|seed| Seeds(seed..seed + 1)),
        }
    }
}

impl Drill {
    pub fn run(&self) -> anyhow::Result<Found> {
        let settings = Settings { steps: self.steps, points: self.points, trace: self.trace, ..Settings::default() };
        let mut all = Report::default();
        for seed in self.seeds.0.clone() {
            let report = drill::play(seed, settings);
            // At once, so that a run that is stopped has told what it found.
            report.violations.iter().for_each(|violation| eprintln!("{violation}"));
            all.add(report);
            if self.first && !all.violations.is_empty() {
                break;
            }
        }
        all.told.iter().for_each(|line| println!("{line}"));
        print!("{all}");
        let missing = all.missing();
        missing.iter().for_each(|what| println!("never happened: {what}"));
        let fine = all.violations.is_empty() && (missing.is_empty() || !self.whole);
        Ok(if fine { Found::Nothing } else { Found::Something })
    }
}
