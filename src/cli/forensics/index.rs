use clap::Args;
use serde_json::json;

use crate::{
    cli::{Found, Output, Usage, answer, figures, reading::Progress},
    replay::index::build,
    report::gaps_of,
    tape::Directory,
};

#[derive(Debug, Args)]
pub struct OfIndex {
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl OfIndex {
    pub fn answer(self, directory: &Directory) -> anyhow::Result<Found> {
        if directory.head.is_none() {
            let what = "there is no tape to index: lines get their positions once `runtape serve` has sealed them";
            return Err(Usage(what.to_owned()).into());
        }
        let bar = Progress::new(Some(directory.sealed_to - directory.first_position()), "indexing", false);
        let built = build(directory, None, &mut |lines| bar.inc(lines))?;
        bar.finish();
        let gap: Vec<_> = built.gap.into_iter().collect();
        let told = json!({ "lines": built.entries, "to": built.to, "files": built.files, "gaps": gaps_of(&gap) });
        answer::print(self.output, &told, |answer| {
            let lines = figures::count(&answer["lines"]);
            format!(
                "{lines} lines of runs before position {} are indexed in {}\n",
                answer["to"],
                figures::some(built.files, "file")
            )
        })?;
        Ok(answer::found(&gap))
    }
}
