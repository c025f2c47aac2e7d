use serde_json::{Value, json};

use super::*;

/// The tokens in and out, cached, cost and errors of the one trace that these observations make; null where unknown.
fn counted(observations: &[Value]) -> [Value; 5] {
    let records = observations.iter().enumerate().map(|(number, observation)| {
        let mut value = json!({"traceId": "t", "startTime": "2026-03-01T14:00:00Z", "traceName": "a"});
        value.as_object_mut().expect("an object").extend(observation.as_object().expect("an object").clone());
        Record { place: format!("f record {number}"), value }
    });
    let all = convert(&records.collect::<Vec<_>>(), &Options::default());
    assert_eq!((all.drafts.len(), all.refused.len()), (1, 0), "{:?}", all.refused);
    let ids = [Id::TokensIn, Id::TokensOut, Id::CachedTokens, Id::CostUsd, Id::Errors];
    ids.map(|id| all.drafts[0].get(id).cloned().unwrap_or(Value::Null))
}

#[test]
fn what_wraps_others_is_not_counted_again() {
    let leaf = |id: &str, parent: &str, cost: Value| json!({"id": id, "parentObservationId": parent, "usage": {"input": 10, "output": 1}, "totalCost": cost});
    let wrapper = |id: &str, parent: Value| json!({"id": id, "parentObservationId": parent, "usage": {"input": 20, "output": 2}, "totalCost": 0.5, "level": "ERROR"});
    let bare = json!({"id": "b", "parentObservationId": "w", "level": "ERROR"});
    // Two calls below a wrapper, one of them below a step that has nothing of its own.
    let calls = [leaf("x", "w", json!(0.25)), leaf("y", "b", json!(0.25))];
    let want = [json!(20), json!(2), Value::Null, json!(0.5), json!(1)];
    assert_eq!(counted(&[&[wrapper("w", Value::Null), bare], &calls[..]].concat()), want);
    // A wrapper around a wrapper; the error is of the innermost.
    let nested = [wrapper("v", Value::Null), wrapper("w", json!("v")), leaf("x", "w", json!(0.5))];
    assert_eq!(counted(&nested), [json!(10), json!(1), Value::Null, json!(0.5), json!(1)]);
    // Alone it is no wrapper, nor when its parent is not in the file.
    assert_eq!(counted(&[wrapper("w", json!("gone"))]), [json!(20), json!(2), Value::Null, json!(0.5), json!(1)]);
    // Tokens below, the cost above: both count.
    let split = [wrapper("w", Value::Null), leaf("x", "w", Value::Null)];
    assert_eq!(counted(&split), [json!(10), json!(1), Value::Null, json!(0.5), json!(1)]);
    // One call without a price: the cost of all is unknown.
    let unpriced = [leaf("x", "r", json!(0.25)), leaf("y", "r", Value::Null)];
    assert_eq!(counted(&unpriced), [json!(20), json!(2), Value::Null, Value::Null, json!(0)]);
    // A circle is walked once.
    assert_eq!(counted(&[leaf("x", "y", json!(1)), leaf("y", "x", json!(1))])[4], json!(0));
    // The same observation in two files is one.
    assert_eq!(counted(&[leaf("x", "r", json!(1)), leaf("x", "r", json!(1))])[0], json!(10));
}

#[test]
fn classes_of_tokens_are_summed_unless_the_total_says_that_they_overlap() {
    for (details, want) in [
        (json!({"input": 100, "output": 10}), (100, 10, None)),
        (json!({"input": 100, "input_cached_tokens": 50, "output": 10, "total": 160}), (150, 10, Some(50))),
        (json!({"input": 100, "input_cached_tokens": 50, "output": 10, "total": 110}), (100, 10, Some(50))),
        (
            json!({"input": 1, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7, "output": 2}),
            (13, 2, Some(5)),
        ),
        (json!({"input": 10, "output": 5, "output_reasoning_tokens": 3, "total": 15}), (10, 5, None)),
        (json!({"input": 10, "output": 5, "output_reasoning_tokens": 3, "total": 18}), (10, 8, None)),
        (json!("{\"input\": 3, \"output\": 4}"), (3, 4, None)),
    ] {
        let got = counted(&[json!({"id": "x", "usageDetails": details})]);
        let (input, output, cached) = want;
        assert_eq!(got[..3], [json!(input), json!(output), cached.map_or(Value::Null, Value::from)], "{details}");
    }
    let characters = counted(&[json!({"id": "x", "usage": {"input": 5, "output": 5, "unit": "CHARACTERS"}})]);
    assert_eq!(characters[0], Value::Null, "characters are no tokens");
}

#[test]
fn a_trace_alone_says_what_it_knows() {
    let errors = |more: Value| {
        let mut value = json!({"id": "t", "timestamp": "2026-03-01T14:00:00Z", "name": "a", "latency": 1.5});
        value.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let all = convert(&[Record { place: "f record 1".to_owned(), value }], &Options::default());
        all.drafts[0].get(Id::Errors).cloned()
    };
    assert_eq!(errors(json!({})), None, "unknown is not 0");
    assert_eq!(errors(json!({"level": "ERROR"})), Some(json!(1)));
    assert_eq!(errors(json!({"level": "DEFAULT"})), Some(json!(0)));
    assert_eq!(errors(json!({"errorCount": "3", "level": "ERROR"})), Some(json!(3)));
}
