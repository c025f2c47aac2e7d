use unicode_width::UnicodeWidthChar;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same where a terminal has nothing but ASCII: the higher the more ink.
const INK: [char; 8] = ['_', '.', '-', '=', '+', '*', '#', '@'];

/// The newest values as a small chart, as wide as it is given; from the least to the largest of them.
pub fn line(values: &[f64], width: usize, unicode: bool) -> String {
    let shown = &values[values.len().saturating_sub(width)..];
    let least = shown.iter().copied().fold(f64::INFINITY, f64::min);
    let range = shown.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    let levels = if unicode { BLOCKS } else { INK };
    let level = |value: f64| {
        // What does not move stands in the middle.
        let share = if range > 0.0 && range.is_finite() { (value - least) / range } else { 0.4 };
        levels[((share * 7.0).round() as usize).min(7)]
    };
    shown.iter().map(|value| level(*value)).collect()
}

/// A text in so many columns of a terminal; one that is longer ends in a mark that says so.
pub fn fit(text: &str, width: usize, unicode: bool) -> String {
    let wide = |text: &str| text.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>();
    if wide(text) <= width {
        return text.to_owned();
    }
    let mark = if unicode { '…' } else { '~' };
    let mut kept = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(character);
    }
    if width > 0 {
        kept.push(mark);
    }
    kept
}

/// The text set to the left or right of so many columns.
pub fn set(text: &str, width: usize, right: bool, unicode: bool) -> String {
    let text = fit(text, width, unicode);
    let blanks = " ".repeat(width.saturating_sub(text.chars().map(|c| c.width().unwrap_or(0)).sum()));
    if right { blanks + &text } else { text + &blanks }
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
    fn charts_go_from_the_least_to_the_largest() {
        assert_eq!(line(&[0.0, 1.0, 2.0, 7.0], 9, true), "▁▂▃█");
        assert_eq!(line(&[5.0, 0.0, 7.0], 2, false), "_@");
        assert_eq!(line(&[3.0, 3.0], 4, true), "▄▄");
        assert_eq!(line(&[], 4, true), "");
        assert_eq!(line(&[f64::MAX, -f64::MAX], 4, true).chars().count(), 2);
    }

    #[test]
    fn texts_fit_their_columns() {
        assert_eq!(fit("momentum", 8, true), "momentum");
        assert_eq!(fit("momentum", 5, true), "mome…");
        assert_eq!(fit("交易交易", 5, true), "交易…");
        assert_eq!(fit("交易交易", 4, false), "交~");
        assert_eq!(fit("a", 0, true), "");
        assert_eq!((set("7", 3, true, true), set("交", 3, false, true)), ("  7".to_owned(), "交 ".to_owned()));
    }

    #[test]
    fn long_lines_are_broken_at_blanks() {
        assert_eq!(wrap("one two three", 8, 2), ["one two", "  three"]);
        assert_eq!(wrap("", 8, 2), [""]);
        assert_eq!(wrap("abcdefghij", 4, 1), ["abcd", " efg", " hij"]);
        assert_eq!(wrap("a bcdefgh", 4, 1), ["a", " bcd", " efg", " h"]);
    }
}
