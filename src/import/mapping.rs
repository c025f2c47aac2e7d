use std::collections::BTreeMap;

use serde_json::Value;
use toml::Table;

use super::{Draft, Drafts, Path, Record, draft, value};
use crate::event::{
    Kind,
    fields::{self, Field, Id, Shape},
};

/// Which field of a line is found where in a record: `field = "a.b[0].c"` in TOML, or a table with `path` (one or several,
/// the first that is there), `times` (a factor), `default`, or `value` (a constant).
#[derive(Clone, Debug)]
pub struct Mapping {
    rules: BTreeMap<usize, Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    paths: Vec<Path>,
    times: Option<f64>,
    /// What it is without a path that leads to something.
    otherwise: Option<Value>,
}

const WORDS: [&str; 4] = ["path", "value", "times", "default"];
/// The kinds that programs of others may write.
const KINDS: [Kind; 4] = [Kind::Run, Kind::Alpha, Kind::Pnl, Kind::Price];

impl Mapping {
    /// # Errors
    /// What is wrong, for a person: the field, what was written, and what is allowed.
    pub fn parse(text: &str) -> Result<Mapping, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())?;
        let mut rules = BTreeMap::new();
        for (key, given) in table {
            let field = field(&key)?;
            let rule = rule(field, given).map_err(|why| format!("{key}: {why}"))?;
            rules.insert(field.id as usize, rule);
        }
        if rules.is_empty() {
            return Err("no field is mapped; want lines as run_id = \"id\"".to_owned());
        }
        Ok(Mapping { rules })
    }

    /// One draft for each record. A record that has an `event_id` mapped is known by it, any other by all it says.
    pub fn convert(&self, records: &[Record]) -> Drafts {
        let mut all = Drafts::default();
        for record in records {
            all.see(&record.value);
            let mut draft = Draft::new(&record.place, self.identity(record));
            for (&index, rule) in &self.rules {
                let id = fields::TABLE[index].id;
                if let Some((found, path)) = rule.of(&record.value) {
                    all.used.insert(path.clone());
                    if id != Id::EventId {
                        draft.set(id, found, &path);
                    }
                }
            }
            all.drafts.push(draft);
        }
        all
    }

    fn identity(&self, record: &Record) -> String {
        let id = self.rules.get(&(Id::EventId as usize)).and_then(|rule| rule.of(&record.value));
        id.and_then(|(id, _)| value::text(&id)).unwrap_or_else(|| draft::whole(record))
    }
}

impl Rule {
    /// The value for a record, and the path it came from (a constant's is empty).
    fn of(&self, record: &Value) -> Option<(Value, String)> {
        let found = self.paths.iter().find_map(|path| Some((path.find(record)?, path.text().to_owned())));
        let Some((found, path)) = found else { return self.otherwise.clone().map(|value| (value, String::new())) };
        // What is no number stays, for the decoder to refuse by its name.
        let scaled = self.times.and_then(|factor| Some(value::of_number(value::times(value::number(&found)?, factor))));
        Some((scaled.unwrap_or(found), path))
    }
}

fn field(key: &str) -> Result<&'static Field, String> {
    let usable = |field: &&Field| KINDS.into_iter().any(|kind| field.is_kept_on(Some(kind)));
    if let Some(id) = fields::lookup(key.as_bytes()) {
        let Some(field) = Some(id.field()).filter(usable) else {
            return Err(format!("{key}: a field of control lines, which runtape writes itself"));
        };
        return Ok(field);
    }
    let names = fields::TABLE.iter().filter(usable).map(|field| field.name);
    let all = names.clone().collect::<Vec<_>>().join(", ");
    Err(match nearest(key, names) {
        Some(name) => format!("{key}: no field has this name; did you mean {name}?"),
        None => format!("{key}: no field has this name; there are {all}"),
    })
}

/// The name that was most likely meant.
fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (strsim::jaro_winkler(given, name), name)).filter(|(likeness, _)| *likeness > 0.8);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

fn rule(field: &Field, given: toml::Value) -> Result<Rule, String> {
    let mut table = match given {
        toml::Value::Table(table) => table,
        paths => return Ok(Rule { paths: parse_paths(paths)?, times: None, otherwise: None }),
    };
    if let Some(word) = table.keys().find(|key| !WORDS.contains(&key.as_str())) {
        let hint = nearest(word, WORDS.into_iter()).map_or(String::new(), |near| format!("; did you mean {near}?"));
        return Err(format!("{word} is unknown{hint}; want {}", WORDS.join(", ")));
    }
    let times = table.remove("times").map(|given| factor(field, &given)).transpose()?;
    let constant = table.remove("value").map(json).transpose()?;
    let default = table.remove("default").map(json).transpose()?;
    let paths = table.remove("path").map(parse_paths).transpose()?;
    match (paths, constant) {
        (Some(_), Some(_)) => {
            Err("path and value exclude each other; want default for where the path is absent".to_owned())
        }
        (None, None) => Err("neither path nor value is given; want one of them".to_owned()),
        (None, Some(_)) if times.is_some() || default.is_some() => {
            Err("value stands alone; times and default belong to a path".to_owned())
        }
        (None, Some(value)) => Ok(Rule { paths: Vec::new(), times: None, otherwise: Some(value) }),
        (Some(paths), None) => Ok(Rule { paths, times, otherwise: default }),
    }
}

fn parse_paths(given: toml::Value) -> Result<Vec<Path>, String> {
    let texts = match given {
        toml::Value::Array(texts) if !texts.is_empty() => texts,
        text => vec![text],
    };
    let parse = |text: toml::Value| match text.as_str() {
        Some(text) => Path::parse(text),
        None => Err(format!("{text} is no path; want a text as \"a.b[0].c\", or {{ value = {text} }} for a constant")),
    };
    texts.into_iter().map(parse).collect()
}

fn factor(field: &Field, given: &toml::Value) -> Result<f64, String> {
    if !matches!(field.shape, Shape::Number | Shape::Amount | Shape::Count | Shape::CountOrBool) {
        return Err(format!("times is for numbers; {} is {}", field.name, field.shape.want()));
    }
    let factor = given.as_float().or_else(|| given.as_integer().map(|whole| whole as f64));
    let factor = factor.filter(|factor| factor.is_finite() && *factor != 0.0);
    factor.ok_or_else(|| format!("times = {given}; want a number that is not 0"))
}

fn json(given: toml::Value) -> Result<Value, String> {
    match given {
        toml::Value::String(text) => Ok(Value::String(text)),
        toml::Value::Integer(whole) => Ok(Value::from(whole)),
        toml::Value::Float(number) if number.is_finite() => Ok(value::of_number(number)),
        toml::Value::Boolean(flag) => Ok(Value::Bool(flag)),
        toml::Value::Datetime(time) => Ok(Value::String(time.to_string())),
        other => Err(format!("{other} is no constant; want a text, a number, true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_with_a_mapping_is_said_with_the_field_and_a_way_out() {
        for (text, says) in [
            ("", "no field is mapped"),
            ("runid = \"id\"", "did you mean run_id?"),
            ("zzz = \"id\"", "there are kind, v, ts, run_id"),
            ("action = \"a\"", "runtape writes itself"),
            ("run_id = \"a[\"", "run_id: path \"a[\""),
            ("run_id = 5", "{ value = 5 }"),
            ("run_id = {}", "neither path nor value"),
            ("run_id = { pth = \"a\" }", "did you mean path?"),
            ("run_id = { path = \"a\", value = \"b\" }", "exclude each other"),
            ("run_id = { path = \"a\", times = 2 }", "times is for numbers"),
            ("latency_ms = { path = \"a\", times = \"1000\" }", "want a number that is not 0"),
            ("latency_ms = { path = \"a\", times = 0 }", "want a number that is not 0"),
            ("errors = { value = 1, default = 2 }", "stands alone"),
            ("errors = { value = [1] }", "no constant"),
            ("not toml", "expected"),
        ] {
            let why = Mapping::parse(text).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn a_record_becomes_a_line() {
        let mapping = r#"
            kind = { value = "run" }
            ts = ["finished", "started"]
            event_id = "id"
            run_id = "id"
            agent = "meta.bot"
            latency_ms = { path = "duration_s", times = 1000 }
            tokens_in = "usage[0].in"
            errors = { path = "failed", default = 0 }
            cost_usd = "absent"
        "#;
        let value = json!({"id": 7, "started": 1_772_373_600, "meta": {"bot": "momo"}, "duration_s": "0.412",
            "usage": [{"in": 900}], "extra": true});
        let record = Record { place: "a.json record 1".to_owned(), value };
        let mut all = Mapping::parse(mapping).expect("a mapping").convert(&[record]);
        assert_eq!(all.unused(), [("extra", 1)]);
        all.finish("s");
        let line: Value = serde_json::from_str(&all.drafts[0].line()).expect("JSON");
        let want = json!({"kind": "run", "ts": 1_772_373_600, "run_id": "7", "agent": "momo", "latency_ms": 412,
            "tokens_in": 900, "errors": 0, "event_id": line["event_id"]});
        assert_eq!(line, want);
        assert_eq!(all.drafts[0].fault(1000), None);
    }
}
