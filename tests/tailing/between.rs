//! Files that change between two steps of one look: no interleaving may make sealed history unreadable that a file still
//! holds, or seal or fold what a file does not hold.

use std::{
    cell::Cell,
    fs,
    io::{self, ErrorKind},
    sync::Arc,
};

use runtape::{
    fold::Intake,
    policy::InForce,
    streams::{Poll, Scope},
    tape::{Directory, Until, extents_of, read_rest, read_round, seal, verify},
};

use super::{
    stage::line,
    tape::{NOW, Owner},
};
use crate::support::Events;

fn lines(from: u64, to: u64) -> String {
    (from..to).map(|number| line("a", number)).collect()
}

/// A look at the directory during which something happens when the tape is first asked for what it sealed.
fn look(owner: &mut Owner, meanwhile: impl Fn()) -> Poll {
    let (layout, happened) = (owner.layout.clone(), Cell::new(false));
    let extents = |file: &str| {
        if !happened.replace(true) {
            meanwhile();
        }
        extents_of(&layout, file)
    };
    let poll = owner.follower.poll(&Scope::All, &extents).expect("a look");
    assert!(poll.problems.is_empty(), "{:?}", poll.problems);
    poll
}

fn findings(owner: &Owner) -> String {
    let report = verify::verify(&owner.layout, |_| ()).expect("a directory");
    report.findings.iter().map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn a_copy_renamed_while_it_is_compared_is_met_under_its_new_name() {
    for another_takes_its_name in [false, true] {
        let events = Events::new();
        let mut owner = Owner::new(events.path());
        owner.append("runs", lines(0, 100).as_bytes());
        owner.round();
        let path = |name: &str| events.path().join(name);
        fs::copy(path("runs.jsonl"), path("runs.jsonl.1")).expect("a copy");
        fs::write(path("runs.jsonl"), lines(100, 110)).expect("emptied and written anew");
        let poll = look(&mut owner, || {
            fs::rename(path("runs.jsonl.1"), path("runs.jsonl.2")).expect("a rotation");
            if another_takes_its_name {
                fs::write(path("runs.jsonl.1"), lines(900, 950)).expect("another file");
            }
        });
        assert_eq!(poll.resets.len(), 1);
        owner.seal(&poll);
        let poll = look(&mut owner, || ());
        assert_eq!(poll.pending.len(), usize::from(another_takes_its_name), "a copy adds nothing");
        assert_eq!(findings(&owner), "", "another file took its name: {another_takes_its_name}");
    }
}

#[test]
fn what_changes_before_it_is_sealed_is_not_sealed() {
    let check = |what: &str, change: &dyn Fn(&std::path::Path)| {
        let events = Events::new();
        let mut owner = Owner::new(events.path());
        owner.append("runs", lines(0, 10).as_bytes());
        owner.round();
        owner.append("runs", lines(10, 30).as_bytes());
        let mut poll = look(&mut owner, || ());
        // As of a range that is too large to be held in memory.
        poll.pending.iter_mut().for_each(|range| range.bytes = None);
        change(&events.path().join("runs.jsonl"));
        let sealed = seal::seal(&owner.journal, &owner.follower, &poll.pending, NOW);
        let error: io::Error = sealed.err().unwrap_or_else(|| panic!("{what}: it was sealed"));
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{what}: {error}");
        poll.pending.iter().for_each(|range| owner.follower.retry(range));
        let poll = look(&mut owner, || ());
        assert_eq!(poll.resets.len(), 1, "{what}: reported by the next look");
    };
    check("emptied", &|path| fs::write(path, "").expect("a write"));
    check("cut", &|path| fs::write(path, lines(0, 8)).expect("a write"));
    check("emptied and outgrown", &|path| fs::write(path, lines(500, 540)).expect("a write"));
}

#[test]
fn no_line_of_a_damaged_extent_is_handed_on_and_reading_goes_on_where_it_stopped() {
    let events = Events::new();
    let mut owner = Owner::new(events.path());
    for (stream, from) in [("first", 0), ("second", 5000)] {
        owner.append(stream, lines(from, from + 20).as_bytes());
    }
    // Larger than what is read at once.
    owner.append("third", lines(10_000, 12_000).as_bytes());
    owner.round();
    for stream in ["second", "third"] {
        let path = events.stream(stream);
        let whole = fs::read_to_string(&path).expect("a stream");
        let mut changed = whole.clone().into_bytes();
        let last = changed.len() - 5;
        changed[last] ^= 1;
        fs::write(&path, &changed).expect("a write");
        let directory = Directory::open(owner.layout.clone(), Some(NOW)).expect("a directory");
        let round = directory.rounds(0).expect("a tape").next().expect("a round").expect("a whole tape");
        let mut intake = Intake::new(Arc::<InForce>::default());
        let mut handed = 0;
        let error = read_round(&round, &mut intake, Until::End, &mut |batch| handed = batch.next)
            .expect_err("a damaged extent is refused");
        assert!(error.to_string().contains(&format!("stream {stream}, file f")), "{error}");
        assert_eq!(handed, 0, "streams are merged, and a stream's first line may be the first of all");
        fs::write(&path, whole).expect("a write");
        read_rest(&round, 0, &mut intake, Until::End, &mut |_| ()).expect("a readable round");
        assert_eq!(intake.position(), owner.intake.position());
    }
}

#[test]
fn a_round_is_read_on_from_where_reading_stopped() {
    let events = Events::new();
    let mut owner = Owner::new(events.path());
    for round in 0..2 {
        for (stream, from) in [("first", 0), ("second", 50)] {
            owner.append(stream, lines(round * 100 + from, round * 100 + from + 20).as_bytes());
        }
        owner.round();
    }
    let directory = Directory::open(owner.layout.clone(), Some(NOW)).expect("a directory");
    for stop in 0..80 {
        let mut intake = Intake::new(Arc::<InForce>::default());
        let mut stopped_in = 0;
        for round in directory.rounds(0).expect("a tape").map(|round| round.expect("a whole tape")) {
            let first = intake.position();
            if !read_round(&round, &mut intake, Until::Position(stop), &mut |_| ()).expect("a readable round") {
                assert_eq!(intake.position(), stop.max(first));
                read_rest(&round, first, &mut intake, Until::End, &mut |_| ()).expect("a readable round");
                stopped_in += 1;
            }
        }
        assert_eq!((intake.position(), stopped_in > 0), (80, true), "stopped at {stop}");
        assert_eq!(intake.save(), owner.intake.save(), "stopped at {stop}");
    }
}
