use std::{ops::Range, sync::Arc};

use serde_json::{Map, Value};

use super::{
    pile::{Pile, Taken},
    state::{Asked, Head, Part, State},
};
use crate::{
    fold::Slot,
    subject::{Subject, Subjects},
    view::Row,
};

/// Texts are made in pieces of about this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// All agents by name, then all strategies by name, as far as they are asked for: the order in which rows are shown.
pub type Roll = Arc<[(Subject, Arc<str>)]>;

/// The order of those asked for.
pub fn roll(asked: &Asked, names: &Subjects) -> Roll {
    let wanted = |subject: &Subject| *asked != Asked::Agents || matches!(subject, Subject::Agent(_));
    let mut roll: Vec<_> = names.all().filter(wanted).map(|subject| (subject, names.shared(subject))).collect();
    roll.sort_unstable_by(|(a, of_a), (b, of_b)| (a.kind(), of_a).cmp(&(b.kind(), of_b)));
    roll.into()
}

/// What one consumer says of everybody: what is said of the whole as it is, rows as packed text.
#[derive(Debug, Default)]
pub struct Sheaf {
    rows: Pile,
    whole: Part,
}

impl Sheaf {
    /// Subjects of which a consumer says nothing are left out.
    pub fn of(slot: &dyn Slot, asked: &Asked, roll: &Roll) -> Sheaf {
        let known = slot.subjects();
        let mut rows = Pile::default();
        for (number, (subject, _)) in roll.iter().enumerate().filter(|(_, (subject, _))| known.knows(*subject)) {
            let row = super::state::row(slot, *subject, asked);
            if !row.is_empty() {
                rows.put(number as u32, &row);
            }
        }
        Sheaf { rows, whole: Part::whole(slot, asked) }
    }
}

/// Changes the row of an agent before it is shown. False: it is left out.
pub type Change = Box<dyn FnMut(&mut Row) -> bool + Send>;

/// The state of the fold with the rows of everybody, of which only the one that is just written is ever unpacked.
#[derive(Debug, Default)]
pub struct Everybody {
    /// The state without the rows.
    pub whole: State,
    roll: Roll,
    rows: Vec<Taken>,
}

impl Everybody {
    /// Puts together what the consumers say, in list order. Of all subjects there is a row, be it empty.
    pub fn new(head: Head, sheaves: Vec<Sheaf>, roll: &Roll) -> Everybody {
        let (rows, parts) = sheaves.into_iter().map(|sheaf| (sheaf.rows.taken(), sheaf.whole)).unzip();
        let whole = State::new(head, parts, &Asked::These(Vec::new()), &Subjects::default());
        Everybody { whole, roll: roll.clone(), rows }
    }

    /// The rows of agents, by name.
    pub fn agents(self) -> impl Iterator<Item = (Arc<str>, Row)> {
        let Everybody { roll, rows, .. } = self;
        let mut rows = Rows::new(roll, rows);
        let mut text = Vec::new();
        std::iter::from_fn(move || {
            let name = rows.next(is_agent, &mut text)?;
            Some((name, parsed(&text)))
        })
    }

    /// As one JSON object and a newline, in pieces: the same fields as [`State::json`], or those of them that are named.
    pub fn text(self, only: Option<&[&str]>, change: Option<Change>) -> Text {
        let Everybody { whole, roll, rows } = self;
        let mut fields = whole.json();
        fields.retain(|name, _| only.is_none_or(|only| only.contains(&name.as_str())));
        Text {
            fields: fields.into_iter(),
            rows: Rows::new(roll, rows),
            change,
            at: At::Start,
            first: true,
            row: Vec::new(),
        }
    }

    /// The same as a value, for a few.
    pub fn json(self) -> Map<String, Value> {
        let text: Vec<u8> = self.text(None, None).flatten().collect();
        parsed(&text)
    }
}

fn is_agent(subject: Subject) -> bool {
    matches!(subject, Subject::Agent(_))
}

/// Texts of our own.
fn parsed(text: &[u8]) -> Row {
    serde_json::from_slice(text).unwrap_or_default()
}

/// The rows that are left, in their order.
struct Rows {
    roll: Roll,
    next: usize,
    of: Vec<Taken>,
}

impl Rows {
    fn new(roll: Roll, of: Vec<Taken>) -> Rows {
        Rows { roll, next: 0, of }
    }

    /// The next one, if it is wanted: its name, and what all consumers say as one JSON object. No two of them use the same
    /// field.
    fn next(&mut self, wanted: impl Fn(Subject) -> bool, text: &mut Vec<u8>) -> Option<Arc<str>> {
        let number = self.next;
        let (_, name) = self.roll.get(number).filter(|(subject, _)| wanted(*subject))?;
        self.next += 1;
        text.clear();
        text.push(b'{');
        for said in self.of.iter_mut().filter_map(|taken| taken.next(number as u32)) {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(inner(said));
        }
        text.push(b'}');
        Some(name.clone())
    }
}

/// The fields of an object, without what is around them.
fn inner(object: &[u8]) -> &[u8] {
    let within: Range<usize> = 1..object.len().saturating_sub(1);
    object.get(within).unwrap_or_default()
}

/// Where the text stands.
enum At {
    Start,
    Fields,
    Agents,
    Strategies,
    End,
}

/// The text of everybody's state, made as it is read.
pub struct Text {
    fields: serde_json::map::IntoIter,
    rows: Rows,
    change: Option<Change>,
    at: At,
    /// Nothing stands before, in the object that is being written.
    first: bool,
    row: Vec<u8>,
}

impl Iterator for Text {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        while piece.len() < PIECE_BYTES && self.write(&mut piece) {}
        (!piece.is_empty()).then_some(piece)
    }
}

impl Text {
    /// Writes what comes next. False at the end.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        match self.at {
            At::Start => {
                out.push(b'{');
                self.at = At::Fields;
            }
            At::Fields => self.field(out),
            At::Agents => self.subject(out, true),
            At::Strategies => self.subject(out, false),
            At::End => return false,
        }
        true
    }

    fn field(&mut self, out: &mut Vec<u8>) {
        let Some((name, value)) = self.fields.next() else {
            out.extend_from_slice(b"}\n");
            self.at = At::End;
            return;
        };
        self.name(out, &name);
        self.at = match name.as_str() {
            "agents" => At::Agents,
            "strategies" => At::Strategies,
            _ => return out.extend_from_slice(value.to_string().as_bytes()),
        };
        out.push(b'{');
        self.first = true;
    }

    fn subject(&mut self, out: &mut Vec<u8>, agents: bool) {
        let Some(name) = self.rows.next(|subject| is_agent(subject) == agents, &mut self.row) else {
            out.push(b'}');
            (self.at, self.first) = (At::Fields, false);
            return;
        };
        let change = self.change.as_mut().filter(|_| agents);
        let changed = change.map(|change| {
            let mut row = parsed(&self.row);
            change(&mut row).then(|| Value::Object(row).to_string())
        });
        match changed {
            None => {
                self.name(out, &name);
                out.extend_from_slice(&self.row);
            }
            Some(Some(text)) => {
                self.name(out, &name);
                out.extend_from_slice(text.as_bytes());
            }
            Some(None) => {}
        }
    }

    fn name(&mut self, out: &mut Vec<u8>, name: &str) {
        if !std::mem::take(&mut self.first) {
            out.push(b',');
        }
        out.extend_from_slice(Value::from(name).to_string().as_bytes());
        out.push(b':');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AGENTS: u32 = 9000;

    /// Of every third agent both consumers say something, of the others one or none; of strategies the second alone.
    fn everybody() -> Everybody {
        let names =
            |kind: &str, count: u32| (0..count).map(|id| Arc::from(format!("{kind}-{:04}", count - id))).collect();
        let subjects = Subjects { agents: names("a", AGENTS), strategies: names("s", 3) };
        let roll = roll(&Asked::All(None), &subjects);
        let mut sheaves = [Sheaf::default(), Sheaf::default()];
        for (number, (subject, _)) in roll.iter().enumerate() {
            let (number, id) = (number as u32, subject.agent().unwrap_or(3));
            if id % 3 == 0 && is_agent(*subject) {
                sheaves[0].rows.put(number, &json!({ "id": id, "text": "\"}{" }));
            }
            if id % 3 < 2 {
                sheaves[1].rows.put(number, &json!({ "odd": id % 2 == 1 }));
            }
        }
        sheaves[1].whole.rows.push((Subject::Fleet, Row::from_iter([("paused".to_owned(), false.into())])));
        Everybody::new(Head { position: 7, ..Head::default() }, sheaves.into(), &roll)
    }

    fn text(only: Option<&[&str]>, change: Option<Change>) -> (usize, Value) {
        let pieces: Vec<Vec<u8>> = everybody().text(only, change).collect();
        assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
        (pieces.len(), serde_json::from_slice(&pieces.concat()).expect("JSON"))
    }

    #[test]
    fn rows_of_everybody_are_put_together_by_name_in_pieces() {
        let (pieces, all) = text(None, None);
        assert!(pieces > 2, "{pieces} pieces");
        assert_eq!((&all["position"], &all["fleet"]), (&json!(7), &json!({ "paused": false })));
        assert_eq!(
            all["strategies"],
            json!({ "s-0001": { "odd": true }, "s-0002": { "odd": true }, "s-0003": { "odd": true } })
        );
        let agents = all["agents"].as_object().expect("agents");
        assert_eq!(agents.len() as u32, AGENTS);
        assert!(agents.keys().is_sorted());
        let of = |id: u32| &agents[&format!("a-{:04}", AGENTS - id)];
        assert_eq!(*of(9), json!({ "id": 9, "text": "\"}{", "odd": true }));
        assert_eq!((of(10), of(11)), (&json!({ "odd": false }), &json!({})));
        assert_eq!(everybody().json(), *all.as_object().expect("an object"));
        let rows: Map<String, Value> = everybody().agents().map(|(name, row)| (name.to_string(), row.into())).collect();
        assert_eq!(rows, *agents);
    }

    #[test]
    fn a_part_is_shown_and_rows_are_changed_on_the_way() {
        let change: Change = Box::new(|row| {
            row.insert("seen".to_owned(), true.into());
            row.get("id").is_some_and(|id| *id == 9 || *id == 12)
        });
        let (_, shown) = text(Some(&["position", "agents"]), Some(change));
        let row = |id: u32, odd: bool| json!({ "id": id, "text": "\"}{", "odd": odd, "seen": true });
        assert_eq!(shown, json!({ "position": 7, "agents": { "a-8988": row(12, false), "a-8991": row(9, true) } }));
        let (_, none) = text(Some(&["agents"]), Some(Box::new(|_| false)));
        assert_eq!(none, json!({ "agents": {} }));
    }
}
