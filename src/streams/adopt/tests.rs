use super::*;
use crate::{
    files::{
        Disk as _, Files, How,
        simulated::{Chance, Kind, Simulated, Tally, Trouble},
    },
    streams::{Scope, copies::SealedExtent, name, poll::ResetReason, scan},
};

const DIR: &str = "/events";

/// Lines that a follower knows to be sealed, and a disk to do things on.
struct Bench {
    disk: Simulated,
    follower: Follower,
    sealed: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let disk = Simulated::new(Path::new(DIR));
        let (files, links) = (Files::of(disk.clone()), Path::new(DIR).join("links"));
        files.make_dirs(&links).expect("our folder");
        let sealed = b"{\"run_id\":\"r1\",\"latency_ms\":1}\n".repeat(20);
        let follower = Follower::new(files, DIR.into(), Some(links), Vec::new());
        let mut bench = Bench { disk, follower, sealed };
        bench.write("runs.jsonl", &bench.sealed);
        bench.poll();
        bench
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let file = self.disk.open(&Path::new(DIR).join(name), How::AppendOrMake).expect("a file");
        file.append(bytes).expect("a write");
    }

    fn empty(&self, name: &str) {
        self.disk.open(&Path::new(DIR).join(name), How::Append).and_then(|f| f.set_len(0)).expect("a file");
    }

    fn extents(&self) -> Vec<SealedExtent> {
        vec![SealedExtent { from: 0, to: self.sealed.len() as u64, data: blake3::hash(&self.sealed) }]
    }

    /// A full look; everything it finds counts as sealed: the ids of the files, and their ranges.
    fn poll(&mut self) -> Vec<(String, u64, u64)> {
        let extents = self.extents();
        let poll = self.follower.poll(&Scope::All, &|_| Ok(extents.clone())).expect("a look");
        poll.pending.iter().for_each(|range| self.follower.sealed(range));
        let id = |index: usize| self.follower.generation(index).file().to_string();
        poll.pending.iter().map(|range| (id(range.generation), range.from, range.to)).collect()
    }

    fn history(&self) -> Vec<u8> {
        self.follower.files().read(&self.follower.generation(0).path).expect("a file")
    }
}

#[test]
fn history_is_found_in_a_copy_where_the_original_has_outgrown_it() {
    for ended in [false, true] {
        let mut bench = Bench::new();
        bench.write("runs.jsonl.1", &bench.sealed);
        bench.empty("runs.jsonl");
        bench.write("runs.jsonl", &b"{\"run_id\":\"r2\"}\n".repeat(60));
        if ended {
            bench.follower.generations[0].state = State::Ended;
        }
        let extents = bench.extents();
        bench.follower.recover(&|_| Ok(extents.clone())).expect("a readable directory");
        assert!(bench.history() == bench.sealed, "ended before: {ended}");
    }
}

#[test]
fn a_copy_that_could_not_be_linked_is_linked_as_soon_as_it_can_be() {
    let mut bench = Bench::new();
    bench.write("runs.jsonl.1", &bench.sealed);
    bench.empty("runs.jsonl");
    bench.disk.trouble(Some(Trouble { chance: Chance::new(1), one_in: 1, only: Some(Kind::FailedNames) }));
    bench.poll();
    assert_eq!(bench.follower.generation(0).path, Path::new(DIR).join("runs.jsonl.1"));
    bench.disk.trouble(None);
    bench.poll();
    bench.follower.files().remove(&Path::new(DIR).join("runs.jsonl.1")).expect("the copy");
    assert!(bench.history() == bench.sealed);
}

#[test]
fn a_copy_that_could_not_be_read_or_synced_yet_outlives_its_removal() {
    for kind in [Kind::FailedReads, Kind::FailedSyncs] {
        let mut bench = Bench::new();
        bench.write("runs.jsonl.1", &bench.sealed);
        bench.empty("runs.jsonl");
        let (dir, extents) = (Path::new(DIR), bench.extents());
        let found =
            scan::look(bench.follower.files(), &dir.join("runs.jsonl.1"), name::parse("runs.jsonl.1").expect("a name"));
        let found = found.expect("a file").expect("it is there");
        bench.follower.reset(0, ResetReason::Truncated, &mut Poll::default());
        bench.disk.trouble(Some(Trouble { chance: Chance::new(1), one_in: 1, only: Some(kind) }));
        bench.follower.meet(&found, &|_| Ok(extents.clone()), &mut Poll::default());
        bench.disk.trouble(None);
        bench.follower.files().remove(&found.path).expect("the copy");
        assert!(bench.history() != bench.sealed, "{kind:?}");
        bench.follower.recover(&|_| Ok(extents.clone())).expect("a readable directory");
        assert!(bench.history() == bench.sealed, "{kind:?}");
    }
}

#[test]
fn a_copy_that_could_be_read_after_all_leaves_no_link_behind_but_its_own() {
    let mut bench = Bench::new();
    bench.write("runs.jsonl.1", &bench.sealed);
    bench.disk.trouble(Some(Trouble { chance: Chance::new(1), one_in: 2, only: Some(Kind::FailedReads) }));
    for _ in 0..200 {
        let extents = bench.extents();
        let _ = bench.follower.poll(&Scope::All, &|_| Ok(extents.clone()));
    }
    bench.disk.trouble(None);
    (0..70).for_each(|_| _ = bench.poll());
    assert_eq!(bench.follower.generations().len(), 2);
    let links = bench.follower.files().list(&Path::new(DIR).join("links")).expect("our folder");
    assert_eq!(links.len(), 2, "{links:?}");
}

#[test]
fn a_copy_takes_the_place_of_a_removed_file_that_a_power_cut_tore_behind_its_sealed_end() {
    let (one, two) = (b"{\"run_id\":\"r2\"}\n", b"{\"run_id\":\"r3\"}\n");
    let check = |kept: bool, torn: &[u8], want: &[(&str, u64, u64)]| {
        let mut bench = Bench::new();
        bench.write("runs.jsonl", torn);
        bench.write("runs.jsonl-20260101", &[&bench.sealed, &one[..], two].concat());
        if !kept {
            bench.follower.files().remove(&Path::new(DIR).join("runs.jsonl")).expect("the original");
        }
        let found = bench.poll();
        let found: Vec<_> = found.iter().map(|(file, from, to)| (file.as_str(), *from, *to)).collect();
        assert_eq!(found, want, "original kept: {kept}, and goes on with {}", torn.escape_ascii());
        assert_eq!(bench.poll(), [], "nothing comes back");
        assert!(bench.history().starts_with(&bench.sealed));
    };
    let end = 20 * 31;
    let zeroed = [&[0; 15], &b"\n"[..], two].concat();
    check(false, &zeroed, &[("f2", end, end + 32)]);
    let second_zeroed = [&one[..], &[0; 15], b"\n"].concat();
    check(false, &second_zeroed, &[("f1", end, end + 16), ("f2", end + 16, end + 32)]);
    // Nothing says which of the two to believe: lines that only one of them has are not lost.
    let other = [&b"{\"run_id\":\"r9\"}\n"[..], two].concat();
    check(false, &other, &[("f1", end, end + 32), ("f2", end, end + 32)]);
    check(true, &zeroed, &[("f2", end, end + 32), ("f1", end, end + 32)]);
}

#[test]
fn a_copy_in_the_making_that_a_power_cut_tore_holds_nothing_new() {
    let mut bench = Bench::new();
    let torn = [&bench.sealed[..62], &[0; 30], &b"\n"[..], &bench.sealed[..31]].concat();
    bench.write("runs.jsonl.1", &torn);
    assert_eq!([bench.poll(), bench.poll()], [[], []]);
    bench.empty("runs.jsonl");
    bench.poll();
    assert_eq!(bench.history(), b"", "what is torn stands in for nothing");
}

#[test]
fn a_copy_that_a_power_cut_tore_after_its_original_was_cut_short_has_at_most_what_is_behind() {
    let check = |behind: &[u8], want: &[(&str, u64, u64)]| {
        let mut bench = Bench::new();
        let zeros = bench.sealed.len() - 62;
        bench.write("runs.jsonl.1", &[&bench.sealed[..62], &vec![0; zeros], behind].concat());
        let found = bench.poll();
        let found: Vec<_> = found.iter().map(|(file, from, to)| (file.as_str(), *from, *to)).collect();
        assert_eq!(found, want, "{}", behind.escape_ascii());
        assert_eq!(bench.poll(), []);
    };
    check(&[0; 90], &[]);
    check(b"{\"run_id\":\"r2\"}\n", &[("f2", 620, 636)]);
}

#[test]
fn a_copy_that_only_a_link_of_ours_still_names_outlives_a_power_cut_and_is_found_at_the_next_start() {
    let mut bench = Bench::new();
    bench.write("runs.jsonl.1", &bench.sealed);
    assert_eq!(bench.poll(), [], "it is known");
    let (dir, links) = (Path::new(DIR), Path::new(DIR).join("links"));
    bench.follower.files().sync_dir(dir).expect("a sync");
    for seed in 0..50 {
        let left = bench.disk.image().settle(&mut Chance::new(seed), &mut Tally::default());
        Files::of(left).about(&links.join("f2.jsonl")).expect("the link");
    }
    bench.follower.files().remove(&dir.join("runs.jsonl.1")).expect("the copy");
    bench.empty("runs.jsonl");
    let known = bench.follower.generations()[..1].to_vec();
    bench.follower = Follower::new(bench.follower.files().clone(), dir.into(), Some(links), known);
    let extents = bench.extents();
    bench.follower.recover(&|_| Ok(extents.clone())).expect("a readable directory");
    assert!(bench.history() == bench.sealed);
}

#[test]
fn what_only_a_link_of_ours_has_behind_the_sealed_end_is_read_at_the_next_start() {
    let mut bench = Bench::new();
    let end = bench.sealed.len() as u64;
    bench.write("links/f2.jsonl", &[&bench.sealed[..], b"{\"run_id\":\"r2\"}\n"].concat());
    bench.empty("runs.jsonl");
    let extents = bench.extents();
    bench.follower.recover(&|_| Ok(extents.clone())).expect("a readable directory");
    assert_eq!([bench.poll(), bench.poll()], [vec![("f1".to_owned(), end, end + 16)], Vec::new()]);
}

#[test]
fn a_copy_waits_for_what_it_may_be_a_copy_of_until_that_is_sealed_or_was_not_read_for_long() {
    let check = |failed: u32, met: usize| {
        let mut bench = Bench::new();
        let lines = b"{\"run_id\":\"r2\"}\n".repeat(3);
        bench.write("alpha.jsonl", &lines);
        let poll = bench.follower.poll(&Scope::All, &|_| Ok(Vec::new())).expect("a look");
        poll.pending.iter().for_each(|range| bench.follower.retry(range));
        bench.write("alpha.jsonl.1", &lines[..20]);
        let path = Path::new(DIR).join("alpha.jsonl.1");
        let copy = scan::look(bench.follower.files(), &path, name::parse("alpha.jsonl.1").expect("a name"));
        bench.follower.generations[1].failed = failed;
        let mut poll = Poll { met: 2, ..Poll::default() };
        bench.follower.meet(&copy.expect("a file").expect("it is there"), &|_| Ok(Vec::new()), &mut poll);
        assert_eq!(bench.follower.generations().len(), met, "read in vain {failed} times");
        bench
    };
    check(0, 3);
    check(1000, 3);
    let mut bench = check(1, 2);
    assert_eq!([bench.poll(), bench.poll()], [vec![("f2".to_owned(), 0, 48)], Vec::new()]);
}

#[test]
fn a_copy_goes_on_where_what_a_power_cut_left_of_its_original_is_sealed() {
    let (line, end) = (b"{\"run_id\":\"r2\"}\n", 20 * 31);
    let check = |left: &[u8], copied: usize, want: &[(String, u64, u64)]| {
        let mut bench = Bench::new();
        bench.write("runs.jsonl", left);
        assert_eq!(bench.poll(), [("f1".to_owned(), end, end + 16)]);
        bench.write("runs.jsonl.1", &[&bench.sealed[..], &line[..copied]].concat());
        assert_eq!(bench.poll(), want, "{copied} bytes of the torn line");
        assert_eq!(bench.poll(), []);
    };
    let zeros = [&line[..5], &[0; 10], &b"\n"[..]].concat();
    for left in [&zeros[..], b"{\"run_id\":\"r3\"}\n"] {
        check(left, 14, &[]);
        check(left, 16, &[("f2".to_owned(), end, end + 16)]);
    }
}

#[test]
fn an_emptied_original_that_a_power_cut_brought_back_beside_its_copy_holds_nothing_new_but_what_is_behind() {
    let mut bench = Bench::new();
    bench.write("runs.jsonl.1", &bench.sealed);
    bench.empty("runs.jsonl");
    assert_eq!(bench.poll(), []);
    let known = bench.follower.generations()[..1].to_vec();
    bench.write("runs.jsonl", &bench.sealed[..400]);
    bench.follower.files().remove(&Path::new(DIR).join("runs.jsonl.1")).expect("the copy");
    let links = Some(Path::new(DIR).join("links"));
    bench.follower = Follower::new(bench.follower.files().clone(), DIR.into(), links, known);
    (0..30).for_each(|_| assert_eq!(bench.poll(), []));
    bench.write("runs.jsonl", b"\n{\"run_id\":\"r2\"}\n");
    assert_eq!(bench.poll(), [("f2".to_owned(), 372, 400 + 17)]);
}

#[test]
fn a_part_does_not_stand_in_for_what_has_more_of_what_was_sealed() {
    let check = |left: u64, want: usize| {
        let mut bench = Bench::new();
        let extents: Vec<_> = [0, 31, 310, 620]
            .windows(2)
            .map(|ends| SealedExtent {
                from: ends[0] as u64,
                to: ends[1] as u64,
                data: blake3::hash(&bench.sealed[ends[0]..ends[1]]),
            })
            .collect();
        bench.write("runs.jsonl.1", &bench.sealed[..100]);
        let cut = bench.disk.open(&Path::new(DIR).join("runs.jsonl"), How::Append).and_then(|file| file.set_len(left));
        cut.expect("a file");
        bench.follower.recover(&|_| Ok(extents.clone())).expect("a readable directory");
        assert_eq!(bench.history().len(), want, "{left} bytes are left");
        bench.follower.poll(&Scope::All, &|_| Ok(extents.clone())).expect("a look");
        assert_eq!(bench.history().len(), want, "{left} bytes are left, and the part was met");
    };
    check(400, 400);
    check(20, 100);
}

#[test]
fn a_second_copy_with_more_lines_is_read_while_the_first_stands_in_for_the_original() {
    let mut bench = Bench::new();
    bench.write("runs.jsonl.1", &bench.sealed);
    bench.empty("runs.jsonl");
    assert_eq!(bench.poll(), []);
    let mut known = bench.follower.generation(0).clone();
    (known.state, known.record.id) =
        (State::Open, source::identify(bench.follower.files(), &known.path).expect("the copy").0);
    let links = Some(Path::new(DIR).join("links"));
    bench.follower = Follower::new(bench.follower.files().clone(), DIR.into(), links, vec![known]);
    bench.write("runs.jsonl.2", &[&bench.sealed[..], b"{\"run_id\":\"r2\"}\n"].concat());
    assert_eq!([bench.poll(), bench.poll()], [vec![("f2".to_owned(), 620, 636)], Vec::new()]);
}
