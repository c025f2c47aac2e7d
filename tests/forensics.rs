//! Why money was made and lost, as people are told it.

/// Where the lines of a run are.
mod index;
/// What was asked in vain, and histories with holes.
mod missing;
/// The state at a moment, and between two.
mod moments;

use serde_json::Value;

use crate::support::{Events, golden, json, repository, run, stdout};

/// What `runtape forensics` prints for the demo.
fn demo(args: &[&str]) -> String {
    let events = repository("events/demo");
    let events = events.to_str().expect("a UTF-8 path");
    stdout(&run(&[&["forensics", "--events", events], args].concat()))
}

/// A run of the demo that lost, and has a story.
const LOST: &str = "bbc8c4dc-ef42-40c6-a52c-493bbd7099b7";

#[test]
fn the_demo_is_told_as_its_files_say() {
    for (name, args) in [
        ("run", &["run", LOST][..]),
        ("agent", &["agent", "breakout-xrp", "-n", "3"]),
        ("fleet", &["fleet", "-n", "3"]),
    ] {
        golden(&format!("forensics/{name}.txt"), &demo(args));
        golden(&format!("forensics/{name}.json"), &demo(&[args, &["-o", "json"]].concat()));
    }
}

/// A page that somebody is sent says what the words say, and needs nothing from anywhere.
#[test]
fn a_page_is_whole_in_itself() {
    golden("forensics/agent.html", &demo(&["agent", "breakout-xrp", "-n", "3", "-o", "html"]));
    let check = |args: &[&str], holds: &[&str]| {
        let page = demo(&[args, &["-o", "html"]].concat());
        for part in holds {
            assert!(page.contains(part), "{args:?}: {part}");
        }
        for foreign in ["<script", "src=", "url(", "href=", "http:", "https:", "style=\""] {
            assert!(!page.contains(foreign), "{args:?}: {foreign}");
        }
        assert_eq!(page.matches("<figure>").count(), 5, "{args:?}");
        for tag in ["table", "tr", "td", "th", "dl", "dd", "ul", "li", "svg", "text", "circle", "figure", "main"] {
            let (begun, ended) = (format!("<{tag}"), format!("</{tag}>"));
            let begun = page.match_indices(&begun).filter(|(at, _)| page[at + begun.len()..].starts_with([' ', '>']));
            assert_eq!(begun.count(), page.matches(&ended).count(), "{args:?}: {tag}");
        }
    };
    check(&["run", LOST], &[&format!("<h1>Run {LOST}</h1>"), "breakout-xrp", ">this run</text>", "<h2>Why</h2>"]);
    check(&["agent", "breakout-xrp"], &["<h1>Agent breakout-xrp</h1>", "What counts towards promotion", LOST]);
    check(&["fleet"], &["<h1>The fleet</h1>", "By hour"]);
}

/// The figures of a run are those of the lines that name it, and of the state before and after.
#[test]
fn a_story_holds_what_a_replay_holds() {
    let story: Value = serde_json::from_str(&demo(&["run", LOST, "-o", "json"])).expect("JSON");
    let lines = story["lines"].as_array().expect("lines");
    assert_eq!(lines.len(), 3);
    let events = repository("events/demo");
    for line in lines {
        let file = events.join(format!("{}.jsonl", line["stream"].as_str().expect("a stream")));
        let text = std::fs::read_to_string(file).expect("a stream");
        let at = line["offset"].as_u64().expect("an offset") as usize;
        let there: Value = serde_json::from_str(text[at..].lines().next().expect("a line")).expect("JSON");
        assert_eq!(there, line["line"]);
    }
    for side in ["before", "after"] {
        let at = story[side]["position"].to_string();
        let events = events.to_str().expect("a UTF-8 path");
        let state = json(&run(&["replay", "--events", events, "--at", &at, "-o", "json"]));
        assert_eq!(story[side]["agent"], state["agents"]["breakout-xrp"], "{side}");
    }
}

/// The corner that the simulated fleet hides is told in a sentence that a person can act on.
#[test]
fn the_planted_corner_is_told() {
    let events = Events::new();
    stdout(&run(&["simulate", "--events", events.text(), "--lines", "20000", "--seed", "5"]));
    let text = stdout(&run(&["forensics", "fleet", "--events", events.text()]));
    let told = text.lines().find(|line| line.contains("losses cluster when")).expect("a pattern");
    assert!(told.contains("latency > ") && told.contains("tokens_in > ") && told.contains("q = "), "{told}");
}
