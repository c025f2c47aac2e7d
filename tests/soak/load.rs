use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    process::{Child, Command, Stdio},
    thread::{Scope, ScopedJoinHandle},
    time::Duration,
};

use runtape::clock::Stopwatch;

use super::{Ground, client::ask};
use crate::support::{draws, fast};

/// What a producer was told is kept: its agent, how many lines, and the sum of their numbers.
pub type Counted = (String, u64, u64);

/// Producers of files, of requests, and processes that are killed.
pub fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    ground: &'scope Ground,
) -> Vec<ScopedJoinHandle<'scope, Counted>> {
    let mut all = Vec::new();
    for n in 0..3 {
        all.push(scope.spawn(move || file(ground, n)));
    }
    for n in 0..2 {
        all.push(scope.spawn(move || requests(ground, n)));
    }
    scope.spawn(move || processes(ground));
    scope.spawn(move || orders(ground));
    all
}

fn line(agent: &str, number: u64) -> String {
    let reward = (number % 17) as f64 / 10.0 - 0.6;
    format!(
        "{{\"run_id\":\"{agent}-{number}\",\"event_id\":\"{agent}-{number}\",\"agent\":\"{agent}\",\"strategy\":\"soak\",\
         \"tokens_in\":{number},\"tokens_out\":3,\"cost_usd\":0.0001,\"latency_ms\":{},\"errors\":{},\"reward\":{reward:.1}}}\n",
        20 + number % 400,
        u8::from(number.is_multiple_of(29))
    )
}

/// Appends to a stream of its own, opened anew now and then: after a rotation it still writes to the old file.
fn file(ground: &Ground, n: u64) -> Counted {
    let agent = format!("file-{}-{n}", ground.session);
    let path = ground.events.stream(&format!("soak{n}"));
    let open = || OpenOptions::new().create(true).append(true).open(&path).expect("a writable stream");
    let (mut stream, mut opened, mut number, mut sum): (File, Stopwatch, u64, u64) = (open(), Stopwatch::start(), 0, 0);
    while ground.pause(Duration::from_millis(40)) {
        if opened.elapsed() > Duration::from_millis(900) {
            (stream, opened) = (open(), Stopwatch::start());
        }
        for _ in 0..6 {
            number += 1;
            sum += number;
            stream.write_all(line(&agent, number).as_bytes()).expect("a writable stream");
        }
    }
    (agent, number, sum)
}

/// Appends by requests, each sent until it is acknowledged.
fn requests(ground: &Ground, n: u64) -> Counted {
    let agent = format!("api-{}-{n}", ground.session);
    let (mut number, mut sum) = (0, 0);
    while ground.pause(Duration::from_millis(100)) {
        let numbers = number + 1..=number + 5;
        let body: String = numbers.clone().map(|number| line(&agent, number)).collect();
        loop {
            let answer = ground.address().map(|address| ask(address, "POST", "/api/v1/events", &body));
            match answer {
                Some(Ok((200, _))) => break,
                Some(Ok((status, text))) => assert!([503, 507].contains(&status), "{status} {text}"),
                Some(Err(_)) | None => {}
            }
            // Also after the end of the run: what was sent once is sent until it is known to count.
            std::thread::sleep(Duration::from_millis(50));
        }
        sum += numbers.sum::<u64>();
        number += 5;
    }
    (agent, number, sum)
}

/// Fleets in processes of their own, which are killed in the middle of whatever they do.
fn processes(ground: &Ground) {
    let mut draw = draws(ground.session + 11);
    let start = |seed: u64| -> Child {
        Command::new(fast())
            .args(["simulate", "--events", ground.events.text(), "--rate", "150", "--agents", "12"])
            .args(["--seed", &seed.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts")
    };
    while !ground.over() {
        let mut fleets = [start(1), start(2)];
        ground.pause(Duration::from_millis(1500 + draw(4000)));
        for fleet in &mut fleets {
            fleet.kill().expect("a running process");
            fleet.wait().expect("a dead process");
        }
    }
}

/// Checks, reservations, commands and other policies, whether or not anybody answers.
fn orders(ground: &Ground) {
    let (mut turn, agent) = (0_u64, format!("file-{}-0", ground.session));
    while ground.pause(Duration::from_millis(200)) {
        let Some(address) = ground.address() else { continue };
        turn += 1;
        let post = |path: &str, body: String| drop(ask(address, "POST", &format!("/api/v1/{path}"), &body));
        post("checks", format!("{{\"agent\":\"{agent}\",\"symbol\":\"ETH\",\"paper\":true,\"notional_usd\":{turn}}}"));
        post("reservations", format!("{{\"agent\":\"{agent}\",\"run_id\":\"o{turn}\",\"amount_usd\":0.01}}"));
        if turn.is_multiple_of(2) {
            post("releases", format!("{{\"agent\":\"{agent}\",\"run_id\":\"o{turn}\"}}"));
        }
        let actions = ["pause", "resume", "kill", "revive", "quarantine", "clear"];
        let action = actions[(turn / 10 % 6) as usize];
        if turn.is_multiple_of(10) {
            post("commands", format!("{{\"action\":\"{action}\",\"agent\":\"{agent}\",\"reason\":\"soak\"}}"));
        }
        if turn.is_multiple_of(50) {
            let limit = -3.0 - (turn / 50 % 3) as f64;
            let text = fs::read_to_string(ground.events.path().join("soak.toml")).expect("the policy");
            let text = format!("{text}[quarantine]\ndrawdown_limit = {limit:.1}\nclear_drawdown = {limit:.1}\n");
            post("policy", serde_json::json!({ "policy": text, "reason": "soak" }).to_string());
        }
    }
}

/// Rotations of every kind: renamed, packed, emptied in place, deleted.
pub fn rotations(ground: &Ground) {
    let mut draw = draws(ground.session + 3);
    let dir = ground.events.path();
    let mut rotated = 0_u64;
    while ground.pause(Duration::from_millis(700 + draw(1500))) {
        rotated += 1;
        let stream = format!("soak{}.jsonl", draw(3));
        let name = format!("{stream}-{:03}-{rotated:06}", ground.session);
        if fs::rename(dir.join(&stream), dir.join(&name)).is_err() {
            continue;
        }
        match draw(4) {
            0 => {}
            kind @ (1 | 2) => {
                // Nobody writes to it any more after this.
                if ground.pause(Duration::from_millis(2500)) {
                    pack(&dir.join(&name), kind == 1);
                }
            }
            _ => {
                ground.pause(Duration::from_millis(4000));
                // A server that says where it stands has read, and linked, what was there before it was asked.
                let stands = |address| ask(address, "GET", "/api/v1/status", "").is_ok_and(|(status, _)| status == 200);
                if ground.address().is_some_and(stands) {
                    fs::remove_file(dir.join(&name)).expect("a file");
                }
            }
        }
        emptied(ground, rotated);
    }
}

/// A stream that nobody counts is copied and emptied.
fn emptied(ground: &Ground, n: u64) {
    let copy = format!("loose.jsonl-{:03}-{n:06}", ground.session);
    let (loose, copy) = (ground.events.stream("loose"), ground.events.path().join(copy));
    let mut file = OpenOptions::new().create(true).append(true).open(&loose).expect("a writable stream");
    file.write_all(line("loose", n).repeat(5).as_bytes()).expect("a writable stream");
    if n.is_multiple_of(7) {
        fs::copy(&loose, copy).expect("a readable stream");
        file.set_len(0).expect("a writable stream");
    }
}

fn pack(path: &std::path::Path, gzip: bool) {
    let bytes = fs::read(path).expect("a rotated file");
    let (ending, packed) = if gzip {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).expect("memory");
        ("gz", encoder.finish().expect("memory"))
    } else {
        ("zst", zstd::encode_all(&bytes[..], 1).expect("memory"))
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    fs::write(&name, packed).expect("a writable directory");
    fs::remove_file(path).expect("a file");
}
