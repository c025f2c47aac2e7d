use serde_json::{Map, Value, json};

use super::fields::{Field, Id, NAME_BYTES_MAX, NUMBER_MAX, Scope, Shape, TABLE};
use super::upcast::CURRENT;
use super::{Action, Kind};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A JSON Schema per kind, and `line.json` for any of them: file names and contents.
///
/// They describe the recognised fields for whoever writes lines; the decoder is the authority. It counts the bytes of
/// a name, not its characters, refuses duplicate keys, deep nesting and long lines, and knows aliases by version.
pub fn schemas() -> Vec<(String, Value)> {
    let kinds = Kind::ALL.into_iter().map(|kind| (file_name(kind), kind_schema(kind)));
    kinds.chain([("line.json".to_owned(), line_schema())]).collect()
}

fn file_name(kind: Kind) -> String {
    format!("{}.json", kind.name())
}

fn line_schema() -> Value {
    let kinds: Vec<_> = Kind::ALL.into_iter().map(|kind| json!({ "$ref": file_name(kind) })).collect();
    json!({
        "$schema": DRAFT,
        "$id": "line.json",
        "title": "line",
        "description": "One line of a stream. An object of another kind is no fault: it is kept, counted as unknown and ignored.",
        "anyOf": kinds,
    })
}

fn kind_schema(kind: Kind) -> Value {
    let mut properties = Map::new();
    for field in TABLE.iter().filter(|field| field.is_checked_on(Some(kind))) {
        properties.insert(field.name.to_owned(), property(field));
    }
    json!({
        "$schema": DRAFT,
        "$id": file_name(kind),
        "title": kind.name(),
        "description": description(kind),
        "type": "object",
        "properties": properties,
        "allOf": demands(kind),
        "additionalProperties": true,
    })
}

fn description(kind: Kind) -> &'static str {
    match kind {
        Kind::Run => "One run of an agent: latency, tokens, cost, errors, reward.",
        Kind::Alpha => "A signal: what an agent thinks of a symbol.",
        Kind::Pnl => "Realized profit or loss of a run; several records of one run add up.",
        Kind::Price => "The price of a symbol.",
        Kind::Command => "An operator's command. Counts in the control stream only.",
        Kind::Policy => "A policy that comes into force. Counts in the control stream only.",
        Kind::Check => "A request to judge an order. Counts in the control stream only.",
        Kind::Reserve => "A request to reserve budget. Counts in the control stream only.",
        Kind::Release => "The return of a reservation. Counts in the control stream only.",
    }
}

fn property(field: &Field) -> Value {
    let mut schema = shape_schema(field.shape);
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), json!(field.doc));
        if field.until < CURRENT {
            schema.insert("deprecated".to_owned(), json!(true));
        }
    }
    schema
}

/// What a value of this shape may be; null is absence.
fn shape_schema(shape: Shape) -> Value {
    let max = NUMBER_MAX;
    match shape {
        Shape::Name => json!({
            "type": ["string", "null"],
            "minLength": 1,
            "maxLength": NAME_BYTES_MAX,
            "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
        }),
        Shape::Text => json!({ "type": ["string", "null"] }),
        // Anything else is accepted too, but unusable: better to hear of it where lines are written.
        Shape::Stamp => json!({ "type": ["string", "number", "null"] }),
        Shape::Version => json!({ "type": ["integer", "null"], "minimum": 1, "maximum": CURRENT }),
        Shape::Number => json!({ "type": ["number", "null"], "minimum": -(max as i64), "maximum": max }),
        Shape::Amount => json!({ "type": ["number", "null"], "minimum": 0, "maximum": max }),
        Shape::Count => json!({ "type": ["integer", "null"], "minimum": 0, "maximum": max }),
        Shape::CountOrBool => json!({ "type": ["integer", "boolean", "null"], "minimum": 0, "maximum": max }),
        Shape::Flag => json!({ "type": ["boolean", "null"] }),
        Shape::Direction => {
            let words = ["LONG", "SHORT", "FLAT", "BUY", "SELL", "HOLD"].map(any_case).join("|");
            json!({ "type": ["string", "null"], "pattern": format!("^({words})$") })
        }
    }
}

/// A pattern for a word in any ASCII case.
fn any_case(word: &str) -> String {
    word.chars().map(|c| format!("[{c}{}]", c.to_ascii_lowercase())).collect()
}

/// What makes a line one of this kind, and what such a line must have.
fn demands(kind: Kind) -> Vec<Value> {
    let tagged = given("kind", json!({ "const": kind.name() }));
    let required: &[Id] = match kind {
        Kind::Command => &[Id::EventId, Id::Action, Id::Actor],
        Kind::Policy => &[Id::EventId, Id::Policy, Id::Actor],
        Kind::Check => &[Id::EventId, Id::Agent],
        Kind::Reserve => &[Id::EventId, Id::Agent, Id::RunId, Id::AmountUsd],
        Kind::Release => &[Id::EventId, Id::RunId],
        _ => &[],
    };
    if kind == Kind::Command {
        let fleet = given(Id::Fleet.field().name, json!({ "const": true }));
        let actions = given(Id::Action.field().name, json!({ "enum": Action::ALL.map(Action::name) }));
        let subjects = json!({ "oneOf": [present(&[Id::Agent]), present(&[Id::Strategy]), fleet] });
        return vec![tagged, present(required), actions, subjects];
    }
    if kind.is_control() {
        return vec![tagged, present(required)];
    }
    let untagged = json!({ "properties": { "kind": { "type": "null" } }, "anyOf": signs(kind) });
    let mut demands = vec![json!({ "anyOf": [tagged, untagged] })];
    if kind == Kind::Pnl {
        demands.push(present(&[Id::RealizedPnlBps]));
        demands.push(json!({ "anyOf": [present(&[Id::Agent]), present(&[Id::RunId])] }));
    }
    demands
}

/// The fields of which one tells an untagged line's kind.
fn signs(kind: Kind) -> Vec<Value> {
    if kind == Kind::Price {
        return vec![present(&[Id::Price, Id::Symbol])];
    }
    let tells = |field: &&Field| matches!(field.scope, Scope::Telling(kinds) if kinds.contains(&kind));
    TABLE.iter().filter(tells).map(|field| present(&[field.id])).collect()
}

/// Demands that these fields are there and not null.
fn present(ids: &[Id]) -> Value {
    let names: Vec<_> = ids.iter().map(|id| id.field().name).collect();
    let not_null = json!({ "not": { "type": "null" } });
    let properties: Map<_, _> = names.iter().map(|name| ((*name).to_owned(), not_null.clone())).collect();
    json!({ "required": names, "properties": properties })
}

fn given(name: &str, schema: Value) -> Value {
    let mut properties = Map::new();
    properties.insert(name.to_owned(), schema);
    json!({ "required": [name], "properties": properties })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_GOLDEN=1` writes the files instead of comparing them.
    #[test]
    fn the_files_in_schemas_are_these() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let update = std::env::var_os("UPDATE_GOLDEN").is_some();
        for (name, schema) in schemas() {
            let path = folder.join(&name);
            let want = format!("{schema:#}\n");
            if update {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &want).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(found == want, "schemas/{name} is out of date: run this test with UPDATE_GOLDEN=1");
        }
    }

    #[test]
    fn every_field_stands_in_the_schema_of_each_kind_that_has_it() {
        for (kind, (name, schema)) in Kind::ALL.into_iter().zip(schemas()) {
            assert_eq!(name, file_name(kind));
            for field in TABLE.iter().filter(|field| field.is_kept_on(Some(kind))) {
                assert!(schema["properties"][field.name].is_object(), "{name}: {}", field.name);
            }
        }
    }
}
