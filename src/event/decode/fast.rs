use std::borrow::Cow;

use super::{
    cursor::Cursor,
    number::{self, Number},
    shape::{Shape, Shapes},
};
use crate::event::fields::{self, COUNT, Field, Id, NAME_BYTES_MAX, Scope, TABLE};
use crate::event::line::{Direction, Line, Name, RunId};
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

/// A line of the shape that programs write: one flat object of printable ASCII without escapes, of a kind that producers
/// write, every field of it recognised and right for the kind, or none of ours. `None` for anything else: then the
/// reference says what it is, and `line`, which must be empty before, is of no use.
pub fn decode<'a>(
    bytes: &'a [u8],
    line_bytes_max: usize,
    before: &mut Experience,
    line: &mut Line<'a>,
    met: &dyn Fn(Key),
) -> Option<()> {
    if bytes.len() > line_bytes_max {
        return None;
    }
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let text = simdutf8::basic::from_utf8(bytes).ok()?;
    let Experience { shapes, day, padded } = before;
    if !padded.hold(bytes) {
        return None;
    }
    let mut scan = Scan { cursor: Cursor { text, padded, at: 0 }, line, met };
    let fields = scan.object(shapes, day)?;
    judge(scan.line, fields)
}

/// Bytes of a UUID as text.
const UUID: usize = 36;

struct Scan<'a, 'l> {
    cursor: Cursor<'a, 'l>,
    line: &'l mut Line<'a>,
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
        let shape = shapes.like(self.cursor.padded);
        let mut followed = 0;
        for step in &shape.steps {
            let value = self.cursor.at + step.length;
            if !step.is_next(self.cursor) || self.cursor.padded.byte(value) == b'n' {
                break;
            }
            self.cursor.at = value;
            match step.id {
                Some(id) => self.field(id, day)?,
                None => self.cursor.skip()?,
            }
            followed += 1;
        }
        if followed > 0 && shape.kind.is_some() {
            self.line.kind = shape.kind;
        }
        if followed == shape.steps.len() && followed > 0 && self.cursor.is_at_last(b'}') {
            return Some(shape.fields);
        }
        if shape.strange {
            // Keys of others may come twice: from the begin.
            (*self.line, self.cursor.at, followed) = (Line::default(), 0, 0);
        }
        shape.branch(followed);
        self.onward(shape, day)
    }

    /// The same, field by field behind those that a shape has, which learns the others.
    #[inline(never)]
    fn onward(&mut self, shape: &mut Shape, day: &mut LastDay) -> Option<u64> {
        let (mut nth, mut opened) = (shape.steps.len(), !shape.steps.is_empty());
        // Where the line began with its kind, which is a part of the next step.
        let mut kind = None;
        // Recognised keys so far, and those with a value other than null.
        let (mut seen, mut present) = (shape.fields, shape.fields);
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
                Some(_) if null => self.cursor.word("null").then_some(())?,
                Some(id) => self.field(id, day)?,
                None => strangers.meet(key).and_then(|()| self.cursor.skip())?,
            }
            present |= if null { 0 } else { bit };
            if nth == 0 && id == Some(Id::Kind) && shape.begin(self.line.kind) {
                kind = Some(begin);
                continue;
            }
            if !null {
                shape.learn(self.cursor.padded.between(begin, value), id, nth);
            }
            nth += 1;
        }
        self.cursor.at += 1;
        self.cursor.blank();
        self.cursor.is_at_end().then_some(present)
    }

    /// Reads a value to where it belongs; none when it is not what the field asks for.
    #[inline(always)]
    fn field(&mut self, id: Id, day: &mut LastDay) -> Option<()> {
        let (cursor, line) = (&mut self.cursor, &mut *self.line);
        match id {
            Id::Kind => line.kind = Some(Kind::from_name(cursor.string()?)?),
            // Versions differ in fields and words that one of them lacks; a line that has these is not judged here.
            Id::V => return (1..=upcast::CURRENT).contains(&cursor.count()?).then_some(()),
            Id::Ts => line.ts = stamp(cursor, day)?,
            Id::RunId => {
                let run = run_id(cursor)?;
                (self.met)(run.key());
                line.run_id = Some(run);
            }
            Id::Agent => line.agent = name(cursor)?,
            Id::Strategy => line.strategy = name(cursor)?,
            Id::EventId => line.event_id = name(cursor)?,
            Id::Symbol => line.symbol = name(cursor)?,
            Id::LatencyMs => line.latency_ms = Some(cursor.amount()?),
            Id::TokensIn => line.tokens_in = Some(cursor.count()?),
            Id::TokensOut => line.tokens_out = Some(cursor.count()?),
            Id::CostUsd => line.cost_usd = Some(cursor.amount()?),
            Id::Errors => line.errors = Some(count_or_bool(cursor)?),
            Id::Reward => line.reward = Some(cursor.float()?),
            Id::RealizedPnlBps => line.realized_pnl_bps = Some(cursor.float()?),
            Id::ScoreFinal => line.score_final = Some(cursor.float()?),
            Id::Direction => line.direction = Some(direction(cursor.string()?)?),
            Id::Price => line.price = Some(cursor.float()?),
            Id::CachedTokens => line.cached_tokens = Some(cursor.count()?),
            Id::ErrorType => line.error_type = words(cursor)?,
            Id::Model => line.model = words(cursor)?,
            Id::SessionId => line.session_id = words(cursor)?,
            Id::Phase => line.phase = words(cursor)?,
            Id::Outcome => line.outcome = words(cursor)?,
            Id::CapitalUsd => line.capital_usd = Some(cursor.float()?),
            Id::MaxLossUsd => line.max_loss_usd = Some(cursor.float()?),
            Id::FillProb => line.fill_prob = Some(cursor.float()?),
            Id::Regime => line.regime = words(cursor)?,
            Id::ExpectedEdgeBps => line.expected_edge_bps = Some(cursor.float()?),
            Id::NotionalUsd => line.notional_usd = Some(cursor.float()?),
            Id::EntryPrice => line.entry_price = Some(cursor.float()?),
            Id::ExitPrice => line.exit_price = Some(cursor.float()?),
            _ => return None,
        }
        Some(())
    }
}

/// Finds the kind, and makes sure that the fields are those of the kind and that none is missing.
fn judge(line: &mut Line, fields: u64) -> Option<()> {
    let kind = match line.kind {
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
    line.kind = Some(kind);
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
fn name<'a>(cursor: &mut Cursor<'a, '_>) -> Option<Name<'a>> {
    let text = cursor.string()?;
    (1..=NAME_BYTES_MAX).contains(&text.len()).then_some(Some(Cow::Borrowed(text)))
}

/// The name of a run, mostly a UUID: what holds its digits holds no quotation mark.
#[inline(always)]
fn run_id<'a>(cursor: &mut Cursor<'a, '_>) -> Option<RunId<'a>> {
    let (from, to) = (cursor.at + 1, cursor.at + 1 + UUID);
    if cursor.peek() == b'"'
        && cursor.padded.byte(to) == b'"'
        && let Some(name) = cursor.text.get(from..to)
        && let Some(key) = Key::of_uuid(name.as_bytes())
    {
        cursor.at = to + 1;
        return Some(RunId::of_key(name, key));
    }
    name(cursor)?.map(RunId::of)
}

#[inline(always)]
fn words<'a>(cursor: &mut Cursor<'a, '_>) -> Option<Name<'a>> {
    cursor.string().map(|text| Some(Cow::Borrowed(text)).filter(|text| !text.is_empty()))
}

#[inline(always)]
fn count_or_bool(cursor: &mut Cursor) -> Option<u64> {
    match cursor.peek() {
        b't' => cursor.word("true").then_some(1),
        b'f' => cursor.word("false").then_some(0),
        _ => cursor.count(),
    }
}

fn direction(word: &str) -> Option<Direction> {
    match word {
        "LONG" => Some(Direction::Long),
        "SHORT" => Some(Direction::Short),
        "FLAT" => Some(Direction::Flat),
        _ => None,
    }
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
