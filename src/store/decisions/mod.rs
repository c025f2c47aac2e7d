/// One decisions file: from an offset on, or from a mark on.
mod file;

use std::{borrow::Cow, fmt, io, path::PathBuf, str::FromStr};

use serde::Deserialize;

use super::journal::Mark;
use crate::files::Files;
use file::{Lines, Reader};

/// Bytes of decisions that one page looks at, at most: a filter that seldom holds gives short pages, not slow ones.
const SCAN_MAX: u64 = 64 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// The decisions file of one consumer. The order of the list breaks ties between decisions with the same cause.
#[derive(Clone, Debug)]
pub struct Source {
    pub consumer: &'static str,
    pub files: Files,
    pub path: PathBuf,
}

/// Where a decision stands among all: `CAUSE.CONSUMER.ORDINAL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub cause: u64,
    pub consumer: String,
    pub ordinal: u32,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.cause, self.consumer, self.ordinal)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Cursor, ()> {
        let mut parts = text.splitn(3, '.');
        let mut next = || parts.next().ok_or(());
        let cause = next()?.parse().map_err(drop)?;
        let consumer = next()?.to_owned();
        Ok(Cursor { cause, consumer, ordinal: next()?.parse().map_err(drop)? })
    }
}

/// Which decisions are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub consumer: Option<String>,
    pub subject: Option<String>,
    pub subject_kind: Option<String>,
    pub verdict: Option<String>,
    /// Causes from here on.
    pub from: u64,
    /// Causes before this.
    pub to: Option<u64>,
}

impl Filter {
    /// Those about one agent.
    pub fn of_agent(name: &str) -> Filter {
        let (subject, subject_kind) = (Some(name.to_owned()), Some("agent".to_owned()));
        Filter { subject, subject_kind, ..Filter::default() }
    }
}

/// A decision with its place; the text is the line of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub at: Cursor,
    pub text: String,
}

/// Decisions in order, and where to go on; no `next`: there are no more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub found: Vec<Found>,
    pub next: Option<Cursor>,
}

/// The first `limit` decisions after a cursor, ordered by cause, consumer, ordinal.
///
/// # Errors
/// A file cannot be read, or holds what is no decision.
pub fn page(sources: &[Source], filter: &Filter, after: Option<&Cursor>, limit: usize) -> io::Result<Page> {
    let mut runs = Vec::new();
    for (rank, source) in sources.iter().enumerate() {
        if filter.consumer.as_ref().is_none_or(|consumer| *consumer == source.consumer)
            && let Some(reader) = Reader::open(source)?
        {
            let from = first_mark(rank, sources, filter, after);
            let offset = reader.seek(from)?;
            runs.push(Run { rank, lines: Lines::new(reader, offset), from, head: None });
        }
    }
    for run in &mut runs {
        run.advance(filter)?;
    }
    let mut page = Page::default();
    let mut scanned = 0;
    // Few consumers: looking at each head is as good as a heap.
    while let Some(run) = runs.iter_mut().filter(|run| run.head.is_some()).min_by_key(|run| run.key()) {
        let Some(head) = run.head.take() else { break };
        let at = Cursor {
            cause: head.mark.cause,
            consumer: sources[run.rank].consumer.to_owned(),
            ordinal: head.mark.ordinal,
        };
        scanned += head.text.len() as u64;
        run.advance(filter)?;
        let wanted = head.is_wanted;
        if wanted {
            page.found.push(Found { at: at.clone(), text: head.text });
        }
        if page.found.len() >= limit || scanned >= SCAN_MAX {
            page.next = runs.iter().any(|run| run.head.is_some()).then_some(at);
            break;
        }
    }
    Ok(page)
}

/// How many decisions of one consumer lie before a position.
///
/// # Errors
/// As [`page`].
pub fn count(source: &Source, before: u64) -> io::Result<u64> {
    let filter = Filter { to: Some(before), ..Filter::default() };
    let (mut count, mut after) = (0, None);
    loop {
        let page = page(std::slice::from_ref(source), &filter, after.as_ref(), 65_536)?;
        count += page.found.len() as u64;
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(count),
        }
    }
}

/// The last `limit` decisions, in the same order; nothing follows them. It looks back in growing steps of causes.
///
/// # Errors
/// As [`page`].
pub fn newest(sources: &[Source], filter: &Filter, limit: usize) -> io::Result<Page> {
    let mut end = 0;
    for source in sources {
        if let Some(reader) = Reader::open(source)? {
            end = end.max(reader.last()?.map_or(0, |mark| mark.cause + 1));
        }
    }
    let end = filter.to.map_or(end, |to| to.min(end));
    let (mut step, mut start, mut kept) = (1024, end, Vec::new());
    let mut scanned = 0;
    while start > filter.from && kept.len() < limit && scanned < SCAN_MAX {
        let from = start.saturating_sub(step).max(filter.from);
        let window = Filter { from, to: Some(start), ..filter.clone() };
        let (mut older, mut after) = (Vec::new(), None);
        loop {
            let part = page(sources, &window, after.as_ref(), 4096)?;
            scanned += part.found.iter().map(|found| found.text.len() as u64).sum::<u64>();
            older.extend(part.found);
            // Only the end of the window matters.
            if older.len() > 2 * limit.max(4096) {
                older.drain(..older.len() - limit);
            }
            match part.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        older.append(&mut kept);
        kept = older;
        (start, step) = (from, step.saturating_mul(2));
    }
    kept.drain(..kept.len().saturating_sub(limit));
    Ok(Page { found: kept, next: None })
}

/// The first mark of a file that is still wanted. Files after the cursor's in the list go on at its cause, those before
/// it behind that cause.
fn first_mark(rank: usize, sources: &[Source], filter: &Filter, after: Option<&Cursor>) -> Mark {
    let from = Mark { cause: filter.from, ordinal: 0 };
    let Some(after) = after else { return from };
    let theirs = sources.iter().position(|source| source.consumer == after.consumer).unwrap_or(sources.len());
    let next = match rank.cmp(&theirs) {
        std::cmp::Ordering::Less => Mark { cause: after.cause.saturating_add(1), ordinal: 0 },
        std::cmp::Ordering::Equal => Mark { cause: after.cause, ordinal: after.ordinal.saturating_add(1) },
        std::cmp::Ordering::Greater => Mark { cause: after.cause, ordinal: 0 },
    };
    from.max(next)
}

/// What a line says of itself beside its reasons.
#[derive(Deserialize)]
struct Label<'a> {
    cause: u64,
    ordinal: u32,
    #[serde(borrow)]
    subject_kind: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    #[serde(borrow)]
    verdict: Cow<'a, str>,
}

struct Head {
    mark: Mark,
    is_wanted: bool,
    text: String,
}

/// One file on its way through a page.
struct Run {
    rank: usize,
    lines: Lines,
    from: Mark,
    head: Option<Head>,
}

impl Run {
    fn key(&self) -> (u64, usize, u32) {
        let mark = self.head.as_ref().map_or(Mark { cause: u64::MAX, ordinal: u32::MAX }, |head| head.mark);
        (mark.cause, self.rank, mark.ordinal)
    }

    fn advance(&mut self, filter: &Filter) -> io::Result<()> {
        loop {
            let Some((offset, text)) = self.lines.next()? else { return Ok(()) };
            let label: Label = serde_json::from_slice(&text).map_err(|_| self.lines.reader.damaged(offset))?;
            let mark = Mark { cause: label.cause, ordinal: label.ordinal };
            if mark < self.from {
                continue;
            }
            if filter.to.is_some_and(|to| mark.cause >= to) {
                return Ok(());
            }
            let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|wanted| wanted == has);
            let is_wanted = is(&filter.subject, &label.subject)
                && is(&filter.subject_kind, &label.subject_kind)
                && is(&filter.verdict, &label.verdict);
            let text = String::from_utf8(text).map_err(|_| self.lines.reader.damaged(offset))?;
            self.head = Some(Head { mark, is_wanted, text });
            return Ok(());
        }
    }
}

/// Files of some consumers, in pages.
#[cfg(test)]
mod tests;
