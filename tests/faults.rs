//! `docs/faults.md` says what becomes of each fault and which test shows it. Here the table is held to the tests, and the
//! faults stand that no other file is about.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::support::repository;

/// Disks that fail, simulated.
mod disk;
/// Directories, files and disks that are not as they should be.
mod files;
/// Bytes that somebody thought up.
mod input;
/// Requests that somebody thought up.
mod requests;

/// The Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let found = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect()
}

/// The names of all tests of a text: functions under `#[test]`, also those of proptest.
fn tests_of(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if line == "#[test]" {
            let name = lines.by_ref().find_map(|line| line.split_once("fn ").map(|(_, rest)| rest));
            names.extend(name.and_then(|rest| rest.split(['(', '<']).next()).map(str::to_owned));
        }
    }
    names
}

/// The rows of the table: fault, outcome, tests.
fn rows(text: &str) -> Vec<[String; 3]> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.contains(" | shown by |"));
    rows.map(|line| cells(line).try_into().unwrap_or_else(|cells| panic!("not three cells: {cells:?}"))).collect()
}

/// What is wrong with a row, given the tests there are.
fn fault_of(row: &[String; 3], known: &BTreeSet<String>) -> Option<String> {
    let [fault, outcome, shown] = row;
    if fault.len() < 4 || outcome.len() < 20 || !outcome.ends_with('.') {
        return Some(format!("{fault}: no outcome"));
    }
    let named: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
    if named.is_empty() {
        return Some(format!("{fault}: no test"));
    }
    named.iter().find(|name| !known.contains(**name)).map(|name| format!("{fault}: there is no test {name}"))
}

#[test]
fn every_fault_has_an_outcome_and_a_test_that_exists() {
    hold("docs/faults.md", 45);
}

#[test]
fn every_claim_of_security_has_a_test_that_exists() {
    hold("docs/security.md", 12);
}

fn hold(page: &str, rows_min: usize) {
    let files = [sources(&repository("tests")), sources(&repository("src"))].concat();
    let texts = files.iter().map(|path| fs::read_to_string(path).expect("a readable file"));
    let known: BTreeSet<String> = texts.flat_map(|text| tests_of(&text)).collect();
    assert!(known.len() > 300, "only {} tests were found", known.len());
    let rows = rows(&fs::read_to_string(repository(page)).expect("the page"));
    assert!(rows.len() >= rows_min, "only {} rows", rows.len());
    let faults: Vec<String> = rows.iter().filter_map(|row| fault_of(row, &known)).collect();
    assert!(faults.is_empty(), "{page}:\n{}", faults.join("\n"));
    let distinct: BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(distinct.len(), rows.len(), "a fault stands there twice");
}

#[test]
fn a_row_without_a_test_is_seen() {
    let known = BTreeSet::from(["a_test".to_owned()]);
    let check = |row: [&str; 3], want: Option<&str>| {
        let got = fault_of(&row.map(str::to_owned), &known);
        assert_eq!(got.as_deref(), want);
    };
    let outcome = "It is counted, and stops nothing.";
    check(["a fault", outcome, "`a_test`"], None);
    check(["a fault", outcome, "`a_test`, `another`"], Some("a fault: there is no test another"));
    check(["a fault", outcome, "soon"], Some("a fault: no test"));
    check(["a fault", "", "`a_test`"], Some("a fault: no outcome"));
    assert_eq!(tests_of("#[test]\n#[ignore]\nfn a_test() {\nfn helper() {}\n"), ["a_test"]);
}
