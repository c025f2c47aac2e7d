use super::*;

/// Says whether it is on paper.
const PAPER: &str = "echo paper=$RUNTAPE_PAPER url=$RUNTAPE_URL agent=$RUNTAPE_AGENT";

fn known(events: &Events) -> Server {
    events.append("seed", "{\"agent\":\"a\",\"run_id\":\"seed\",\"reward\":0.5,\"errors\":0}\n");
    let server = Server::start(events.path(), &[]);
    server.ready();
    server
}

fn state(server: &Server) -> Value {
    serde_json::from_str(&server.get("/api/v1/state").body).expect("JSON")
}

#[test]
fn the_gate_asks_the_server_and_fails_closed() {
    let events = Events::new();
    let policy = events.path().join("policy.toml");
    fs::write(&policy, "[desk]\npaper_only = false\n").expect("a writable file");
    let server = Server::start(events.path(), &["--policy", policy.to_str().expect("a UTF-8 path")]);
    server.ready();
    let output = sh(&events, &["--gate"], PAPER);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(told.contains("unknown_agent") && told.contains("without --gate") && output.stdout.is_empty(), "{told}");
    // The first run makes it known; a candidate trades on paper.
    let output = sh(&events, &[], PAPER);
    let want = format!("paper= url=http://{} agent=a\n", server.address);
    assert_eq!(String::from_utf8_lossy(&output.stdout), want, "{}", stderr(&output));
    let output = sh(&events, &["--gate"], PAPER);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.starts_with(b"paper=1 "), "not promoted: on paper");
    let order = |word: &str| {
        let output = Command::new(RUNTAPE).args([word, "a", "--events", events.text(), "--yes"]).output();
        assert!(output.expect("it starts").status.success(), "{word}");
    };
    order("promote");
    assert!(sh(&events, &["--gate"], PAPER).stdout.starts_with(b"paper= "));
    order("kill");
    let output = sh(&events, &["--gate", "--retries", "3"], PAPER);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(75), 0), "{}", stderr(&output));
    assert!(stderr(&output).contains("killed") && stderr(&output).lines().count() == 1, "{}", stderr(&output));
    let output = sh(&events, &["--paper-when-denied"], PAPER);
    assert!(output.stdout.starts_with(b"paper=1 ") && stderr(&output).contains("killed"), "{}", stderr(&output));
    // Denied runs leave no line.
    assert_eq!(state(&server)["agents"]["a"]["runs"], 4);
    let address = format!("http://{}", server.address);
    server.kill();
    let output = sh(&events, &["--gate", "--server", &address], PAPER);
    assert!(output.status.code() == Some(75) && stderr(&output).contains("does not answer"), "{}", stderr(&output));
}

#[test]
fn without_a_server_the_gate_reads_the_controls() {
    let events = Events::new();
    let own = events.path().join(".runtape");
    fs::create_dir(&own).expect("a writable directory");
    let verdict = |word: &str, live: bool, reason: &str| json!({ "verdict": word, "live": live, "reasons": [reason], "size_multiplier": 1.0 });
    for (controls, code, says) in [
        (Value::Null, 75, "cannot be read"),
        (json!({ "valid_until": 4e9, "agents": { "a": verdict("allow", true, "") } }), 0, "paper= "),
        (json!({ "valid_until": 4e9, "agents": { "a": verdict("allow", false, "") } }), 0, "paper=1"),
        (json!({ "valid_until": 1e9, "agents": { "a": verdict("allow", true, "") } }), 75, "controls_expired"),
        (json!({ "valid_until": 4e9, "agents": { "a": verdict("deny", false, "paused") } }), 75, "paused"),
        (json!({ "valid_until": 4e9, "agents": { "a": verdict("hold", false, "behind") } }), 75, "hold (behind)"),
        (json!({ "valid_until": 4e9, "agents": {} }), 75, "unknown_agent"),
        (json!({ "agents": { "a": verdict("allow", true, "") } }), 75, "controls_expired"),
        (json!([]), 75, "controls_expired"),
    ] {
        if !controls.is_null() {
            fs::write(own.join("controls.json"), controls.to_string()).expect("a writable file");
        }
        let output = sh(&events, &["--gate"], PAPER);
        let all = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(code) && all.contains(says), "{controls}: {says}: {all}");
    }
    let output = sh(&events, &["--max-cost-usd", "1"], PAPER);
    assert!(output.status.code() == Some(75) && stderr(&output).contains("runtape serve"), "{}", stderr(&output));
}

#[test]
fn a_reservation_is_denied_settled_or_released() {
    let events = Events::new();
    let server = known(&events);
    let budget = |key: &str| state(&server)["budget"][key].as_f64().expect("a number");
    let output = sh(&events, &["--max-cost-usd", "50"], PAPER);
    assert!(output.status.code() == Some(75) && output.stdout.is_empty(), "{}", stderr(&output));
    assert!(stderr(&output).contains("fleet budget"), "{}", stderr(&output));
    let script = "echo up; read line; echo '{\"cost_usd\":0.25}' >&3";
    let mut runtape = wrapper(&events, &["--max-cost-usd", "1"], &["sh", "-c", script]);
    let mut child = runtape.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("a line");
    assert!((budget("reserved_usd") - 1.0).abs() < 1e-9, "reserved while it runs");
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
    assert!((budget("reserved_usd"), budget("spent_usd")) == (0.0, 0.25), "settled when the wrapper is gone");
    let page = server.metrics();
    assert_eq!(page.get("agent_runs_total{agent=\"a\"}"), Some(2.0), "on /metrics as well");
    assert_eq!(page.get("agent_cost_usd_total{agent=\"a\"}"), Some(0.25));
    assert_eq!(run(&events, &["--max-cost-usd", "1"], &["/nowhere/agent"]).status.code(), Some(127));
    assert!((budget("reserved_usd"), budget("spent_usd")) == (0.0, 0.25), "never started: released");
    let control = fs::read_to_string(events.stream("control")).expect("the control stream");
    assert_eq!(control.matches("\"release\"").count(), 1, "{control}");
}

#[test]
fn a_server_that_dies_loses_and_doubles_nothing() {
    let events = Events::new();
    let server = known(&events);
    let mark = events.path().join("mark");
    let script =
        format!("touch {0}; while [ -e {0} ]; do sleep 0.01; done; echo '{{\"reward\":1}}' >&3", mark.display());
    let mut child = wrapper(&events, &[], &["sh", "-c", &script]).stderr(Stdio::piped()).spawn().expect("it starts");
    wait_for(&mark);
    server.kill();
    fs::remove_file(&mark).expect("a file");
    let mut told = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut told).expect("text");
    assert!(child.wait().expect("it ends").success() && told.contains("does not answer"), "{told}");
    assert_eq!(last(&events)["reward"], 1);
    // What a server took before it fell silent, and comes once more by the directory, counts once.
    let server = Server::start(events.path(), &[]);
    server.ready();
    assert!(run(&events, &["--run-id", "twice"], &["true"]).status.success());
    server.kill();
    assert!(run(&events, &["--run-id", "twice"], &["true"]).status.success());
    let state = events.replay();
    assert_eq!((&state["agents"]["a"]["runs"], &state["lines"]["duplicate"]), (&json!(3), &json!(1)));
}

#[test]
fn many_at_once_never_overspend_and_are_all_recorded() {
    let events = Events::new();
    let server = known(&events);
    let script = "echo '{\"cost_usd\":0.05}' >&3";
    // All of them at once.
    let workers: Vec<_> = (0..200)
        .map(|_| {
            let mut runtape = wrapper(&events, &["--max-cost-usd", "0.05"], &["sh", "-c", script]);
            thread::spawn(move || {
                let status = runtape.stderr(Stdio::null()).status().expect("it starts");
                status.code().expect("a code")
            })
        })
        .collect();
    let codes: Vec<i32> = workers.into_iter().map(|worker| worker.join().expect("no panic")).collect();
    let ran = codes.iter().filter(|code| **code == 0).count();
    assert_eq!(codes.iter().filter(|code| **code == 75).count(), 200 - ran, "{codes:?}");
    // 5 US dollars a day less the buffer of 0.10, in parts of 0.05.
    assert_eq!(ran, 98);
    let state = state(&server);
    assert_eq!(state["agents"]["a"]["runs"].as_u64(), Some(99), "each once, and the one before");
    let spent = state["budget"]["spent_usd"].as_f64().expect("a number");
    assert!((spent - 4.9).abs() < 1e-9, "{spent}");
    assert_eq!(state["budget"]["reserved_usd"], 0.0);
}
