//! Rust files as the checks see them: what is code, what is comment, what is only there for tests.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support::repository;

/// One file. `code` and `comments` have the lines and columns of the file, with everything else blank.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    /// Without comments, the insides of literals, and items under `#[cfg(test)]`.
    pub code: String,
    pub comments: String,
    /// The whole file is there for tests.
    pub test: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let (mut code, comments) = split(text);
        blank_tests(&mut code);
        let test = !path.starts_with("src/");
        Source { path: path.to_owned(), code: code.into_iter().collect(), comments, test }
    }

    /// `event` of `src/event/time.rs`; the folder or file below `src`.
    pub fn module(&self) -> &str {
        self.module_path().first().copied().unwrap_or("")
    }

    /// `["event", "time"]` of `src/event/time.rs`.
    pub fn module_path(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).collect()
    }

    pub fn lines(&self) -> usize {
        self.code.lines().count()
    }

    /// Every place of a text in the code where it is not part of a longer word: the line, counted from 1.
    pub fn find(&self, what: &str) -> Vec<usize> {
        find(&self.code, what)
    }

    pub fn find_in_comments(&self, what: &str) -> Vec<usize> {
        find(&self.comments, what)
    }

    /// The names directly below `root` that the code uses, one by one or in braces, with their lines.
    pub fn below(&self, root: &str) -> Vec<(String, usize)> {
        let start = format!("{root}::");
        let mut names = Vec::new();
        for at in places(&self.code, &start) {
            let rest = &self.code[at + start.len()..];
            let line = line_of(&self.code, at);
            match rest.trim_start().strip_prefix('{') {
                Some(group) => names.extend(in_braces(group).into_iter().map(|name| (name, line))),
                None => names.push((word(rest), line)),
            }
        }
        names
    }

    /// Every module path the code names from the root of the crate: `crate::a::b`, and what `super` comes to.
    pub fn imports(&self) -> Vec<(Vec<String>, usize)> {
        let mut paths: Vec<_> = self.below("crate").into_iter().map(|(name, line)| (vec![name], line)).collect();
        let own = self.module_path();
        for ups in 1..=own.len() {
            let chain = vec!["super"; ups].join("::");
            let parent: Vec<String> = own[..own.len() - ups].iter().map(|&part| part.to_owned()).collect();
            for (name, line) in self.below(&chain) {
                paths.push(([parent.clone(), vec![name]].concat(), line));
            }
        }
        paths
    }

    /// Every function with a body: its name, its first line, how many lines.
    pub fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut functions = Vec::new();
        for at in places(&self.code, "fn ") {
            let rest = &self.code[at + 3..];
            let name = word(rest);
            let Some(open) = rest.find(['{', ';']).filter(|&open| rest[open..].starts_with('{')) else { continue };
            let Some(len) = end_of_block(&rest[open..]) else { continue };
            let lines = rest[..open + len].matches('\n').count() + 1;
            if !name.is_empty() {
                functions.push((name, line_of(&self.code, at), lines));
            }
        }
        functions
    }
}

/// All Rust files below a folder of the repository, by path. Files that only a `#[cfg(test)]` names are for tests.
pub fn read(folder: &str) -> Vec<Source> {
    let mut texts = Vec::new();
    collect(&repository(folder), &mut texts);
    texts.sort();
    let mut for_tests = BTreeSet::new();
    for (path, text) in &texts {
        let folder = path.trim_end_matches("/mod.rs").trim_end_matches("/lib.rs").trim_end_matches(".rs");
        let (code, _) = split(text);
        let code: String = code.into_iter().collect();
        for at in places(&code, "#[cfg(test)]") {
            let item = code[at + 12..].trim_start().trim_start_matches("pub ");
            let Some(name) = item.strip_prefix("mod ").map(word) else { continue };
            for_tests.extend([format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]);
        }
    }
    let mut sources: Vec<Source> = texts.iter().map(|(path, text)| Source::new(path, text)).collect();
    sources.iter_mut().for_each(|source| source.test |= for_tests.contains(&source.path));
    sources
}

fn collect(folder: &Path, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a readable file");
            let path = path.strip_prefix(repository("")).expect("a path of the repository").to_owned();
            texts.push((path.to_str().expect("a UTF-8 path").replace('\\', "/"), text));
        }
    }
}

/// The code and the comments, each blank where the other is. Of literals only the quotes remain.
fn split(text: &str) -> (Vec<char>, String) {
    let chars: Vec<char> = text.chars().collect();
    let mut code: Vec<char> = chars.iter().map(|&c| if c == '\n' { c } else { ' ' }).collect();
    let mut comments = code.clone();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let (len, is_comment) = match rest {
            ['/', '/', ..] => (rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()), true),
            ['/', '*', ..] => (position_after(rest, 2, &['*', '/']), true),
            _ => (literal(rest, at.checked_sub(1).map(|before| chars[before])), false),
        };
        if is_comment {
            comments[at..at + len].copy_from_slice(&rest[..len]);
        } else if len == 0 {
            code[at] = chars[at];
        } else {
            (code[at], code[at + len - 1]) = (chars[at], chars[at + len - 1]);
        }
        at += len.max(1);
    }
    (code, comments.into_iter().collect())
}

/// The length of the literal of text or character that starts here; 0 when none does.
fn literal(rest: &[char], before: Option<char>) -> usize {
    let in_word = before.is_some_and(is_word);
    match rest {
        ['\'', '\\', ..] => position_after(rest, 3, &['\'']),
        ['\'', _, '\'', ..] => 3,
        ['"', ..] => {
            let mut at = 1;
            while at < rest.len() && rest[at] != '"' {
                at += if rest[at] == '\\' { 2 } else { 1 };
            }
            (at + 1).min(rest.len())
        }
        ['r', '"' | '#', ..] if !in_word => {
            let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
            if rest.get(1 + hashes) != Some(&'"') {
                return 0;
            }
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            position_after(rest, 2 + hashes, &end)
        }
        // `b` goes into the code, what follows it is a literal.
        _ => 0,
    }
}

fn position_after(chars: &[char], from: usize, end: &[char]) -> usize {
    let found = (from..chars.len()).find(|&at| chars[at..].starts_with(end));
    found.map_or(chars.len(), |at| at + end.len())
}

/// Blanks every item under `#[cfg(test)]`.
fn blank_tests(code: &mut [char]) {
    let text: String = code.iter().collect();
    // Places count bytes, the code counts characters; outside of literals and comments they are nearly always the same.
    let index = |byte: usize| text[..byte].chars().count();
    for at in places(&text, "#[cfg(test)]") {
        let rest = &text[at..];
        let Some(open) = rest.find(['{', ';']) else { continue };
        let len = if rest[open..].starts_with('{') { end_of_block(&rest[open..]).unwrap_or(1) } else { 1 };
        for c in &mut code[index(at)..index(at + open + len)] {
            *c = if *c == '\n' { '\n' } else { ' ' };
        }
    }
}

/// The length of a block from its brace to the one that closes it.
fn end_of_block(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, c)| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        (depth == 0).then_some(at + 1)
    })
}

/// The first names of a group whose brace is open: `a` and `b` of `a::{x, y}, b}`.
fn in_braces(group: &str) -> Vec<String> {
    let (mut depth, mut fresh, mut names) = (1, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            c if fresh && is_word(c) => {
                names.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn find(text: &str, what: &str) -> Vec<usize> {
    places(text, what).into_iter().map(|at| line_of(text, at)).collect()
}

/// Where a text stands, not as part of a longer word.
fn places(text: &str, what: &str) -> Vec<usize> {
    let (first, last) = (what.chars().next(), what.chars().next_back());
    let alone = |at: &usize| {
        let before = text[..*at].chars().next_back().is_some_and(is_word) && first.is_some_and(is_word);
        let after = text[at + what.len()..].chars().next().is_some_and(is_word) && last.is_some_and(is_word);
        !before && !after
    };
    // A longer chain of `super` is another path.
    let chained = |at: &usize| what.starts_with("super") && text[..*at].ends_with("super::");
    text.match_indices(what).map(|(at, _)| at).filter(alone).filter(|at| !chained(at)).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|&c| is_word(c)).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
