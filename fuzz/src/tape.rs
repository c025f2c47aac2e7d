use std::{
    fs::File,
    io::{Seek, Write},
};

use runtape::{
    files::Files,
    tape::{Round, journal::Rounds, round::GENESIS},
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
    let mut rounds = Rounds::open(&Files::machine(), file.path()).expect("a file");
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
    let (mut prev, mut position) = (GENESIS.to_owned(), 0);
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    for (number, line) in bytes[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some((digest, next)) = check_round(&line[..line.len() - 1], number as u64, position, &prev) else {
            return (number, false);
        };
        (prev, position) = (digest, next);
    }
    (bytes[..whole].iter().filter(|byte| **byte == b'\n').count(), true)
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
    let (mut prev, mut position) = (GENESIS.to_owned(), 0u64);
    let mut sealed = Vec::new();
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Ok(round) = serde_json::from_slice::<Round>(line) else {
            sealed.extend_from_slice(line);
            continue;
        };
        let round = Round { v: 1, round: number as u64, first: position, prev: prev.clone(), ..round }.seal();
        position = position.saturating_add(round.count);
        prev.clone_from(&round.digest);
        sealed.extend_from_slice(round.line().as_bytes());
        sealed.push(b'\n');
    }
    sealed
}
