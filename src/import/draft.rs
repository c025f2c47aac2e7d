use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{records::Record, value};
use crate::event::{
    self,
    fields::{Id, NAME_BYTES_MAX},
    time::Stamp,
};

/// A line before it is written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where its record stands: file, and record or line.
    pub place: String,
    /// What makes the record this one and no other, within its source.
    identity: String,
    fields: BTreeMap<usize, Given>,
}

/// A field's value and the path it came from.
#[derive(Clone, Debug)]
pub struct Given {
    pub id: Id,
    pub value: Value,
    pub path: String,
}

/// A record or a line that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub place: String,
    pub why: String,
}

impl Draft {
    /// `identity`: the record's own id, or all of it where it has none.
    pub fn new(place: &str, identity: String) -> Draft {
        Draft { place: place.to_owned(), identity, fields: BTreeMap::new() }
    }

    /// Gives a field a value, in the shape that the field wants.
    pub fn set(&mut self, id: Id, given: impl Into<Value>, path: &str) {
        let value = value::shaped(id.field().shape, given.into());
        self.fields.insert(id as usize, Given { id, value, path: path.to_owned() });
    }

    /// Gives a field a value if there is one.
    pub fn set_some(&mut self, id: Id, given: Option<impl Into<Value>>, path: &str) {
        if let Some(given) = given {
            self.set(id, given, path);
        }
    }

    /// The fields in the order of the table.
    pub fn fields(&self) -> impl Iterator<Item = &Given> {
        self.fields.values()
    }

    /// A field's value.
    pub fn get(&self, id: Id) -> Option<&Value> {
        self.fields.get(&(id as usize)).map(|given| &given.value)
    }

    /// When it happened.
    pub fn stamp(&self) -> Stamp {
        self.get(Id::Ts).map_or(Stamp::Absent, value::time)
    }

    /// The line, as it is appended.
    pub fn line(&self) -> String {
        let fields = self.fields().map(|given| (given.id.field().name.to_owned(), given.value.clone()));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    }

    /// Why the line must not be appended: what the decoder says, and what a history that is read once cannot do without.
    pub fn fault(&self, line_bytes_max: usize) -> Option<String> {
        let line = self.line();
        let decoded = match event::decode(line.as_bytes(), line_bytes_max) {
            Ok(decoded) => decoded,
            Err(why) => return Some(format!("{} ({})", why.detail, why.reason.name())),
        };
        match decoded.kind {
            None => Some("it is of no kind; want kind, or a field that tells it (runtape schema line)".to_owned()),
            Some(kind) if kind.is_control() => Some(format!("a {} is written by runtape itself only", kind.name())),
            Some(_) if decoded.ts == Stamp::Unusable => {
                let given = self.get(Id::Ts).unwrap_or(&Value::Null);
                Some(format!("ts: {given} is no usable time; want RFC 3339 or Unix time, in the years 2000 to 2099"))
            }
            Some(_) => None,
        }
    }
}

/// What a source made of its records.
#[derive(Debug, Default)]
pub struct Drafts {
    pub drafts: Vec<Draft>,
    pub refused: Vec<Refusal>,
    /// What a person should know about all of it.
    pub notes: Vec<String>,
    /// The records that were read.
    pub records: usize,
    /// Every path of the records, with the number of records that have it.
    pub paths: BTreeMap<String, usize>,
    /// The paths that were read.
    pub used: BTreeSet<String>,
}

/// The longest path of a record that is told of as unused, in keys.
const DEPTH: usize = 3;

impl Drafts {
    /// Counts a record and its paths.
    pub fn see(&mut self, record: &Value) {
        self.records += 1;
        let mut paths = BTreeSet::new();
        collect(record, String::new(), DEPTH, &mut paths);
        for path in paths {
            *self.paths.entry(path).or_default() += 1;
        }
    }

    pub fn refuse(&mut self, place: &str, why: impl Into<String>) {
        self.refused.push(Refusal { place: place.to_owned(), why: why.into() });
    }

    /// The first value that one of the paths leads to, and that path; it counts as used.
    pub fn find(&mut self, record: &Value, paths: &[&str]) -> Option<(Value, String)> {
        let found = paths.iter().find_map(|text| {
            let path = super::Path::parse(text).ok()?;
            Some((path.find(record)?, (*text).to_owned()))
        });
        if let Some((_, path)) = &found {
            self.used.insert(path.clone());
        }
        found
    }

    /// As [`Drafts::find`], as a number.
    pub fn number(&mut self, record: &Value, paths: &[&str]) -> Option<f64> {
        self.find(record, paths).and_then(|(found, _)| value::number(&found))
    }

    /// As [`Drafts::find`], as a text.
    pub fn text(&mut self, record: &Value, paths: &[&str]) -> Option<String> {
        self.find(record, paths).and_then(|(found, _)| value::text(&found))
    }

    /// As [`Drafts::find`], as a time.
    pub fn time(&mut self, record: &Value, paths: &[&str]) -> Option<event::Nanos> {
        self.find(record, paths).and_then(|(found, _)| value::time(&found).at())
    }

    /// Sets a field from the first of the paths that leads to something.
    pub fn copy(&mut self, draft: &mut Draft, id: Id, record: &Value, paths: &[&str]) {
        if let Some((found, path)) = self.find(record, paths) {
            draft.set(id, found, &path);
        }
    }

    /// The paths of the records that nobody read, with the number of records that have them.
    pub fn unused(&self) -> Vec<(&str, usize)> {
        let below = |long: &str, short: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let used: Vec<String> = self.used.iter().map(|path| without_indices(path)).collect();
        let is_used = |path: &str| used.iter().any(|used| below(used, path) || below(path, used));
        self.paths.iter().filter(|(path, _)| !is_used(path)).map(|(path, count)| (path.as_str(), *count)).collect()
    }

    /// Gives every draft its `event_id` and puts them in the order of their times; those without one keep their place
    /// behind the one before them. Two records that are equal in all they say, without an id, are two events: the second
    /// one is told apart by its number, which is the same the next time.
    pub fn finish(&mut self, source: &str) {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        let mut last = event::Nanos::MIN;
        let mut order = Vec::with_capacity(self.drafts.len());
        for mut draft in std::mem::take(&mut self.drafts) {
            let identity = std::mem::take(&mut draft.identity);
            let nth = times.entry(identity.clone()).or_default();
            draft.set(Id::EventId, event_id(source, &identity, *nth), "");
            *nth += 1;
            last = draft.stamp().at().unwrap_or(last);
            order.push((last, draft));
        }
        order.sort_by_key(|(at, _)| *at);
        self.drafts = order.into_iter().map(|(_, draft)| draft).collect();
    }
}

/// The identity of a record that has no id: everything it says.
pub fn whole(record: &Record) -> String {
    let mut out = String::new();
    value::canonical(&record.value, &mut out);
    out
}

/// A name that a field takes whatever its length: a long one ends with a digest of itself.
pub fn name(text: String) -> String {
    if text.len() <= NAME_BYTES_MAX {
        return text;
    }
    let digest = blake3::hash(text.as_bytes()).to_hex();
    let mut end = NAME_BYTES_MAX - 33;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{}", &text[..end], &digest[..32])
}

fn event_id(source: &str, identity: &str, nth: usize) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"runtape import 1\0").update(source.as_bytes()).update(b"\0").update(identity.as_bytes());
    if nth > 0 {
        hasher.update(format!("\0{nth}").as_bytes());
    }
    format!("import-{}", &hasher.finalize().to_hex()[..32])
}

fn without_indices(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('[') {
        let rest = part.split_once(']').filter(|(index, _)| index.bytes().all(|b| b.is_ascii_digit()));
        match rest {
            Some((_, rest)) => out = out + "[]" + rest,
            None => out += part,
        }
    }
    out
}

fn collect(value: &Value, at: String, depth: usize, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if depth > 0 && (!fields.is_empty() || at.is_empty()) => {
            for (key, value) in fields {
                let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                collect(value, path, depth - 1, out);
            }
        }
        Value::Array(items) if depth > 0 && items.iter().any(Value::is_object) => {
            for item in items {
                collect(item, format!("{at}[]"), depth - 1, out);
            }
        }
        Value::Null => {}
        _ => {
            out.insert(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn draft(identity: &str, ts: Value) -> Draft {
        let mut draft = Draft::new("a.json record 1", identity.to_owned());
        draft.set(Id::Ts, ts, "at");
        draft.set(Id::Agent, "a", "who");
        draft.set(Id::Reward, "0.5", "r");
        draft
    }

    #[test]
    fn equal_records_are_two_events_each_time_the_same() {
        let ids = || {
            let drafts =
                vec![draft("x", json!(1_772_373_601)), draft("x", json!(1_772_373_600)), draft("y", Value::Null)];
            let mut all = Drafts { drafts, ..Drafts::default() };
            all.finish("s");
            all.drafts.iter().map(Draft::line).collect::<Vec<_>>()
        };
        let first = ids();
        assert_eq!(first, ids());
        assert!(first[0].starts_with(r#"{"ts":1772373600,"agent":"a","event_id":"import-"#), "{}", first[0]);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{first:?}");
    }

    #[test]
    fn what_must_not_be_appended() {
        assert_eq!(draft("x", json!(1_772_373_600)).fault(1000), None);
        assert!(draft("x", json!("yesterday")).fault(1000).is_some_and(|why| why.contains("yesterday")));
        let mut none = Draft::new("p", String::new());
        none.set(Id::Agent, "a", "who");
        assert!(none.fault(1000).is_some_and(|why| why.contains("no kind")));
        none.set(Id::Kind, "command", "");
        assert!(none.fault(1000).is_some_and(|why| why.contains("itself")));
    }

    #[test]
    fn paths_that_nobody_read_are_told() {
        let mut all = Drafts::default();
        let record = json!({"a": {"b": 1, "c": 2}, "m": "{\"x\":1}", "l": [{"k": 1, "j": 2}], "n": null});
        all.see(&record);
        all.see(&record);
        for path in ["a.b", "m.x", "l[0].k", "absent"] {
            all.find(&record, &[path]);
        }
        assert_eq!(all.unused(), [("a.c", 2), ("l[].j", 2)]);
    }

    #[test]
    fn long_names_stay_apart() {
        let (a, b) = (name("é".repeat(100) + "a"), name("é".repeat(100) + "b"));
        assert!(a.len() <= NAME_BYTES_MAX && a != b, "{a} {b}");
        assert_eq!(name("short".to_owned()), "short");
    }
}
