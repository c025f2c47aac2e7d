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
    let mut parameters: Vec<Value> = param.chain(query).collect();
    if route.id == "decisions" {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The id of the last event that was seen; used where text/event-stream is asked for.",
            "schema": schema(super::Shape::Cursor),
        }));
    }
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

/// An object of an answer: every listed field is there. Answers may grow, so others are permitted.
fn object(doc: &str, fields: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "description": doc, "properties": properties, "required": required })
}

fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

fn or_null(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

/// The schemas of all answers.
fn schemas() -> Value {
    let (text, flag, number) = (json!({ "type": "string" }), json!({ "type": "boolean" }), json!({ "type": "number" }));
    let (count, row) = (json!({ "type": "integer", "minimum": 0 }), json!({ "type": "object" }));
    let (texts, counts, maybe_count) =
        (list(&text), list(&count), json!({ "type": ["integer", "null"], "minimum": 0 }));
    let rows = json!({ "type": "object", "additionalProperties": { "type": "object" } });
    let decision = reference("Decision");
    let maybe_decision = json!({ "anyOf": [decision, { "type": "null" }] });
    let mut all = reading(&text, &flag, &number, &count, &rows);
    let command = object("One command.", &[("position", count.clone()), ("decision", decision.clone())]);
    let answers = [
        (
            "Appended",
            object(
                "What became of the lines, in their order.",
                &[
                    ("appended", count.clone()),
                    ("duplicates", count.clone()),
                    ("positions", counts),
                    ("outcomes", texts.clone()),
                ],
            ),
        ),
        (
            "Checked",
            object(
                "Whether the order may be placed: only `allow` permits it.",
                &[
                    ("verdict", json!({ "type": "string", "enum": ["allow", "deny", "hold"] })),
                    ("position", maybe_count.clone()),
                    ("reasons", texts.clone()),
                    ("size_multiplier", or_null("number")),
                    ("mode", or_null("string")),
                    ("decision", maybe_decision),
                    ("problems", texts.clone()),
                ],
            ),
        ),
        (
            "Reserved",
            object(
                "Whether the amount is set aside.",
                &[("granted", flag.clone()), ("position", count.clone()), ("decision", decision.clone())],
            ),
        ),
        (
            "Released",
            object(
                "Whether there was something to give back.",
                &[("released", flag.clone()), ("position", count.clone()), ("decision", decision.clone())],
            ),
        ),
        (
            "Commanded",
            object(
                "What became of each command; at least one was not refused.",
                &[("commands", list(&command)), ("refused", count.clone())],
            ),
        ),
        (
            "PolicyInForce",
            object(
                "A policy, as TOML and as JSON.",
                &[("hash", text.clone()), ("toml", text.clone()), ("policy", row)],
            ),
        ),
        (
            "PolicySet",
            object(
                "Where the policy stands; from there on it holds.",
                &[("position", count.clone()), ("hash", text.clone())],
            ),
        ),
        (
            "Verdict",
            object(
                "Whether an agent may trade: only `allow` permits it, and only at this size.",
                &[
                    ("agent", text.clone()),
                    ("position", maybe_count.clone()),
                    ("tape_time", or_null("number")),
                    ("mode", or_null("string")),
                    ("verdict", json!({ "type": "string", "enum": ["allow", "deny", "hold"] })),
                    ("live", flag),
                    ("size_multiplier", number),
                    ("reasons", texts),
                    ("since_position", maybe_count),
                ],
            ),
        ),
    ];
    all.extend(answers.map(|(name, schema)| (name.to_owned(), schema)));
    all.sort_keys();
    Value::Object(all)
}

/// The schemas of what can only be read, and of errors.
fn reading(text: &Value, flag: &Value, number: &Value, count: &Value, rows: &Value) -> Map<String, Value> {
    let counters = json!({ "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } });
    let row = json!({ "type": "object" });
    let decision = reference("Decision");
    let consumer = object(
        "One consumer.",
        &[
            ("name", text.clone()),
            ("up", flag.clone()),
            ("position", count.clone()),
            ("lag_lines", count.clone()),
            ("lag_seconds", number.clone()),
            ("problem", or_null("string")),
        ],
    );
    let line = object(
        "One line of the tape.",
        &[
            ("position", count.clone()),
            ("stream", text.clone()),
            ("file", text.clone()),
            ("offset", count.clone()),
            ("line", or_null("string")),
        ],
    );
    let fault = object(
        "Why something was not done: the code for programs, the rest for people.",
        &[("code", text.clone()), ("message", text.clone()), ("way_out", text.clone())],
    );
    let schemas = [
        ("Error", object("A request that could not be done.", &[("error", fault)])),
        ("Document", row.clone()),
        ("Controls", row.clone()),
        (
            "Status",
            object(
                "Where the recorder stands.",
                &[
                    ("version", text.clone()),
                    ("ready", flag.clone()),
                    ("problems", list(text)),
                    ("position", count.clone()),
                    ("durable", count.clone()),
                    ("tape_time", or_null("number")),
                    ("policy", text.clone()),
                    ("consumers", list(&consumer)),
                    ("lines", counters.clone()),
                    ("waiting", count.clone()),
                    ("agents", count.clone()),
                ],
            ),
        ),
        (
            "State",
            object(
                "As `runtape replay -o json` prints it.",
                &[
                    ("position", count.clone()),
                    ("tape_time", or_null("number")),
                    ("policy", text.clone()),
                    ("lines", counters),
                    ("agents", rows.clone()),
                    ("strategies", rows.clone()),
                    ("fleet", row.clone()),
                ],
            ),
        ),
        ("Agents", object("Rows by name.", &[("position", count.clone()), ("agents", rows.clone())])),
        ("Agent", object("The row of an agent.", &[("position", count.clone()), ("agent", text.clone())])),
        (
            "Run",
            object(
                "What is known of a run.",
                &[
                    ("run_id", text.clone()),
                    ("lines", list(&line)),
                    ("decisions", list(&decision)),
                    ("truncated", flag.clone()),
                ],
            ),
        ),
        (
            "Decisions",
            object(
                "Decisions; `next` is null at the end.",
                &[("decisions", list(&decision)), ("next", or_null("string"))],
            ),
        ),
        (
            "Decision",
            object(
                "What a consumer concluded, with its numbers.",
                &[
                    ("cause", count.clone()),
                    ("ordinal", count.clone()),
                    ("consumer", text.clone()),
                    ("version", count.clone()),
                    ("subject_kind", json!({ "type": "string", "enum": ["agent", "strategy", "fleet"] })),
                    ("subject", text.clone()),
                    ("verdict", text.clone()),
                    ("reason", row),
                    ("policy", text.clone()),
                    ("tape_time", or_null("number")),
                ],
            ),
        ),
    ];
    schemas.map(|(name, schema)| (name.to_owned(), schema)).into_iter().collect()
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
