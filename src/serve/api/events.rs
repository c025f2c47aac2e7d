use std::borrow::Cow;

use axum::{http::StatusCode, response::Response};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    Asked, append,
    errors::{ApiError, json_response},
};
use crate::{
    event::{Decoder, Id, Kind, Nanos, Stamp, control},
    fold::lines::Outcome,
    serve::{room::Bound, routes::App, tokens::Caller},
    streams::lines::is_blank,
};

/// Lines of one request.
pub const LINES_MAX: usize = 50_000;
/// Bad lines of a request that are named.
const NAMED_MAX: usize = 100;

/// POST /api/v1/events
pub async fn post(app: App, asked: Asked) -> Result<Response, ApiError> {
    let now = app.clock.now();
    let (bytes, caller, place) = (asked.bytes, asked.caller, asked.place);
    let lines = app.blocking(move |app| prepare(&bytes, now, &caller, line_bytes(app))).await??;
    let appended = append::events(&app, lines, place).await?;
    if let Some(last) = appended.iter().map(|line| line.position).max() {
        append::durable(&app, last).await?;
    }
    let duplicates = appended.iter().filter(|line| line.outcome == Outcome::Duplicate).count();
    let body = json!({
        "appended": appended.len() - duplicates,
        "duplicates": duplicates,
        "positions": appended.iter().map(|line| line.position).collect::<Vec<_>>(),
        "outcomes": appended.iter().map(|line| line.outcome.name()).collect::<Vec<_>>(),
    });
    Ok(json_response(StatusCode::OK, &body))
}

/// How long a line may be under the policy in force.
fn line_bytes(app: &App) -> usize {
    app.live.status().policy().policy.limits.line_bytes
}

/// The lines of a body as they will be appended: all of them, or none.
///
/// # Errors
/// Lists the lines that are bad, or that the caller may not append.
pub fn prepare(bytes: &[u8], now: Nanos, caller: &Caller, limit: usize) -> Result<Vec<String>, ApiError> {
    let ts = control::stamp(now);
    let (mut lines, mut bad, mut faults) = (Vec::new(), Vec::new(), 0_usize);
    let mut decoder = Decoder::default();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if is_blank(line) {
            continue;
        }
        if lines.len() >= LINES_MAX {
            let message = format!("there are more than {LINES_MAX} lines");
            return Err(ApiError::new(413, "too_many_lines", message, "send fewer at once").at(Bound::BodyLines));
        }
        match line_of(&mut decoder, line, limit, &ts, caller) {
            Ok(line) => lines.push(line),
            Err(Fault::Agent) => {
                let own = caller.agent.as_deref().unwrap_or_default();
                let way_out = format!(
                    "line {}: name this agent on each line, and send runs, signals and profits only",
                    number + 1
                );
                return Err(ApiError::foreign_agent(own, way_out));
            }
            Err(Fault::Bad(reason, detail)) => {
                faults += 1;
                if bad.len() < NAMED_MAX {
                    bad.push(json!({ "line": number + 1, "reason": reason, "detail": detail }));
                }
            }
        }
    }
    if faults > 0 {
        let message = format!("{faults} lines are bad, and nothing was appended");
        return Err(ApiError::new(400, "bad_lines", message, "repair them and send all lines again").with("lines", bad));
    }
    if lines.is_empty() {
        let none = Value::Array(Vec::new());
        return Err(
            ApiError::new(400, "bad_lines", "there are no lines", "send one JSON object per line").with("lines", none)
        );
    }
    Ok(lines)
}

enum Fault {
    Bad(&'static str, String),
    /// The caller speaks for another agent.
    Agent,
}

fn line_of(decoder: &mut Decoder, bytes: &[u8], limit: usize, ts: &str, caller: &Caller) -> Result<String, Fault> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let line = decoder.line(bytes, limit).map_err(|why| Fault::Bad(why.reason.name(), why.detail))?;
    if let Some(kind) = line.kind.filter(|kind| kind.is_control()) {
        let detail = format!("a {} has a route of its own; see /api/v1/openapi.json", kind.name());
        return Err(Fault::Bad("control", detail));
    }
    // Prices are about everybody.
    let own = matches!(line.kind, Some(Kind::Run | Kind::Alpha | Kind::Pnl));
    if caller.agent.is_some() && !own || !caller.speaks_for(line.text(Id::Agent)) {
        return Err(Fault::Agent);
    }
    if !caller.may_name(line.text(Id::Strategy)) {
        let detail = "this token may not name the strategy; give the token strategy = \"...\", or leave it out";
        return Err(Fault::Bad("strategy", detail.to_owned()));
    }
    let text = String::from_utf8_lossy(bytes);
    let text = if line.ts == Stamp::Absent && !has_ts(&text) { stamped(&text, ts) } else { text };
    if text.len() > limit {
        return Err(Fault::Bad("oversize", format!("{} bytes with its ts; want at most {limit}", text.len())));
    }
    Ok(text.into_owned())
}

/// Whether the key is there, be it with null.
fn has_ts(line: &str) -> bool {
    fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
        IgnoredAny::deserialize(value).map(|_| true)
    }
    #[derive(Deserialize)]
    struct Keys {
        #[serde(default, deserialize_with = "present")]
        ts: bool,
    }
    serde_json::from_str::<Keys>(line).is_ok_and(|keys| keys.ts)
}

/// The line with a time in front of its other fields, which stay as they are, byte by byte.
fn stamped<'a>(line: &'a str, ts: &str) -> Cow<'a, str> {
    let Some((before, fields)) = line.split_once('{') else { return line.into() };
    let comma = if fields.trim_start().starts_with('}') { "" } else { "," };
    format!("{before}{{\"ts\":\"{ts}\"{comma}{fields}").into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::Limits;

    const NOW: Nanos = 1_772_372_096_000_000_000;
    const TS: &str = "\"ts\":\"2026-03-01T13:34:56.000000000Z\"";

    fn said(bytes: &[u8], caller: &Caller) -> String {
        match prepare(bytes, NOW, caller, Limits::default().line_bytes) {
            Ok(lines) => lines.join("\n"),
            Err(error) => {
                let lines = error.more.map_or(String::new(), |more| more.1.to_string());
                format!("{} {}: {} {lines}", error.status.as_u16(), error.code, error.message)
            }
        }
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = said(text.as_bytes(), &Caller::local());
        assert!(got.contains(&want.replace("TS", TS)), "{text}\n want {want}\n got  {got}");
    }

    #[test]
    fn lines_without_a_time_are_stamped_and_else_left_alone() {
        check("{\"agent\":\"a\",\"reward\":1}", "{TS,\"agent\":\"a\",\"reward\":1}");
        check(" { \"agent\" : \"a\" }\r\n\n{}", " {TS, \"agent\" : \"a\" }\n{TS}");
        check("{ }", "{TS }");
        check("{\"ts\":5,\"x\":1e0}", "{\"ts\":5,\"x\":1e0}");
        check("{\"ts\":null}", "{\"ts\":null}");
        check("{\"ts\":\"whenever\"}", "{\"ts\":\"whenever\"}");
        check("{\"\\u0074s\":null}", "{\"\\u0074s\":null}");
        check("{\"x\":{\"ts\":1}}", "{TS,\"x\":{\"ts\":1}}");
    }

    #[test]
    fn one_bad_line_refuses_all() {
        check("", "400 bad_lines: there are no lines []");
        check("\n \n", "400 bad_lines: there are no lines []");
        check("{}\n{\"agent\":3}\n\nx", r#"400 bad_lines: 2 lines are bad"#);
        check("{}\n{\"agent\":3}", r#"[{"line":2,"reason":"type""#);
        check("{\"kind\":\"command\"}", r#"[{"line":1,"reason":"control","detail":"a command has a route"#);
        check(&format!("{{\"x\":\"{}\"}}", "y".repeat(1 << 20)), "oversize");
        let near = format!("{{\"x\":\"{}\"}}", "y".repeat((1 << 20) - 10));
        check(&near, "bytes with its ts");
        check(&"{}\n".repeat(LINES_MAX + 1), "413 too_many_lines");
        let many = "x\n".repeat(1000);
        let error =
            prepare(many.as_bytes(), NOW, &Caller::local(), Limits::default().line_bytes).expect_err("bad lines");
        assert_eq!(error.more.and_then(|more| more.1.as_array().map(Vec::len)), Some(NAMED_MAX));
        assert!(said(b"{\"x\":\"\xff\"}", &Caller::local()).contains("\"reason\":\"utf8\""));
    }

    #[test]
    fn a_bound_token_speaks_for_its_agent_only() {
        let bound = Caller { agent: Some(Arc::from("a")), ..Caller::local() };
        for text in ["{\"agent\":\"b\"}", "{\"agent\":\"a\"}\n{\"reward\":1}", "{}"] {
            assert!(said(text.as_bytes(), &bound).starts_with("403 agent: "), "{text}");
        }
        assert!(said(b"{\"agent\":\"a\",\"reward\":1}", &bound).starts_with("{\"ts\""));
        assert!(said(b"{\"agent\":\"a\",\"symbol\":\"X\",\"price\":1}", &bound).starts_with("403 agent: "));
        let of_strategy = br#"{"agent":"a","strategy":"s","reward":1}"#;
        assert!(said(of_strategy, &bound).starts_with("400 bad_lines"));
        let member = Caller { strategy: Some(Arc::from("s")), ..bound };
        assert!(said(of_strategy, &member).starts_with("{\"ts\""));
    }
}
