use std::{borrow::Cow, fmt, fs::File, io, os::unix::fs::FileExt, path::PathBuf, str::FromStr};

use serde::Deserialize;

use super::journal::Mark;

/// Bytes of decisions that one page looks at, at most: a filter that seldom holds gives short pages, not slow ones.
const SCAN_MAX: u64 = 64 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// The decisions file of one consumer. The order of the list breaks ties between decisions with the same cause.
#[derive(Clone, Debug)]
pub struct Source {
    pub consumer: &'static str,
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

/// A decisions file as far as it is whole.
struct Reader {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Reader {
    /// `None`: this consumer has decided nothing yet.
    fn open(source: &Source) -> io::Result<Option<Reader>> {
        let file = match File::open(&source.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.metadata()?.len();
        Ok(Some(Reader { path: source.path.clone(), file, len }))
    }

    fn damaged(&self, offset: u64) -> io::Error {
        let what = format!("{} holds no decision at byte {offset}: run `runtape verify`", self.path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    }

    /// The offset of the first line whose mark is at least `from`, or of a line not far before it. Marks ascend, so it
    /// halves the file.
    fn seek(&self, from: Mark) -> io::Result<u64> {
        // `low` is the start of a line before `from` (or the first one); no line that begins in `high..` is before it.
        let (mut low, mut high) = (0, self.len);
        while high - low > CHUNK as u64 {
            let middle = low + (high - low) / 2;
            match self.line_after(middle, high)? {
                Some((start, mark)) if mark < from => low = start,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first whole line that begins after `offset` and before `end`.
    fn line_after(&self, offset: u64, end: u64) -> io::Result<Option<(u64, Mark)>> {
        let mut lines = Lines::new(self.again()?, offset);
        // What is left of the line in which the offset lies.
        if lines.next()?.is_none() {
            return Ok(None);
        }
        match lines.next()? {
            Some((start, text)) if start < end => {
                let mark = serde_json::from_slice(&text).map_err(|_| self.damaged(start))?;
                Ok(Some((start, mark)))
            }
            _ => Ok(None),
        }
    }

    /// The mark of the last whole line.
    fn last(&self) -> io::Result<Option<Mark>> {
        let mut back = CHUNK as u64;
        loop {
            let start = self.len.saturating_sub(back);
            let mut lines = Lines::new(self.again()?, start);
            if start > 0 {
                lines.next()?;
            }
            let mut last = None;
            while let Some(line) = lines.next()? {
                last = Some(line);
            }
            if let Some((offset, text)) = last {
                return serde_json::from_slice(&text).map(Some).map_err(|_| self.damaged(offset));
            }
            if start == 0 {
                return Ok(None);
            }
            back *= 4;
        }
    }

    fn again(&self) -> io::Result<Reader> {
        Ok(Reader { path: self.path.clone(), file: self.file.try_clone()?, len: self.len })
    }
}

/// Whole lines from an offset on; a line without its newline is being written and not there yet.
struct Lines {
    reader: Reader,
    /// Offset of `buffer[start]`.
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl Lines {
    fn new(reader: Reader, offset: u64) -> Lines {
        Lines { reader, offset, buffer: Vec::new(), start: 0 }
    }

    fn next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut searched = self.start;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let newline = searched + at;
                let line = self.buffer[self.start..newline].to_vec();
                let at = self.offset;
                self.offset += (newline + 1 - self.start) as u64;
                self.start = newline + 1;
                return Ok(Some((at, line)));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            searched = self.buffer.len();
            let end = self.offset + self.buffer.len() as u64;
            let more = self.reader.len.saturating_sub(end).min(CHUNK as u64) as usize;
            if more == 0 {
                return Ok(None);
            }
            self.buffer.resize(searched + more, 0);
            self.reader.file.read_exact_at(&mut self.buffer[searched..], end)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn file(dir: &tempfile::TempDir, consumer: &'static str, marks: &[(u64, u32, &str, &str)]) -> Source {
        let path = dir.path().join(format!("{consumer}.jsonl"));
        let mut text = String::new();
        for (cause, ordinal, subject, verdict) in marks {
            let _ = writeln!(
                text,
                r#"{{"cause":{cause},"ordinal":{ordinal},"consumer":"{consumer}","version":1,"subject_kind":"agent","subject":"{subject}","verdict":"{verdict}","reason":{{}}}}"#
            );
        }
        std::fs::write(&path, text).expect("a writable directory");
        Source { consumer, path }
    }

    fn places(page: &Page) -> Vec<String> {
        page.found.iter().map(|found| found.at.to_string()).collect()
    }

    fn three(dir: &tempfile::TempDir) -> Vec<Source> {
        vec![
            file(dir, "z", &[(3, 0, "a", "in"), (3, 1, "b", "in"), (9, 0, "a", "out")]),
            file(dir, "a", &[(1, 0, "a", "in"), (3, 0, "a", "out"), (10, 0, "b", "in")]),
            Source { consumer: "none", path: dir.path().join("none.jsonl") },
        ]
    }

    #[test]
    fn pages_are_merged_by_cause_then_list_then_ordinal() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sources = three(&dir);
        let all = ["1.a.0", "3.z.0", "3.z.1", "3.a.0", "9.z.0", "10.a.0"];
        let any = Filter::default();
        for limit in 1..=7 {
            let (mut got, mut after) = (Vec::new(), None);
            loop {
                let page = page(&sources, &any, after.as_ref(), limit).expect("a page");
                assert!(page.found.len() <= limit);
                got.extend(places(&page));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(got, all, "limit {limit}");
            let last = newest(&sources, &any, limit).expect("the newest");
            assert_eq!(places(&last), all[all.len().saturating_sub(limit)..], "newest {limit}");
        }
    }

    #[test]
    fn filters() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let sources = three(&dir);
        let check = |filter: &Filter, after: Option<&str>, want: &[&str]| {
            let after = after.map(|text| text.parse().expect("a cursor"));
            let page = page(&sources, filter, after.as_ref(), 100).expect("a page");
            assert_eq!((places(&page).as_slice(), page.next), (want.map_to_strings().as_slice(), None), "{filter:?}");
        };
        let text = |text: &str| Some(text.to_owned());
        let any = Filter::default();
        check(&Filter { consumer: text("z"), ..any.clone() }, None, &["3.z.0", "3.z.1", "9.z.0"]);
        check(&Filter { subject: text("b"), ..any.clone() }, None, &["3.z.1", "10.a.0"]);
        check(&Filter { verdict: text("out"), ..any.clone() }, None, &["3.a.0", "9.z.0"]);
        check(&Filter { subject_kind: text("strategy"), ..any.clone() }, None, &[]);
        check(&Filter { from: 3, to: Some(9), ..any.clone() }, None, &["3.z.0", "3.z.1", "3.a.0"]);
        check(&any, Some("3.z.0"), &["3.z.1", "3.a.0", "9.z.0", "10.a.0"]);
        check(&any, Some("3.a.0"), &["9.z.0", "10.a.0"]);
        check(&any, Some("10.a.0"), &[]);
        let newest = newest(&sources, &Filter { subject: text("a"), ..any }, 2).expect("the newest");
        assert_eq!(places(&newest), ["3.a.0", "9.z.0"]);
    }

    trait Strings {
        fn map_to_strings(&self) -> Vec<String>;
    }

    impl Strings for &[&str] {
        fn map_to_strings(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn any_place_of_a_large_file_is_found_and_a_torn_end_is_not_there_yet() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let marks: Vec<_> = (0..20_000_u64).map(|n| (n * 3, 0, "a", "in")).collect();
        let source = file(&dir, "x", &marks);
        let whole = std::fs::read(&source.path).expect("the file");
        std::fs::write(&source.path, &whole[..whole.len() - 1]).expect("a writable file");
        let sources = [source];
        for from in [0, 1, 2, 3, 4, 2_999, 3_000, 29_999, 30_000, 59_993, 59_994] {
            let page = page(&sources, &Filter { from, ..Filter::default() }, None, 1).expect("a page");
            assert_eq!(page.found[0].at.cause, from.div_ceil(3) * 3, "from {from}");
        }
        let last = page(&sources, &Filter { from: 59_995, ..Filter::default() }, None, 1).expect("a page");
        assert_eq!(last, Page::default());
        let last = newest(&sources, &Filter::default(), 1).expect("the newest");
        assert_eq!(places(&last), ["59994.x.0"]);
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("x.jsonl");
        std::fs::write(&path, "\0\0\0\n").expect("a writable directory");
        let error = page(&[Source { consumer: "x", path }], &Filter::default(), None, 1).expect_err("damage");
        assert!(error.to_string().contains("x.jsonl holds no decision at byte 0"), "{error}");
    }
}
