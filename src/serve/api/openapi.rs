use serde_json::{Map, Value, json};

use super::{
    fields::{Field, object_schema, schema},
    table::{Body, ROUTES, Route, Verb},
};

/// The OpenAPI document of the table of routes.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.verb.name().to_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "runtape",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Flight recorder and circuit breaker of a fleet of trading agents. An answer that permits something is given only once what it rests on is on disk.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the server's token file. A server that listens on loopback may want none.",
                },
            },
            "schemas": schemas(),
        },
    })
}

fn operation(route: &Route) -> Value {
    let param = route.param.iter().map(|field| parameter(field, "path"));
    let query = route.query.iter().map(|field| parameter(field, "query"));
    let parameters: Vec<Value> = param.chain(query).collect();
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.doc,
        "description": format!("Wants a token with scope `{}` where tokens are used.", route.scope.name()),
        "parameters": parameters,
        "responses": responses(route),
    });
    if let (Some(body), Some(operation)) = (request_body(route.body), operation.as_object_mut()) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

fn parameter(field: &Field, place: &str) -> Value {
    json!({
        "name": field.name, "in": place, "required": field.required, "description": field.doc,
        "schema": schema(field.shape),
    })
}

fn request_body(body: Body) -> Option<Value> {
    let lines = json!({ "schema": { "type": "string", "description": "JSON objects, one per line, as `runtape schema` describes them." } });
    match body {
        Body::None => None,
        Body::Json(fields) => {
            Some(json!({ "required": true, "content": { "application/json": { "schema": object_schema(fields) } } }))
        }
        Body::Lines => Some(json!({ "required": true, "content": { "application/x-ndjson": lines } })),
    }
}

/// Every status a route can give.
fn responses(route: &Route) -> Value {
    let mut statuses = vec![400, 401, 403, 500, 503];
    if route.verb == Verb::Post {
        statuses.extend([408, 413, 415]);
    }
    statuses.extend(route.errors);
    statuses.sort_unstable();
    statuses.dedup();
    let mut content = json!({ "application/json": { "schema": reference(route.answer) } });
    if let (true, Some(content)) = (route.id == "decisions", content.as_object_mut()) {
        content.insert("text/event-stream".to_owned(), json!({ "schema": { "type": "string" } }));
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({ "description": "Done.", "content": content }));
    for status in statuses {
        let content = json!({ "application/json": { "schema": reference("Error") } });
        responses.insert(status.to_string(), json!({ "description": meaning(status), "content": content }));
    }
    Value::Object(responses)
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request is not as this document says; nothing was done.",
        401 => "There is no token, or one that nobody knows.",
        403 => "The token does not permit it, or the request comes from elsewhere.",
        404 => "There is no such thing.",
        408 => "The body did not arrive in time.",
        409 => "It contradicts what is, or what was asked before.",
        413 => "The body is too large.",
        415 => "The body is of another type.",
        422 => "The policy is not valid.",
        503 => "It cannot be answered just now; what may have been done is said.",
        507 => "The disk is full.",
        _ => "The server failed.",
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The objects of answers: name, meaning, and fields with what they are (see [`kind`]).
const OBJECTS: &[(&str, &str, &str)] = &[
    ("Error", "A request that could not be done.", "error:@Fault"),
    ("Fault", "Why: the code for programs, the rest for people.", "code:text message:text way_out:text"),
    ("Document", "An OpenAPI document.", "openapi:text"),
    ("Controls", "The verdicts of all agents.", ""),
    (
        "Status",
        "Where the recorder stands.",
        "version:text ready:flag problems:[text] position:count durable:count tape_time:number? policy:text consumers:[@Consumer] lines:counters waiting:count agents:count disks:rows scrapes:@Scrapes",
    ),
    (
        "Scrapes",
        "How often the metric page was read; when last, Unix seconds, and by whom.",
        "count:count last:number? by:text?",
    ),
    ("Consumer", "One consumer.", "name:text up:flag position:count lag_lines:count lag_seconds:number problem:text?"),
    (
        "State",
        "As `runtape replay -o json` prints it.",
        "position:count tape_time:number? policy:text lines:counters agents:rows strategies:rows fleet:object",
    ),
    ("Agents", "Rows by name.", "position:count agents:rows"),
    ("Agent", "The row of an agent.", "position:count agent:text"),
    ("Run", "What is known of a run.", "run_id:text lines:[@Line] decisions:[@Decision] truncated:flag"),
    ("Line", "One line of the tape.", "position:count stream:text file:text offset:count line:text?"),
    ("Decisions", "Decisions; `next` is null at the end.", "decisions:[@Decision] next:text?"),
    (
        "Decision",
        "What a consumer concluded, with its numbers.",
        "cause:count ordinal:count consumer:text version:count subject_kind:text subject:text verdict:text reason:object policy:text tape_time:number?",
    ),
    (
        "Appended",
        "What became of the lines, in their order.",
        "appended:count duplicates:count positions:[count] outcomes:[text]",
    ),
    (
        "Checked",
        "Whether the order may be placed: only `allow` permits it.",
        "verdict:verdict position:count? reasons:[text] size_multiplier:number? mode:text? decision:object? problems:[text]",
    ),
    ("Reserved", "Whether the amount is set aside.", "granted:flag position:count decision:@Decision"),
    ("Released", "Whether there was something to give back.", "released:flag position:count decision:@Decision"),
    ("Commanded", "What became of each; at least one was not refused.", "commands:[@Command] refused:count"),
    ("Command", "One command.", "position:count decision:@Decision"),
    ("PolicyInForce", "A policy, as TOML and as JSON.", "hash:text toml:text policy:object"),
    ("PolicySet", "Where the policy stands; from there on it holds.", "position:count hash:text"),
    (
        "Verdict",
        "Whether an agent may trade: only `allow` permits it, and only at this size.",
        "agent:text position:count? tape_time:number? mode:text? verdict:verdict live:flag size_multiplier:number reasons:[text] since_position:count?",
    ),
];

/// The schemas of all answers. Every listed field is there; answers may grow, so others are permitted.
fn schemas() -> Value {
    let mut all = Map::new();
    for (name, doc, fields) in OBJECTS {
        let mut properties = Map::new();
        for (field, what) in fields.split_whitespace().filter_map(|field| field.split_once(':')) {
            properties.insert(field.to_owned(), kind(what));
        }
        let required: Vec<&String> = properties.keys().collect();
        let schema = json!({ "type": "object", "description": doc, "required": required, "properties": properties });
        all.insert((*name).to_owned(), schema);
    }
    all.sort_keys();
    Value::Object(all)
}

/// A schema by its short name: `[x]` is a list, `@X` one of the objects, `x?` may be null.
fn kind(what: &str) -> Value {
    if let Some(of) = what.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return json!({ "type": "array", "items": kind(of) });
    }
    if let Some(name) = what.strip_prefix('@') {
        return reference(name);
    }
    if let Some(of) = what.strip_suffix('?') {
        let mut schema = kind(of);
        schema["type"] = json!([schema["type"], "null"]);
        return schema;
    }
    match what {
        "text" => json!({ "type": "string" }),
        "flag" => json!({ "type": "boolean" }),
        "number" => json!({ "type": "number" }),
        "count" => json!({ "type": "integer", "minimum": 0 }),
        "verdict" => json!({ "type": "string", "enum": ["allow", "deny", "hold"] }),
        "rows" => json!({ "type": "object", "additionalProperties": { "type": "object" } }),
        "counters" => json!({ "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } }),
        _ => json!({ "type": "object" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_GOLDEN=1` writes the file instead of comparing it.
    #[test]
    fn the_document_is_as_it_was() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openapi.json");
        let got = format!("{:#}\n", document());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &got).expect("a writable file");
        }
        let want = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            got == want,
            "tests/golden/openapi.json is out of date: look at it, then run this test with UPDATE_GOLDEN=1"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        let names = text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next());
        for name in names {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.verb.name().to_lowercase()];
            assert_eq!(operation["operationId"], route.id);
        }
    }
}
