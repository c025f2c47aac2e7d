use runtape::{event, serve::bodies};
use serde_json::Value;

/// 2026-01-01, Unix nanoseconds.
const NOW: i64 = 1_767_225_600_000_000_000;
const LIMIT: usize = 2048;

/// A body of lines, as anybody may send it and as the token of one agent may; and a JSON body of every route.
pub fn judge(bytes: &[u8]) {
    for agent in [None, Some("a")] {
        if let Ok(lines) = bodies::lines(bytes, NOW, agent, LIMIT) {
            assert!(!lines.is_empty());
            lines.iter().for_each(|line| appended(line, agent));
        }
    }
    for route in bodies::routes() {
        if let Ok(fields) = bodies::json(route, bytes) {
            assert!(serde_json::from_slice::<Value>(bytes).is_ok_and(|body| body.is_object()));
            assert!(fields.values().all(|value| !value.is_null()), "null is absence");
        }
    }
}

/// What is appended is one line that can be read back, with a time, and that speaks for nobody else.
fn appended(line: &str, agent: Option<&str>) {
    assert!(!line.contains('\n') && line.len() <= LIMIT);
    let decoded = event::decode(line.as_bytes(), LIMIT).expect("what is appended can be decoded");
    assert!(decoded.kind.is_none_or(|kind| !kind.is_control()), "control lines are not sent this way");
    if let Some(agent) = agent {
        assert_eq!(decoded.text(event::Id::Agent), Some(agent));
        assert!(decoded.text(event::Id::Strategy).is_none(), "a token of one agent names no strategy");
    }
}
