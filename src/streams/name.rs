use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

/// How the bytes of a file are packed; offsets always count unpacked bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// The age of a file of a stream as its name tells it, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// `runs.jsonl.gz`: packed away, without a number.
    Archived,
    /// `runs.jsonl-20260101`, `runs.jsonl.2026-01-01`: by date.
    Dated(String),
    /// `runs.jsonl.2`: a larger number is older.
    Numbered(Reverse<u32>),
    /// `runs.jsonl`: the one producers append to.
    Live,
}

/// A file name read as a file of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFile {
    pub stream: String,
    pub age: Age,
    pub compression: Compression,
}

const SUFFIX: &str = ".jsonl";

/// Reads a file name: `NAME.jsonl`, or what rotation makes of it (`NAME.jsonl.1`, `NAME.jsonl-20260101.gz`). Anything
/// else (editors' droppings, other formats, hidden files) is no stream.
pub fn parse(file_name: &str) -> Option<StreamFile> {
    if file_name.starts_with('.') || file_name.chars().any(char::is_control) {
        return None;
    }
    let (rest, compression) = if let Some(rest) = file_name.strip_suffix(".gz") {
        (rest, Compression::Gzip)
    } else if let Some(rest) = file_name.strip_suffix(".zst") {
        (rest, Compression::Zstd)
    } else {
        (file_name, Compression::None)
    };
    let at = rest.rfind(SUFFIX)?;
    let (stream, tail) = (&rest[..at], &rest[at + SUFFIX.len()..]);
    if stream.is_empty() {
        return None;
    }
    let age = match (tail, compression) {
        ("", Compression::None) => Age::Live,
        ("", _) => Age::Archived,
        _ => rotation(tail)?,
    };
    Some(StreamFile { stream: stream.to_owned(), age, compression })
}

/// The age in a rotation suffix: a separator, then digits with date punctuation.
fn rotation(tail: &str) -> Option<Age> {
    let tail = tail.strip_prefix(['.', '-', '_'])?;
    if !tail.starts_with(|c: char| c.is_ascii_digit()) || !tail.chars().all(is_date_char) {
        return None;
    }
    match tail.parse::<u32>() {
        Ok(number) if tail.len() < 6 => Some(Age::Numbered(Reverse(number))),
        _ => Some(Age::Dated(tail.to_owned())),
    }
}

fn is_date_char(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | ':' | 'T' | 'Z')
}

/// Whether a stream's name is another's with a rotation suffix (`runs-20260101`, `runs.1`): as logrotate's option
/// `extension` makes them.
pub fn is_rotated_name(stream: &str, of: &str) -> bool {
    stream.strip_prefix(of).is_some_and(|tail| rotation(tail).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, want: &str) {
        let got =
            parse(name).map_or("no stream".to_owned(), |f| format!("{} {:?} {:?}", f.stream, f.age, f.compression));
        assert_eq!(got, want, "{name}");
    }

    #[test]
    fn names() {
        check("runs.jsonl", "runs Live None");
        check("a.b-c.jsonl", "a.b-c Live None");
        check("runs.jsonl.1", "runs Numbered(Reverse(1)) None");
        check("runs.jsonl.12.gz", "runs Numbered(Reverse(12)) Gzip");
        check("runs.jsonl-20260101", "runs Dated(\"20260101\") None");
        check("runs.jsonl.2026-01-01T10:00.zst", "runs Dated(\"2026-01-01T10:00\") Zstd");
        check("runs.jsonl.gz", "runs Archived Gzip");
        check("runs-20260101.jsonl", "runs-20260101 Live None");
        for other in ["runs.json", "runs.jsonl~", ".runs.jsonl", "runs.jsonl.swp", "runs.jsonl.tmp", ".jsonl", "x.gz"] {
            check(other, "no stream");
        }
    }

    #[test]
    fn older_files_come_first() {
        let mut names = ["r.jsonl", "r.jsonl.1", "r.jsonl.10.gz", "r.jsonl-20260102", "r.jsonl-20260101", "r.jsonl.2"];
        names.sort_by_key(|name| parse(name).map(|f| f.age));
        assert_eq!(
            names,
            ["r.jsonl-20260101", "r.jsonl-20260102", "r.jsonl.10.gz", "r.jsonl.2", "r.jsonl.1", "r.jsonl"]
        );
    }

    #[test]
    fn rotated_names() {
        assert!(is_rotated_name("runs-20260101", "runs"));
        assert!(is_rotated_name("runs.1", "runs"));
        assert!(!is_rotated_name("runs", "runs"));
        assert!(!is_rotated_name("runs-old", "runs"));
    }
}
