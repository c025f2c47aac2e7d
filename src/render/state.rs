use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::{
    event::{Nanos, time},
    fold::{
        Engine, Intake, Lines, Slot,
        lines::{Oddity, Outcome},
    },
    subject::{Subject, Subjects},
    view::Row,
};

/// What is said of the fold as a whole.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub position: u64,
    pub tape_time: Option<Nanos>,
    /// Hash of the policy in force.
    pub policy: String,
    pub lines: Lines,
    /// PnL lines that wait for their run.
    pub waiting: usize,
    /// Known to a replay only.
    pub state_hash: Option<String>,
    /// Decisions made from position 0 on; known to a replay only.
    pub decisions: Option<u64>,
}

impl Head {
    pub fn of(intake: &Intake) -> Head {
        Head {
            position: intake.position(),
            tape_time: intake.tape_time(),
            policy: intake.policy().hash.clone(),
            lines: intake.lines().clone(),
            waiting: intake.waiting(),
            state_hash: None,
            decisions: None,
        }
    }
}

/// Whom rows are asked of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Every subject, and what is said of the whole at a time.
    All(Option<Nanos>),
    /// The same, each with so many of its newest entries.
    Lately(Option<Nanos>, usize),
    /// Every agent, and the fleet.
    Agents,
    /// These, as far as they are known.
    These(Vec<Subject>),
}

/// What a fold shows of those who are asked about.
pub fn shown(engine: &Engine, intake: &Intake, head: Head, asked: &Asked) -> Value {
    let parts = engine.slots().iter().map(|slot| Part::of(slot.as_ref(), asked)).collect();
    State::new(head, parts, asked, intake.subjects()).json().into()
}

/// What one consumer says of those asked for.
#[derive(Debug, Default)]
pub struct Part {
    pub rows: Vec<(Subject, Row)>,
    pub summary: Option<(&'static str, Value)>,
}

impl Part {
    /// Subjects of which a consumer says nothing are left out.
    pub fn of(slot: &dyn Slot, asked: &Asked) -> Part {
        let known = slot.subjects();
        let agent = |subject: &Subject| matches!(subject, Subject::Agent(_));
        let subjects: Vec<Subject> = match asked {
            Asked::All(_) | Asked::Lately(..) => known.all().chain([Subject::Fleet]).collect(),
            Asked::Agents => known.all().filter(agent).chain([Subject::Fleet]).collect(),
            Asked::These(subjects) => subjects.iter().copied().filter(|subject| known.knows(*subject)).collect(),
        };
        Part::with(slot, asked, subjects)
    }

    /// What is said of the fleet, and of the whole.
    pub fn whole(slot: &dyn Slot, asked: &Asked) -> Part {
        Part::with(slot, asked, vec![Subject::Fleet])
    }

    fn with(slot: &dyn Slot, asked: &Asked, subjects: Vec<Subject>) -> Part {
        let summary = match asked {
            Asked::All(now) | Asked::Lately(now, _) => slot.summary(*now),
            _ => None,
        };
        let rows = subjects.into_iter().map(|subject| (subject, row(slot, subject, asked)));
        Part { rows: rows.filter(|(_, row)| !row.is_empty()).collect(), summary }
    }
}

/// What a consumer says of one subject.
pub(super) fn row(slot: &dyn Slot, subject: Subject, asked: &Asked) -> Row {
    let mut row = Row::new();
    slot.row(subject, &mut row);
    // It takes all members to say it: not for a question about one of them.
    if subject == Subject::Fleet && matches!(asked, Asked::All(_) | Asked::Lately(..)) {
        slot.fleet(&mut row);
    }
    if let Asked::Lately(_, count) = asked {
        slot.recent(subject, *count, &mut row);
    }
    row
}

/// The state of the fold, or a part of it, with names in place of ids: what `replay` prints and the API serves.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub head: Head,
    /// Rows by name, as JSON objects.
    pub agents: Map<String, Value>,
    pub strategies: Map<String, Value>,
    pub fleet: Row,
    /// What consumers say of the whole, each under a name of its own.
    pub summaries: Map<String, Value>,
}

impl State {
    /// Puts together what the consumers say, in list order. Of all subjects that were asked for there is a row, be it
    /// empty.
    pub fn new(head: Head, parts: Vec<Part>, asked: &Asked, names: &Subjects) -> State {
        let mut rows: HashMap<Subject, Row> = HashMap::new();
        let mut summaries = Map::new();
        for part in parts {
            for (subject, row) in part.rows {
                rows.entry(subject).or_default().extend(row);
            }
            summaries.extend(part.summary.map(|(name, value)| (name.to_owned(), value)));
        }
        let mut named = |wanted: fn(&Subject) -> bool| -> Map<String, Value> {
            let subjects: Vec<Subject> = match asked {
                Asked::These(subjects) => subjects.clone(),
                _ => names.all().collect(),
            };
            let mut list: Vec<(&str, Subject)> =
                subjects.into_iter().filter(wanted).map(|subject| (names.name(subject), subject)).collect();
            list.sort_unstable();
            let row =
                |(name, subject): (&str, Subject)| (name.to_owned(), rows.remove(&subject).unwrap_or_default().into());
            list.into_iter().map(row).collect()
        };
        let agents = named(|subject| matches!(subject, Subject::Agent(_)));
        let strategies = match asked {
            Asked::Agents => Map::new(),
            _ => named(|subject| matches!(subject, Subject::Strategy(_))),
        };
        State { head, agents, strategies, fleet: rows.remove(&Subject::Fleet).unwrap_or_default(), summaries }
    }

    /// As one JSON object.
    pub fn json(self) -> Map<String, Value> {
        let Head { position, tape_time, policy, lines, waiting, state_hash, decisions } = self.head;
        let fields: [(&str, Option<Value>); 10] = [
            ("position", Some(position.into())),
            ("tape_time", Some(tape_time.map(time::unix_seconds).into())),
            ("policy", Some(policy.into())),
            ("state_hash", state_hash.map(Value::from)),
            ("lines", Some(counts(&lines))),
            ("agents", Some(self.agents.into())),
            ("strategies", Some(self.strategies.into())),
            ("fleet", Some(self.fleet.into())),
            ("waiting", Some(waiting.into())),
            ("decisions", decisions.map(Value::from)),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let mut state: Map<String, Value> = fields.collect();
        state.extend(self.summaries);
        state
    }
}

/// The counts that are not 0.
pub fn counts(lines: &Lines) -> Value {
    let outcomes = Outcome::all().map(|outcome| (outcome.name(), lines.total(outcome)));
    let oddities = Oddity::ALL.into_iter().map(|oddity| (oddity.name(), lines.oddity(oddity)));
    let counts = outcomes.chain(oddities).filter(|(_, count)| *count > 0);
    Value::Object(counts.map(|(name, count)| (name.to_owned(), count.into())).collect())
}
