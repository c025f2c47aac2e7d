use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use runtape::{
    clock::Clock,
    consumers::REGISTRY,
    files::{
        Disk as _, Files, How,
        simulated::{Chance, Kind, Simulated, Tally, Trouble},
    },
    keeping::prune::{Before, prune},
    layout::Layout,
    live::{AppendResult, Cadence, Config, OwnStream, Steps},
    replay::replay,
    tape::{Directory, Until},
};

const DIR: &str = "/events";
const LINE: &str = "{\"run_id\":\"r1\",\"agent\":\"a\",\"latency_ms\":1}";

/// A program on a simulated disk, caught up.
fn program(disk: &Simulated) -> Steps {
    let config = Config {
        layout: Layout::on(Files::of(disk.clone()), Path::new(DIR)),
        registry: REGISTRY,
        clock: Clock::simulated(|| 1_800_000_000_000_000_000),
        cadence: Cadence { poll: Duration::ZERO, coalesce: Duration::ZERO, snapshot: Duration::from_millis(40) },
        quarantine_file: None,
    };
    let mut steps = Steps::start(config).expect("it starts");
    while steps.look() {}
    steps
}

/// Looks, folds and syncs.
fn turn(steps: &mut Steps) {
    steps.look();
    steps.fold_all();
    steps.keep();
}

/// Every call of a kind fails from now on; or none.
fn fail(disk: &Simulated, only: Option<Kind>) {
    disk.trouble(only.map(|_| Trouble { chance: Chance::new(1), one_in: 1, only }));
}

fn write(disk: &Simulated, bytes: &[u8]) {
    let file = disk.open(&Path::new(DIR).join("runs.jsonl"), How::AppendOrMake).expect("a stream");
    file.append(bytes).expect("a write");
}

fn append(steps: &mut Steps) -> AppendResult {
    let answer = Arc::new(Mutex::new(None));
    let told = answer.clone();
    steps.append(vec![(OwnStream::Api, vec![LINE.to_owned()])], move |_, result| {
        *told.lock().expect("nobody panicked") = Some(result);
    });
    turn(steps);
    let answer = answer.lock().expect("nobody panicked").take();
    answer.expect("whoever asks is answered")
}

fn durable(steps: &Steps) -> u64 {
    steps.status().durable.load(Ordering::Acquire)
}

fn head(steps: &Steps) -> u64 {
    steps.status().head.load(Ordering::Acquire)
}

#[test]
fn after_a_failed_sync_nothing_counts_as_durable_until_the_machine_starts_again() {
    let disk = Simulated::new(Path::new(DIR));
    let mut steps = program(&disk);
    assert_eq!(append(&mut steps).expect("it is appended")[0].position, 0);
    assert_eq!(durable(&steps), 1);
    write(&disk, format!("{LINE}\n").as_bytes());
    fail(&disk, Some(Kind::FailedSyncs));
    turn(&mut steps);
    assert_eq!((durable(&steps), head(&steps)), (1, 2), "it is folded, and not durable");
    // A sync that works later proves nothing of what the failed one lost.
    fail(&disk, None);
    turn(&mut steps);
    assert_eq!(durable(&steps), 1);
    let trouble = steps.status().troubles().not_durable.expect("it says so");
    assert!(trouble.contains("a sync failed, nothing is acknowledged any more; restart runtape"), "{trouble}");
    append(&mut steps).expect_err("nothing is acknowledged");
    drop(steps);
    // What was answered for is there; of the rest what the disk has.
    let disk = disk.image().settle(&mut Chance::new(3), &mut Tally::default());
    let mut steps = program(&disk);
    turn(&mut steps);
    assert!(durable(&steps) >= 1 && durable(&steps) == head(&steps), "{} of {}", durable(&steps), head(&steps));
    let position = append(&mut steps).expect("it is appended")[0].position;
    assert_eq!(position + 1, durable(&steps));
}

#[test]
fn what_cannot_be_read_is_told_and_read_once_it_can() {
    let disk = Simulated::new(Path::new(DIR));
    let mut steps = program(&disk);
    write(&disk, format!("{LINE}\n{LINE}\n").as_bytes());
    fail(&disk, Some(Kind::FailedReads));
    turn(&mut steps);
    assert_eq!((head(&steps), steps.failed()), (0, None));
    let trouble = steps.status().troubles().tape.expect("it says so");
    assert!(trouble.contains("cannot read /events: Input/output error"), "{trouble}");
    fail(&disk, None);
    turn(&mut steps);
    assert_eq!((durable(&steps), steps.status().troubles().tape), (2, None));
}

#[test]
fn nothing_is_durable_behind_a_file_that_was_removed_before_it_was_until_the_next_start_seals_the_rest() {
    let disk = Simulated::new(Path::new(DIR));
    let mut steps = program(&disk);
    write(&disk, b"{\"run_id\":\"r0\",\"agent\":\"b\",\"latency_ms\":2}\n");
    fail(&disk, Some(Kind::FailedNames));
    steps.look();
    fail(&disk, None);
    assert_eq!(head(&steps), 1, "it could not be linked, and was sealed all the same");
    Files::of(disk.clone()).remove(&Path::new(DIR).join("runs.jsonl")).expect("the file");
    turn(&mut steps);
    write(&disk, format!("{LINE}\n{LINE}\n").as_bytes());
    turn(&mut steps);
    assert_eq!((durable(&steps), head(&steps)), (0, 3));
    let trouble = steps.status().troubles().store.expect("it says so");
    assert!(trouble.contains("/events/runs.jsonl was removed before its lines were durable"), "{trouble}");
    drop(steps);
    let mut steps = program(&disk);
    let torn = steps.started().torn.clone().expect("it says what is gone");
    assert_eq!((torn.from, torn.to), (0, 3), "sealed again as far as it is there");
    turn(&mut steps);
    assert_eq!((durable(&steps), head(&steps), steps.status().troubles().store), (2, 2, None));
}

#[test]
fn a_file_that_was_linked_late_may_be_removed_before_it_is_durable() {
    let disk = Simulated::new(Path::new(DIR));
    let mut steps = program(&disk);
    write(&disk, format!("{LINE}\n").as_bytes());
    fail(&disk, Some(Kind::FailedNames));
    steps.look();
    fail(&disk, None);
    steps.look();
    Files::of(disk.clone()).remove(&Path::new(DIR).join("runs.jsonl")).expect("the file");
    turn(&mut steps);
    assert_eq!((durable(&steps), head(&steps), steps.status().troubles().store), (1, 1, None));
}

#[test]
fn a_name_that_a_power_cut_takes_takes_nothing_that_was_answered_for() {
    let disk = Simulated::new(Path::new(DIR));
    let mut steps = program(&disk);
    write(&disk, format!("{LINE}\n").as_bytes());
    turn(&mut steps);
    let answered = append(&mut steps).expect("it is appended")[0].position;
    // Its name is not synced by anybody: only ours is.
    let file = Files::of(disk.clone());
    file.rename(&Path::new(DIR).join("runs.jsonl"), &Path::new(DIR).join("runs.jsonl-1")).expect("a rename");
    write(&disk, format!("{LINE}\n").as_bytes());
    let image = disk.image();
    drop(steps);
    let mut lost = Tally::default();
    for seed in 0..50 {
        let disk = image.settle(&mut Chance::new(seed), &mut lost);
        let mut steps = program(&disk);
        turn(&mut steps);
        assert_eq!(steps.started().torn, None, "power cut {seed}");
        assert!((answered + 1..=answered + 2).contains(&head(&steps)), "power cut {seed}: {}", head(&steps));
    }
    assert!(lost.of(Kind::LostNames) > 10, "{lost:?}");
}

#[test]
fn a_copy_whose_sync_failed_proves_nothing_until_the_machine_starts_again() {
    let disk = Simulated::new(Path::new(DIR));
    let mut steps = program(&disk);
    write(&disk, format!("{LINE}\n").as_bytes());
    turn(&mut steps);
    assert_eq!(durable(&steps), 1);
    let [stream, copy] = ["runs.jsonl", "runs.jsonl-1"].map(|name| Path::new(DIR).join(name));
    let file = disk.open(&copy, How::AppendOrMake).expect("a copy");
    file.append(format!("{LINE}\n{LINE}\n").as_bytes()).expect("a write");
    disk.open(&stream, How::Append).expect("a stream").set_len(0).expect("it is emptied");
    fail(&disk, Some(Kind::FailedSyncs));
    steps.look();
    fail(&disk, None);
    // What the copy has beyond what was sealed is read, and never durable.
    turn(&mut steps);
    turn(&mut steps);
    assert_eq!((durable(&steps), head(&steps)), (1, 2));
    let trouble = steps.status().troubles().not_durable.expect("it says so");
    assert!(trouble.contains("a sync failed, nothing is acknowledged any more; restart runtape"), "{trouble}");
    append(&mut steps).expect_err("nothing is acknowledged");
}

#[test]
fn what_a_pruning_keeps_survives_a_power_cut_as_its_record_does() {
    let disk = Simulated::new(Path::new(DIR));
    let mut steps = program(&disk);
    write(&disk, format!("{LINE}\n").as_bytes());
    turn(&mut steps);
    // Sealed, and synced by nobody when the program is killed.
    for _ in 0..3 {
        write(&disk, format!("{LINE}\n").as_bytes());
        steps.look();
        steps.fold_all();
    }
    let head = head(&steps);
    assert_eq!((durable(&steps), head), (1, 4));
    drop(steps);
    let layout = |disk: &Simulated| Layout::on(Files::of(disk.clone()), Path::new(DIR));
    let report = prune(&layout(&disk), REGISTRY, Before::Position(head - 1), 1, false).expect("it is pruned");
    assert_eq!((report.position, report.files.len()), (head - 1, 0));
    let image = disk.image();
    for seed in 0..50 {
        let disk = image.settle(&mut Chance::new(seed), &mut Tally::default());
        let directory = Directory::open(layout(&disk), None).expect("a directory");
        assert_eq!(directory.problems.len() + directory.resets.len(), 0, "power cut {seed}");
        let replayed = replay(&directory, REGISTRY, None, Until::End, 1, |_, _| ()).expect("an intact history");
        assert!(replayed.intake.position() >= report.position, "power cut {seed}: {}", replayed.intake.position());
    }
}
