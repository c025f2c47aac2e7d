use std::{
    fs,
    path::{Path, PathBuf},
};

use super::finding::Finding;
use crate::{layout::Layout, streams::scan};

const CHECK: &str = "rotation";

/// Whether logrotate, as it is configured, takes lines away from the streams.
pub fn look(layout: &Layout, etc: &Path, findings: &mut Vec<Finding>) {
    let dir = fs::canonicalize(&layout.dir).unwrap_or_else(|_| layout.dir.clone());
    let (found, _) = scan::scan(&layout.files, &dir).unwrap_or_default();
    // Before the first line there is no file yet that a pattern could name.
    let streams = found.into_iter().map(|file| file.path).chain([dir.join("runs.jsonl")]);
    let streams: Vec<String> = streams.filter_map(|path| path.to_str().map(str::to_owned)).collect();
    let mut files = vec![etc.join("logrotate.conf")];
    files.extend(fs::read_dir(etc.join("logrotate.d")).into_iter().flatten().flatten().map(|entry| entry.path()));
    files.sort();
    let mut rules = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        rules.extend(parse(&text).into_iter().map(|rule| (file.clone(), rule)));
    }
    findings.push(judge(&rules, &streams));
}

/// One block of a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rule {
    /// The line it begins at.
    line: usize,
    patterns: Vec<String>,
    copytruncate: bool,
    compress: bool,
    allowhardlink: bool,
}

/// The blocks of a file; what stands before them holds for all.
fn parse(text: &str) -> Vec<Rule> {
    let (mut rules, mut outside, mut open) = (Vec::new(), Rule::default(), None::<Rule>);
    let mut patterns: Vec<String> = Vec::new();
    let mut script = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        match line.split_whitespace().next() {
            Some("prerotate" | "postrotate" | "firstaction" | "lastaction" | "preremove") => script = true,
            Some("endscript") => script = false,
            Some(word) if !script && !word.starts_with('#') => {
                let (names, opens) = line.strip_suffix('{').map_or((line, false), |names| (names, true));
                if open.is_none() && names.trim_start().starts_with(['/', '"', '\'']) {
                    let unquoted = names.split_whitespace().map(|name| name.trim_matches(['"', '\'']).to_owned());
                    patterns.extend(unquoted);
                }
                if opens {
                    let patterns = std::mem::take(&mut patterns);
                    open = Some(Rule { line: number + 1, patterns, ..outside });
                } else if word == "}" {
                    rules.extend(open.take());
                } else {
                    set(open.as_mut().unwrap_or(&mut outside), word);
                }
            }
            _ => {}
        }
    }
    rules
}

fn set(rule: &mut Rule, word: &str) {
    match word {
        "copytruncate" => rule.copytruncate = true,
        "nocopytruncate" => rule.copytruncate = false,
        "compress" => rule.compress = true,
        "nocompress" => rule.compress = false,
        "allowhardlink" => rule.allowhardlink = true,
        "noallowhardlink" => rule.allowhardlink = false,
        _ => {}
    }
}

fn judge(rules: &[(PathBuf, Rule)], streams: &[String]) -> Finding {
    let hits = |rule: &Rule| rule.patterns.iter().any(|pattern| streams.iter().any(|path| matches(pattern, path)));
    let ours: Vec<_> = rules.iter().filter(|(_, rule)| hits(rule)).collect();
    let place = |(file, rule): &&(PathBuf, Rule)| format!("{}:{}", file.display(), rule.line);
    if let Some(bad) = ours.iter().find(|(_, rule)| rule.copytruncate) {
        let what = format!("{} empties streams in place (copytruncate)", place(bad));
        return Finding::fail(
            CHECK,
            what,
            "rename instead, as ops/deploy/logrotate/runtape does: what is written meanwhile is lost",
        );
    }
    if let Some(bad) = ours.iter().find(|(_, rule)| !rule.allowhardlink) {
        let what = format!("{} rotates nothing: the recorder keeps a link to each stream", place(bad));
        return Finding::warn(CHECK, what, "say allowhardlink, as ops/deploy/logrotate/runtape does");
    }
    if let Some(bad) = ours.iter().find(|(_, rule)| rule.compress) {
        let what = format!("{} compresses streams: the plain bytes stay behind their links", place(bad));
        return Finding::warn(
            CHECK,
            what,
            "say nocompress, as ops/deploy/logrotate/runtape does: it only takes more room",
        );
    }
    Finding::ok(
        CHECK,
        match ours.first() {
            Some(rule) => format!("{} renames", place(rule)),
            None => "logrotate does not touch the streams".to_owned(),
        },
    )
}

/// Whether a path is meant by a pattern of a shell: `*` and `?` stay within one name.
fn matches(pattern: &str, path: &str) -> bool {
    let mut chars = pattern.chars();
    match chars.next() {
        None => path.is_empty(),
        Some('*') => {
            let within = path.find('/').unwrap_or(path.len());
            let ends = path.char_indices().map(|(at, _)| at).chain([path.len()]).filter(|at| *at <= within);
            ends.into_iter().any(|at| matches(chars.as_str(), &path[at..]))
        }
        Some(want) => {
            let mut rest = path.chars();
            let same = rest.next().is_some_and(|have| have == want || (want == '?' && have != '/'));
            same && matches(chars.as_str(), rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let rules: Vec<_> = parse(text).into_iter().map(|rule| (PathBuf::from("conf"), rule)).collect();
        let streams = ["/var/events/runs.jsonl".to_owned()];
        let said = judge(&rules, &streams).to_string();
        assert_eq!(said.lines().next().unwrap_or(""), want, "{text}");
    }

    #[test]
    fn what_logrotate_does_to_the_streams() {
        const NOTHING: &str = "ok   rotation    logrotate does not touch the streams";
        check("", NOTHING);
        check("/var/log/*.log {\n copytruncate\n}\n", NOTHING);
        check("/var/*.jsonl {\n copytruncate\n}\n", NOTHING);
        check("/var/events/*.jsonl {\n allowhardlink\n}\n", "ok   rotation    conf:1 renames");
        check(
            "/var/events/*.jsonl {\n daily\n}\n",
            "warn rotation    conf:1 rotates nothing: the recorder keeps a link to each stream",
        );
        const EMPTIES: &str = "FAIL rotation    conf:2 empties streams in place (copytruncate)";
        check("# ours\n/var/log/x /var/events/*.jsonl {\n copytruncate\n}\n", EMPTIES);
        check("copytruncate\n\"/var/events/run?.jsonl\" {\n daily\n}\n", EMPTIES);
        check("/var/events/runs.jsonl\n{\n  copytruncate\n}\n", EMPTIES);
        check("copytruncate\nallowhardlink\n/var/*/*.jsonl {\n nocopytruncate\n}\n", "ok   rotation    conf:3 renames");
        check(
            "compress\n/var/events/* {\nallowhardlink\n}\n",
            "warn rotation    conf:2 compresses streams: the plain bytes stay behind their links",
        );
        check("compress\n/var/events/* {\nnocompress\nallowhardlink\n}\n", "ok   rotation    conf:2 renames");
        check(
            "/var/events/* {\n allowhardlink\n postrotate\n copytruncate\n endscript\n}\n",
            "ok   rotation    conf:1 renames",
        );
    }
}
