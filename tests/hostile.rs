//! What the fuzzer starts from, and what it found before, on any toolchain: everything in `fuzz/corpus` through the same
//! judges.

use std::fs;

use crate::support::repository;

/// The judges of the fuzz targets.
#[path = "../fuzz/src/lib.rs"]
mod judges;

#[test]
fn every_kept_input_is_taken_or_refused_as_it_must_be() {
    for (target, judge) in judges::TARGETS {
        let folder = repository(&format!("fuzz/corpus/{target}"));
        let inputs: Vec<_> = fs::read_dir(&folder).expect("a corpus").map(|e| e.expect("an entry").path()).collect();
        assert!(inputs.len() >= 5, "{target} has hardly any inputs");
        for input in inputs {
            // Seen only when the judge panics.
            println!("{}", input.display());
            judge(&fs::read(&input).expect("an input"));
        }
    }
}

#[test]
fn every_corpus_has_a_target() {
    let mut folders: Vec<String> = fs::read_dir(repository("fuzz/corpus"))
        .expect("the corpora")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    assert_eq!(folders, judges::TARGETS.map(|(name, _)| name));
}
