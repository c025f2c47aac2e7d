use proptest::prelude::*;
use serde_json::Value;

use super::{Format, Mapping, Path, Record, Records, freqtrade, langfuse, litellm, report};

/// Keys that the sources look for, so that odd values stand where sense is expected.
const KEYS: &[&str] = &[
    "strategy",
    "trades",
    "pair",
    "open_timestamp",
    "close_timestamp",
    "profit_ratio",
    "is_open",
    "request_id",
    "endTime",
    "startTime",
    "spend",
    "prompt_tokens",
    "metadata",
    "user_api_key_alias",
    "id",
    "traceId",
    "timestamp",
    "latency",
    "observations",
    "scores",
    "parentObservationId",
    "usage",
    "usageDetails",
    "input",
    "total",
    "totalCost",
    "name",
    "value",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c+:0-9{}\\[\\]\" -]{0,24}".prop_map(Value::from),
        Just(Value::from("2026-03-01 14:00:00+00")),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let fields =
            prop::collection::btree_map(prop::sample::select(KEYS).prop_map(str::to_owned), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever the records hold: no panic, and what is not refused can be decoded.
    #[test]
    fn every_record_becomes_lines_or_refusals(values in prop::collection::vec(value(), 1..5)) {
        let records: Vec<Record> =
            values.into_iter().map(|value| Record { place: "f record 1".to_owned(), value }).collect();
        let mapping = Mapping::parse("ts = \"endTime\"\nlatency_ms = { path = \"latency\", times = 1000 }\nrun_id = \"id\"");
        let reward = langfuse::Options { reward_score: Some("a".to_owned()), ..langfuse::Options::default() };
        for mut all in [
            mapping.expect("a mapping").convert(&records),
            freqtrade::convert(&records, &freqtrade::Options::default()),
            litellm::convert(&records, &litellm::Options::default()),
            langfuse::convert(&records, &reward),
        ] {
            all.finish("s");
            report::recognised(&all);
            all.unused();
            for draft in &all.drafts {
                let _ = draft.fault(1 << 20);
                prop_assert!(serde_json::from_str::<Value>(&draft.line()).is_ok());
            }
        }
    }

    #[test]
    fn every_file_is_read_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a1NInfity\n-]{0,80}") {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            Records::read("f", bytes, Format::Json, None);
            Records::read("f", bytes, Format::Csv, None);
        }
        let _ = Path::parse(&text);
        let _ = Mapping::parse(&text);
    }
}
