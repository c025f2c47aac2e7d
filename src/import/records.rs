use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Path, Refusal, value};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document, or one on each line.
    Json,
    /// Comma-separated, with a header.
    Csv,
}

impl Format {
    /// By the end of a file's name; JSON where it says nothing.
    pub fn of_name(name: &str) -> Format {
        if name.to_ascii_lowercase().ends_with(".csv") { Format::Csv } else { Format::Json }
    }
}

/// One record of a file.
#[derive(Clone, Debug)]
pub struct Record {
    /// File, and record or line.
    pub place: String,
    pub value: Value,
}

/// The records of a file, and what is none.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub records: Vec<Record>,
    pub refused: Vec<Refusal>,
}

impl Records {
    /// Reads a file. `within`: where in a JSON document the records stand, if not at its top.
    pub fn read(file: &str, bytes: &[u8], format: Format, within: Option<&Path>) -> Records {
        let mut all = Records::default();
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                match format {
                    Format::Json => all.json(file, text, within),
                    Format::Csv => all.csv(file, text),
                }
            }
            Err(error) => all.refuse(file.to_owned(), format!("byte {} is not UTF-8", error.valid_up_to())),
        }
        all
    }

    fn refuse(&mut self, place: String, why: String) {
        self.refused.push(Refusal { place, why });
    }

    fn push(&mut self, place: String, value: Value) {
        match value {
            Value::Object(_) => self.records.push(Record { place, value }),
            other => {
                let shown: String = other.to_string().chars().take(40).collect();
                self.refuse(place, format!("{shown} is no record; want an object {{...}}"));
            }
        }
    }

    fn json(&mut self, file: &str, text: &str, within: Option<&Path>) {
        let whole = match parse(text) {
            Ok(whole) => whole,
            Err(error) => {
                // Lines each of which is a document, unless already the first one is none.
                let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
                if within.is_none() && parse(first).is_ok() {
                    self.json_lines(file, text);
                } else {
                    self.refuse(format!("{file} line {}", error.line()), format!("not JSON: {error}"));
                }
                return;
            }
        };
        let items = match within {
            None => whole,
            Some(path) => match path.find(&whole) {
                Some(items) => items,
                None => return self.refuse(file.to_owned(), format!("there is nothing at {:?}", path.text())),
            },
        };
        match items {
            Value::Array(items) => {
                for (number, item) in items.into_iter().enumerate() {
                    self.push(format!("{file} record {}", number + 1), item);
                }
            }
            one => self.push(format!("{file} record 1"), one),
        }
    }

    fn json_lines(&mut self, file: &str, text: &str) {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = format!("{file} line {}", number + 1);
            match parse(line) {
                Ok(value) => self.push(place, value),
                Err(error) => self.refuse(place, format!("not JSON: {error}")),
            }
        }
    }

    fn csv(&mut self, file: &str, text: &str) {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => return self.refuse(format!("{file} line 1"), error.to_string()),
        };
        let columns: std::collections::BTreeSet<&str> = header.iter().collect();
        if columns.len() < header.len() {
            return self.refuse(format!("{file} line 1"), "a column is named twice; want each name once".to_owned());
        }
        for row in reader.records() {
            match row {
                Ok(row) => {
                    let place = format!("{file} line {}", row.position().map_or(0, csv::Position::line));
                    let cells = header.iter().zip(&row).map(|(name, cell)| (name.to_owned(), Value::from(cell)));
                    let cells: Map<String, Value> =
                        cells.filter(|(_, cell)| value::present(cell.clone()).is_some()).collect();
                    self.push(place, Value::Object(cells));
                }
                Err(error) => {
                    let line = error.position().map_or(0, csv::Position::line);
                    self.refuse(format!("{file} line {line}"), reason(&error));
                }
            }
        }
    }
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells; want {expected_len}, as many as the header has")
        }
        _ => error.to_string(),
    }
}

/// A JSON document; NaN and infinities, which Python writes where JSON has nothing, are null.
pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match without_nan(text) {
        Cow::Owned(text) => serde_json::from_str(&text),
        Cow::Borrowed(_) => Err(error),
    })
}

fn without_nan(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !WORDS.iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !in_string && let Some(word) = WORDS.iter().find(|word| rest.starts_with(**word)) {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' => in_string = !in_string,
            _ => {}
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: Format, within: Option<&str>, text: &str, records: &[&str], refused: &[&str]) {
        let within = within.map(|path| Path::parse(path).expect("a path"));
        let all = Records::read("f", text.as_bytes(), format, within.as_ref());
        let got: Vec<String> = all.records.iter().map(|r| format!("{}: {}", r.place, r.value)).collect();
        assert_eq!(got, records, "{text}");
        assert_eq!(all.refused.len(), refused.len(), "{:?}", all.refused);
        for (refusal, want) in all.refused.iter().zip(refused) {
            let said = format!("{}: {}", refusal.place, refusal.why);
            assert!(said.contains(want), "{said}");
        }
    }

    #[test]
    fn records_of_json() {
        let two = [r#"f record 1: {"a":1}"#, r#"f record 2: {"a":2}"#];
        check(Format::Json, None, r#"[{"a":1},{"a":2}]"#, &two, &[]);
        check(Format::Json, None, "\u{feff}{\"a\":1}", &two[..1], &[]);
        check(Format::Json, Some("data.rows"), r#"{"data":{"rows":[{"a":1},{"a":2}]}}"#, &two, &[]);
        check(Format::Json, Some("rows"), r#"{"data":1}"#, &[], &["nothing at \"rows\""]);
        let lines = [r#"f line 1: {"a":1}"#, r#"f line 4: {"a":2}"#];
        check(Format::Json, None, "{\"a\":1}\n\n{\"a\":\n{\"a\":2}\n", &lines, &["f line 3: not JSON"]);
        check(Format::Json, None, r#"[{"a":1},7]"#, &two[..1], &["f record 2: 7 is no record"]);
        check(Format::Json, None, "{\n\"a\": 1,\n}", &[], &["f line 3: not JSON"]);
        check(
            Format::Json,
            None,
            r#"[{"a":NaN,"b":"NaN","c":-Infinity}]"#,
            &[r#"f record 1: {"a":null,"b":"NaN","c":null}"#],
            &[],
        );
        check(Format::Json, None, "", &[], &["not JSON"]);
    }

    #[test]
    fn records_of_csv() {
        let text = "id, who,note\n1,a,\"x, y\"\n2,b\n3,c,\n";
        let want = [r#"f line 2: {"id":"1","who":"a","note":"x, y"}"#, r#"f line 4: {"id":"3","who":"c"}"#];
        check(Format::Csv, None, text, &want, &["f line 3: 2 cells; want 3"]);
        check(Format::Csv, None, "a,a\n1,2\n", &[], &["named twice"]);
        assert_eq!(Format::of_name("x/Y.CSV"), Format::Csv);
        assert_eq!(Format::of_name("-"), Format::Json);
    }
}
