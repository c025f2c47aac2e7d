//! Disasters on a simulated disk: power cuts at every call, with torn, lost and reordered writes.

use runtape::drill::{Report, Settings, play};

/// So many seeds; a seed is some hundred power cuts.
fn seeds() -> u64 {
    std::env::var("RUNTAPE_DRILL_SEEDS").ok().map_or(3, |n| n.parse().expect("a number of seeds"))
}

fn played(seeds: std::ops::Range<u64>, settings: Settings) -> Report {
    let mut all = Report::default();
    seeds.for_each(|seed| all.add(play(seed, settings)));
    all
}

#[test]
fn nothing_is_lost_or_told_twice_whenever_the_power_is_cut() {
    let report = played(0..seeds(), Settings::default());
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.points > 200 * seeds(), "{report}");
    for what in ["program killed", "restored from snapshots", "tape cut at the start", "decisions checked"] {
        assert!(report.counts.get(what).is_some_and(|count| *count > 10), "{what}: {report}");
    }
}

#[test]
fn a_seed_played_twice_gives_the_same_trace() {
    let settings = Settings { points: Some(40), trace: true, ..Settings::default() };
    let [first, second] = [played(1..2, settings), played(1..2, settings)];
    assert_eq!(first.told, second.told);
    assert_eq!(first.trace, second.trace);
    assert!(first.told.len() > 100, "{} calls", first.told.len());
    assert_ne!(first.trace, played(0..1, settings).trace);
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let report = played(0..2, Settings { lying_disk: true, ..Settings::default() });
    assert!(!report.violations.is_empty(), "{report}");
}
