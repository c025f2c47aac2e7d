//! What producers take along, against the real server.

use std::process::{Command, Output};

use crate::support::{Events, Server, repository};

fn python(args: &[&str], events: &Events, url: &str) -> Output {
    Command::new("python3")
        .args(args)
        .current_dir(repository("ops/clients"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("EVENTS", events.path())
        .env("RUNTAPE_URL", url)
        .output()
        .expect("python3 is installed")
}

#[track_caller]
fn fine(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
}

/// The tests of the Python module, with the Python there is.
#[test]
fn the_python_client_keeps_its_promises() {
    fine(&python(&["-W", "error", "-m", "unittest"], &Events::new(), ""));
}

/// While the server is there: lines, orders and budget.
const SERVED: &str = r#"
import os
from runtape import Recorder

recorder = Recorder(events_dir=os.environ["EVENTS"], url=os.environ["RUNTAPE_URL"], timeout=30, strict=True)
with recorder.run("momo", strategy="s", run_id="r1") as run:
    run.tokens(900, 120)
    run.cost(0.25)
    run.signal("ETH-USD", "LONG", score=0.7)
recorder.pnl("r1", 12.5)
assert (recorder.written, recorder.spooled, recorder.lost) == (3, 0, 0), vars(recorder)

known = recorder.check("momo", symbol="ETH-USD", notional_usd=10, paper=True)
assert known.verdict in ("allow", "deny", "hold") and isinstance(known.position, int), known
stranger = recorder.check("nobody", notional_usd=10)
assert not stranger and stranger.size_multiplier == 0.0, stranger
assert "unknown_agent" in stranger.reasons, stranger

granted = recorder.reserve("momo", "r2", 0.05)
assert granted.position is not None, granted
if granted:
    assert recorder.release("r2", "momo") is True
assert recorder.release("never-reserved") is False
assert not recorder.reserve("momo", "r3", 1e9), "more than any budget"
assert recorder.record({"agent": "momo", "reward": 1}) is True
"#;

/// Once it is gone: lines are spooled, and everything is denied.
const GONE: &str = r#"
import os
from runtape import Recorder

recorder = Recorder(events_dir=os.environ["EVENTS"], url=os.environ["RUNTAPE_URL"], timeout=5)
with recorder.run("momo", run_id="r4"):
    pass
assert (recorder.written, recorder.spooled, recorder.lost) == (0, 1, 0), vars(recorder)
assert recorder.check("momo").reasons == ("unreachable",)
assert not recorder.reserve("momo", "r5", 0.05)
assert not recorder.may_trade("momo"), "controls.json ends with its server"
"#;

#[test]
fn the_python_client_talks_to_the_real_server() {
    let events = Events::new();
    let server = Server::start(events.path(), &[]);
    server.ready();
    let url = format!("http://{}", server.address);
    fine(&python(&["-c", SERVED], &events, &url));
    assert_eq!(server.terminate(), Some(0));
    fine(&python(&["-c", GONE], &events, &url));
    let row = &events.replay()["agents"]["momo"];
    assert_eq!((row["runs"].as_u64(), row["tokens_in"].as_u64()), (Some(3), Some(900)), "{row}");
    assert_eq!(row["pnl_bps"]["sum"], 12.5, "{row}");
}
