use serde_json::{Map, Value, json};

use crate::{
    event::time,
    fold::{
        Intake, Lines, Slot,
        lines::{Oddity, Outcome},
    },
    subject::{Subject, Subjects},
    view::Row,
};

/// The state of the fold as JSON: what `replay` prints and the API serves.
pub fn state(slots: &[Box<dyn Slot>], intake: &Intake, state_hash: &str, decisions: u64) -> Value {
    let subjects = intake.subjects();
    let mut state = json!({
        "position": intake.position(),
        "tape_time": intake.tape_time().map(time::unix_seconds),
        "policy": intake.policy().hash,
        "state_hash": state_hash,
        "lines": lines(intake.lines()),
        "agents": rows(slots, subjects, "agent"),
        "strategies": rows(slots, subjects, "strategy"),
        "fleet": row(slots, Subject::Fleet),
        "waiting": intake.waiting(),
        "decisions": decisions,
    });
    if let Some(state) = state.as_object_mut() {
        let summaries = slots.iter().filter_map(|slot| slot.summary(intake.tape_time()));
        state.extend(summaries.map(|(name, value)| (name.to_owned(), value)));
    }
    state
}

/// The counts that are not 0.
fn lines(lines: &Lines) -> Value {
    let outcomes = Outcome::all().map(|outcome| (outcome.name(), lines.total(outcome)));
    let oddities = Oddity::ALL.into_iter().map(|oddity| (oddity.name(), lines.oddity(oddity)));
    let counts = outcomes.chain(oddities).filter(|(_, count)| *count > 0);
    Value::Object(counts.map(|(name, count)| (name.to_owned(), count.into())).collect())
}

/// The rows of all subjects of a kind, by name.
fn rows(slots: &[Box<dyn Slot>], subjects: &Subjects, kind: &str) -> Value {
    let mut named: Vec<(&str, Subject)> =
        subjects.all().filter(|subject| subject.kind() == kind).map(|s| (subjects.name(s), s)).collect();
    named.sort_unstable();
    let object: Map<String, Value> =
        named.into_iter().map(|(name, subject)| (name.to_owned(), row(slots, subject).into())).collect();
    Value::Object(object)
}

fn row(slots: &[Box<dyn Slot>], subject: Subject) -> Row {
    let mut row = Row::new();
    for slot in slots {
        slot.row(subject, &mut row);
    }
    row
}
