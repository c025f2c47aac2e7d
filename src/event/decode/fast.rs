use std::borrow::Cow;

use super::number::{self, Number};
use crate::event::fields::{self, COUNT, Field, Id, NAME_BYTES_MAX, NUMBER_MAX, Scope, Shape, TABLE};
use crate::event::line::{Direction, Line, Name};
use crate::event::{Kind, Stamp, upcast};

/// A line of the shape that programs write: one flat object of printable ASCII without escapes, of a kind that producers
/// write, every field of it recognised and right for the kind, or none of ours. `None` for anything else: then the
/// reference says what it is, and `line`, which must be empty before, is of no use.
pub fn decode<'a>(bytes: &'a [u8], line_bytes_max: usize, habits: &mut Habits, line: &mut Line<'a>) -> Option<()> {
    if bytes.len() > line_bytes_max {
        return None;
    }
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if !is_plain(bytes) {
        return None;
    }
    let text = simdutf8::basic::from_utf8(bytes).ok()?;
    let mut scan = Scan { text, at: 0, seen: 0, present: 0, strangers: [""; STRANGERS_MAX], met: 0, habits, line };
    scan.object()?;
    scan.judge()
}

/// Whether all bytes print in ASCII and none is an escape: then a string ends at the next quotation mark and is its text.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, &byte| plain & (b' '..0x7f).contains(&byte) & (byte != b'\\'))
}

/// More keys of others than this on one line are unusual.
const STRANGERS_MAX: usize = 8;

struct Scan<'a, 'l> {
    text: &'a str,
    at: usize,
    /// Recognised keys on the line, and those with a value other than null, one bit each.
    seen: u64,
    present: u64,
    /// Keys that are not recognised, to find one given twice.
    strangers: [&'a str; STRANGERS_MAX],
    met: usize,
    habits: &'l mut Habits,
    line: &'l mut Line<'a>,
}

/// Which key came after which on the lines of a kind so far: a producer writes its keys in one order. A guess only: every
/// byte of a key is looked at.
#[derive(Debug)]
pub struct Habits([[Option<Id>; COUNT + 1]; Kind::ALL.len() + 1]);

impl Default for Habits {
    fn default() -> Self {
        Habits([[None; COUNT + 1]; Kind::ALL.len() + 1])
    }
}

impl Habits {
    /// What follows a key, none at the begin, on a line of a kind, where that is known.
    fn after(&mut self, kind: Option<Kind>, key: Option<Id>) -> &mut Option<Id> {
        let row = kind.map_or(Kind::ALL.len(), |kind| kind as usize);
        let place = key.map_or(COUNT, |key| key as usize);
        &mut self.0[row.min(Kind::ALL.len())][place.min(COUNT)]
    }
}

/// A value that is neither list nor object.
#[derive(Clone, Copy)]
enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'a str),
}

impl<'a> Scan<'a, '_> {
    /// The whole text, which must be one object.
    fn object(&mut self) -> Option<()> {
        self.blank();
        self.expect(b'{')?;
        self.blank();
        let mut before = None;
        loop {
            let id = self.key(before)?;
            self.blank();
            let value = self.scalar()?;
            if let Some(id) = id {
                self.field(id, value)?;
                before = Some(id);
            }
            self.blank();
            match self.peek() {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
            self.blank();
        }
        self.at += 1;
        self.blank();
        (self.at == self.text.len()).then_some(())
    }

    /// A key and its colon; no id for a key of others.
    fn key(&mut self, before: Option<Id>) -> Option<Option<Id>> {
        let usual = self.habits.after(self.line.kind, before);
        if let Some(id) = *usual {
            let spelled = &SPELLED[id as usize];
            let spelled = spelled.get(..id.field().name.len() + MARKS)?;
            let next = self.text.as_bytes().get(self.at..self.at + spelled.len());
            if next.is_some_and(|next| fields::same(next, spelled)) {
                self.at += spelled.len();
                return Some(Some(id));
            }
        }
        self.expect(b'"')?;
        let key = self.string()?;
        self.blank();
        self.expect(b':')?;
        let id = fields::lookup(key.as_bytes());
        match id {
            Some(id) => *self.habits.after(self.line.kind, before) = Some(id),
            None => self.stranger(key)?,
        }
        Some(id)
    }

    /// The next byte; 0, which no plain text holds, at the end.
    fn peek(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    fn blank(&mut self) {
        while self.peek() == b' ' {
            self.at += 1;
        }
    }

    /// The string whose quotation mark was just passed.
    fn string(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let length = quotation_mark(rest.as_bytes())?;
        self.at += length + 1;
        rest.get(..length)
    }

    fn scalar(&mut self) -> Option<Scalar<'a>> {
        let (word, value) = match self.peek() {
            b'"' => {
                self.at += 1;
                return self.string().map(Scalar::Text);
            }
            b'-' | b'0'..=b'9' => {
                let (number, length) = number::parse(self.text.get(self.at..)?)?;
                self.at += length;
                return Some(Scalar::Number(number));
            }
            b't' => ("true", Scalar::Bool(true)),
            b'f' => ("false", Scalar::Bool(false)),
            b'n' => ("null", Scalar::Null),
            _ => return None,
        };
        self.text.get(self.at..)?.starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    fn stranger(&mut self, key: &'a str) -> Option<()> {
        if self.strangers.get(..self.met)?.contains(&key) {
            return None;
        }
        *self.strangers.get_mut(self.met)? = key;
        self.met += 1;
        Some(())
    }

    /// Puts a value where it belongs; none when it is not what the field asks for, or the second of its key.
    fn field(&mut self, id: Id, value: Scalar<'a>) -> Option<()> {
        let bit = 1 << id as u64;
        if self.seen & bit != 0 {
            return None;
        }
        self.seen |= bit;
        if matches!(value, Scalar::Null) {
            return Some(());
        }
        self.present |= bit;
        let line = &mut *self.line;
        match id {
            Id::Kind => line.kind = Some(Kind::from_name(value.text()?)?),
            // Versions differ in fields and words that one of them lacks; a line that has these is not judged here.
            Id::V => return (1..=upcast::CURRENT).contains(&value.count(id)?).then_some(()),
            Id::Ts => line.ts = value.stamp()?,
            Id::RunId => line.run_id = value.name()?,
            Id::Agent => line.agent = value.name()?,
            Id::Strategy => line.strategy = value.name()?,
            Id::EventId => line.event_id = value.name()?,
            Id::Symbol => line.symbol = value.name()?,
            Id::LatencyMs => line.latency_ms = Some(value.number(id)?),
            Id::TokensIn => line.tokens_in = Some(value.count(id)?),
            Id::TokensOut => line.tokens_out = Some(value.count(id)?),
            Id::CostUsd => line.cost_usd = Some(value.number(id)?),
            Id::Errors => line.errors = Some(value.count(id)?),
            Id::Reward => line.reward = Some(value.number(id)?),
            Id::RealizedPnlBps => line.realized_pnl_bps = Some(value.number(id)?),
            Id::ScoreFinal => line.score_final = Some(value.number(id)?),
            Id::Direction => line.direction = Some(value.direction()?),
            Id::Price => line.price = Some(value.number(id)?),
            Id::CachedTokens => line.cached_tokens = Some(value.count(id)?),
            Id::ErrorType => line.error_type = value.words()?,
            Id::Model => line.model = value.words()?,
            Id::SessionId => line.session_id = value.words()?,
            Id::Phase => line.phase = value.words()?,
            Id::Outcome => line.outcome = value.words()?,
            Id::CapitalUsd => line.capital_usd = Some(value.number(id)?),
            Id::MaxLossUsd => line.max_loss_usd = Some(value.number(id)?),
            Id::FillProb => line.fill_prob = Some(value.number(id)?),
            Id::Regime => line.regime = value.words()?,
            Id::ExpectedEdgeBps => line.expected_edge_bps = Some(value.number(id)?),
            Id::NotionalUsd => line.notional_usd = Some(value.number(id)?),
            Id::EntryPrice => line.entry_price = Some(value.number(id)?),
            Id::ExitPrice => line.exit_price = Some(value.number(id)?),
            _ => return None,
        }
        Some(())
    }

    /// Finds the kind, and makes sure that the fields are those of the kind and that none is missing.
    fn judge(&mut self) -> Option<()> {
        let kind = match self.line.kind {
            Some(kind) => kind,
            None => self.told()?,
        };
        let kept = match kind {
            Kind::Run => const { kept(Kind::Run) },
            Kind::Alpha => const { kept(Kind::Alpha) },
            Kind::Pnl => const { kept(Kind::Pnl) },
            Kind::Price => const { kept(Kind::Price) },
            _ => return None,
        };
        if self.present & !kept != 0 {
            return None;
        }
        if kind == Kind::Pnl && !(self.has(&[Id::RealizedPnlBps]) && self.has(&[Id::Agent, Id::RunId])) {
            return None;
        }
        self.line.kind = Some(kind);
        Some(())
    }

    /// The kind by the first group of fields that is there.
    fn told(&self) -> Option<Kind> {
        const RUN: &[Id] = &[Id::LatencyMs, Id::TokensIn, Id::TokensOut, Id::CostUsd, Id::Errors, Id::Reward];
        if self.has(&[Id::RealizedPnlBps]) {
            Some(Kind::Pnl)
        } else if self.has(&[Id::ScoreFinal, Id::Direction]) {
            Some(Kind::Alpha)
        } else if self.has(RUN) {
            Some(Kind::Run)
        } else {
            (self.has(&[Id::Price]) && self.has(&[Id::Symbol])).then_some(Kind::Price)
        }
    }

    fn has(&self, any: &[Id]) -> bool {
        any.iter().any(|&id| self.present & 1 << id as u64 != 0)
    }
}

impl<'a> Scalar<'a> {
    fn text(self) -> Option<&'a str> {
        if let Scalar::Text(text) = self { Some(text) } else { None }
    }

    fn name(self) -> Option<Name<'a>> {
        let text = self.text()?;
        (1..=NAME_BYTES_MAX).contains(&text.len()).then_some(Some(Cow::Borrowed(text)))
    }

    fn words(self) -> Option<Name<'a>> {
        self.text().map(|text| Some(Cow::Borrowed(text)).filter(|text| !text.is_empty()))
    }

    /// A number in the range of the field's shape. Minus zero is zero.
    fn number(self, id: Id) -> Option<f64> {
        let number = match self {
            Scalar::Number(Number::Int(int)) if int.unsigned_abs() <= NUMBER_MAX => int as f64,
            Scalar::Number(Number::Float(float)) if float.abs() <= NUMBER_MAX as f64 => float + 0.0,
            _ => return None,
        };
        (number >= 0.0 || id.field().shape == Shape::Number).then_some(number)
    }

    fn count(self, id: Id) -> Option<u64> {
        match self {
            Scalar::Bool(flag) => (id.field().shape == Shape::CountOrBool).then_some(u64::from(flag)),
            other => other.number(id).filter(|number| number.fract() == 0.0).map(|number| number as u64),
        }
    }

    fn direction(self) -> Option<Direction> {
        match self.text()? {
            "LONG" => Some(Direction::Long),
            "SHORT" => Some(Direction::Short),
            "FLAT" => Some(Direction::Flat),
            _ => None,
        }
    }

    fn stamp(self) -> Option<Stamp> {
        match self {
            Scalar::Text(text) => Some(Stamp::of_text(text)),
            Scalar::Number(Number::Int(int)) => Some(Stamp::of_int(int)),
            Scalar::Number(Number::Float(float)) => Some(Stamp::of_float(float)),
            Scalar::Bool(_) | Scalar::Null => None,
        }
    }
}

/// Marks around a key: two quotation marks and a colon.
const MARKS: usize = 3;

/// The longest key with its marks, and room.
const SPELLED_MAX: usize = 32;

/// Every key as a line has it, with its marks.
const SPELLED: [[u8; SPELLED_MAX]; COUNT] = {
    let (mut all, mut row) = ([[0; SPELLED_MAX]; COUNT], 0);
    while row < COUNT {
        let name = TABLE[row].name.as_bytes();
        all[row][0] = b'"';
        let mut i = 0;
        while i < name.len() {
            all[row][i + 1] = name[i];
            i += 1;
        }
        all[row][i + 1] = b'"';
        all[row][i + 2] = b':';
        row += 1;
    }
    all
};

/// Where the next quotation mark is, eight bytes at a time.
fn quotation_mark(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let marks = u64::from_le_bytes(*eight) ^ (ONES * b'"' as u64);
        // The lowest byte of zero is found exactly: borrows come from below.
        let zeros = marks.wrapping_sub(ONES) & !marks & (ONES << 7);
        if zeros != 0 {
            return Some(at + zeros.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    bytes.get(at..)?.iter().position(|&byte| byte == b'"').map(|more| at + more)
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
