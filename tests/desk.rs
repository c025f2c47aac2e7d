//! What operators type, and what comes of it: the same through a server as in the directory itself.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use runtape::{layout::Layout, store::Lock};
use serde_json::Value;

use crate::support::{self, Events, RUNTAPE, Server, run, wait_until};

/// How a command reaches the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Directory,
    Server,
}

/// Every way in which what is written here must hold.
const WAYS: &[Way] = &[Way::Directory, Way::Server];

/// A small fleet: `winner` is promoted, `loser` killed, `faller` in quarantine.
struct Fleet {
    events: Events,
    server: Option<Server>,
}

impl Fleet {
    fn new(way: Way) -> Fleet {
        let events = Events::new();
        let mut runs = String::new();
        let mut pnl = String::new();
        for n in 0..30 {
            let ts = format!("2026-03-01T14:{n:02}:00Z");
            runs += &format!(
                r#"{{"run_id":"w{n}","agent":"winner","strategy":"one","latency_ms":100,"cost_usd":0.01,"reward":0.1,"errors":0,"ts":"{ts}"}}"#
            );
            runs += "\n";
            pnl += &format!(r#"{{"run_id":"w{n}","realized_pnl_bps":12,"ts":"{ts}"}}"#);
            pnl += "\n";
        }
        for n in 0..6 {
            let ts = format!("2026-03-01T15:{n:02}:00Z");
            runs += &format!(r#"{{"run_id":"l{n}","agent":"loser","reward":0.1,"latency_ms":100,"ts":"{ts}"}}"#);
            runs += "\n";
            pnl += &format!(r#"{{"run_id":"l{n}","realized_pnl_bps":-30,"ts":"{ts}"}}"#);
            pnl += "\n";
            runs += &format!(r#"{{"run_id":"f{n}","agent":"faller","strategy":"two","reward":-1,"ts":"{ts}"}}"#);
            runs += "\n";
        }
        events.append("runs", runs);
        events.append("pnl", pnl);
        let server = (way == Way::Server).then(|| Server::start(events.path(), &[]));
        if let Some(server) = &server {
            server.ready();
        }
        Fleet { events, server }
    }

    fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut runtape = Command::new(RUNTAPE);
        runtape.args(args).args(["--events", self.events.text()]).env("USER", "tester").envs(env.iter().copied());
        runtape.stdin(Stdio::null()).output().expect("the program starts")
    }

    /// Runs a command that must end with a code and say all of this, on whichever output.
    #[track_caller]
    fn says(&self, args: &[&str], code: i32, says: &[&str]) -> String {
        let output = self.run_with(args, &[]);
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{out}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {all}");
        for word in says {
            assert!(all.contains(word), "{args:?} should say {word:?}: {all}");
        }
        out
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run_with(&[args, &["-o", "json"]].concat(), &[]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn verdict(&self, agent: &str) -> (String, String) {
        let row = &self.json(&["agents"])["agents"][agent];
        let reasons: Vec<&str> =
            row["verdict"]["reasons"].as_array().expect("a list").iter().flat_map(Value::as_str).collect();
        (row["verdict"]["verdict"].as_str().expect("a verdict").to_owned(), reasons.join(" "))
    }

    fn control(&self) -> String {
        fs::read_to_string(self.events.stream("control")).unwrap_or_default()
    }
}

#[test]
fn orders_are_carried_out_or_refused_with_the_reason() {
    for way in WAYS {
        let fleet = Fleet::new(*way);
        for (args, code, says) in [
            (&["kill", "loser", "--yes"][..], 1, &["agent loser: refused: already killed", "revive undoes it"][..]),
            (&["clear", "winner"], 1, &["refused: not quarantined"]),
            (&["revive", "winner"], 1, &["refused: not killed"]),
            (&["promote", "loser"], 1, &["refused: killed; revive it first"]),
            (&["quarantine", "--strategy", "one", "--yes"], 1, &["for agents only"]),
            (&["kill", "--fleet", "--yes"], 1, &["not for the fleet", "pause is for the fleet"]),
            (&["clear", "faller", "--reason", "it was the feed"], 0, &["agent faller: cleared at position "]),
            (&["kill", "winner", "faller", "--yes"], 0, &["agent winner: killed", "agent faller: killed"]),
            (
                &["revive", "--where", "gate=killed", "--yes"],
                0,
                &["faller: revived", "loser: revived", "winner: revived"],
            ),
            (&["promote", "winner"], 0, &["promoted"]),
            (&["demote", "winner"], 0, &["demoted"]),
            (&["quarantine", "winner", "winner"], 0, &["agent winner: quarantined"]),
            (&["clear", "winner"], 0, &["cleared"]),
            (&["pause", "--strategy", "one"], 0, &["strategy one: paused"]),
        ] {
            fleet.says(args, code, says);
        }
        assert_eq!(fleet.verdict("winner"), ("deny".to_owned(), "strategy_paused".to_owned()));
        assert_eq!(fleet.verdict("faller"), ("allow".to_owned(), String::new()));
        fleet.says(&["resume", "--strategy", "one", "--yes"], 0, &["resumed"]);
        fleet.says(&["pause", "--fleet"], 0, &["the fleet: paused"]);
        assert_eq!(fleet.verdict("faller"), ("deny".to_owned(), "fleet_paused".to_owned()));
        fleet.says(&["status"], 1, &["the fleet is paused", "resume --fleet"]);
        fleet.says(&["resume", "--fleet", "--yes"], 0, &["resumed"]);
        fleet.says(&["retire", "faller", "--yes"], 0, &["retired"]);
        assert_eq!(fleet.verdict("faller").1, "retired");
        let said = fleet.says(&["decisions", "--subject", "faller", "--verdict", "cleared", "-o", "jsonl"], 0, &[]);
        let decision: Value = serde_json::from_str(said.trim()).expect("one decision");
        assert_eq!(decision["reason"]["reason"], "it was the feed");
        if *way == Way::Directory {
            assert_eq!(decision["reason"]["actor"], "tester");
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_done() {
    for way in WAYS {
        let fleet = Fleet::new(*way);
        for (args, code, says) in [
            (&["kill", "winer", "--yes"][..], 2, &["no agent winer", "did you mean winner?"][..]),
            (&["agent", "a\u{1b}[2J"], 2, &["\\u{1b}"]),
            (&["pause", "--strategy", "onee", "--yes"], 2, &["no strategy onee", "did you mean one?"]),
            (&["pause", "--where", "strategy=three", "--yes"], 2, &["no strategy three"]),
            (&["destroy", "winner"], 2, &["destroy"]),
            (&["kill"], 2, &["kill whom?", "--where"]),
            (&["kill", "winner", "--fleet"], 2, &["cannot be used with"]),
            (&["kill", "winner"], 2, &["kill agent winner", "--yes", "--dry-run"]),
            (&["retire", "winner"], 2, &["--yes"]),
            (&["resume", "winner", "faller"], 2, &["2 agents", "winner, faller", "--yes"]),
            (&["pause", "winner", "--reason", ""], 2, &["--reason is empty"]),
            (&["clear", "--where", "gate=dead"], 2, &["candidate or promoted or killed"]),
            (&["clear", "--where", "color=red"], 2, &["no key of --where \"color\""]),
            (&["clear", "--cause-policy", "b3:1"], 2, &["at least 8 digits"]),
            (
                &["clear", "--where", "quarantined=true", "--where", "gate=promoted"],
                1,
                &["no agent has", "nothing was done"],
            ),
            (&["revive", "--cause-policy", "b3:00000000"], 1, &["no agent has policy=b3:00000000"]),
            (&["decisions", "--consumer", "gate"], 2, &["no consumer \"gate\"", "gates"]),
            (&["decisions", "-f", "-o", "json"], 2, &["-o jsonl"]),
            (&["agents", "--verdict", "maybe"], 2, &["allow or deny"]),
            (&["check", "winner", "--edge", "NaN"], 2, &["--edge"]),
            (&["policy", "apply", "/nowhere/p.toml"], 3, &["/nowhere/p.toml"]),
            (&["kill", "winner", "--dry-run"], 0, &["would kill agent winner"]),
            (&["revive", "--where", "gate=killed", "--dry-run"], 0, &["would revive agent loser"]),
        ] {
            fleet.says(args, code, says);
        }
        assert_eq!(fleet.control(), "", "nothing was done");
    }
}

#[test]
fn an_order_given_again_under_its_name_is_carried_out_once() {
    for way in WAYS {
        let fleet = Fleet::new(*way);
        let kill = ["kill", "winner", "faller", "--yes", "--event-id", "incident-7"];
        fleet.says(&kill, 0, &["winner: killed", "faller: killed"]);
        fleet.says(&kill, 0, &[]);
        let killed = fleet.says(&["decisions", "--verdict", "killed", "--consumer", "gates", "-o", "jsonl"], 0, &[]);
        assert_eq!(killed.lines().filter(|line| line.contains("\"rule\":\"command\"")).count(), 2, "{killed}");
        assert_eq!(fleet.json(&["agents", "--gate", "killed"])["agents"].as_object().expect("rows").len(), 3);
    }
}

#[test]
fn a_check_says_yes_or_no_by_its_exit_code() {
    for way in WAYS {
        let fleet = Fleet::new(*way);
        let order = [
            "--symbol",
            "ETH",
            "--notional",
            "100",
            "--edge",
            "9",
            "--spread",
            "1",
            "--slippage",
            "1",
            "--data-age",
            "2",
        ];
        let ask = |first: &[&'static str]| [&["check"], first, &order[..]].concat();
        fleet.says(&ask(&["winner", "--paper"]), 0, &["allow winner"]);
        fleet.says(&ask(&["winner"]), 1, &["deny winner", "paper_only"]);
        fleet.says(&["check", "winner", "--paper"], 1, &["missing:symbol", "missing:data_age_sec"]);
        fleet.says(&["check", "loser", "--reduce"], 0, &["allow loser"]);
        fleet.says(&ask(&["stranger"]), 1, &["deny stranger", "unknown_agent"]);
        let reply = fleet.json(&ask(&["loser"]));
        assert_eq!((&reply["verdict"], &reply["reasons"][0]), (&"deny".into(), &"killed".into()));
    }
}

#[test]
fn a_policy_is_shown_against_the_one_in_force_and_applied() {
    for way in WAYS {
        let fleet = Fleet::new(*way);
        let file = fleet.events.path().join("p.toml");
        let path = file.to_str().expect("a UTF-8 path");
        fs::write(&file, "[confidence]\nwindow = 50\nfloor = 2\n").expect("a writable file");
        fleet.says(&["policy", "apply", path], 2, &["confidence.floor", "0 to 1"]);
        fs::write(&file, "[confidence]\nwindow = 50\n").expect("a writable file");
        fleet.says(&["policy", "apply", path, "--dry-run"], 0, &["confidence.window", "nothing was done"]);
        assert_eq!(fleet.control(), "");
        fleet.says(
            &["policy", "apply", path, "--reason", "recovery"],
            0,
            &["confidence.window", "is in force from position"],
        );
        fleet.says(&["policy", "apply", path], 0, &["in force already"]);
        let env = [("AGENT_DAILY_BUDGET_USD", "7.5")];
        let output = fleet.run_with(&["policy", "apply", path], &env);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("budget.daily_usd") && said.contains("7.5"), "{said}");
        let output = fleet.run_with(&["policy", "apply", path], &[("AGENT_BUDGET_BUFFER_USD", "much")]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("AGENT_BUDGET_BUFFER_USD"));
        let shown = fleet.says(&["policy", "show", "--in-force"], 0, &["daily_usd = 7.5", "window = 50"]);
        let hash = shown.lines().next().expect("a hash").trim_start_matches("# ").to_owned();
        assert_eq!(fleet.events.replay()["policy"], hash.as_str());
        // What was decided under a policy is found by it.
        fleet.says(&["kill", "faller", "--yes"], 0, &[]);
        fleet.says(&["revive", "--cause-policy", &hash, "--dry-run"], 0, &["would revive agent faller"]);
    }
}

#[test]
fn what_is_known_is_shown() {
    for way in WAYS {
        let fleet = Fleet::new(*way);
        fleet.says(&["agents"], 0, &["winner  allow", "loser   deny     killed", "3 agents at position"]);
        let few = fleet.says(&["agents", "--strategy", "one", "--verdict", "allow"], 0, &["1 agent of 3"]);
        assert!(!few.contains("loser"));
        let lines = fleet.says(&["agents", "--sort", "pnl", "-o", "jsonl"], 0, &[]);
        let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["agent"], "winner");
        fleet.says(&["agent", "loser"], 0, &["deny: killed", "runtape revive", "last decisions", "gates"]);
        fleet.says(&["agent", "faller"], 0, &["by drawdown since position", "the evidence is"]);
        fleet.says(&["budget"], 0, &["2026-03-01", "$0.30 spent of $5.00"]);
        fleet.says(&["decisions", "-n", "2", "--verdict", "promoted"], 0, &["gates", "winner", "pnl_bps"]);
        fleet.says(
            &["status"],
            1,
            &["1 agent is killed (loser)", "1 agent is quarantined (faller)", "desk.paper_only"],
        );
        assert_eq!(fleet.json(&["status"])["agents"]["killed"], 1);
    }
}

#[test]
fn a_torn_control_line_spoils_no_other() {
    let fleet = Fleet::new(Way::Directory);
    fleet.events.append("control", "{\"kind\":\"comm");
    fleet.says(&["pause", "winner"], 0, &["agent winner: paused"]);
    assert_eq!(fleet.control().lines().count(), 2);
    assert_eq!(fleet.events.replay()["lines"]["malformed"], 1);
    assert_eq!(fleet.verdict("winner").1, "paused");
}

#[test]
fn a_directory_that_another_holds_is_left_alone() {
    let fleet = Fleet::new(Way::Directory);
    let layout = Layout::new(fleet.events.path());
    let lock = Lock::take(&layout.files, &layout.lock()).expect("nobody holds it");
    fleet.says(&["pause", "winner"], 3, &["another runtape", "--server"]);
    // Looking needs no server that tells its address.
    fleet.says(&["agents"], 0, &["winner"]);
    fs::write(layout.server(), "{\"address\":\"127.0.0.1:1\",\"pid\":4711}\n").expect("a writable file");
    for args in [&["pause", "winner"][..], &["agents"], &["check", "winner"], &["pause", "--fleet"]] {
        fleet.says(args, 3, &["127.0.0.1:1 does not answer", "pid 4711", "stop it"]);
    }
    fleet.says(&["status"], 1, &["1. the server http://127.0.0.1:1 does not answer"]);
    assert_eq!(fleet.control(), "");
    drop(lock);
    // Whoever held it is gone, and what it left says nothing any more.
    fleet.says(&["pause", "winner"], 0, &["paused"]);
}

#[test]
fn a_server_says_where_it_is_as_long_as_it_runs() {
    let Fleet { events, server } = Fleet::new(Way::Server);
    let server = server.expect("a server");
    let file = Layout::new(events.path()).server();
    let said: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    assert_eq!(said["address"], server.address.to_string());
    assert_eq!(said["pid"], server.pid());
    assert_eq!(server.terminate(), Some(0));
    assert!(!file.exists(), "gone after a clean stop");
}

#[test]
fn a_server_starts_under_the_policy_of_a_file() {
    let fleet = Fleet::new(Way::Directory);
    let file = fleet.events.path().join("p.toml");
    let path = file.to_str().expect("a UTF-8 path");
    fs::write(&file, "[rolling]\nwindow = 0\n").expect("a writable file");
    fleet.says(&["serve", "--listen", "127.0.0.1:0", "--policy", path], 2, &["rolling.window"]);
    fs::write(&file, "[rolling]\nwindow = 77\n").expect("a writable file");
    for _ in 0..2 {
        assert_eq!(Server::start(fleet.events.path(), &["--policy", path]).terminate(), Some(0));
    }
    fleet.says(&["policy", "show", "--in-force"], 0, &["window = 77"]);
    assert_eq!(fleet.control().lines().count(), 1, "the second start changed nothing");
    let server = Server::start(fleet.events.path(), &["--policy", path]);
    server.ready();
    fs::write(&file, "[rolling]\nwindow = 78\n").expect("a writable file");
    support::signal(server.pid(), "HUP");
    let in_force = || support::stdout(&run(&["policy", "show", "--in-force", "--events", fleet.events.text()]));
    wait_until("the file is read again", || in_force().contains("window = 78"));
    fs::write(&file, "[rolling]\nwidow = 79\n").expect("a writable file");
    support::signal(server.pid(), "HUP");
    let problems = || server.get("/api/v1/status").body;
    wait_until("the mistake is told", || problems().contains("did you mean window"));
    assert!(in_force().contains("window = 78"), "what cannot be used changes nothing");
    fs::write(&file, "[rolling]\nwindow = 78\n").expect("a writable file");
    support::signal(server.pid(), "HUP");
    wait_until("all is well again", || !problems().contains("did you mean window"));
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(fleet.control().lines().count(), 2);
}

#[test]
fn the_environment_changes_the_budget_in_force() {
    let fleet = Fleet::new(Way::Directory);
    for (usd, lines) in [("1.5", 1), ("1.5", 1), ("2.5", 2)] {
        let server = Server::start_in(fleet.events.path(), &[], &[("AGENT_DAILY_BUDGET_USD", usd)]);
        assert_eq!(server.terminate(), Some(0));
        fleet.says(&["policy", "show", "--in-force"], 0, &[&format!("daily_usd = {usd}")]);
        assert_eq!(fleet.control().lines().count(), lines, "{usd}");
    }
}

#[test]
fn decisions_are_followed_as_they_are_written() {
    let fleet = Fleet::new(Way::Directory);
    let mut follower = Command::new(RUNTAPE)
        .args(["decisions", "-f", "-n", "0", "--verdict", "killed", "--events", fleet.events.text()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let server = Server::start(fleet.events.path(), &[]);
    let mut line = String::new();
    BufReader::new(follower.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let _ = follower.kill();
    let _ = follower.wait();
    assert!(line.contains("gates") && line.contains("loser"), "{line}");
    assert_eq!(server.terminate(), Some(0));
    // What was sealed is read from the decisions files, and is the same.
    let filed = support::stdout(&fleet.run_with(&["decisions", "--verdict", "killed"], &[]));
    assert_eq!(filed, line);
}
