//! Pages for a browser. They hold no script and load nothing from elsewhere: one is whole by itself, and can be sent.

use std::fmt::Write as _;

use super::human;

/// What pages look like, light and dark.
pub const STYLE: &str = include_str!("style.css");

/// Where a page finds [`STYLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// In itself.
    Inside,
    /// At this path of the server that it comes from.
    At(&'static str),
}

/// A text as it stands in a page, also inside an attribute: what disturbs is spelled out, what is markup is escaped.
pub fn escaped(text: &str) -> String {
    let visible = human::visible(text);
    let mut out = String::with_capacity(visible.len());
    for character in visible.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // A dot too: as a whole segment it would mean another folder.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What stands in a table, or beside a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    /// Set to the right.
    Number(String),
    Link {
        to: String,
        text: String,
    },
}

impl Cell {
    fn html(&self, tag: &str) -> String {
        match self {
            Cell::Text(text) => format!("<{tag}>{}</{tag}>", escaped(text)),
            Cell::Number(text) => format!("<{tag} class=\"n\">{}</{tag}>", escaped(text)),
            Cell::Link { to, text } => {
                format!("<{tag}><a href=\"{}\">{}</a></{tag}>", escaped(to), escaped(text))
            }
        }
    }
}

/// A page as it grows.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    pub fn new(title: &str) -> Page {
        Page { title: title.to_owned(), body: format!("<h1>{}</h1>\n", escaped(title)) }
    }

    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escaped(text));
    }

    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escaped(text));
    }

    /// What must not be overlooked.
    pub fn warning(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"warning\">{}</p>", escaped(text));
    }

    pub fn list<'a>(&mut self, items: impl IntoIterator<Item = &'a str>) {
        self.body.push_str("<ul>\n");
        for item in items {
            let _ = writeln!(self.body, "<li>{}</li>", escaped(item));
        }
        self.body.push_str("</ul>\n");
    }

    /// Names, each with what is said of it.
    pub fn facts(&mut self, facts: &[(&str, Cell)]) {
        self.body.push_str("<dl>\n");
        for (name, fact) in facts {
            let _ = writeln!(self.body, "<dt>{}</dt>{}", escaped(name), fact.html("dd"));
        }
        self.body.push_str("</dl>\n");
    }

    /// A table; a head is set as the first cell below it. `none` stands where there is no row.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<Cell>], none: &str) {
        let Some(first) = rows.first() else { return self.paragraph(none) };
        self.body.push_str("<div class=\"wide\"><table>\n<thead><tr>");
        for (name, below) in head.iter().zip(first) {
            let name = (*name).to_owned();
            let cell = if matches!(below, Cell::Number(_)) { Cell::Number(name) } else { Cell::Text(name) };
            self.body.push_str(&cell.html("th"));
        }
        self.body.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            let cells: String = row.iter().map(|cell| cell.html("td")).collect();
            let _ = writeln!(self.body, "<tr>{cells}</tr>");
        }
        self.body.push_str("</tbody></table></div>\n");
    }

    /// Text set as it is, a line each.
    pub fn verbatim(&mut self, text: &str) {
        let lines: Vec<String> = text.lines().map(escaped).collect();
        let _ = writeln!(self.body, "<pre>{}</pre>", lines.join("\n"));
    }

    /// Markup that was made of escaped texts, such as a plot.
    pub(super) fn markup(&mut self, markup: &str) {
        self.body.push_str(markup);
    }

    /// The whole document.
    pub fn document(&self, style: Style) -> String {
        let style = match style {
            Style::Inside => format!("<style>\n{STYLE}</style>"),
            Style::At(path) => format!("<link rel=\"stylesheet\" href=\"{}\">", escaped(path)),
        };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n{style}\n</head>\n\
             <body>\n<main>\n{}</main>\n</body>\n</html>\n",
            escaped(&self.title),
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_nothing_else() {
        let hostile = "</title><script>alert('1')</script>\u{202e}\"&";
        let mut page = Page::new(hostile);
        page.heading(hostile);
        page.paragraph(hostile);
        page.list([hostile]);
        page.verbatim(hostile);
        page.facts(&[(hostile, Cell::Text(hostile.to_owned()))]);
        let link = Cell::Link { to: format!("/runs/{}", segment(hostile)), text: hostile.to_owned() };
        page.table(&[hostile], &[vec![link]], "");
        let document = page.document(Style::At("/style.css"));
        assert!(!document.contains("<script") && !document.contains('\u{202e}'), "{document}");
        assert_eq!(document.matches("&lt;script&gt;").count(), 10, "{document}");
        assert_eq!(document.matches('"').count() % 2, 0, "{document}");
    }

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        let check = |name: &str, want: &str| assert_eq!(segment(name), want);
        check("momentum-eth_1", "momentum-eth_1");
        check("a/b", "a%2Fb");
        check("..", "%2E%2E");
        check("ü?#", "%C3%BC%3F%23");
    }

    #[test]
    fn heads_stand_as_what_is_below_them() {
        let mut page = Page::new("t");
        page.table(&["a", "b"], &[vec![Cell::Text("x".into()), Cell::Number("1".into())]], "nothing");
        page.table(&["a"], &[], "nothing");
        let document = page.document(Style::Inside);
        assert!(document.contains("<th>a</th><th class=\"n\">b</th>"), "{document}");
        assert!(document.contains("<td>x</td><td class=\"n\">1</td>") && document.contains("<p>nothing</p>"));
        assert!(document.contains("<style>") && !document.contains("http"), "whole by itself");
    }
}
