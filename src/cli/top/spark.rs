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
}
