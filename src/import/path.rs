use serde_json::Value;

use super::value;

/// Where a value stands in a record: `a.b[0].c`. A key that is spelled like the whole path comes first, as the columns of
/// a CSV file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(text: &str) -> Result<Path, String> {
        let fault = |what: &str| format!("path {text:?} {what}; want keys and indices as a.b[0].c");
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (key, mut indices) = part.split_at(part.find('[').unwrap_or(part.len()));
            if key.is_empty() && (indices.is_empty() || !steps.is_empty()) {
                return Err(fault("has an empty key"));
            }
            if !key.is_empty() {
                steps.push(Step::Key(key.to_owned()));
            }
            while !indices.is_empty() {
                let (index, rest) = indices
                    .strip_prefix('[')
                    .and_then(|rest| rest.split_once(']'))
                    .ok_or_else(|| fault("has a bracket that is not closed"))?;
                let index = index.parse().map_err(|_| fault("has an index that is no number"))?;
                steps.push(Step::Index(index));
                indices = rest;
            }
        }
        Ok(Path { text: text.to_owned(), steps })
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value there; null and an empty text are absence. A text that holds JSON is looked into, since exports of
    /// databases have columns of it.
    pub fn find(&self, record: &Value) -> Option<Value> {
        let whole = record.get(&self.text).filter(|_| self.steps.len() > 1);
        let found = match whole {
            Some(found) => found.clone(),
            None => walk(record, &self.steps)?,
        };
        value::present(found)
    }
}

fn walk(value: &Value, steps: &[Step]) -> Option<Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.clone()) };
    match (step, value) {
        (_, Value::String(text)) => walk(&value::embedded(text)?, steps),
        (Step::Key(key), Value::Object(fields)) => walk(fields.get(key)?, rest),
        (Step::Index(index), Value::Array(items)) => walk(items.get(*index)?, rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_into_objects_arrays_and_texts_of_json() {
        let record =
            json!({"a": {"b": [{"c": 1}, {"c": 2}]}, "d.e": 3, "m": "{\"x\": {\"y\": \"z\"}}", "n": null, "t": ""});
        for (path, want) in [
            ("a.b[1].c", Some(json!(2))),
            ("a.b[2].c", None),
            ("a.b.c", None),
            ("d.e", Some(json!(3))),
            ("m.x.y", Some(json!("z"))),
            ("n", None),
            ("t", None),
            ("t.x", None),
        ] {
            assert_eq!(Path::parse(path).expect("a path").find(&record), want, "{path}");
        }
    }

    #[test]
    fn a_path_that_is_none_says_why() {
        for (path, says) in [
            ("", "empty"),
            ("a..b", "empty"),
            ("a.", "empty"),
            ("a[0", "closed"),
            ("a[x]", "number"),
            ("a[0]b", "closed"),
        ] {
            let why = Path::parse(path).expect_err(path);
            assert!(why.contains(says) && why.contains("a.b[0].c"), "{path}: {why}");
        }
        assert!(Path::parse("[0].a").is_ok(), "an array may be at the top");
    }
}
