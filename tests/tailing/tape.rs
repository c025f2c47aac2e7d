use std::{io::Write as _, path::Path, sync::Arc};

use proptest::prelude::*;
use runtape::{
    fold::{Batch, Intake},
    layout::Layout,
    policy::InForce,
    streams::{Follower, Pending, Poll, Scope},
    tape::{Directory, Journal, RoundSource, Until, extents_of, mend, read_round, seal, verify::verify},
};

use crate::support::Events;

/// 2026-01-01, Unix nanoseconds: when every round is sealed.
pub const NOW: i64 = 1_767_225_600_000_000_000;

/// Appends and rounds in process, as the owner of a directory makes them.
pub struct Owner {
    pub layout: Layout,
    pub follower: Follower,
    pub journal: Journal,
    pub intake: Intake,
    /// Seals from the files, in extents of at most so many bytes.
    extent_bytes: Option<u64>,
    read: Lines,
}

impl Owner {
    pub fn new(dir: &Path) -> Owner {
        let layout = Layout::new(dir);
        std::fs::create_dir_all(layout.links()).expect("our folder");
        Owner {
            follower: Follower::new(layout.files.clone(), dir.to_owned(), Some(layout.links()), Vec::new()),
            journal: Journal::open(&layout.files, &layout.tape(), |_| ()).expect("a new tape"),
            layout,
            intake: Intake::new(Arc::<InForce>::default()),
            extent_bytes: None,
            read: Vec::new(),
        }
    }

    pub fn append(&self, stream: &str, bytes: &[u8]) {
        let path = self.layout.stream(stream);
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a stream");
        file.write_all(bytes).expect("a write");
    }

    /// A look at the directory, sealed and read from memory.
    pub fn round(&mut self) {
        let layout = self.layout.clone();
        let poll = self.follower.poll(&Scope::All, &|file| extents_of(&layout, file)).expect("a look");
        assert!(poll.resets.is_empty() && poll.problems.is_empty(), "{:?} {:?}", poll.resets, poll.problems);
        if !poll.pending.is_empty() {
            self.seal(&poll);
        }
    }

    pub fn seal(&mut self, Poll { pending, .. }: &Poll) {
        let sealed = match self.extent_bytes {
            None => seal::seal(&self.journal, &self.follower, pending, NOW),
            Some(most) => {
                let files: Vec<Pending> =
                    pending.iter().map(|range| Pending { bytes: None, ..range.clone() }).collect();
                seal::seal_in_extents(&self.journal, &self.follower, &files, NOW, most)
            }
        };
        let sealed = sealed.expect("a round");
        self.journal.append(&sealed.round).expect("the tape is written");
        pending.iter().for_each(|range| self.follower.sealed(range));
        read(&sealed.source, &mut self.intake, &mut self.read);
    }
}

/// What became of each line, by position.
type Lines = Vec<(u64, String)>;

/// Reads a round and keeps what every line became.
fn read(source: &RoundSource, intake: &mut Intake, lines: &mut Lines) {
    let done = read_round(source, intake, Until::End, &mut |batch| keep(&batch, lines)).expect("a readable round");
    assert!(done);
}

fn keep(batch: &Batch, lines: &mut Lines) {
    for entry in &batch.entries {
        let run = entry.event.run_id.map_or("", |text| batch.text(text));
        lines.push((entry.position, format!("{:?} {run}", entry.event.time)));
    }
    for reject in &batch.rejects {
        lines.push((reject.position, format!("rejected at {}", reject.place.offset)));
    }
    // Rejects stand beside the events of a batch; where a batch ends is nobody's business.
    lines.sort_by_key(|line| line.0);
}

/// What the files give when they are read back along the tape.
fn read_back(layout: &Layout) -> (Lines, u64) {
    let directory = Directory::open(layout.clone(), Some(NOW)).expect("a directory");
    let (mut intake, mut lines) = (Intake::new(Arc::<InForce>::default()), Vec::new());
    for source in directory.rounds(0).expect("a tape") {
        read(&source.expect("a round"), &mut intake, &mut lines);
    }
    (lines, intake.position())
}

fn some_line() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0u32..50, 0u32..4, 0u32..5000).prop_map(|(run, agent, s)| format!(
            "{{\"ts\":{},\"run_id\":\"r{run}\",\"agent\":\"a{agent}\",\"latency_ms\":1}}\n", 1_767_000_000 + s
        )),
        2 => (0u32..50, -90i32..90).prop_map(|(run, bps)| format!("{{\"run_id\":\"r{run}\",\"realized_pnl_bps\":{bps}}}\n")),
        1 => Just("broken\n".to_owned()),
        1 => Just("  \n".to_owned()),
    ]
}

fn some_lines() -> impl Strategy<Value = String> {
    prop::collection::vec(some_line(), 1..40).prop_map(|lines| lines.concat())
}

/// Cuts bytes at these places, anywhere in a line.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn one_stream_gives_the_same_lines_however_it_arrives(
        text in some_lines(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (whole, split) = (Events::new(), Events::new());
        let mut once = Owner::new(whole.path());
        once.append("s", text.as_bytes());
        once.round();
        let mut bit_by_bit = Owner::new(split.path());
        for piece in pieces(text.as_bytes(), &cuts) {
            bit_by_bit.append("s", piece);
            bit_by_bit.round();
        }
        prop_assert_eq!(&bit_by_bit.read, &once.read);
        let (lines, position) = read_back(&bit_by_bit.layout);
        prop_assert_eq!(&lines, &once.read);
        prop_assert_eq!(position, once.intake.position());
        prop_assert!(position > 0 || text.trim().is_empty());
    }

    #[test]
    fn a_round_is_the_same_in_however_many_extents(
        texts in prop::collection::vec(some_lines(), 1..4),
        most in 1u64..400,
    ) {
        let (whole, split) = (Events::new(), Events::new());
        let (mut once, mut divided) = (Owner::new(whole.path()), Owner::new(split.path()));
        divided.extent_bytes = Some(most);
        for owner in [&mut once, &mut divided] {
            for (stream, text) in texts.iter().enumerate() {
                owner.append(&format!("s{stream}"), text.as_bytes());
            }
            owner.round();
        }
        prop_assert_eq!(&divided.read, &once.read);
        let (lines, position) = read_back(&divided.layout);
        prop_assert_eq!(lines, once.read);
        prop_assert_eq!(position, once.intake.position());
        let report = verify(&divided.layout, |_| {}).expect("a tape");
        prop_assert!(report.findings.is_empty(), "{:?}", report.findings);
    }

    #[test]
    fn several_streams_read_back_as_they_were_read_first(
        texts in prop::collection::vec(some_lines(), 2..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let events = Events::new();
        let mut owner = Owner::new(events.path());
        let parts: Vec<Vec<&[u8]>> = texts.iter().map(|text| pieces(text.as_bytes(), &cuts)).collect();
        for step in 0..cuts.len() + 1 {
            for (stream, parts) in parts.iter().enumerate() {
                owner.append(&format!("s{stream}"), parts[step]);
            }
            owner.round();
        }
        let (lines, position) = read_back(&owner.layout);
        prop_assert_eq!(lines, owner.read);
        prop_assert_eq!(position, owner.intake.position());
    }
}

#[test]
fn a_power_cut_that_spoils_the_end_of_the_tape_keeps_the_history_that_a_copy_holds() {
    let events = Events::new();
    let mut owner = Owner::new(events.path());
    owner.append("runs", b"{\"run_id\":\"r1\",\"latency_ms\":1}\n");
    owner.round();
    let whole = std::fs::read(owner.layout.tape()).expect("a tape");
    // Copied and emptied; then a round of which a power cut left the size.
    std::fs::copy(owner.layout.stream("runs"), events.path().join("runs.jsonl.1")).expect("a copy");
    std::fs::write(owner.layout.stream("runs"), b"").expect("it is emptied");
    std::fs::write(owner.layout.tape(), [whole.as_slice(), &[0; 300], b"\n"].concat()).expect("a writable tape");
    let torn = mend(&owner.layout, 0).expect("a tape that can be mended").expect("something is torn");
    assert_eq!((torn.round, torn.from), (1, 1), "{}", torn.why);
    assert_eq!(std::fs::read(owner.layout.tape()).expect("a tape"), whole);
    // What is nowhere any more does not hold.
    std::fs::remove_file(events.path().join("runs.jsonl.1")).expect("the copy");
    let torn = mend(&owner.layout, 0).expect("a tape that can be mended").expect("something is torn");
    assert_eq!((torn.round, torn.from, torn.to), (0, 0, 1), "{}", torn.why);
    assert_eq!(std::fs::read(owner.layout.tape()).expect("a tape"), b"");
}

#[test]
fn history_is_found_in_a_copy_whose_own_lines_are_on_the_tape_and_that_left_the_directory() {
    let events = Events::new();
    let mut owner = Owner::new(events.path());
    owner.append("runs", b"{\"run_id\":\"r1\",\"agent\":\"a\",\"latency_ms\":1}\n");
    owner.round();
    owner.append("runs", b"{\"run_id\":\"r2\",\"agent\":\"a\",\"latency_ms\":1}\n");
    let (stream, copy) = (owner.layout.stream("runs"), events.path().join("runs.jsonl.1"));
    std::fs::copy(&stream, &copy).expect("a copy");
    std::fs::write(&stream, b"").expect("it is emptied");
    let layout = owner.layout.clone();
    let poll = owner.follower.poll(&Scope::All, &|file| extents_of(&layout, file)).expect("a look");
    owner.seal(&poll);
    // As where the link of the history could not be changed.
    let link = layout.links().join("f1.jsonl");
    std::fs::remove_file(&link).expect("a link");
    std::fs::hard_link(&stream, &link).expect("a link");
    std::fs::remove_file(&copy).expect("the copy");
    let (lines, position) = read_back(&layout);
    assert_eq!(position, 2, "{lines:?}");
    assert!(lines[0].1.ends_with("r1") && lines[1].1.ends_with("r2"), "{lines:?}");
}
