//! Aligned tables for a terminal. Widths are counted in characters, which is right for all but the widest scripts.

use super::human::visible;

/// What may follow the digits of a cell that still counts as a number.
const UNITS: [&str; 14] = ["", "%", "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "s", "ms", "us", "bps", "x"];

/// Between two columns.
const GAP: &str = "  ";

/// A table under construction. Columns of numbers are set to the right, all others to the left.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&str]) -> Table {
        Table { header: header.iter().map(|title| visible(title).into_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells are made safe to print, missing ones are blank, those beyond the header are left out.
    pub fn row(&mut self, cells: Vec<String>) -> &mut Table {
        let mut cells: Vec<String> = cells.iter().map(|cell| visible(cell).into_owned()).collect();
        cells.resize(self.header.len(), String::new());
        self.rows.push(cells);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of the table, each with its end; the header is bold when there is colour.
    pub fn render(&self, color: bool) -> String {
        let columns: Vec<Column> = (0..self.header.len()).map(|at| self.column(at)).collect();
        let mut text = String::new();
        if color {
            text.push_str("\x1b[1m");
        }
        push_line(&mut text, &columns, &self.header);
        if color {
            text.push_str("\x1b[0m");
        }
        text.push('\n');
        for row in &self.rows {
            push_line(&mut text, &columns, row);
            text.push('\n');
        }
        text
    }

    fn column(&self, at: usize) -> Column {
        let cells = || self.rows.iter().map(|row| row[at].as_str());
        let width = cells().chain([self.header[at].as_str()]).map(width).max().unwrap_or(0);
        let right = cells().any(is_number) && cells().all(|cell| is_blank(cell) || is_number(cell));
        Column { width, right }
    }
}

struct Column {
    width: usize,
    right: bool,
}

/// One line without blanks at its end.
fn push_line(text: &mut String, columns: &[Column], cells: &[String]) {
    let start = text.len();
    for (at, (column, cell)) in columns.iter().zip(cells).enumerate() {
        if at > 0 {
            text.push_str(GAP);
        }
        let padding = column.width.saturating_sub(width(cell));
        let (before, after) = if column.right { (padding, 0) } else { (0, padding) };
        text.extend(std::iter::repeat_n(' ', before));
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', after));
    }
    let kept = text[start..].trim_end_matches(' ').len();
    text.truncate(start + kept);
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// A cell that says there is no value.
fn is_blank(cell: &str) -> bool {
    matches!(cell, "" | "-")
}

fn is_number(cell: &str) -> bool {
    let bare = cell.trim_start_matches(['+', '-', '$']);
    if !bare.starts_with(|first: char| first.is_ascii_digit()) {
        return matches!(bare, "NaN" | "Inf");
    }
    let digits = bare.trim_start_matches(|next: char| next.is_ascii_digit() || matches!(next, '.' | ','));
    UNITS.contains(&digits.trim_start()) || bare.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &[&str], rows: &[&[&str]], expect: &str) {
        let mut table = Table::new(header);
        for row in rows {
            table.row(row.iter().map(|cell| cell.to_string()).collect());
        }
        assert_eq!(table.render(false), expect);
    }

    #[test]
    fn numbers_stand_right_and_names_left() {
        check(
            &["agent", "runs", "cost", "state"],
            &[&["alpha", "1,204", "$0.50", "active"], &["momentum-long-name", "7", "-$12.00", "hold"]],
            concat!(
                "agent                runs     cost  state\n",
                "alpha               1,204    $0.50  active\n",
                "momentum-long-name      7  -$12.00  hold\n",
            ),
        );
    }

    #[test]
    fn absent_values_leave_a_column_numeric_and_a_word_does_not() {
        check(
            &["a", "sharpe", "when", "size"],
            &[
                &["x", "-0.25", "1d", "1.5 KiB"],
                &["y", "-", "never", "12 B"],
                &["z", "", "2", ""],
                &["w", "1e-7", "3", "-"],
            ],
            concat!(
                "a  sharpe  when      size\n",
                "x   -0.25  1d     1.5 KiB\n",
                "y       -  never     12 B\n",
                "z          2\n",
                "w    1e-7  3            -\n",
            ),
        );
    }

    #[test]
    fn hostile_and_wide_names_keep_the_columns() {
        check(
            &["agent", "n"],
            &[&["a\u{1b}[2J", "1"], &["b\nc", "22"], &["naïve", "333"]],
            "agent         n\na\\u{1b}[2J    1\nb\\nc         22\nnaïve       333\n",
        );
    }

    #[test]
    fn odd_shapes() {
        check(&[], &[], "\n");
        check(&["a", "b"], &[], "a  b\n");
        check(&["a", "b"], &[&["1"], &["2", "3", "beyond"]], "a  b\n1\n2  3\n");
        check(&["run"], &[&["3f2a-77"], &["123"]], "run\n3f2a-77\n123\n");
    }

    #[test]
    fn only_colour_makes_the_header_bold() {
        let mut table = Table::new(&["agent"]);
        assert!(table.is_empty());
        table.row(vec!["a".into()]);
        assert_eq!(table.render(true), "\x1b[1magent\x1b[0m\na\n");
        assert_eq!(table.render(false), "agent\na\n");
    }
}
