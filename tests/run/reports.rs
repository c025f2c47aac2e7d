use super::*;

/// A script, fields of the run's line, how many lines there are, and what is said.
type Case = (&'static str, Value, usize, &'static str);

/// A line of 3 MiB.
const LONG: &str = r"head -c 3145728 /dev/zero | tr '\0' x >&3";

#[track_caller]
fn check(cases: &[Case]) {
    for (script, want, lines, says) in cases {
        let events = Events::new();
        let output = sh(&events, &[], script);
        let line = last(&events);
        for (key, value) in want.as_object().expect("fields") {
            assert_eq!(&line[key], value, "{script}: {key}: {line}\n{}", stderr(&output));
        }
        assert_eq!(stream(&events, "runs").len(), *lines, "{script}");
        assert!(
            stderr(&output).contains(*says) && stderr(&output).lines().count() <= 12,
            "{script}: {}",
            stderr(&output)
        );
        assert!(stream(&events, "runs").iter().all(|other| other["run_id"] == line["run_id"]));
        let state = events.replay();
        assert_eq!((&state["lines"]["run"], &state["lines"]["malformed"]), (&json!(1), &Value::Null), "{script}");
    }
}

#[test]
fn what_is_reported_is_merged() {
    check(&[
        (
            r#"echo '{"tokens_in":5,"model":"x"}' >&3; echo '{"tokens_in":6,"cost_usd":0.5}' >&3"#,
            json!({"tokens_in": 11, "model": "x", "cost_usd": 0.5, "error_type": null}),
            1,
            "",
        ),
        (
            r#"printf '{"reward":1}\n{"reward":2.5,"outcome":"filled"}' >&3"#,
            json!({"reward": 2.5, "outcome": "filled"}),
            1,
            "",
        ),
        (
            r#"echo '{"direction":"LONG","symbol":"E","score_final":0.5}' >&3; echo '{"realized_pnl_bps":-3}' >&3"#,
            json!({"errors": 0}),
            3,
            "",
        ),
        (
            r#"printf '{"tokens_in":4}\n{"tokens_in":' >&3"#,
            json!({"tokens_in": 4, "error_type": "bad_report", "errors": 0, "refused_reports": 1}),
            1,
            "report line 2: refused",
        ),
        (
            r#"echo '{"tokens_in":-4}' >&3; exit 2"#,
            json!({"tokens_in": null, "error_type": "exit:2", "refused_reports": 1}),
            1,
            "tokens_in",
        ),
    ]);
}

#[test]
fn what_is_refused_is_said_and_the_run_is_never_lost() {
    check(&[
        (
            r#"echo '{"reward":1e999}' >&3; echo '{"a":1,"a":2}' >&3; echo '[1]' >&3; printf '\377\n' >&3"#,
            json!({"refused_reports": 4}),
            1,
            "report line 4: refused",
        ),
        (
            r#"echo '{"reward":1,"latency_ms":9e9,"flavour":"mint"}' >&3"#,
            json!({"reward": 1, "flavour": null, "refused_reports": null}),
            1,
            "\"flavour\" left out",
        ),
        (
            r#"echo '{"agent":"b","reward":1}' >&3; echo '{"run_id":"r","direction":"LONG"}' >&3"#,
            json!({"agent": "a", "refused_reports": 2}),
            1,
            "not that of this run",
        ),
        (
            r#"echo '{"kind":"command","action":"kill","agent":"a","actor":"a"}' >&3; echo '{"kind":"odd"}' >&3"#,
            json!({"refused_reports": 2}),
            1,
            "a command is no part of a run",
        ),
        (r#"echo '{"error_type":"RateLimit"}' >&3; exit 1"#, json!({"error_type": "RateLimit", "errors": 1}), 1, ""),
        (
            r#"echo '{"error_type":"RateLimit","errors":3}' >&3; kill -KILL $$"#,
            json!({"error_type": "signal:KILL", "errors": 3}),
            1,
            "",
        ),
        (
            r#"echo '{"tokens_in":9007199254740992}' >&3; echo '{"tokens_in":9007199254740992}' >&3"#,
            json!({"tokens_in": null, "refused_reports": 1}),
            1,
            "everything reported",
        ),
        (
            r#"yes '{"tokens_in":1}' | head -n 10300 >&3"#,
            json!({"tokens_in": 10_000, "refused_reports": 300}),
            1,
            "300 lines more",
        ),
        (LONG, json!({"refused_reports": 1}), 1, "oversize"),
    ]);
}

#[test]
fn the_last_json_line_of_standard_output_is_the_result() {
    for (script, want) in [
        (r#"echo '{"reward":1}'; echo '{"reward":3}'; echo done"#, json!({"reward": 3, "error_type": null})),
        (r#"echo '{"tokens_in":7}' >&3; echo '{"tokens_in":9}'"#, json!({"tokens_in": 9})),
        ("echo nothing", json!({"error_type": "bad_report"})),
        (r#"printf '{"reward":'"#, json!({"reward": null, "refused_reports": 1})),
        (r#"echo '{"reward":1}'; head -c 100000 /dev/zero"#, json!({"reward": null, "refused_reports": 1})),
        (r#"head -c 1000000 /dev/zero; echo; echo '{"reward":1}'; (sleep 9 2>&- &)"#, json!({"reward": 1})),
    ] {
        let events = Events::new();
        let watch = Stopwatch::start();
        let output = sh(&events, &["--result-json"], script);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(watch.elapsed() < Duration::from_secs(8), "what was left running is not waited for");
        let line = last(&events);
        for (key, value) in want.as_object().expect("fields") {
            assert_eq!(&line[key], value, "{script}: {line}\n{}", stderr(&output));
        }
    }
}
