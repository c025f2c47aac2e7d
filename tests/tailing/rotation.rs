use std::{
    fs::{self, File, OpenOptions},
    io::Write,
};

use super::stage::{Stage, descriptors};
use crate::support::{append, signal};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

#[test]
fn a_renamed_file_still_counts_for_those_who_hold_it_open() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 100);
    let mut old = OpenOptions::new().append(true).open(stage.path("runs.jsonl")).expect("a stream");
    fs::rename(stage.path("runs.jsonl"), stage.path("runs.jsonl.1")).expect("a rename");
    for _ in 0..20 {
        let late = stage.runs.take(25);
        old.write_all(late.as_bytes()).expect("a late write");
        stage.write("runs.jsonl", 10);
    }
    stage.check();
    // Gone from the directory altogether, and still written to.
    fs::remove_file(stage.path("runs.jsonl.1")).expect("a deletion");
    let late = stage.runs.take(7);
    old.write_all(late.as_bytes()).expect("a late write");
    stage.check();
    assert_eq!(stage.metrics().sum("runtape_resets_total"), 0.0);
}

#[test]
fn five_rotations_while_the_server_cannot_look() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 50);
    stage.settle();
    crate::support::freeze(stage.pid());
    for _ in 0..5 {
        stage.write("runs.jsonl", 300);
        rotate(&stage, 6);
    }
    stage.write("runs.jsonl", 10);
    signal(stage.pid(), "CONT");
    stage.check();
    in_order(&stage);
}

#[test]
fn rotations_while_stopped() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 40);
    stage.settle();
    stage.terminate();
    stage.write("runs.jsonl", 2);
    rotate(&stage, 3);
    stage.write("runs.jsonl", 30);
    rotate(&stage, 3);
    stage.write("runs.jsonl", 20);
    stage.start();
    stage.check();
    in_order(&stage);
}

/// The tape lists the lines in the order in which they were written, across all files of the stream.
fn in_order(stage: &Stage) {
    let mut tape = fs::read_to_string(stage.path(".runtape/tape.jsonl")).expect("a tape");
    tape.truncate(tape.rfind('\n').map_or(0, |at| at + 1));
    let mut numbers = Vec::new();
    for line in tape.lines() {
        let round: serde_json::Value = serde_json::from_str(line).expect("a round");
        for extent in round["extents"].as_array().expect("extents").iter().filter(|e| e["stream"] == "runs") {
            let file = extent["file"].as_str().expect("a file id");
            let bytes = fs::read(stage.path(&format!(".runtape/streams/{file}.jsonl"))).expect("a linked file");
            let range = extent["from"].as_u64().expect("from") as usize..extent["to"].as_u64().expect("to") as usize;
            for line in String::from_utf8_lossy(&bytes[range]).lines() {
                let line: serde_json::Value = serde_json::from_str(line).expect("a run");
                numbers.push(line["tokens_in"].as_u64().expect("a number"));
            }
        }
    }
    assert_eq!(numbers, (1..=stage.runs.count).collect::<Vec<_>>(), "the lines on the tape, in the order of writing");
}

/// As logrotate does: everything one number up, and an empty place for the live file.
fn rotate(stage: &Stage, keep: u32) {
    for number in (1..keep).rev() {
        let _ =
            fs::rename(stage.path(&format!("runs.jsonl.{number}")), stage.path(&format!("runs.jsonl.{}", number + 1)));
    }
    fs::rename(stage.path("runs.jsonl"), stage.path("runs.jsonl.1")).expect("a rename");
}

#[test]
fn deletion_takes_no_history_away() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 60);
    stage.settle();
    fs::remove_file(stage.path("runs.jsonl")).expect("a deletion");
    stage.check();
    stage.write("runs.jsonl", 5);
    stage.check();
    stage.kill();
    fs::remove_file(stage.path("runs.jsonl")).expect("a deletion");
    stage.start();
    stage.check();
}

#[test]
fn a_file_recreated_with_the_same_first_lines_is_new() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 5);
    stage.settle();
    let first = fs::read(stage.path("runs.jsonl")).expect("a stream");
    fs::remove_file(stage.path("runs.jsonl")).expect("a deletion");
    stage.full_look();
    // Whole lines are repeated on purpose; here without event ids, so that they count.
    let header = String::from_utf8_lossy(&first).replace("\"event_id\"", "\"note\"");
    append(&stage.path("runs.jsonl"), header.as_bytes());
    let again = stage.runs.take(5);
    append(&stage.path("runs.jsonl"), again.as_bytes());
    stage.runs.count += 5;
    stage.runs.sum += 1 + 2 + 3 + 4 + 5;
    stage.check();
}

#[test]
fn packing_a_rotated_file_folds_nothing_twice() {
    for kill in [false, true] {
        let mut stage = Stage::new();
        stage.write("runs.jsonl", 200);
        stage.settle();
        rotate(&stage, 2);
        stage.write("runs.jsonl", 5);
        let bytes = fs::read(stage.path("runs.jsonl.1")).expect("a rotated file");
        let packed = gzip(&bytes);
        // Written bit by bit beside the plain one, as gzip does.
        let mut file = File::create(stage.path("runs.jsonl.1.gz")).expect("a new file");
        for part in packed.chunks(packed.len().div_ceil(3)) {
            file.write_all(part).expect("a packed file");
            stage.full_look();
        }
        fs::remove_file(stage.path("runs.jsonl.1")).expect("a deletion");
        stage.check();
        if kill {
            stage.kill();
            stage.start();
        }
        stage.check();
        assert_eq!(stage.metrics().get("runtape_files_refused"), Some(0.0));
    }
}

#[test]
fn packed_files_never_seen_before_are_folded_once() {
    let mut stage = Stage::dark();
    let (old, older, live) = (stage.runs.take(30), stage.runs.take(20), stage.runs.take(10));
    fs::write(stage.path("runs.jsonl.2.gz"), gzip(old.as_bytes())).expect("an archive");
    let packed = zstd::encode_all(older.as_bytes(), 1).expect("packing in memory");
    fs::write(stage.path("runs.jsonl.1.zst"), packed).expect("an archive");
    append(&stage.path("runs.jsonl"), live.as_bytes());
    stage.start();
    stage.check();
    let tape = fs::read_to_string(stage.path(".runtape/tape.jsonl")).expect("a tape");
    let round: serde_json::Value = serde_json::from_str(tape.lines().next().expect("a round")).expect("a round");
    let ends: Vec<u64> =
        round["extents"].as_array().expect("extents").iter().map(|e| e["to"].as_u64().unwrap_or(0)).collect();
    assert_eq!(ends, [old.len() as u64, older.len() as u64, live.len() as u64], "offsets count unpacked bytes");
    stage.kill();
    stage.start();
    stage.check();
}

#[test]
fn a_packing_that_never_finishes_is_reported_and_waits() {
    let mut stage = Stage::new();
    let lines = stage.runs.take(500);
    let packed = gzip(lines.as_bytes());
    let half = packed.len() / 2;
    fs::write(stage.path("runs.jsonl.1.gz"), &packed[..half]).expect("half an archive");
    for _ in 0..3 {
        stage.full_look();
        assert_eq!(stage.metrics().get("runtape_files_refused"), Some(1.0));
        assert_eq!(stage.metrics().get("runtape_lines_total{stream=\"runs\",outcome=\"run\"}"), None);
    }
    append(&stage.path("runs.jsonl.1.gz"), &packed[half..]);
    stage.check();
    assert_eq!(stage.metrics().get("runtape_files_refused"), Some(0.0));
}

#[test]
fn a_stream_that_appears_later_and_rotates_often_costs_no_descriptors() {
    let mut stage = Stage::new();
    stage.full_look();
    let before = descriptors(stage.pid());
    for _ in 0..20 {
        stage.write("later.jsonl", 3);
        stage.full_look();
        fs::rename(stage.path("later.jsonl"), stage.outside.path().join("gone")).expect("a rename");
    }
    stage.check();
    assert!(descriptors(stage.pid()) <= before + 3, "{} descriptors, {before} before", descriptors(stage.pid()));
}

#[test]
fn where_no_links_can_be_made_files_are_followed_by_their_inode() {
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else { return };
    let mut stage = Stage::dark();
    std::os::unix::fs::symlink(elsewhere.path(), stage.path(".runtape")).expect("a link");
    stage.start();
    stage.write("runs.jsonl", 20);
    stage.settle();
    for _ in 0..3 {
        rotate(&stage, 5);
        stage.write("runs.jsonl.1", 3);
        stage.write("runs.jsonl", 10);
        stage.settle();
    }
    assert_eq!(stage.metrics().sum("runtape_resets_total"), 0.0);
    assert!(stage.metrics().get("runtape_files_refused") > Some(0.0), "it says that history is in danger");
    stage.kill();
    rotate(&stage, 6);
    stage.write("runs.jsonl", 4);
    stage.start();
    stage.check();
}
