use std::cell::RefCell;

use proptest::prelude::*;

use super::{Decoder, Predecoded, decode, fast, fast::Experience, reference};
use crate::event::{Line, fields::TABLE, row::Row};

const MAX: usize = 1600;

thread_local! {
    /// Guesses by all the lines before, and what the last of them said.
    static EXPERIENCED: RefCell<(Decoder, Predecoded)> = RefCell::default();
}

/// Both decoders must say the same, to the bit, whatever came before.
#[track_caller]
fn agree(line: &[u8]) {
    let mut again = Line::default();
    let again =
        EXPERIENCED.with_borrow_mut(|(decoder, _)| decoder.decode(line, MAX, &mut again, &|_| {})).map(|()| again);
    let (fast, plain) = (decode(line, MAX), reference::decode(line, MAX));
    assert_eq!(fast, plain, "{}", String::from_utf8_lossy(line));
    assert_eq!(again, plain, "{}", String::from_utf8_lossy(line));
    if let Some(text) = str::from_utf8(line).ok().filter(|text| text.len() <= MAX) {
        EXPERIENCED.with_borrow_mut(|(decoder, before)| {
            decoder.before_its_turn(text, before);
            let mut waited = Line::default();
            let waited = before.say(|| Some(text), &mut waited).map(|()| waited);
            assert_eq!(waited, plain, "{text}");
        });
    }
    // Equal numbers may differ in the sign of zero, which the text shows.
    assert_eq!(format!("{fast:?}"), format!("{plain:?}"), "{}", String::from_utf8_lossy(line));
}

/// Values of every shape, right and wrong, for whichever field they land on.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1",
    "2",
    "3",
    "-1",
    "01",
    "1.",
    ".5",
    "1.5",
    "-1.5",
    "1e2",
    "1e-7",
    "1E+2",
    "0.5953885464771751",
    "17.953885464771752",
    "-0.00000000001234567",
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0",
    "1e17",
    "1e400",
    "-1e400",
    "4.9e-324",
    "123456789012345678",
    "1234567890123456789",
    "18446744073709551616",
    "1772409600",
    "1772409600123",
    "1772409600.5",
    "\"\"",
    "\"a\"",
    "\"LONG\"",
    "\"short\"",
    "\"BUY\"",
    "\"run\"",
    "\"alpha\"",
    "\"pnl\"",
    "\"price\"",
    "\"command\"",
    "\"check\"",
    "\"weather\"",
    "\"\\u0041\"",
    "\"\\ud800\"",
    "\"\u{e9}\"",
    "\"\u{7f}\"",
    "\"a\tb\"",
    "\"2026-03-01T00:00:00Z\"",
    "\"2026-02-30T00:00:00+00:00\"",
    "\"2026-03-01T00:00:00.035414+05:30\"",
    "\"2026-03-01 00:00:00\"",
    "[]",
    "[1]",
    "{}",
    "{\"a\":1}",
    "{\"a\" : [ {\"b\":\"\\u00e9\\\\\\n\",\"b\":-1.5e3} , [] , {} ],\"\u{e9}\":null}",
    "[1,]",
    "[1 2]",
    "[01]",
    "[1e999]",
    "{\"a\":1,}",
    "{1:2}",
    "{\"a\"}",
    "[[\"a\\q\"]]",
    "\"\\u12g4\"",
    "\"\\ud800x\\\"\"",
    "\"a\u{1}\"",
    "nul",
    "tru",
    "\"open",
];

fn key() -> impl Strategy<Value = String> {
    let ours = (0..TABLE.len()).prop_map(|row| TABLE[row].name.to_owned());
    let others = prop::sample::select(&["x", "y", "", "Agent", "agen", "\\u0061gent", "\u{e9}"][..]);
    prop_oneof![8 => ours, 1 => others.prop_map(str::to_owned)]
}

/// Names too long, and numbers and times of every length.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(VALUES).prop_map(str::to_owned),
        1 => (126..131_usize).prop_map(|length| format!("\"{}\"", "n".repeat(length))),
        2 => "-?[0-9]{1,20}(\\.[0-9]{1,20})?(e-?[0-9]{1,3})?",
        1 => any::<f64>().prop_map(|x| format!("{x:?}")),
        1 => "\"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,10})?(Z|[+-]0[0-9]:[0-5]0)?\"",
    ]
}

/// What fields of others may hold, and a little that they may not.
fn any_json() -> impl Strategy<Value = String> {
    const TEXT: &str = r#""([ -!#-\[\]-~]|é|\\["\\/bfnrtx]|\\u[0-9a-fA-F]{4}){0,12}""#;
    let leaf = prop_oneof![TEXT, "-?[0-9]{1,3}(\\.[0-9]{1,2})?", "true|false|null"];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let pair = (TEXT, inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        let join = |all: Vec<String>| all.join(",");
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(move |all| format!("[{}]", join(all))),
            prop::collection::vec(pair, 0..3).prop_map(move |all| format!("{{{}}}", join(all))),
        ]
    })
}

/// A field with a value that it mostly accepts, so that whole lines are good.
fn good() -> impl Strategy<Value = (String, String)> {
    let text =
        |key: &'static str, pattern: &'static str| pattern.prop_map(move |value| (key.to_owned(), value)).boxed();
    prop_oneof![
        text("kind", "\"(run|alpha|pnl|price)\""),
        text("ts", "\"2026-0[1-9]-[12][0-9]T1[0-9]:[0-5][0-9]:00\\.[0-9]{3}(Z|\\+00:00)\""),
        text("run_id", "\"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}\""),
        text("symbol", "\"[ -!#-\\[\\]-~]{1,12}\""),
        text("agent", "\"[a-z]{1,9}\""),
        text("latency_ms", "[1-9][0-9]{0,4}(\\.[0-9]{1,17})?"),
        text("tokens_in", "[1-9][0-9]{0,6}(\\.0)?"),
        text("cost_usd", "0\\.[0-9]{1,9}"),
        text("errors", "0|1|true|false"),
        text("reward", "-?[0-9]\\.[0-9]{1,17}"),
        text("realized_pnl_bps", "-?[1-9][0-9]{0,3}(\\.[0-9]{1,6})?"),
        text("score_final", "-?0\\.[0-9]{1,4}"),
        text("ensemble_score_final", "-?0\\.[0-9]{1,4}"),
        text("direction", "\"(LONG|SHORT|FLAT|long|Flat|BUY|sell|Hold)\""),
        text("regime", "\"[a-z ]{0,8}\""),
        text("v", "1|2|3"),
        text("note", "null|true|-?[0-9]{1,3}|\"[a-z]{0,40}\""),
        any_json().prop_map(|value| ("more".to_owned(), value)).boxed(),
    ]
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let pair = prop_oneof![12 => good(), 1 => (key(), value())];
    let gap = || prop::sample::select(&["", "", "", "", " ", "  ", "\t"][..]);
    let pairs = prop::collection::vec((pair, gap(), gap()), 0..11);
    (pairs, gap(), prop::sample::select(&["", "", "", "\r", " ", "x", "{}"][..])).prop_map(|(pairs, lead, tail)| {
        let mut line = format!("{lead}{{");
        for (at, ((key, value), before, after)) in pairs.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            line.push_str(&format!("{comma}{before}\"{key}\"{after}:{before}{value}{after}"));
        }
        line.push('}');
        line.push_str(tail);
        line.into_bytes()
    })
}

#[test]
fn lines_that_come_in_turns_are_learned_once() {
    let lines = [
        r#"{"run_id":"r","agent":"a","ts":1772409600,"latency_ms":1,"error_type":null,"reward":1}"#,
        r#"{"run_id":"r","agent":"a","ts":1772409600,"symbol":"X","direction":"LONG","score_final":0.5}"#,
        r#"{"run_id":"r","ts":1772409600,"symbol":"X","realized_pnl_bps":5}"#,
        r#"{"run_id":"r","ts":1772409600,"symbol":"X","realized_pnl_bps":5,"note":"x"}"#,
        r#"{"run_id":"r","agent":null,"ts":1772409600,"latency_ms":1,"error_type":"e","reward":1}"#,
    ];
    let mut before = Experience::default();
    let mut learned = || {
        for line in lines {
            assert!(fast::decode(line, &mut before, &mut { Row::NOTHING }, &|_| {}).is_some(), "{line}");
        }
        format!("{before:?}")
    };
    let first = learned();
    assert_eq!(learned(), first);
}

#[test]
fn on_how_deep_a_line_may_nest() {
    for deep in [1, 62, 63, 64, 65, 200] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = format!("{}1{}", open.repeat(deep), close.repeat(deep));
            let lines = [format!(r#"{{"agent":"a","reward":1,"x":{nested}}}"#), format!(r#"{{"x":[[{nested},1]]}}"#)];
            lines.iter().for_each(|line| agree(line.as_bytes()));
        }
    }
}

proptest! {
    #[test]
    fn on_lines_of_every_kind(line in line()) {
        agree(&line);
    }

    #[test]
    fn on_damaged_lines(line in line(), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut line = line;
        let place = at.index(line.len());
        line[place] = byte;
        agree(&line);
        line.truncate(cut.index(line.len() + 1));
        agree(&line);
    }
}

#[test]
fn lines_as_programs_write_them_need_no_reference() {
    for line in [
        r#"{"kind":"run","run_id":"r","agent":"a","ts":"2026-01-01T00:00:00.035414+00:00","latency_ms":509.218,"tokens_in":5156,"tokens_out":1150,"cost_usd":0.032718,"errors":0,"reward":-0.5953885464771751}"#,
        r#"{"kind": "alpha", "run_id": "r", "agent": "a", "ts": 1772409600.25, "symbol": "X", "direction": "LONG", "score_final": 0.5, "regime": "calm"}"#,
        r#"{"run_id":"r","realized_pnl_bps":-3}"#,
        r#"{"v":2,"agent":"a","reward":1e-3,"model":"m","extra":null,"more":[1]}"#,
        r#"{"agent":"a","direction":"buy","ensemble_score_final":0.25}"#,
        &format!(r#"{{"agent":"a","reward":1,"deep":{}1{}}}"#, "[".repeat(63), "]".repeat(63)),
        r#"{"agent":"a","direction":"long","usage":{"tools":["x",{"n":1.5}],"ok":true},"prompt":"Say \"é\u00e9\".\n"}"#,
    ] {
        let at_once = fast::decode(line, &mut Experience::default(), &mut { Row::NOTHING }, &|_| {});
        assert!(at_once.is_some(), "{line}");
        agree(line.as_bytes());
    }
}
