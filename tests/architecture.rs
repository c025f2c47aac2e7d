//! Reads `src/` and holds what `src/lib.rs` promises. A check that fails names the place, the rule and the way out.

use crate::support::repository;
use source::Source;

/// What must not be named where.
mod bans;
/// Hash maps on the pure floors.
mod hashes;
/// Files and functions one can read.
mod sizes;
/// Rust files as the checks see them.
mod source;

/// Every module below `src`, by floor. A file imports only lower floors, or its own folder.
const FLOORS: &[&[&str]] = &[
    &["event", "simulate", "subject"],
    &["decision", "import", "policy", "stats", "view"],
    &["fold"],
    &["consumers", "forensics"],
    &["render"],
    &["clock", "files"],
    &["layout", "store", "streams"],
    &["tape"],
    &["replay"],
    &["history", "keeping", "live", "report"],
    &["drill", "serve"],
    &["cli"],
];

/// Up to here a floor is pure.
const PURE: usize = 4;

/// Where a rule is broken: `path:line: what`.
type Findings = Vec<String>;

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn pure(source: &Source) -> bool {
    !source.test && floor(source.module()).is_some_and(|floor| floor <= PURE)
}

#[track_caller]
fn none(rule: &str, way_out: &str, findings: Findings) {
    assert!(findings.is_empty(), "{rule}:\n  {}\nway out: {way_out}", findings.join("\n  "));
}

fn sources() -> Vec<Source> {
    let sources = source::read("src");
    assert!(sources.len() > 80, "only {} files were read", sources.len());
    sources
}

fn with_tests() -> Vec<Source> {
    sources().into_iter().chain(source::read("tests")).collect()
}

fn climbing(sources: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for source in sources.iter().filter(|source| !source.test) {
        let Some(own) = floor(source.module()) else { continue };
        for (path, line) in source.imports() {
            let module = path[0].as_str();
            let lower = floor(module).is_some_and(|floor| floor < own);
            if module != source.module() && !lower {
                findings.push(format!("{}:{line}: floor {own} imports {module}", source.path));
            }
        }
    }
    findings
}

#[test]
fn a_file_imports_only_lower_floors_or_its_own_folder() {
    let way_out = "move what both need to a lower floor, or hand it over as an argument";
    none("floors", way_out, climbing(&sources()));
    let bad = [
        ("src/event/time.rs", "use crate::clock::Clock;"),
        ("src/stats/window.rs", "use crate::{event::Key, policy::Policy};"),
        ("src/fold/intake.rs", "fn f(x: super::super::tape::Round) {}"),
        ("src/layout.rs", "use super::{\n    event,\n    tape::Round,\n};"),
    ];
    for (path, text) in bad {
        assert_eq!(climbing(&[Source::new(path, text)]).len(), 1, "{path}: {text}");
    }
    let good = "use crate::event::Key; // crate::cli\n#[cfg(test)]\nmod tests { use crate::cli::Cli; }";
    assert!(climbing(&[Source::new("src/stats/keyed.rs", good)]).is_empty());
}

fn impure(sources: &[Source]) -> Findings {
    const BANNED: [&str; 6] = ["fs", "thread", "net", "env", "process", "os"];
    let mut findings = Findings::new();
    for source in sources.iter().filter(|source| pure(source)) {
        let std = source.below("std").into_iter().filter(|(name, _)| BANNED.contains(&name.as_str()));
        findings.extend(std.map(|(name, line)| format!("{}:{line}: std::{name}", source.path)));
        for word in ["Instant", "SystemTime", "File", "OpenOptions", "thread_local!", "static mut", "Mutex", "RwLock"] {
            findings.extend(source.find(word).into_iter().map(|line| format!("{}:{line}: {word}", source.path)));
        }
    }
    findings
}

#[test]
fn the_pure_floors_touch_nothing() {
    let way_out = "take the bytes or the time as an argument; floor 5 and above have files, clocks and threads";
    none("floors 0 to 4 open no file, read no clock, start no thread", way_out, impure(&sources()));
    for text in ["use std::{cmp::Ordering, fs, io};", "std::thread::spawn(f);", "fn f(at: Instant) {}"] {
        assert_eq!(impure(&[Source::new("src/fold/engine.rs", text)]).len(), 1, "{text}");
    }
}

fn overheard(sources: &[Source]) -> Findings {
    let mut findings = Findings::new();
    for source in sources.iter().filter(|source| !source.test && source.module() == "consumers") {
        let own = source.module_path();
        let Some(own) = own.get(1) else { continue };
        for (path, line) in source.imports() {
            if path[0] == "consumers" && path.get(1).is_none_or(|consumer| consumer != own) {
                findings.push(format!("{}:{line}: {}", source.path, path.join("::")));
            }
        }
    }
    findings
}

#[test]
fn consumers_never_import_one_another() {
    let way_out = "hear its decisions (HEARS), or put what both need into fold/ or stats/";
    none("a consumer never reads another's state", way_out, overheard(&sources()));
    for (path, text) in [
        ("src/consumers/desk.rs", "use super::gates::Gate;"),
        ("src/consumers/desk/mod.rs", "use crate::consumers::gates;"),
        ("src/consumers/desk/verdict.rs", "use super::super::gates::Gate;"),
    ] {
        assert_eq!(overheard(&[Source::new(path, text)]).len(), 1, "{path}: {text}");
    }
    assert!(overheard(&[Source::new("src/consumers/desk/verdict.rs", "use super::rules;")]).is_empty());
}

#[test]
fn every_consumer_is_in_the_list() {
    let list = sources().into_iter().find(|source| source.path == "src/consumers/mod.rs").expect("the list");
    for source in sources().iter().filter(|source| source.module() == "consumers") {
        if let [_, consumer, ..] = source.module_path()[..]
            && consumer != "tests"
        {
            let used = !list.find(&format!("{consumer}::")).is_empty();
            assert!(used, "{}: {consumer} is in no line of REGISTRY in src/consumers/mod.rs", source.path);
        }
    }
}

#[test]
fn an_expected_lint_says_why() {
    for source in sources() {
        let text = std::fs::read_to_string(repository(&source.path)).expect("a readable file");
        let lines: Vec<&str> = text.lines().collect();
        for line in source.find("[expect(") {
            let attribute = lines[line - 1..].iter().take(6).copied().collect::<String>();
            let attribute = attribute.split(")]").next().unwrap_or("");
            assert!(attribute.contains("reason"), "{}:{line}: #[expect] without a reason", source.path);
        }
    }
}

/// The codemap in `src/lib.rs` against the floors.
#[test]
fn the_codemap_is_the_house() {
    let text = std::fs::read_to_string(repository("src/lib.rs")).expect("the codemap");
    let lines: Vec<&str> = text.lines().collect();
    let mut mapped = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) else { continue };
        let floor = floor(module).unwrap_or_else(|| panic!("{module} stands on no floor in tests/architecture.rs"));
        let says = format!("// Floor {floor}: ");
        assert!(lines[at - 1].starts_with(&says), "src/lib.rs:{}: want `{says}...` above {module}", at + 1);
        assert!(lines.iter().any(|line| line.contains(&format!("[`{module}`]"))), "{module} is not in the table");
        mapped.push((floor, module));
    }
    assert!(mapped.is_sorted(), "src/lib.rs lists its modules by floor, then by name: {mapped:?}");
    assert_eq!(mapped.len(), FLOORS.concat().len(), "a module of the floors is missing");
    for source in sources() {
        let head = std::fs::read_to_string(repository(&source.path)).expect("a readable file");
        if let Some(floor) = floor(source.module()).filter(|_| source.module_path().len() == 1) {
            let says = format!("//! Floor {floor}: ");
            assert!(head.starts_with(&says), "{} begins with `{says}...`", source.path);
        }
        assert!(source.module().is_empty() || floor(source.module()).is_some(), "{} is on no floor", source.path);
    }
}

/// Whoever opens a folder reads what each file is for: at its `mod` line, or at its head.
#[test]
fn every_module_says_what_it_is() {
    for source in sources().iter().filter(|source| !source.test) {
        let text = std::fs::read_to_string(repository(&source.path)).expect("a readable file");
        if text.starts_with("//!") {
            continue;
        }
        let path = source.module_path();
        let (name, parents) = path.split_last().expect("a module");
        let parent = format!("src/{}", parents.join("/"));
        let candidates = [format!("{parent}/mod.rs"), format!("{parent}.rs")];
        let text = candidates.iter().find_map(|path| std::fs::read_to_string(repository(path)).ok());
        let text = text.unwrap_or_else(|| panic!("{}: no parent", source.path));
        let lines: Vec<&str> = text.lines().collect();
        let is_mod = |line: &str| line.ends_with(&format!("mod {name};"));
        let at = lines.iter().position(|line| is_mod(line)).unwrap_or_else(|| panic!("{}: no mod line", source.path));
        let told = at > 0 && lines[at - 1].trim_start().starts_with("///");
        assert!(told, "{}: say what it is, at its head (//!) or at its mod line (///) in {parent}", source.path);
    }
}
