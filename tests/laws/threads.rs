//! A replay gives the same bytes on any number of threads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use runtape::{
    layout::Layout,
    replay::replay,
    tape::{Directory, Until},
};

use super::{Outcome, cases, logs::logs, registry};
use crate::support::Events;

fn replayed(directory: &Directory, until: Until, threads: usize) -> Outcome {
    let (mut emitted, mut next) = (Vec::new(), 0);
    let replayed = replay(directory, registry(), None, until, threads, |batch, decisions| {
        assert_eq!(batch.first, next, "batches come in the order of the tape");
        next = batch.next;
        emitted.extend(decisions);
    });
    let replayed = replayed.expect("a readable directory");
    assert_eq!(emitted.len() as u64, replayed.decisions);
    assert!(emitted.is_sorted_by_key(|e| e.decision.cause), "decisions ascend by position");
    Outcome::of(&replayed.intake, replayed.engine.slots(), emitted)
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn a_replay_does_not_depend_on_its_threads(log in logs(1..6000), end in 0..8000_u64) {
        let events = Events::new();
        let mut streams: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (stream, line) in &log.0 {
            streams.entry(stream).or_default().extend_from_slice(line);
        }
        streams.iter().for_each(|(stream, bytes)| events.append(stream, bytes));
        let directory = Directory::open(Layout::new(events.path()), None).expect("a readable directory");
        for until in [Until::End, Until::Position(end)] {
            let plain = replayed(&directory, until, 1);
            for threads in [2, 3, 8, 99] {
                prop_assert_eq!(&replayed(&directory, until, threads), &plain, "{} threads", threads);
            }
        }
    }
}
