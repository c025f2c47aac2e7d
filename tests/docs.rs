//! What the documentation says to type is typed: every block of Python and shell of `docs/`, in order, file by file, in a
//! directory of its own with a server on it.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::support::{Events, RUNTAPE, Server, json, repository, run, stdout, wait_until};

/// A fenced block: its language, what it holds, and its first line in the file.
struct Block {
    language: String,
    text: String,
    line: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), text: String::new(), line: number + 2 });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Runs a block where `events` lies, with the program and the Python module at hand.
fn typed(home: &Events, server: &Server, block: &Block, place: &str) {
    let program = std::path::Path::new(RUNTAPE).parent().expect("a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let (shell, flag) = if block.language == "python" { ("python3", "-c") } else { ("sh", "-ec") };
    let output = Command::new(shell)
        .args([flag, &block.text])
        .current_dir(home.path())
        .env("PATH", format!("{}:{path}", program.display()))
        .env("PYTHONPATH", repository("ops/clients"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("RUNTAPE_URL", format!("http://{}", server.address))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{place}: {shell}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{place}: {}\n{said}", output.status);
}

#[test]
fn what_the_documentation_says_to_type_works() {
    let mut typed_blocks = 0;
    for file in fs::read_dir(repository("docs")).expect("the documentation").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(file.path()).expect("a readable file");
        let blocks = blocks(&text).into_iter().filter(|block| matches!(block.language.as_str(), "python" | "sh"));
        let blocks: Vec<Block> = blocks.collect();
        if blocks.is_empty() {
            continue;
        }
        let home = Events::new();
        let events = home.path().join("events");
        fs::create_dir(&events).expect("a writable directory");
        let server = Server::start(&events, &[]);
        server.ready();
        for block in blocks {
            let place = format!("docs/{name}:{}", block.line);
            typed(&home, &server, &block, &place);
            typed_blocks += 1;
        }
        assert_eq!(server.terminate(), Some(0));
        let events = events.to_str().expect("a UTF-8 path");
        let state = json(&run(&["replay", "--events", events, "-o", "json"]));
        for fault in ["malformed", "unknown", "duplicate", "refused_control", "without_agent"] {
            assert_eq!(state["lines"][fault].as_u64().unwrap_or(0), 0, "docs/{name}: {}", state["lines"]);
        }
    }
    assert!(typed_blocks >= 6, "only {typed_blocks} blocks were found");
}

/// What the reader of `docs/control.md` says of an agent, so many seconds from now.
fn reader(events: &Events, agent: &str, later: f64) -> String {
    let page = fs::read_to_string(repository("docs/control.md")).expect("the page");
    let block = blocks(&page).into_iter().find(|block| block.text.contains("def may_trade")).expect("the reader");
    let path = events.path().join(".runtape/controls.json");
    let script = format!(
        "{}\nnow = time.time() + {later}\ntime.time = lambda: now\nprint(may_trade({path:?}, {agent:?}))",
        block.text
    );
    let output = Command::new("python3").args(["-c", &script]).output().expect("python3 starts");
    stdout(&output).trim().to_owned()
}

#[test]
fn the_documented_reader_denies_once_nobody_writes_any_more() {
    const ALLOWED: &str = "('allow', False, 1.0)";
    const DENIED: &str = "('deny', False, 0.0)";
    let events = Events::new();
    assert_eq!(reader(&events, "a", 0.0), DENIED, "no file");
    events.append("runs", "{\"agent\":\"a\",\"errors\":0}\n{\"agent\":\"b\",\"reward\":-5}\n");
    let server = Server::start(events.path(), &[]);
    server.ready();
    wait_until("it is allowed", || reader(&events, "a", 0.0) == ALLOWED);
    assert_eq!(reader(&events, "b", 0.0), DENIED);
    assert_eq!(reader(&events, "nobody", 0.0), DENIED);
    server.kill();
    assert_eq!(reader(&events, "a", 31.0), DENIED, "what a killed server left is not believed for long");
    let server = Server::start(events.path(), &[]);
    server.ready();
    wait_until("it is allowed again", || reader(&events, "a", 0.0) == ALLOWED);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(reader(&events, "a", 0.0), DENIED, "one that stops says so");
}

#[test]
fn the_list_of_pages_has_each_page() {
    let list = fs::read_to_string(repository("docs/README.md")).expect("the list");
    for file in fs::read_dir(repository("docs")).expect("the documentation").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let listed = list.contains(&format!("]({name})"));
        assert!(listed || name == "README.md" || !name.ends_with(".md"), "docs/README.md does not name {name}");
    }
    for target in list.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(repository("docs").join(target).exists(), "docs/README.md names {target}, which is not there");
    }
}

#[test]
fn the_page_of_the_api_has_each_route() {
    let page = fs::read_to_string(repository("docs/http.md")).expect("the page");
    let document = fs::read_to_string(repository("tests/golden/openapi.json")).expect("the document");
    let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    for (path, verbs) in paths {
        for verb in verbs.as_object().expect("verbs").keys() {
            let route = format!("`{} {path}`", verb.to_uppercase());
            assert!(page.contains(&route), "docs/http.md has no {route}");
        }
    }
    let routes = page.matches("/api/v1/").count();
    assert!(paths.len() > 10 && routes >= paths.len(), "{} paths", paths.len());
}
