//! Lines that are decoded before their turn against those that are decoded when it comes: the same events, faults and state.

use std::{fmt::Write, thread};

use proptest::prelude::*;

use super::{ahead::Reading, *};
use crate::policy::{InForce, Policy};

/// Lines good, odd and bad, of a second each; the digits of `R` are a run.
const LINES: [&str; 9] = [
    r#"{"kind":"run","run_id":"R","agent":"a","ts":T,"reward":1}"#,
    r#"{"kind":"run","run_id":"R","agent":"b","ts":T,"cost_usd":0.5,"more":[{"x":"é"}]}"#,
    r#"{"kind":"alpha","run_id":"R","agent":"a","ts":T,"direction":"buy"}"#,
    r#"{"run_id":"R","realized_pnl_bps":-3,"ts":T}"#,
    r#"{"run_id":"R","agent":"\u0061","reward":2,"ts":T}"#,
    r#"{"symbol":"X","price":1}"#,
    "nonsense",
    "  ",
    r#"{"agent":"far too long","reward":1,"ts":T,"text":"................................................................"}"#,
];
const LINE_BYTES_MAX: usize = 150;

/// Streams of lines, each with how far its clock goes on and which run it is of; whether the last of each has its newline,
/// and whether its digest is the right one.
type Streams = Vec<OneStream>;
type OneStream = (Vec<(usize, i64, u8)>, bool, Option<bool>);

fn streams() -> impl Strategy<Value = Streams> {
    let line = (0..LINES.len(), -3..20_i64, 0..30_u8);
    let digest = prop_oneof![3 => Just(None), 3 => Just(Some(true)), 1 => Just(Some(false))];
    prop::collection::vec((prop::collection::vec(line, 0..120), prop::bool::weighted(0.8), digest), 1..4)
}

fn source(streams: &Streams, faults: bool) -> RoundSource {
    let extent = |(nth, (lines, whole, digest)): (usize, &OneStream)| {
        let (mut text, mut now) = (String::new(), 1_772_409_600);
        for (line, later, run) in lines {
            now += later;
            let line = LINES[*line].replace('T', &now.to_string()).replace('R', &run.to_string());
            let _ = writeln!(text, "{line}");
        }
        let end = if *whole { text.len() } else { text.len().saturating_sub(1) };
        let bytes = text.as_bytes()[..end].to_vec();
        let data = digest.map(|right| blake3::hash(if right { &bytes } else { b"other" }).to_hex().to_string());
        let (stream, file) = (Arc::from(format!("s{nth}")), Arc::from(format!("f{nth}")));
        ExtentSource { stream, file, from: 7, to: 7 + end as u64, data, bytes: ExtentBytes::Memory(bytes.into()) }
    };
    RoundSource {
        files: Files::machine(),
        round: None,
        at: None,
        count: None,
        extents: streams.iter().enumerate().map(extent).collect(),
        faults: faults.then(Faults::default),
    }
}

/// Everything that comes of a round: events, how it ended, what was told of it, and the state afterwards.
fn told(
    source: &RoundSource,
    until: Until,
    read: impl FnOnce(&mut Intake, &mut dyn FnMut(Batch)) -> Outcome,
) -> String {
    let mut policy = Policy::default();
    policy.limits.line_bytes = LINE_BYTES_MAX;
    let (mut intake, mut told) = (Intake::new(Arc::new(InForce::new(policy))), format!("{until:?}\n"));
    let mut sink = |batch: Batch| {
        for entry in &batch.entries {
            let _ = writeln!(told, "{entry:?} {:?}", entry.event.run_id.map(|id| batch.text(id)));
        }
        let _ = writeln!(told, "{:?}", batch.rejects);
    };
    let ended = read(&mut intake, &mut sink);
    let faults = source.faults.as_ref().map(|faults| format!("{:?}", faults.lock().unwrap()));
    let _ = writeln!(told, "{ended:?} {faults:?} {:?}", intake.save());
    told
}

type Outcome = Result<bool, ReadError>;

#[track_caller]
fn check(streams: &Streams, faults: bool, until: Until, block_bytes: usize) {
    let plain = source(streams, faults);
    let want = told(&plain, until, |intake, sink| read_round(&plain, intake, until, sink));
    for helpers in [0, 2] {
        let readahead = Arc::new(Readahead::of_blocks(block_bytes));
        let ahead = source(streams, faults);
        let got = thread::scope(|scope| {
            let _reading = Reading::of(&readahead);
            for _ in 0..helpers {
                scope.spawn(|| readahead.help_on(&mut Decoder::default()));
            }
            told(&ahead, until, |intake, sink| read_round_ahead(&ahead, intake, until, &readahead, sink))
        });
        assert_eq!(got, want, "{helpers} helpers, blocks of {block_bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_decoded_before_its_turn_is_no_other(
        streams in streams(), faults: bool, end in prop::option::of(0..200_u64), block_bytes in 1..1000_usize,
    ) {
        check(&streams, faults, end.map_or(Until::End, Until::Position), block_bytes);
    }
}
