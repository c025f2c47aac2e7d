use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use serde_json::Value;

use super::{
    life::{Answer, Life},
    world::{Line, files_with},
};
use crate::{
    consumers::REGISTRY,
    files::{Files, simulated::Image},
    fold::{Engine, Intake},
    layout::Layout,
    store::Snapshots,
    streams::RawLine,
    subject::Subject,
    tape::{Directory, Round, Until, each_line, journal::Rounds, read_round},
    view::Row,
};

/// What was there, and what had been promised, when the power was cut.
pub struct Before<'a> {
    pub image: &'a Image,
    pub lines: &'a [Line],
    /// Those that were out by then.
    pub answers: &'a [Answer],
    /// The files as everybody saw them.
    pub seen: Layout,
    /// Stream files, unpacked, as they were left.
    pub left: &'a [Vec<u8>],
}

/// What the desk permits an agent: whether anything, whether for money, and at what size.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Permit {
    allows: bool,
    live: bool,
    size: f64,
}

/// What the tape says, read and folded from its start.
struct Plain {
    engine: Engine,
    /// By consumer, as its file must be.
    decisions: BTreeMap<&'static str, String>,
    /// By position: the stream, and the line.
    lines: Vec<(String, Vec<u8>)>,
    /// By position before which all is folded, and agent; only where that is asked for.
    permits: BTreeMap<u64, BTreeMap<String, Permit>>,
}

/// What was found where everything holds.
pub struct Sound {
    pub state_hash: String,
    pub decisions: usize,
}

/// What must hold after the program came to rest again.
pub fn check(life: &Life, before: &Before) -> Result<Sound, String> {
    if let Some(why) = life.steps.failed() {
        return Err(format!("it cannot go on: {why}"));
    }
    let layout = &life.layout;
    let written = before.image.path == before.seen.controls();
    let plain = plain(layout, written)?;
    kept(layout, before)?;
    lines(&plain, before)?;
    if written {
        permitted(&plain, before)?;
    }
    for (slot, (name, position, state)) in plain.engine.slots().iter().zip(life.steps.states()) {
        if (slot.position(), slot.save()) != (position, state) {
            return Err(format!(
                "{name} stands at position {position} with a state that is not that of a fold from 0 to {}",
                slot.position()
            ));
        }
    }
    let mut count = 0;
    for registration in REGISTRY {
        let written = read(&layout.files, &layout.decisions(registration.name));
        let want = plain.decisions.get(registration.name).map_or("", String::as_str);
        count += written.iter().filter(|byte| **byte == b'\n').count();
        if written != want.as_bytes() {
            return Err(differs(registration.name, &written, want.as_bytes()));
        }
    }
    Ok(Sound { state_hash: plain.engine.state_hash(), decisions: count })
}

fn differs(consumer: &str, written: &[u8], want: &[u8]) -> String {
    let at = written.iter().zip(want).position(|(a, b)| a != b).unwrap_or(written.len().min(want.len()));
    let line = written[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let show = |bytes: &[u8]| {
        let line = bytes.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default();
        String::from_utf8_lossy(line).chars().take(160).collect::<String>()
    };
    format!(
        "the decisions of {consumer} are not those of a fold from 0: line {line} is `{}`, want `{}`",
        show(written),
        show(want)
    )
}

/// What must hold of the files alone, before the program is started again.
pub fn check_files(layout: &Layout, before: &Before) -> Result<(), String> {
    let durable = before.image.durable;
    for (path, header) in
        Snapshots::new(layout.files.clone(), layout.snapshots()).headers().map_err(|e| e.to_string())?
    {
        if let Ok(header) = header
            && header.position > durable
        {
            let (position, path) = (header.position, path.display());
            return Err(format!("{path} stands at position {position}, and only {durable} are durable"));
        }
    }
    Ok(())
}

/// Everything that was durable is on the tape as it was, and every decision that anybody saw is where it was.
fn kept(layout: &Layout, before: &Before) -> Result<(), String> {
    let durable = before.image.durable;
    let seen = read(&before.seen.files, &before.seen.tape());
    let now = read(&layout.files, &layout.tape());
    let mut kept = 0;
    for line in seen.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Round>(line) {
            Ok(round) if round.end() <= durable => kept += line.len(),
            _ => break,
        }
    }
    if !now.starts_with(&seen[..kept]) {
        return Err(format!("the tape is not what it was up to durable position {durable}"));
    }
    for registration in REGISTRY {
        let seen = read(&before.seen.files, &before.seen.decisions(registration.name));
        let whole = told(&seen);
        let now = read(&layout.files, &layout.decisions(registration.name));
        if !now.starts_with(&seen[..whole]) {
            return Err(format!("after a power cut: {}", differs(registration.name, &now, &seen[..whole])));
        }
    }
    Ok(())
}

/// How many bytes of a file of decisions tell any: those up to a line that an earlier power cut spoilt, and that is not
/// written again yet.
fn told(seen: &[u8]) -> usize {
    let whole = |line: &&[u8]| line.ends_with(b"\n") && serde_json::from_slice::<Value>(line).is_ok();
    seen.split_inclusive(|byte| *byte == b'\n').take_while(whole).map(<[u8]>::len).sum()
}

/// Lines that were promised are there, where it was said; no line is there more often than it was written.
fn lines(plain: &Plain, before: &Before) -> Result<(), String> {
    let durable = before.image.durable;
    for answer in before.answers.iter().filter(|answer| answer.position < durable) {
        let found = plain.lines.get(answer.position as usize);
        if found.is_none_or(|(stream, text)| *stream != answer.stream || *text != answer.text.as_bytes()) {
            return Err(format!(
                "position {} of {} was answered for and durable, and is not there: {}",
                answer.position, answer.stream, answer.text
            ));
        }
    }
    let mut count: HashMap<&[u8], usize> = HashMap::new();
    for (_, text) in &plain.lines {
        *count.entry(text).or_default() += 1;
    }
    for line in before.lines {
        let found = count.get(line.text.as_bytes()).copied().unwrap_or(0);
        // A power cut can take a truncation, or the removal of what was packed, and leave the copy.
        if found > line.times && found > line.times * line.files.max(files_with(before.left, line)) {
            return Err(format!("a line that was written {} times is folded {found} times: {}", line.times, line.text));
        }
        let call = before.image.number;
        let safe = line.safe_from.is_some_and(|from| from <= call) && line.gone_from.is_none_or(|from| from > call);
        if safe && found == 0 {
            return Err(format!("a line that its producer had synced is lost: {}", line.text));
        }
    }
    Ok(())
}

impl Permit {
    fn of(said: &Value) -> Permit {
        Permit {
            allows: said["verdict"] == "allow",
            live: said["live"] == true,
            size: said["size_multiplier"].as_f64().unwrap_or(0.0),
        }
    }

    fn covers(self, other: Permit) -> bool {
        self.allows >= other.allows && self.live >= other.live && self.size >= other.size
    }
}

/// Controls permit nobody more than was computed at some position that was durable; nor more than was computed at the
/// position that they name.
fn permitted(plain: &Plain, before: &Before) -> Result<(), String> {
    let durable = before.image.durable;
    for (agent, shown) in shown(&before.seen)? {
        let at = |position: &u64| plain.permits.get(position).and_then(|agents| agents.get(&agent)).copied();
        let durably =
            plain.permits.range(..=durable).any(|(position, _)| at(position).is_some_and(|p| p.covers(shown)));
        let nothing = Permit { allows: false, live: false, size: 0.0 };
        if !durably && shown != nothing {
            return Err(format!("controls permit {agent} {shown:?}, and nothing that is durable ({durable}) does"));
        }
        let position = named_position(&before.seen)?;
        if let Some(computed) = at(&position).filter(|computed| position <= durable && !computed.covers(shown)) {
            return Err(format!("controls of position {position} permit {agent} {shown:?}, and the fold {computed:?}"));
        }
    }
    Ok(())
}

/// The controls on a disk; nothing where there are none.
fn written_controls(seen: &Layout) -> Result<Value, String> {
    let Ok(bytes) = seen.files.read(&seen.controls()) else { return Ok(Value::Null) };
    serde_json::from_slice(&bytes).map_err(|error| format!("controls are no JSON: {error}"))
}

fn named_position(seen: &Layout) -> Result<u64, String> {
    written_controls(seen)?["position"].as_u64().ok_or_else(|| "controls name no position".to_owned())
}

fn shown(seen: &Layout) -> Result<Vec<(String, Permit)>, String> {
    let agents = written_controls(seen)?["agents"].as_object().cloned().unwrap_or_default();
    Ok(agents.iter().map(|(name, said)| (name.clone(), Permit::of(said))).collect())
}

/// How many agents the controls on a disk permit anything.
pub fn permits(seen: &Layout) -> usize {
    shown(seen).map_or(0, |agents| agents.iter().filter(|(_, permit)| permit.allows).count())
}

/// What the desk says of every agent.
fn desk(engine: &Engine) -> BTreeMap<String, Permit> {
    let Some(desk) = engine.slots().iter().find(|slot| slot.name() == "desk") else { return BTreeMap::new() };
    let said = |(nth, name): (usize, &Arc<str>)| {
        let mut row = Row::new();
        desk.row(Subject::Agent(nth as u32), &mut row);
        (name.to_string(), Permit::of(row.get("verdict").unwrap_or(&Value::Null)))
    };
    desk.subjects().agents.iter().enumerate().map(said).collect()
}

fn plain(layout: &Layout, permits_too: bool) -> Result<Plain, String> {
    let directory = Directory::open(layout.clone(), None).map_err(|error| error.to_string())?;
    if directory.has_unsealed() {
        return Err("it came to rest with lines that are not sealed".to_owned());
    }
    let mut intake = Intake::new(Default::default());
    let mut plain = Plain {
        engine: Engine::new(REGISTRY),
        decisions: BTreeMap::new(),
        lines: Vec::new(),
        permits: BTreeMap::new(),
    };
    for round in Rounds::open(&layout.files, &layout.tape()).map_err(|error| error.to_string())? {
        let round = round.map_err(|error| error.to_string())?;
        let source = directory.source(&round);
        let Plain { engine, decisions, lines, permits } = &mut plain;
        let folded = read_round(&source, &mut intake, Until::End, &mut |batch| {
            for emitted in engine.step(&batch) {
                let file = decisions.entry(emitted.decision.consumer).or_default();
                file.push_str(&emitted.line().written(&round.digest));
                file.push('\n');
            }
            if permits_too {
                permits.insert(batch.next, desk(engine));
            }
        });
        folded.map_err(|error| error.to_string())?;
        let read = each_line(&source, usize::MAX >> 1, &mut |_, place, raw| {
            let RawLine::Line(bytes) = raw else { return true };
            lines.push((place.stream.to_string(), bytes.to_vec()));
            true
        });
        read.map_err(|error| error.to_string())?;
    }
    Ok(plain)
}

fn read(files: &Files, path: &Path) -> Vec<u8> {
    files.read(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_told_up_to_a_line_that_was_spoilt() {
        let check = |seen: &[u8], want: usize| assert_eq!(told(seen), want, "{}", seen.escape_ascii());
        check(b"", 0);
        check(b"{\"cause\":1}\n{\"cause\":2}\n", 24);
        check(b"{\"cause\":1}\n{\"cause\":2}", 12);
        check(b"{\"cause\":1}\n\0\0\0\0\0\0\0\0\0:2}\n{\"cause\":3}\n", 12);
    }
}
