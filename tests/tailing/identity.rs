use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, symlink},
    },
    process::Command,
};

use super::stage::Stage;
use crate::support::{append, run};

fn inode(path: &std::path::Path) -> u64 {
    fs::metadata(path).expect("a file").ino()
}

#[test]
fn a_file_recreated_while_stopped_is_new_even_with_the_same_inode() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 1000);
    stage.settle();
    stage.terminate();
    let before = inode(&stage.path("runs.jsonl"));
    // Without our links nothing keeps the inode from being given again.
    fs::remove_dir_all(stage.path(".runtape/streams")).expect("our links");
    fs::remove_file(stage.path("runs.jsonl")).expect("a deletion");
    let mut others = 0;
    loop {
        append(&stage.path("runs.jsonl"), b"");
        if inode(&stage.path("runs.jsonl")) == before || others == 2000 {
            break;
        }
        others += 1;
        fs::rename(stage.path("runs.jsonl"), stage.outside.path().join(others.to_string())).expect("a rename");
    }
    let reused = inode(&stage.path("runs.jsonl")) == before;
    stage.write("runs.jsonl", 10);
    stage.start();
    stage.settle();
    assert_eq!(stage.resets("identity"), f64::from(u8::from(reused)), "the inode came again: {reused}");
    let damage = stage.damage();
    assert!(damage.contains("stream runs (file f1)"), "{damage}");
}

#[test]
fn our_links_keep_an_inode_from_being_given_again() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 100);
    stage.settle();
    stage.terminate();
    fs::remove_file(stage.path("runs.jsonl")).expect("a deletion");
    stage.write("runs.jsonl", 10);
    stage.start();
    stage.check();
    assert_eq!(stage.metrics().sum("runtape_resets_total"), 0.0);
}

#[test]
fn what_is_no_regular_stream_file_is_left_alone_and_named() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 10);
    let other = stage.outside.stream("other");
    append(&other, super::stage::line("outsider", 1).as_bytes());
    // Folders and names that are no streams are nobody's business.
    fs::create_dir(stage.path("archive")).expect("a folder");
    append(&stage.path("archive/runs.jsonl"), super::stage::line("outsider", 2).as_bytes());
    append(&stage.events.path().join(OsStr::from_bytes(b"\xff\xfe.jsonl")), b"{}\n");
    append(&stage.path("runs.jsonl.swp"), b"{}\n");
    stage.check();
    assert_eq!(stage.metrics().get("runtape_files_refused"), Some(0.0));
    // What looks like a stream and is none is reported; a pipe without a writer holds nobody up.
    symlink(&other, stage.path("linked.jsonl")).expect("a link");
    fs::create_dir(stage.path("folder.jsonl")).expect("a folder");
    let made = Command::new("mkfifo").arg(stage.path("pipe.jsonl")).status().expect("mkfifo");
    assert!(made.success());
    stage.write("runs.jsonl", 10);
    stage.settle();
    assert_eq!(stage.metrics().get("runtape_files_refused"), Some(3.0));
    assert_eq!(stage.metrics().get("agent_runs_total{agent=\"outsider\"}"), None);
    let replay = run(&["replay", "--events", stage.events.text(), "-o", "json"]);
    assert_eq!(replay.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&replay.stderr).contains("folder.jsonl"), "the refusal names the file");
}

#[test]
fn a_name_that_changes_hands_is_followed_on_both_sides() {
    let mut stage = Stage::new();
    for _ in 0..30 {
        // Two files swap their names again and again while both are written to: every hint may name the wrong one.
        stage.write("x.jsonl", 2);
        stage.write("y.jsonl", 2);
        fs::rename(stage.path("x.jsonl"), stage.path("z")).expect("a rename");
        fs::rename(stage.path("y.jsonl"), stage.path("x.jsonl")).expect("a rename");
        fs::rename(stage.path("z"), stage.path("y.jsonl")).expect("a rename");
        stage.write("x.jsonl", 1);
    }
    stage.check();
    assert_eq!(stage.metrics().sum("runtape_resets_total"), 0.0);
}
