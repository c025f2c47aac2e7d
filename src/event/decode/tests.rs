use proptest::prelude::*;

use super::*;
use crate::event::{Direction, Id, Reason};

const MAX: usize = 1 << 20;

/// A decoded line in words: its kind, then every field it has, in the order of the table; or its fault.
fn shown(bytes: &[u8]) -> String {
    let decoded = decode(bytes, MAX);
    assert_eq!(decoded, reference::decode(bytes, MAX), "{}", String::from_utf8_lossy(bytes));
    match decoded {
        Err(Malformed { reason, detail }) => format!("{}: {detail}", reason.name()),
        Ok(line) => format!("{line:?}"),
    }
}

#[track_caller]
fn check(line: impl AsRef<[u8]>, want: &str) {
    let line = line.as_ref();
    assert_eq!(shown(line), want, "{}", String::from_utf8_lossy(&line[..line.len().min(200)]));
}

/// The reason alone, for the many lines whose detail adds nothing to the test.
#[track_caller]
fn check_reason(line: impl AsRef<[u8]>, want: Reason) {
    let line = line.as_ref();
    let reason = decode(line, MAX).map_err(|fault| fault.reason);
    assert_eq!(reason, Err(want), "{}", String::from_utf8_lossy(&line[..line.len().min(200)]));
}

#[test]
fn shapes_that_agents_write_today() {
    check(
        r#"{"run_id":"r","agent":"a","latency_ms":12.5,"tokens_in":7,"tokens_out":3,"cost_usd":0.01,"errors":0}"#,
        r#"run run_id="r" agent="a" latency_ms=12.5 tokens_in=7 tokens_out=3 cost_usd=0.01 errors=0"#,
    );
    check(
        r#"{"run_id":"r","agent":"a","symbol":"BTC","direction":"LONG","score_final":0.4,"regime":"bull"}"#,
        r#"alpha run_id="r" agent="a" symbol="BTC" score_final=0.4 direction=LONG regime="bull""#,
    );
    check(r#"{"run_id":"r","realized_pnl_bps":-3}"#, r#"pnl run_id="r" realized_pnl_bps=-3.0"#);
    check(
        r#"{"ts":1772409600,"agent":"a","run_id":"r","symbol":"X","entry_price":1,"exit_price":2,"realized_pnl_bps":5}"#,
        r#"pnl ts=2026-03-02T00:00:00Z run_id="r" agent="a" symbol="X" realized_pnl_bps=5.0 entry_price=1.0 exit_price=2.0"#,
    );
    check(r#"{"agent":"a","reward":1}"#, r#"run agent="a" reward=1.0"#);
    check(r#"{"symbol":"BTC","price":64000.5}"#, r#"price symbol="BTC" price=64000.5"#);
}

#[test]
fn odd_lines_that_are_fine() {
    check(r#"{"kind":"weather","agent":"x"}"#, r#"unknown agent="x""#);
    check(r#"{"kind":"RUN","agent":"x","reward":1}"#, r#"unknown agent="x""#);
    check(r#"{"agent":"x"}"#, r#"unknown agent="x""#);
    check("{}", "unknown");
    check(
        r#"{"agent":"x","kind":null,"reward":null,"errors":0,"note":{"agent":"inner","agent":"twice"}}"#,
        r#"run agent="x" errors=0"#,
    );
    check(r#"{"reward":1}"#, "run reward=1.0");
    check(r#" {"agent" : "spaced" , "reward" : -0.0 } "#, r#"run agent="spaced" reward=0.0"#);
    check("\t{\t\"reward\"\r:\t1}\t", "run reward=1.0");
    check("{\"agent\":\"esc\\u00e9\\\"q\\\\\",\"reward\":1e-3}\r", r#"run agent="escé\"q\\" reward=0.001"#);
    check(r#"{"agent":"x","errors":true}"#, r#"run agent="x" errors=1"#);
    check(r#"{"agent":"x","errors":false,"tokens_in":5.0}"#, r#"run agent="x" tokens_in=5 errors=0"#);
    check(r#"{"kind":"command","action":"kill","agent":"fast"}"#, r#"command agent="fast" action="kill""#);
    check(r#"{"":1,"\u0000":2,"\ud800":3,"\udc00":4}"#, "unknown");
    check(r#"{"agent":"\ud83d\ude80"}"#, r#"unknown agent="🚀""#);
}

#[test]
fn kinds() {
    check(r#"{"realized_pnl_bps":1,"score_final":1,"reward":1,"agent":"a"}"#, r#"pnl agent="a" realized_pnl_bps=1.0"#);
    check(r#"{"score_final":1,"reward":1}"#, "alpha score_final=1.0");
    check(r#"{"direction":"FLAT","reward":1}"#, "alpha direction=FLAT");
    check(r#"{"cost_usd":1,"price":1,"symbol":"s"}"#, r#"run symbol="s" cost_usd=1.0"#);
    check(r#"{"price":1}"#, "unknown");
    check(r#"{"price":1,"symbol":null}"#, "unknown");
    check(r#"{"reward":1,"kind":"alpha"}"#, "alpha");
    check(r#"{"regime":"r","kind":"alpha"}"#, r#"alpha regime="r""#);
    check(r#"{"realized_pnl_bps":null,"reward":2}"#, "run reward=2.0");
}

#[test]
fn versions() {
    check(r#"{"v":1,"ensemble_score_final":2,"direction":"buy"}"#, "alpha score_final=2.0 direction=LONG");
    check(r#"{"v":null,"ensemble_score_final":2}"#, "alpha score_final=2.0");
    check(r#"{"ensemble_score_final":2,"score_final":3}"#, "alpha score_final=3.0");
    check_reason(r#"{"ensemble_score_final":"2","score_final":3}"#, Reason::Type);
    check_reason(r#"{"ensemble_score_final":"2"}"#, Reason::Type);
    check(r#"{"v":2,"ensemble_score_final":"2"}"#, "unknown");
    check(r#"{"v":2.0,"score_final":2,"direction":"Short"}"#, "alpha score_final=2.0 direction=SHORT");
    check_reason(r#"{"v":2,"direction":"BUY"}"#, Reason::Range);
    check(r#"{"v":3,"reward":"x"}"#, "version: v: 3 is newer than this program knows; want at most 2");
    check(r#"{"v":0}"#, "range: v: 0 is too low; want a whole number from 1");
    for line in [r#"{"v":-1}"#, r#"{"v":1.5}"#, r#"{"v":1e400}"#, r#"{"v":9007199254740993}"#] {
        check_reason(line, Reason::Range);
    }
    for line in [r#"{"v":"1"}"#, r#"{"v":true}"#, r#"{"v":[1]}"#] {
        check_reason(line, Reason::Type);
    }
}

#[test]
fn directions() {
    let words = [("LONG", Direction::Long), ("short", Direction::Short), ("Flat", Direction::Flat)];
    let aliases = [("BUY", Direction::Long), ("sell", Direction::Short), ("hOLD", Direction::Flat)];
    for (word, direction) in words.into_iter().chain(aliases) {
        let line = format!(r#"{{"direction":"{word}"}}"#);
        assert_eq!(decode(line.as_bytes(), MAX).unwrap().direction(), Some(direction), "{word}");
    }
    check(
        r#"{"direction":"up"}"#,
        r#"range: direction: "up" is no direction; want LONG, SHORT or FLAT (version 1: also BUY, SELL, HOLD)"#,
    );
    check_reason(r#"{"direction":""}"#, Reason::Range);
    check_reason(r#"{"direction":"\ud800"}"#, Reason::Range);
    check_reason(r#"{"direction":1}"#, Reason::Type);
}

#[test]
fn not_json() {
    for line in [
        "",
        " ",
        r#"{"agent":"x""#,
        "nonsense",
        r#"{"agent":"x","reward":NaN}"#,
        r#"{"agent":"x","reward":-Infinity}"#,
        "{\"agent\":\"x\",\"reward\":1}\0",
        r#"{"agent":"x","reward":01}"#,
        r#"{"agent":"x","reward":.5}"#,
        r#"{"agent":"x","reward":1.}"#,
        r#"{"agent":"x","reward":+1}"#,
        r#"{"agent":"x","reward":1,}"#,
        r#"{"agent":"x"}{"agent":"y"}"#,
        "{'agent':'x'}",
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{1:2}"#,
        "[1,2",
        "{\"agent\":\"a\tb\"}",
        "{\"a\":\"a\tb\"}",
        "{\"a\tb\":1}",
        "{\"a\\u0009\tb\":1}",
    ] {
        check_reason(line, Reason::Json);
    }
    check(r#"{"agent":"x","reward":1,}"#, "json: key must be a string at column 25 of 25");
    check(
        b"\xef\xbb\xbf{\"agent\":\"x\"}",
        "json: expected value at column 1 of 16; the line begins with a byte order mark",
    );
    // JSON faults come before faults of fields.
    check_reason(r#"{"agent":7,"reward":}"#, Reason::Json);
    check_reason(r#"{"reward":1e400,"agent":}"#, Reason::Json);
}

#[test]
fn not_utf8_and_not_an_object() {
    check(b"{\"agent\":\"\xff\",\"reward\":1}", "utf8: byte 0xff at column 11 of 24 is not UTF-8");
    check_reason(b"{\"x\":\"\xed\xa0\x80\"}", Reason::Utf8);
    check("[1,2]", "not_object: [1,2] is not an object; want {...}");
    for line in [r#""text""#, "1", "1e400", "null", " true ", "[]", r#""\ud800""#] {
        check_reason(line, Reason::NotObject);
    }
}

#[test]
fn a_line_longer_than_the_limit() {
    let line = br#"{"reward":1}"#;
    assert!(decode(line, line.len()).is_ok());
    let fault = decode(line, line.len() - 1).unwrap_err();
    assert_eq!((fault.reason, &*fault.detail), (Reason::Oversize, "12 bytes; want at most 11"));
}

#[test]
fn depth_counts_the_object_as_one() {
    let nested = |depth: usize| format!(r#"{{"deep":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    check(nested(63), "unknown");
    check(nested(64), "depth: nested 65 deep; want at most 64");
    check_reason(nested(200_000), Reason::Depth);
    check(format!(r#"{{"a":"{}\\\"{}","b":[[]]}}"#, "[".repeat(70), "{".repeat(70)), "unknown");
    check(format!(r#"{{"a":[{}1]}}"#, "[],{},".repeat(200)), "unknown");
    let objects = format!("{}1{}", r#"{"x":"#.repeat(65), "}".repeat(65));
    check_reason(objects, Reason::Depth);
    check_reason(format!(r#"{{"agent":{}{}}}"#, "[".repeat(64), "]".repeat(64)), Reason::Depth);
    check_reason(format!(r#"{{"agent":{}{}}}"#, "[".repeat(63), "]".repeat(63)), Reason::Type);
    check_reason("[".repeat(100), Reason::Json);
}

#[test]
fn keys_given_twice() {
    check(
        r#"{"agent":"x","agent":"y","reward":1}"#,
        r#"duplicate_key: key "agent" is given twice; want each key once"#,
    );
    check_reason(r#"{"agent":null,"agent":"x"}"#, Reason::DuplicateKey);
    check_reason(r#"{"agent":"x","\u0061gent":"x"}"#, Reason::DuplicateKey);
    check_reason(r#"{"x":1,"y":2,"x":1}"#, Reason::DuplicateKey);
    check_reason(r#"{"x":1,"\u0078":1}"#, Reason::DuplicateKey);
    check_reason(r#"{"\ud800":1,"\uD800":1}"#, Reason::DuplicateKey);
    check_reason(r#"{"":1,"":1}"#, Reason::DuplicateKey);
    check_reason(r#"{"reward":1e400,"agent":1,"x":1,"x":1}"#, Reason::DuplicateKey);
    check(r#"{"x":1,"X":1,"x ":1}"#, "unknown");
    check(r#"{"x":[{"a":1,"a":2}]}"#, "unknown");
    let many = |extra: &str| {
        let keys: Vec<_> = (0..40).map(|i| format!(r#""k{i}":{i}"#)).collect();
        format!("{{{},{extra}}}", keys.join(","))
    };
    check(many(r#""k40":0"#), "unknown");
    for extra in [r#""k0":0"#, r#""k15":0"#, r#""k16":0"#, r#""k39":0"#, r#""\u006b3":0"#] {
        check_reason(many(extra), Reason::DuplicateKey);
    }
}

#[test]
fn names() {
    let bytes = |n: usize| format!(r#"{{"agent":"{}"}}"#, "n".repeat(n));
    check(bytes(128), &format!("unknown agent=\"{}\"", "n".repeat(128)));
    check(
        bytes(129),
        &format!(
            "name: agent: \"{}...\" has 129 bytes; want a string of 1 to 128 bytes without control characters",
            "n".repeat(60)
        ),
    );
    check_reason(format!(r#"{{"agent":"{}"}}"#, "é".repeat(65)), Reason::Name);
    check(
        r#"{"agent":7,"reward":1}"#,
        "type: agent: 7 is a number; want a string of 1 to 128 bytes without control characters",
    );
    for field in ["run_id", "agent", "strategy", "event_id", "kind", "symbol"] {
        for value in
            [r#""""#, r#""a\u0001b""#, r#""a\tb""#, r#""\u007f""#, r#""\u009f""#, r#""\ud800""#, r#""x\udc00y""#]
        {
            check_reason(format!(r#"{{"{field}":{value}}}"#), Reason::Name);
        }
        for value in ["7", "true", r#"["run"]"#, r#"{"\ud800":1}"#, "1e400"] {
            check_reason(format!(r#"{{"{field}":{value},"reward":1}}"#), Reason::Type);
        }
        check(format!(r#"{{"{field}":null}}"#), "unknown");
        check(format!(r#"{{"x{field}":"\ud800"}}"#), "unknown");
    }
}

#[test]
fn numbers() {
    check(r#"{"latency_ms":-3}"#, "range: latency_ms: -3 is negative; want a number from 0 to 2^53");
    check(r#"{"tokens_in":1.5}"#, "range: tokens_in: 1.5 is not whole; want a whole number from 0 to 2^53");
    check(r#"{"errors":"0"}"#, r#"type: errors: "0" is a string; want a whole number from 0 to 2^53, true or false"#);
    check(
        r#"{"reward":1e400}"#,
        "range: reward: a number beyond 1.8e308 is out of range; want a number from -2^53 to 2^53",
    );
    for line in [r#"{"errors":-1}"#, r#"{"errors":0.5}"#, r#"{"cost_usd":-1e-9}"#, r#"{"tokens_out":-1}"#] {
        check_reason(line, Reason::Range);
    }
    let fields = ["latency_ms", "tokens_in", "tokens_out", "cost_usd", "errors", "reward", "score_final", "price"];
    for field in fields.into_iter().chain(["ensemble_score_final"]) {
        let line = |value: &str| format!(r#"{{"agent":"a","{field}":{value}}}"#);
        for value in
            ["9007199254740992", "9007199254740992.0", "9007199254740993.0", "0", "-0", "-0.0", "0e999999999999", "1e0"]
        {
            assert!(decode(line(value).as_bytes(), MAX).is_ok(), "{field} {value}");
        }
        let huge = format!("1{}", "0".repeat(400));
        let beyond = [
            "9007199254740993",
            "-9007199254740993",
            "9007199254740994.0",
            "18446744073709551616",
            "1e17",
            "-1e400",
            &huge,
        ];
        for value in beyond {
            check_reason(line(value), Reason::Range);
        }
        for value in [r#""1""#, "[]", "{}", r#""\ud800""#] {
            check_reason(line(value), Reason::Type);
        }
        if field != "errors" {
            check_reason(line("true"), Reason::Type);
        }
    }
    check(r#"{"reward":-9007199254740992}"#, "run reward=-9007199254740992.0");
    check(r#"{"x":1e400,"y":-1e999}"#, "unknown");
    check(format!(r#"{{"x":1{}}}"#, "0".repeat(5000)), "unknown");
}

#[test]
fn fields_of_a_kind_are_free_elsewhere() {
    for value in [r#""x\ud800""#, "1e400", "[1]", "-1", "true", r#""free""#] {
        let line =
            |kind: &str| format!(r#"{{"cached_tokens":{value},"fill_prob":{value},"kind":"{kind}","event_id":"e"}}"#);
        check(line("alpha"), r#"alpha event_id="e""#);
        check(line("other"), r#"unknown event_id="e""#);
        assert!(decode(line("run").as_bytes(), MAX).is_err(), "{value}");
    }
    check(r#"{"regime":7,"reward":1}"#, "run reward=1.0");
    check_reason(r#"{"regime":7,"score_final":1}"#, Reason::Type);
    check_reason(r#"{"regime":"\ud800","score_final":1}"#, Reason::Name);
    check_reason(r#"{"notional_usd":"7","agent":"a","realized_pnl_bps":1}"#, Reason::Type);
    check(r#"{"notional_usd":"7","reward":1}"#, "run reward=1.0");
    check_reason(r#"{"model":7,"reward":1}"#, Reason::Type);
    check(r#"{"model":"","error_type":"Timeout","reward":1}"#, r#"run reward=1.0 error_type="Timeout""#);
    // What tells a kind is checked on a line of any kind.
    check_reason(r#"{"kind":"weather","reward":"1"}"#, Reason::Type);
}

#[test]
fn times() {
    let check = |ts: &str, want: &str| check(format!(r#"{{"ts":{ts}}}"#), want);
    check("null", "unknown");
    check(r#""2026-03-02T00:00:00Z""#, "unknown ts=2026-03-02T00:00:00Z");
    check("1772409600123456789", "unknown ts=2026-03-02T00:00:00.123456789Z");
    check("1772409600123456", "unknown ts=2026-03-02T00:00:00.123456Z");
    check("1772409600.5", "unknown ts=2026-03-02T00:00:00.500Z");
    check(&format!("{:?}", 1772409600.1234567), "unknown ts=2026-03-02T00:00:00.123456700Z");
    for unusable in [
        "[1]",
        "{}",
        "true",
        r#""not a time""#,
        r#""\ud800""#,
        "4102444800",
        "1e30",
        "1e308",
        "18446744073709551616",
        "0",
    ] {
        check(unusable, "unknown ts=unusable");
    }
    check("1e999", "range: ts: a number beyond 1.8e308 is out of range; want an RFC 3339 text or a number");
    check_reason(format!(r#"{{"ts":1{}}}"#, "0".repeat(400)), Reason::Range);
}

#[test]
fn required_fields() {
    check(r#"{"realized_pnl_bps":5}"#, "missing: pnl without agent and run_id; want one of them");
    check(r#"{"kind":"pnl","agent":"x"}"#, "missing: pnl without realized_pnl_bps");
    check(r#"{"kind":"pnl","agent":"x","realized_pnl_bps":null}"#, "missing: pnl without realized_pnl_bps");
    check_reason(r#"{"realized_pnl_bps":5,"agent":null}"#, Reason::Missing);
}

#[test]
fn texts_are_the_lines_own_but_for_what_the_reference_reads() {
    let of = |line: &'static str| {
        let line = decode(line.as_bytes(), MAX).unwrap();
        let text = [line.text(Id::Agent), line.text(Id::RunId)].map(Option::unwrap).join(" ");
        (matches!(line.text, Cow::Borrowed(_)), text)
    };
    assert_eq!(of(r#"{"agent":"a","run_id":"b","reward":1}"#), (true, "a b".to_owned()));
    assert_eq!(of(r#"{"agent":"a","run_id":"\u0062","reward":1}"#), (false, "a b".to_owned()));
}

proptest! {
    #[test]
    fn any_bytes_are_a_line_or_malformed(bytes: Vec<u8>) {
        let _ = decode(&bytes, MAX);
    }

    #[test]
    fn a_damaged_line_is_a_line_or_malformed(at in 0usize..200, len in 0usize..8, with: Vec<u8>) {
        let mut line = br#"{"run_id":"\u00e9-1","agent":"a","latency_ms":1.5e2,"errors":true,"ts":"2026-03-01T00:00:00Z","x":[{"y":null}],"reward":-0.25}"#.to_vec();
        let at = at.min(line.len());
        let end = (at + len).min(line.len());
        line.splice(at..end, with);
        let accepted = decode(&line, MAX).is_ok();
        // A text serde_json refuses is never accepted.
        prop_assert!(!accepted || serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok());
    }
}
