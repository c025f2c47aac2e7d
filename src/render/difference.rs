//! What changed between two states.

use serde_json::{Map, Value, json};

use super::{figures, human};

/// A field that changed: its path, and its value before and after.
pub type Change = (String, Value, Value);

/// The fields of a row that changed, in the order of the row.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    walk("", before, after, &mut found);
    found
}

fn walk(path: &str, before: &Value, after: &Value, found: &mut Vec<Change>) {
    let none = Map::new();
    match (before, after) {
        (_, Value::Object(fields)) => {
            let earlier = before.as_object().unwrap_or(&none);
            for (key, after) in fields {
                walk(&within(path, key), earlier.get(key).unwrap_or(&Value::Null), after, found);
            }
            for (key, before) in earlier.iter().filter(|(key, _)| !fields.contains_key(*key)) {
                walk(&within(path, key), before, &Value::Null, found);
            }
        }
        _ if before != after => found.push((path.to_owned(), before.clone(), after.clone())),
        _ => {}
    }
}

fn within(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Changes as JSON: by path, before and after.
pub fn row(changes: Vec<Change>) -> Value {
    Value::Object(changes.into_iter().map(|(path, before, after)| (path, json!([before, after]))).collect())
}

/// Changes in words, a line each.
pub fn told(changes: &[Change]) -> String {
    let line = |(path, before, after): &Change| {
        let whole = |value: &Value| human::visible(&value.to_string()).into_owned();
        let shown = |value: &Value| if value.is_number() { figures::short(value) } else { whole(value) };
        // A change below the digits that are shown is shown whole.
        let alike = shown(before) == shown(after);
        let [before, after] = [before, after].map(|value| if alike { whole(value) } else { shown(value) });
        format!("  {:<36} {before} -> {after}\n", human::visible(path))
    };
    changes.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_told_by_its_path() {
        let before = json!({ "a": 1, "b": { "c": 0.5, "d": "x" }, "gone": { "e": 1 }, "t": 1_700_000_000.25 });
        let after = json!({ "a": 1, "b": { "c": 0.75, "d": null }, "new": { "f": true }, "t": 1_700_000_001.5 });
        assert_eq!(
            told(&changes(&before, &after)),
            "  b.c                                  0.5 -> 0.75\n  b.d                                  \"x\" -> null\n  \
             new.f                                null -> true\n  t                                    1700000000.25 -> 1700000001.5\n  \
             gone                                 {\"e\":1} -> null\n"
        );
        assert_eq!(changes(&before, &before), []);
        assert_eq!(row(changes(&json!({}), &json!({ "x": 1 }))), json!({ "x": [null, 1] }));
    }
}
