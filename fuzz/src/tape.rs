use std::{
    fs::File,
    io::{Seek, Write},
};

use runtape::{
    files::Files,
    tape::{Horizon, Round, journal::Rounds, round::GENESIS},
};
use serde_json::Value;

/// The reader of rounds against a checker that takes nothing on trust. A first byte `=` gives every line that is a round
/// the digest and the place in the chain that it ought to have, so that what stands in it is looked at.
pub fn judge(bytes: &[u8]) {
    let sealed = bytes.strip_prefix(b"=").map(seal);
    let bytes = sealed.as_deref().unwrap_or(bytes);
    let (want, torn) = check(bytes);
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("a write");
    let mut rounds = match Rounds::open(&Files::machine(), file.path()) {
        Ok(rounds) => rounds,
        Err(error) => return assert_eq!((want, torn), (0, false), "{error:?}"),
    };
    let mut got = 0;
    let error = loop {
        match rounds.next() {
            None => break None,
            Some(Ok(_)) => got += 1,
            Some(Err(error)) => break Some(error),
        }
    };
    assert_eq!(got, want, "{error:?}");
    assert_eq!(error.is_none(), torn, "{error:?}");
    if error.is_none() {
        // What is torn is not there yet, and is looked at again once it is whole.
        let end = rounds.seam().bytes;
        assert!(!bytes[end as usize..].contains(&b'\n'));
        rewrite(file.as_file_mut(), &bytes[..end as usize]);
        assert!(rounds.next().is_none());
    }
}

fn rewrite(file: &mut File, bytes: &[u8]) {
    file.set_len(0).expect("a cut");
    file.rewind().expect("a seek");
    file.write_all(bytes).expect("a write");
}

/// How many rounds are good, and whether nothing but a torn one follows them.
fn check(bytes: &[u8]) -> (usize, bool) {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut lines =
        bytes[..whole].split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]).peekable();
    let (mut prev, mut position, mut number) = (GENESIS.to_owned(), 0, 0);
    if let Some(horizon) = lines.next_if(|line| is_horizon(line)) {
        match check_horizon(horizon) {
            Some(horizon) => (prev, position, number) = (horizon.prev, horizon.position, horizon.round),
            None => return (0, false),
        }
    }
    let mut good = 0;
    for line in lines {
        let Some((digest, next)) = check_round(line, number, position, &prev) else { return (good, false) };
        let Some(after) = number.checked_add(1) else { return (good, false) };
        (prev, position, number, good) = (digest, next, after, good + 1);
    }
    (good, true)
}

fn is_horizon(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|value| value.get("horizon").is_some_and(Value::is_u64))
}

fn check_horizon(line: &[u8]) -> Option<Horizon> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    let horizon = serde_json::from_slice::<Horizon>(line).ok().filter(|horizon| horizon.line().as_bytes() == line)?;
    value["digest"] = "".into();
    let expected = blake3::hash(serde_json::to_string(&value).ok()?.as_bytes()).to_hex();
    (horizon.v <= 2 && horizon.digest == expected.as_str()).then_some(horizon)
}

fn check_round(line: &[u8], number: u64, position: u64, prev: &str) -> Option<(String, u64)> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    if serde_json::to_vec(&value).ok()? != line {
        return None;
    }
    // Its fields are what they must be, and there are no others.
    let round = serde_json::from_slice::<Round>(line).ok().filter(|round| round.line().as_bytes() == line)?;
    let digest = value["digest"].as_str()?.to_owned();
    value["digest"] = "".into();
    let expected = blake3::hash(serde_json::to_string(&value).ok()?.as_bytes()).to_hex();
    let good = value["v"] == 1
        && value["round"] == number
        && value["first"] == position
        && value["prev"] == prev
        && digest == expected.as_str()
        && round.extents.iter().all(|extent| extent.from < extent.to);
    let next = position.checked_add(value["count"].as_u64()?)?;
    good.then_some((digest, next))
}

fn seal(bytes: &[u8]) -> Vec<u8> {
    let (mut prev, mut position, mut number) = (GENESIS.to_owned(), 0u64, 0u64);
    let mut sealed = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if let (true, Ok(horizon)) = (sealed.is_empty(), serde_json::from_slice::<Horizon>(line)) {
            let horizon = horizon.seal();
            (prev, position, number) = (horizon.prev.clone(), horizon.position, horizon.round);
            sealed.extend_from_slice(horizon.line().as_bytes());
            sealed.push(b'\n');
            continue;
        }
        let Ok(round) = serde_json::from_slice::<Round>(line) else {
            sealed.extend_from_slice(line);
            continue;
        };
        let round = Round { v: 1, round: number, first: position, prev: prev.clone(), ..round }.seal();
        position = position.saturating_add(round.count);
        number = number.saturating_add(1);
        prev.clone_from(&round.digest);
        sealed.extend_from_slice(round.line().as_bytes());
        sealed.push(b'\n');
    }
    sealed
}
