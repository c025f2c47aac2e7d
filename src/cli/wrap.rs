//! Words on a screen: broken between words where a line is wider.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
};

use unicode_width::UnicodeWidthChar;

/// A text as it is on standard output: on a terminal each line is broken where that ends, at blanks, and what follows is
/// indented.
pub fn printed(text: &str, indent: usize) -> Cow<'_, str> {
    if !io::stdout().is_terminal() {
        return text.into();
    }
    match ratatui::crossterm::terminal::size() {
        Ok((width, _)) if usize::from(width) > 2 * indent => {
            text.lines().flat_map(|line| wrap(line, usize::from(width), indent)).map(|line| line + "\n").collect()
        }
        _ => text.into(),
    }
}

/// Lines no wider than a screen, broken at blanks where there are some; what follows the first is indented.
pub fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let mut word = word.to_owned();
        loop {
            let long: usize = word.chars().map(|c| c.width().unwrap_or(0)).sum();
            let bare: usize = word.trim_end().chars().map(|c| c.width().unwrap_or(0)).sum();
            if used + bare <= width {
                line += &word;
                used += long;
                break;
            }
            if used > indent || (lines.is_empty() && used > 0) {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)).trim_end().to_owned());
                used = indent;
                continue;
            }
            // A word that is wider than the screen is cut.
            let room = width.saturating_sub(used).max(1);
            let cut = word.char_indices().nth(room).map_or(word.len(), |(at, _)| at);
            let rest = word.split_off(cut);
            line += &word;
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            used = indent;
            if rest.is_empty() {
                break;
            }
            word = rest;
        }
    }
    if !line.trim().is_empty() || lines.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_blanks() {
        assert_eq!(wrap("one two three", 8, 2), ["one two", "  three"]);
        assert_eq!(wrap("", 8, 2), [""]);
        assert_eq!(wrap("abcdefghij", 4, 1), ["abcd", " efg", " hij"]);
        assert_eq!(wrap("a bcdefgh", 4, 1), ["a", " bcd", " efg", " h"]);
    }
}
