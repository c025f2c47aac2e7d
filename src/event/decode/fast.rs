use super::{
    cursor::Cursor,
    number::{self, Number},
    shape::{Shape, Shapes},
};
use crate::event::fields::{self, COUNT, Field, Id, NAME_BYTES_MAX, Scope, Shape as ValueShape, TABLE};
use crate::event::line::Direction;
use crate::event::row::{Row, Span};
use crate::event::time::LastDay;
use crate::event::words::Padded;
use crate::event::{Key, Kind, Stamp, upcast};

/// What lines before were like. A guess only: what is said of a line depends on the line alone.
#[derive(Debug, Default)]
pub struct Experience {
    shapes: Shapes,
    day: LastDay,
    /// Where the line is held.
    padded: Padded,
}

/// A line as programs write it: one object with keys of printable ASCII without escapes, of a kind that producers write,
/// every field of ours right for the kind and as plain as the keys, the others of any value. `None` for anything else: then
/// the reference says what it is, and `row`, whose texts are spans of `text`, is of no use. `met` may hear of the line's
/// run before the rest of it is read.
#[inline(always)]
pub fn decode(text: &str, before: &mut Experience, row: &mut Row, met: &dyn Fn(Key)) -> Option<()> {
    let Experience { shapes, day, padded } = before;
    if !padded.hold(text.as_bytes()) {
        return None;
    }
    (row.kind, row.ts) = (None, Stamp::Absent);
    let mut scan = Scan { cursor: Cursor { text, padded, at: 0 }, row, empty: 0, null: 0, old: false, met };
    let fields = scan.object(shapes, day)?;
    let (empty, old) = (scan.empty, scan.old);
    let fields = if old { brought_on(fields)? } else { fields };
    row.give(fields & !empty);
    judge(row, fields)
}

/// Bytes of a UUID as text.
const UUID: usize = 36;

struct Scan<'a, 'l> {
    cursor: Cursor<'a, 'l>,
    row: &'l mut Row,
    /// Texts that say nothing, one bit each.
    empty: u64,
    /// Fields that are null, one bit each.
    null: u64,
    /// There are names or words of the first version.
    old: bool,
    met: &'l dyn Fn(Key),
}

/// Keys that are not recognised, to find one given twice. More than eight on one line are unusual.
#[derive(Default)]
struct Strangers<'a>([&'a str; 8], usize);

impl<'a> Strangers<'a> {
    fn meet(&mut self, key: &'a str) -> Option<()> {
        let Strangers(keys, met) = self;
        if keys.get(..*met)?.contains(&key) {
            return None;
        }
        *keys.get_mut(*met)? = key;
        *met += 1;
        Some(())
    }
}

impl<'a> Scan<'a, '_> {
    /// The whole text, which must be one object; the fields with a value other than null, one bit each.
    #[inline(always)]
    fn object(&mut self, shapes: &mut Shapes, day: &mut LastDay) -> Option<u64> {
        let alike = shapes.like(self.cursor.padded);
        let (mut way, mut followed) = (alike.last, 0);
        loop {
            let shape = alike.way(way);
            followed = self.follow(shape, followed, day)?;
            if followed == shape.steps.len() && followed > 0 && self.cursor.is_at_last(b'}') {
                let fields = shape.fields & !self.null;
                alike.last = way;
                return Some(fields);
            }
            let Some(other) = alike.other(way, followed, self.cursor) else { break };
            way = other;
        }
        if alike.way(way).strange {
            // Keys of others may come twice: from the begin.
            (self.row.kind, self.row.ts) = (None, Stamp::Absent);
            (self.empty, self.null, self.old) = (0, 0, false);
            (self.cursor.at, followed) = (0, 0);
        }
        self.onward(alike.branch(way, followed), day)
    }

    /// Reads the values of a line along a shape, from a step on; how many steps the line has then followed.
    #[inline(always)]
    fn follow(&mut self, shape: &Shape, mut followed: usize, day: &mut LastDay) -> Option<usize> {
        for step in shape.steps.get(followed..).unwrap_or_default() {
            let value = self.cursor.at + step.length;
            if !step.is_next(self.cursor) {
                break;
            }
            self.cursor.at = value;
            match step.id {
                Some(id) if self.cursor.peek() == b'n' => self.null(id)?,
                Some(id) => self.field(id, day)?,
                None => self.cursor.skip(1)?,
            }
            followed += 1;
        }
        if followed > 0 && shape.kind.is_some() {
            self.row.kind = shape.kind;
        }
        Some(followed)
    }

    /// The same, field by field behind those that a shape has, which learns the others.
    #[inline(never)]
    fn onward(&mut self, shape: &mut Shape, day: &mut LastDay) -> Option<u64> {
        let (mut nth, mut opened) = (shape.steps.len(), !shape.steps.is_empty());
        // Where the line began with its kind, which is a part of the next step.
        let mut kind = None;
        // Recognised keys so far, and those with a value other than null.
        let (mut seen, mut present) = (shape.fields, shape.fields & !self.null);
        let mut strangers = Strangers::default();
        loop {
            let begin = kind.take().unwrap_or(self.cursor.at);
            self.cursor.blank();
            match self.cursor.peek() {
                b',' if opened => {}
                b'{' if !opened => opened = true,
                b'}' if opened => break,
                _ => return None,
            }
            self.cursor.at += 1;
            self.cursor.blank();
            let key = self.cursor.string()?;
            self.cursor.blank();
            self.cursor.expect(b':')?;
            self.cursor.blank();
            let (id, value) = (fields::lookup(key.as_bytes()), self.cursor.at);
            let bit = id.map_or(0, |id| 1 << id as u64);
            let (null, twice) = (self.cursor.peek() == b'n', seen & bit != 0);
            seen |= bit;
            match id {
                Some(_) if twice => return None,
                Some(id) if null => self.null(id)?,
                Some(id) => self.field(id, day)?,
                None => strangers.meet(key).and_then(|()| self.cursor.skip(1))?,
            }
            present |= if null { 0 } else { bit };
            if nth == 0 && id == Some(Id::Kind) && shape.begin(self.row.kind) {
                kind = Some(begin);
                continue;
            }
            shape.learn(self.cursor.padded.between(begin, value), id, nth);
            nth += 1;
        }
        self.cursor.at += 1;
        self.cursor.blank();
        shape.whole = shape.steps.len() == nth;
        self.cursor.is_at_end().then_some(present)
    }

    /// Passes null, which is no value.
    fn null(&mut self, id: Id) -> Option<()> {
        self.null |= 1 << id as u64;
        self.cursor.word("null").then_some(())
    }

    /// Reads a value to where it belongs; none when it is not what the field asks for.
    #[inline(always)]
    fn field(&mut self, id: Id, day: &mut LastDay) -> Option<()> {
        let (cursor, row) = (&mut self.cursor, &mut *self.row);
        match id {
            Id::Kind => row.kind = Some(Kind::from_name(cursor.string()?)?),
            // What only one version has is not judged here where a line names its own.
            Id::V => return (1..=upcast::CURRENT).contains(&cursor.count()?).then_some(()),
            Id::Ts => row.ts = stamp(cursor, day)?,
            Id::RunId => {
                let (span, key) = run_id(cursor)?;
                row.put_run(span, key);
                (self.met)(key);
            }
            Id::EnsembleScoreFinal => {
                row.put_number(Id::ScoreFinal, cursor.float()?);
                self.old = true;
            }
            _ => match id.field().shape {
                ValueShape::Number => row.put_number(id, cursor.float()?),
                ValueShape::Amount => row.put_number(id, cursor.amount()?),
                ValueShape::Count => row.put_number(id, cursor.count()? as f64),
                ValueShape::CountOrBool => row.put_number(id, count_or_bool(cursor)? as f64),
                ValueShape::Name => row.put_text(id, name(cursor)?),
                ValueShape::Text => {
                    let span = cursor.string_span()?;
                    row.put_text(id, span);
                    self.empty |= u64::from(span.0 == span.1) << id as u64;
                }
                ValueShape::Direction => {
                    let (direction, old) = direction(cursor.string()?)?;
                    row.put_direction(direction);
                    self.old |= old;
                }
                ValueShape::Stamp | ValueShape::Version | ValueShape::Flag => return None,
            },
        }
        Some(())
    }
}

/// The fields of a line of the first version by their names of today; none where the line names a version, or has a field
/// under both names.
fn brought_on(fields: u64) -> Option<u64> {
    let (old, new) = (1 << Id::EnsembleScoreFinal as u64, 1 << Id::ScoreFinal as u64);
    if has(fields, &[Id::V]) || fields & (old | new) == old | new {
        return None;
    }
    Some(if fields & old == 0 { fields } else { fields & !old | new })
}

/// Finds the kind, and makes sure that the fields are those of the kind and that none is missing.
fn judge(row: &mut Row, fields: u64) -> Option<()> {
    let kind = match row.kind {
        Some(kind) => kind,
        None => told(fields)?,
    };
    let kept = match kind {
        Kind::Run => const { kept(Kind::Run) },
        Kind::Alpha => const { kept(Kind::Alpha) },
        Kind::Pnl => const { kept(Kind::Pnl) },
        Kind::Price => const { kept(Kind::Price) },
        _ => return None,
    };
    if fields & !kept != 0 {
        return None;
    }
    if kind == Kind::Pnl && !(has(fields, &[Id::RealizedPnlBps]) && has(fields, &[Id::Agent, Id::RunId])) {
        return None;
    }
    row.kind = Some(kind);
    Some(())
}

/// The kind by the first group of fields that is there.
fn told(fields: u64) -> Option<Kind> {
    const RUN: &[Id] = &[Id::LatencyMs, Id::TokensIn, Id::TokensOut, Id::CostUsd, Id::Errors, Id::Reward];
    if has(fields, &[Id::RealizedPnlBps]) {
        Some(Kind::Pnl)
    } else if has(fields, &[Id::ScoreFinal, Id::Direction]) {
        Some(Kind::Alpha)
    } else if has(fields, RUN) {
        Some(Kind::Run)
    } else {
        (has(fields, &[Id::Price]) && has(fields, &[Id::Symbol])).then_some(Kind::Price)
    }
}

fn has(fields: u64, any: &[Id]) -> bool {
    any.iter().any(|&id| fields & 1 << id as u64 != 0)
}

#[inline(always)]
fn name(cursor: &mut Cursor) -> Option<Span> {
    let (from, to) = cursor.string_span()?;
    (1..=NAME_BYTES_MAX as u32).contains(&(to - from)).then_some((from, to))
}

/// The name of a run, mostly a UUID: what holds its digits holds no quotation mark.
#[inline(always)]
fn run_id(cursor: &mut Cursor) -> Option<(Span, Key)> {
    let (from, to) = (cursor.at + 1, cursor.at + 1 + UUID);
    if cursor.peek() == b'"'
        && cursor.padded.byte(to) == b'"'
        && let Some(key) = Key::of_uuid(cursor.padded.between(from, to))
    {
        cursor.at = to + 1;
        return Some(((from as u32, to as u32), key));
    }
    let (from, to) = name(cursor)?;
    Some(((from, to), Key::of(cursor.text.get(from as usize..to as usize)?)))
}

#[inline(always)]
fn count_or_bool(cursor: &mut Cursor) -> Option<u64> {
    match cursor.peek() {
        b't' => cursor.word("true").then_some(1),
        b'f' => cursor.word("false").then_some(0),
        _ => cursor.count(),
    }
}

/// And whether the word is one of the first version.
fn direction(word: &str) -> Option<(Direction, bool)> {
    const OLD: [&str; 3] = ["BUY", "SELL", "HOLD"];
    let is = |name: &str| name.eq_ignore_ascii_case(word);
    let named = Direction::ALL.into_iter().zip(OLD).find(|(direction, old)| is(direction.name()) || is(old));
    named.map(|(direction, old)| (direction, is(old)))
}

#[inline(always)]
fn stamp(cursor: &mut Cursor, day: &mut LastDay) -> Option<Stamp> {
    if cursor.peek() == b'"' {
        let Some((stamp, end)) = Stamp::of_text_within(cursor.padded, cursor.at + 1, day) else {
            return cursor.string().map(Stamp::of_text);
        };
        cursor.at = end + 1;
        return Some(stamp);
    }
    let (number, end) = number::parse(cursor.padded, cursor.at)?;
    cursor.at = end;
    Some(match number {
        Number::Int(int) => Stamp::of_int(int),
        Number::Float(float) => Stamp::of_float(float),
    })
}

/// The fields that a line of a kind carries in every version, one bit each.
const fn kept(kind: Kind) -> u64 {
    let (mut fields, mut row) = (0, 0);
    while row < COUNT {
        if belongs(&TABLE[row], kind) {
            fields |= 1 << row;
        }
        row += 1;
    }
    fields
}

const fn belongs(field: &Field, kind: Kind) -> bool {
    if field.until != u64::MAX {
        return false;
    }
    let (Scope::Telling(kinds) | Scope::Only(kinds)) = field.scope else { return true };
    let mut i = 0;
    while i < kinds.len() {
        if kinds[i] as u8 == kind as u8 {
            return true;
        }
        i += 1;
    }
    false
}
