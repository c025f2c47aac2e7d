use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use crate::{
    clock::Clock,
    consumers::REGISTRY,
    decision::DecisionLine,
    layout::Layout,
    replay::replay,
    tape::{Directory, Until, verify::Finding},
};

/// The decisions file of one consumer, held line by line against what the tape gives.
struct Written {
    path: PathBuf,
    lines: Option<BufReader<File>>,
    number: u64,
    /// The last line read: its position, and what it says.
    next: Option<(u64, DecisionLine)>,
    /// Made by another version of the consumer, or found wrong already.
    done: bool,
    finding: Option<Finding>,
}

/// Folds the whole tape anew, and names the first decision of each consumer that is not what comes out. Those that are
/// not written yet are not missed; nor are those held against it that another version of a consumer made.
///
/// # Errors
/// The history cannot be read.
pub fn findings(layout: &Layout) -> anyhow::Result<Vec<Finding>> {
    let directory = Directory::open(layout.clone(), Some(Clock::system().now()))?;
    let mut files = BTreeMap::new();
    for registration in REGISTRY {
        files.insert(registration.name.to_owned(), Written::open(layout.decisions(registration.name))?);
    }
    let mut failed = None;
    let replayed = replay(&directory, REGISTRY, None, Until::End, 1, |_, emitted| {
        for line in emitted.iter().map(crate::fold::Emitted::line) {
            let written = files.get_mut(&line.consumer).map(|file| file.expect(&line));
            failed = failed.take().or(written.and_then(Result::err));
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let end = replayed.intake.position();
    for file in files.values_mut() {
        file.finish(end)?;
    }
    Ok(files.into_values().filter_map(|file| file.finding).collect())
}

impl Written {
    fn open(path: PathBuf) -> io::Result<Written> {
        let lines = match File::open(&path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Written { path, done: lines.is_none(), lines, number: 0, next: None, finding: None })
    }

    /// The next whole line.
    fn read(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        if let Some(lines) = &mut self.lines {
            lines.read_until(b'\n', &mut text)?;
        }
        self.number += 1;
        self.next = None;
        if text.ends_with(b"\n") {
            match serde_json::from_slice::<DecisionLine>(&text) {
                Ok(line) => self.next = Some((line.cause, line)),
                Err(error) => self.wrong(format!("no decision: {error}")),
            }
        }
        Ok(())
    }

    fn wrong(&mut self, what: String) {
        self.done = true;
        let what = format!("line {}: {what}", self.number);
        self.finding = Some(Finding::in_file(self.path.clone(), what));
    }

    /// What the tape gives next.
    fn expect(&mut self, want: &DecisionLine) -> io::Result<()> {
        if self.done {
            return Ok(());
        }
        self.read()?;
        match self.next.take() {
            Some((_, got)) if got.version != want.version => self.done = true,
            Some((_, got)) if got != *want => {
                let (at, got) = (want.cause, serde_json::to_string(&got).unwrap_or_default());
                let want = serde_json::to_string(want).unwrap_or_default();
                self.wrong(format!("not the decision that the tape gives at position {at}: {got} instead of {want}"));
            }
            // It ends here: the rest is not written yet.
            None => self.done = true,
            Some(_) => {}
        }
        Ok(())
    }

    /// Whatever stands behind the last decision of a tape that ends at a position.
    fn finish(&mut self, end: u64) -> io::Result<()> {
        if self.done {
            return Ok(());
        }
        self.read()?;
        if let Some((cause, _)) = self.next.take().filter(|(cause, _)| *cause < end) {
            self.wrong(format!("the tape gives no such decision at position {cause}"));
        }
        Ok(())
    }
}
