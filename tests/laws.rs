//! The laws of the fold: the same tape gives the same bytes, however it is read, cut, stopped and shared out.

/// What must hold of permissions, whatever is asked.
mod control;
/// Logs that somebody might write.
mod logs;
/// Replays on several threads.
mod threads;

use std::{collections::BTreeMap, sync::Arc, thread};

use proptest::prelude::*;
use runtape::{
    event,
    fold::{Batch, Emitted, Engine, Intake, Place, Registration, Slot},
    policy::InForce,
    tape::{RoundSource, Until, read_round},
};

use self::logs::{ODD, logs};
use crate::{
    cast::{self, Canyon, Echo, Pulse},
    support,
};

/// What a fold leaves: every state in its bytes, and every decision as it is written.
#[derive(Debug, PartialEq)]
struct Outcome {
    intake: Vec<u8>,
    states: Vec<(&'static str, u64, Vec<u8>)>,
    decisions: Vec<String>,
}

impl Outcome {
    fn of(intake: &Intake, slots: &[Box<dyn Slot>], mut emitted: Vec<Emitted>) -> Outcome {
        let order = |e: &Emitted| {
            let place = slots.iter().position(|slot| slot.name() == e.decision.consumer);
            (e.decision.cause, place, e.decision.ordinal)
        };
        emitted.sort_by_key(order);
        Outcome {
            intake: intake.save(),
            states: slots.iter().map(|slot| (slot.name(), slot.position(), slot.save())).collect(),
            decisions: emitted.iter().map(|emitted| emitted.line().written("")).collect(),
        }
    }
}

fn batches(rounds: &[RoundSource], intake: &mut Intake) -> Vec<Batch> {
    let mut batches = Vec::new();
    for round in rounds {
        read_round(round, intake, Until::End, &mut |batch| batches.push(batch)).expect("rounds in memory are whole");
    }
    batches
}

/// The fold of every reading command.
fn plainly(rounds: &[RoundSource], registry: &[Registration]) -> Outcome {
    let (mut engine, mut intake) = (Engine::new(registry), Intake::new(Arc::default()));
    let mut emitted = Vec::new();
    for batch in batches(rounds, &mut intake) {
        let decisions = engine.step(&batch);
        assert!(decisions.is_sorted_by_key(|e| e.decision.cause), "decisions ascend by position");
        emitted.extend(decisions);
    }
    Outcome::of(&intake, engine.slots(), emitted)
}

/// A batch in pieces of so many positions each.
fn cut(batch: Batch, steps: &mut impl Iterator<Item = usize>) -> Vec<Batch> {
    let (mut pieces, mut first) = (Vec::new(), batch.first);
    while first < batch.next {
        let next = batch.next.min(first + steps.next().expect("endless") as u64);
        let mut piece = batch.clone();
        (piece.first, piece.next) = (first, next);
        piece.entries.retain(|entry| (first..next).contains(&entry.position));
        if first > batch.first {
            // The first piece has named them all.
            piece.agents_before += std::mem::take(&mut piece.new_agents).len();
            piece.strategies_before += std::mem::take(&mut piece.new_strategies).len();
        }
        pieces.push(piece);
        first = next;
    }
    pieces
}

/// A slot of the same consumer, made from the saved bytes of another.
fn reborn(slot: &dyn Slot, registry: &[Registration]) -> Box<dyn Slot> {
    let registration = registry.iter().find(|r| r.name == slot.name()).expect("it is registered");
    let mut new = (registration.new)();
    new.load(slot.position(), &slot.save()).expect("its own bytes");
    new.learn(slot.subjects());
    new
}

/// The same fold done differently: batches in pieces, intake and slots saved and loaded on the way, slots on several
/// threads, each hearing once those it hears are through.
fn differently(rounds: &[RoundSource], registry: &'static [Registration], steps: &[usize], threads: usize) -> Outcome {
    let mut intake = Intake::new(Arc::default());
    let mut lengths = steps.iter().copied().cycle();
    let mut pieces = Vec::new();
    for round in rounds {
        if lengths.next().expect("endless") % 2 == 0 {
            intake = Intake::load(Arc::new(InForce::default()), &intake.save()).expect("its own bytes");
        }
        for batch in batches(std::slice::from_ref(round), &mut intake) {
            pieces.extend(cut(batch, &mut lengths));
        }
    }
    let mut waiting: Vec<Box<dyn Slot>> = registry.iter().map(|r| (r.new)()).collect();
    let (mut done, mut slots) = (Voices::new(), BTreeMap::new());
    while !waiting.is_empty() {
        let (mut ready, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|slot| slot.hears().iter().all(|name| done.contains_key(name)));
        waiting = rest;
        let share = ready.len().div_ceil(threads).max(1);
        let folded = thread::scope(|scope| {
            let (pieces, done) = (&pieces, &done);
            let mut running = Vec::new();
            while !ready.is_empty() {
                let mine = ready.split_off(ready.len().saturating_sub(share));
                running.push(scope.spawn(move || {
                    let fold = |slot| fold_one(slot, pieces, done, steps, registry);
                    mine.into_iter().map(fold).collect::<Vec<_>>()
                }));
            }
            running.into_iter().flat_map(|thread| thread.join().expect("no consumer fails")).collect::<Vec<_>>()
        });
        for (slot, emitted) in folded {
            done.insert(slot.name(), emitted);
            slots.insert(slot.name(), slot);
        }
    }
    let emitted = done.into_values().flatten().collect();
    let slots: Vec<Box<dyn Slot>> = registry.iter().filter_map(|r| slots.remove(r.name)).collect();
    Outcome::of(&intake, &slots, emitted)
}

/// What each consumer decided: all of it, so that whoever hears must find the part that is due.
type Voices = BTreeMap<&'static str, Vec<Emitted>>;

fn fold_one(
    mut slot: Box<dyn Slot>,
    pieces: &[Batch],
    done: &Voices,
    steps: &[usize],
    registry: &[Registration],
) -> (Box<dyn Slot>, Vec<Emitted>) {
    let mut all = Vec::new();
    for (piece, step) in pieces.iter().zip(steps.iter().rev().cycle()) {
        // Whom it hears, in list order.
        let heard = registry.iter().filter(|r| slot.hears().contains(&r.name));
        let heard: Vec<&[Emitted]> = heard.map(|r| done[r.name].as_slice()).collect();
        all.extend(slot.step(piece, &heard));
        if step % 3 == 0 {
            slot = reborn(slot.as_ref(), registry);
        }
        if step % 5 == 0 {
            // What was folded already changes nothing when it comes again.
            assert_eq!(slot.step(piece, &heard), Vec::new());
        }
    }
    (slot, all)
}

fn registry() -> &'static [Registration] {
    cast::with(&[Registration::of::<Pulse>(), Registration::of::<Echo>(), Registration::of::<Canyon>()])
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn steps() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..40usize, 2..12)
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn one_stream_gives_the_same_bytes_however_it_arrives(log in logs(1..400), arrivals in steps(), pieces in steps()) {
        let log = log.in_one_stream();
        let whole = plainly(&log.rounds(&[usize::MAX / 2]), registry());
        let rounds = log.rounds(&arrivals);
        prop_assert_eq!(&plainly(&rounds, registry()), &whole);
        prop_assert_eq!(&differently(&rounds, registry(), &pieces, 2), &whole);
    }

    #[test]
    fn a_tape_gives_the_same_bytes_however_it_is_folded(
        log in logs(1..400),
        arrivals in steps(),
        pieces in steps(),
        threads in 1..9usize,
    ) {
        let rounds = log.rounds(&arrivals);
        let plain = plainly(&rounds, registry());
        prop_assert_eq!(&differently(&rounds, registry(), &pieces, threads), &plain);
    }

    #[test]
    fn a_consumer_that_hears_does_not_see_where_batches_end(log in logs(50..300), pieces in steps()) {
        let rounds = log.rounds(&[37]);
        let plain = plainly(&rounds, registry());
        let (mut engine, mut intake) = (Engine::new(registry()), Intake::new(Arc::default()));
        let (mut lengths, mut emitted) = (pieces.iter().copied().cycle(), Vec::new());
        for batch in batches(&rounds, &mut intake) {
            emitted.extend(cut(batch, &mut lengths).iter().flat_map(|piece| engine.step(piece)));
        }
        prop_assert!(emitted.iter().any(|e| e.decision.consumer == "canyon"), "everybody has spoken");
        prop_assert_eq!(&Outcome::of(&intake, engine.slots(), emitted), &plain);
    }

    #[test]
    fn intake_does_not_see_where_batches_end(log in logs(1..400), pieces in steps()) {
        let log = log.in_one_stream();
        let mut plain = Intake::new(Arc::default());
        let want: Vec<_> = batches(&log.rounds(&[usize::MAX / 2]), &mut plain).into_iter().flat_map(events).collect();
        let mut intake = Intake::new(Arc::default());
        let (mut batch, mut got, mut offset) = (intake.begin(), Vec::new(), 0);
        let mut left = pieces.iter().copied().cycle();
        let mut room = pieces[0];
        for (_, line) in &log.0 {
            let text = line.strip_suffix(b"\n").expect("whole lines");
            let place = Place { stream: "control".into(), file: "file of control".into(), offset };
            offset += line.len() as u64;
            if !text.iter().all(u8::is_ascii_whitespace) {
                intake.line(event::decode(text, 1 << 20).as_ref(), &place, None, &mut batch);
            }
            room -= 1;
            if room == 0 {
                room = left.next().expect("endless");
                got.extend(events(batch));
                intake = Intake::load(Arc::new(InForce::default()), &intake.save()).expect("its own bytes");
                batch = intake.begin();
            }
        }
        got.extend(events(batch));
        prop_assert_eq!(intake.save(), plain.save());
        prop_assert_eq!(got, want);
    }

    #[test]
    fn saved_bytes_come_back_the_same_and_others_are_refused(log in logs(1..300), noise in any::<[u8; 64]>()) {
        let (mut engine, mut intake) = (Engine::new(registry()), Intake::new(Arc::default()));
        batches(&log.rounds(&[50]), &mut intake).iter().for_each(|batch| drop(engine.step(batch)));
        let saved = intake.save();
        prop_assert_eq!(&Intake::load(Arc::default(), &saved).expect("its own bytes").save(), &saved);
        for slot in engine.slots() {
            let saved = slot.save();
            prop_assert_eq!(&reborn(slot.as_ref(), registry()).save(), &saved, "{}", slot.name());
            refuse_others(slot.as_ref(), &saved, &noise)?;
        }
        for end in ends(&saved, &noise) {
            prop_assert!(Intake::load(Arc::default(), &saved[..end]).is_err(), "cut at {end} of {}", saved.len());
        }
        let _ = Intake::load(Arc::default(), &noise);
    }
}

/// The events of a batch with their strings in place, as nobody can cut them.
fn events(batch: Batch) -> Vec<String> {
    let text = |entry: &runtape::fold::Entry| {
        let run = entry.event.run_id.map(|id| batch.text(id).to_owned());
        let body = match &entry.event.body {
            runtape::fold::Body::Run(run) => (run.model.map(|t| batch.text(t)), run.error_type.map(|t| batch.text(t))),
            runtape::fold::Body::Alpha(alpha) => (alpha.symbol.map(|t| batch.text(t)), None),
            runtape::fold::Body::Pnl(pnl) => (pnl.symbol.map(|t| batch.text(t)), None),
            _ => (None, None),
        };
        let (event, at) = (&entry.event, entry.position);
        format!("{at} {} {:?} {:?} {:?} {run:?} {body:?}", event.origin, event.time, event.agent, event.strategy)
    };
    batch.entries.iter().map(text).collect()
}

/// Some places to cut saved bytes at.
fn ends<'a>(saved: &'a [u8], noise: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    noise
        .chunks(2)
        .map(|pair| usize::from(pair[0]) * 256 + usize::from(pair[1]))
        .filter(|_| !saved.is_empty())
        .map(|at| at % saved.len())
}

fn refuse_others(slot: &dyn Slot, saved: &[u8], noise: &[u8]) -> Result<(), TestCaseError> {
    let fresh = || (registry().iter().find(|r| r.name == slot.name()).expect("it is registered").new)();
    for end in ends(saved, noise) {
        let mut cut = fresh();
        prop_assert!(cut.load(9, &saved[..end]).is_err(), "{} cut at {end} of {}", slot.name(), saved.len());
        prop_assert_eq!((cut.position(), cut.save()), (0, fresh().save()), "a refused load changes nothing");
        // Changed bytes may decode: a snapshot's checksum is what keeps them out. They must not bring anything down.
        let mut changed = saved.to_vec();
        changed[end] ^= 1 << (noise[end % noise.len()] % 8);
        let _ = fresh().load(9, &changed);
    }
    let _ = fresh().load(9, noise);
    Ok(())
}

#[test]
fn the_list_of_consumers_is_sound() {
    let (mut names, mut families) = (Vec::new(), Vec::new());
    let word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    for registration in runtape::consumers::REGISTRY {
        let slot = (registration.new)();
        assert_eq!((slot.name(), slot.hears()), (registration.name, registration.hears));
        assert!(word(slot.name()), "{:?} is a file name, a label and a word to type", slot.name());
        assert!(!["intake", "rejects"].contains(&slot.name()), "{:?} is taken", slot.name());
        assert!(slot.version() > 0, "{}", slot.name());
        for heard in slot.hears() {
            assert!(names.contains(heard), "{} hears {heard}, which must stand before it", slot.name());
        }
        for family in slot.families() {
            let name = family.name;
            assert!(word(name), "{name:?} is part of a metric name");
            assert!(!families.contains(&name), "{name} is served twice");
            let help = family.help;
            assert!(help.ends_with('.') && help.len() > 10 && !help.contains('\n'), "{name}: {help:?}");
            let counter = family.kind == runtape::view::MetricType::Counter;
            assert!(!counter || name.ends_with("_total"), "{name} is a counter");
            let reserved = ["_bucket", "_count", "_sum", "_created", "_info"];
            assert!(!reserved.iter().any(|suffix| name.ends_with(suffix)), "{name}: OpenMetrics adds this suffix");
            families.push(name);
        }
        assert!(!names.contains(&slot.name()), "{} is there twice", slot.name());
        names.push(slot.name());
    }
}

/// CI builds both; elsewhere this holds the test build against itself when no release build is named.
#[test]
fn debug_and_release_builds_agree_to_the_bit() {
    let release = std::env::var("RUNTAPE_RELEASE_BIN").ok();
    assert!(
        release.is_some() || std::env::var("CI").as_deref() != Ok("true"),
        "CI must name a release build in RUNTAPE_RELEASE_BIN"
    );
    let release = release.unwrap_or_else(|| support::RUNTAPE.to_owned());
    let events = support::Events::new();
    let simulate = ["simulate", "--events", events.text(), "--lines", "20000", "--seed", "11", "--agents", "9"];
    support::stdout(&support::run(&simulate));
    events.append("mixed", ODD.join("\n") + "\n");
    let dirs = [events.path().to_owned(), support::repository("events/demo")];
    for dir in dirs {
        let dir = dir.to_str().expect("a UTF-8 path");
        for more in [&["-o", "json"][..], &["--decisions", "-o", "jsonl"]] {
            let args = [&["replay", "--events", dir], more].concat();
            let run = |program: &str| {
                support::stdout(&std::process::Command::new(program).args(&args).output().expect("the program starts"))
            };
            let (ours, theirs) = (run(support::RUNTAPE), run(&release));
            assert!(!ours.is_empty() || more.contains(&"--decisions"), "{args:?}");
            assert!(ours == theirs, "{args:?} differs between {} and {release}", support::RUNTAPE);
        }
    }
}
