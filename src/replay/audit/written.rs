use std::io::{self, BufRead, BufReader};

use serde::Deserialize;

use crate::{
    files::{File, Reading},
    store::journal::Mark,
};

/// A line of a decisions file.
pub struct Line {
    /// From 1 on.
    pub number: u64,
    pub text: Vec<u8>,
    /// Where it says it stands; none where it says nothing that can be read.
    pub mark: Option<Mark>,
    pub version: Option<u64>,
}

/// The lines of a decisions file in order: the one it stands on, and the one after.
pub struct Written {
    lines: Option<BufReader<Reading>>,
    read: u64,
    head: Option<Line>,
    next: Option<Line>,
}

impl Written {
    /// Without a file there are no lines.
    pub fn new(file: Option<File>) -> io::Result<Written> {
        let mut written =
            Written { lines: file.map(|file| BufReader::new(Reading::new(file))), read: 0, head: None, next: None };
        written.advance()?;
        written.advance()?;
        Ok(written)
    }

    pub fn head(&self) -> Option<&Line> {
        self.head.as_ref()
    }

    pub fn next_mark(&self) -> Option<Mark> {
        self.next.as_ref().and_then(|line| line.mark)
    }

    pub fn advance(&mut self) -> io::Result<()> {
        self.head = self.next.take();
        let Some(lines) = &mut self.lines else { return Ok(()) };
        let mut text = Vec::new();
        lines.read_until(b'\n', &mut text)?;
        // What is not finished is cut off and written anew by the next start: it is not there.
        if text.pop() != Some(b'\n') {
            self.lines = None;
            return Ok(());
        }
        self.read += 1;
        let mark = serde_json::from_slice(&text).ok();
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let version = serde_json::from_slice(&text).ok().map(|Versioned { version }| version);
        self.next = Some(Line { number: self.read, text, mark, version });
        Ok(())
    }
}
