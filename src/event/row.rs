use super::{
    Direction, Key, Kind, Stamp,
    fields::{COUNT, Field, Id, Scope, Shape, TABLE},
};

/// What the recognised fields of a line say: plain data of one size, whatever the line. A text is a span of a text that is
/// held elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `None`: a well-formed object of a kind this program does not know.
    pub kind: Option<Kind>,
    pub ts: Stamp,
    /// Fields with a value, one bit each. What a place holds whose field has none is of no meaning.
    pub(super) given: u64,
    /// The key of `run_id`.
    run: Key,
    numbers: [f64; NUMBERS],
    texts: [Span; TEXTS],
}

/// From a byte of a text, to the one behind the last.
pub type Span = (u32, u32);

impl Row {
    pub(super) const NOTHING: Row =
        Row { kind: None, ts: Stamp::Absent, given: 0, run: Key(0), numbers: [0.0; NUMBERS], texts: [(0, 0); TEXTS] };

    /// Whether a field has a value.
    #[inline(always)]
    pub(super) fn has(&self, id: Id) -> bool {
        self.given & 1 << id as u64 != 0
    }

    /// A number, in the unit of its field.
    #[inline(always)]
    pub fn number(&self, id: Id) -> Option<f64> {
        debug_assert!(!id.is_text(), "{} is no number", id.field().name);
        self.has(id).then(|| self.numbers[place(id)])
    }

    /// A count; of `errors`, `true` is 1.
    #[inline(always)]
    pub fn count(&self, id: Id) -> Option<u64> {
        // Whole and at most 2^53, as the field asks for.
        self.number(id).map(|count| count as u64)
    }

    /// A flag; absent is false.
    pub fn flag(&self, id: Id) -> bool {
        self.number(id) == Some(1.0)
    }

    pub fn direction(&self) -> Option<Direction> {
        Direction::ALL.get(self.count(Id::Direction)? as usize).copied()
    }

    /// The key of the run that is named.
    #[inline(always)]
    pub fn run(&self) -> Option<Key> {
        self.has(Id::RunId).then_some(self.run)
    }

    /// Where a text is.
    #[inline(always)]
    pub(super) fn span(&self, id: Id) -> Option<Span> {
        debug_assert!(id.is_text(), "{} is no text", id.field().name);
        self.has(id).then(|| self.texts[place(id)])
    }

    /// Which fields have a value, one bit each.
    #[inline(always)]
    pub(super) fn give(&mut self, fields: u64) {
        self.given = fields & !ELSEWHERE;
    }

    /// Puts a number, a count or a flag where it belongs; that it is given is said apart.
    #[inline(always)]
    pub(super) fn put_number(&mut self, id: Id, number: f64) {
        self.numbers[place(id)] = number;
    }

    #[inline(always)]
    pub(super) fn put_text(&mut self, id: Id, span: Span) {
        self.texts[place(id)] = span;
    }

    #[inline(always)]
    pub(super) fn put_run(&mut self, span: Span, key: Key) {
        self.put_text(Id::RunId, span);
        self.run = key;
    }

    pub(super) fn put_direction(&mut self, direction: Direction) {
        self.put_number(Id::Direction, direction as u8 as f64);
    }
}

/// Where the value of a field stands in a row.
#[inline(always)]
const fn place(id: Id) -> usize {
    PLACES[id as usize] as usize
}

/// Fields without a place, one bit each: kind and time have one of their own, the version is not kept, and an alias is
/// kept under the name it stands for.
const ELSEWHERE: u64 =
    1 << Id::Kind as u64 | 1 << Id::V as u64 | 1 << Id::Ts as u64 | 1 << Id::EnsembleScoreFinal as u64;

/// Fields that no kind of line has together share a place.
const PLACES: [u8; COUNT] = places();
const NUMBERS: usize = places_of(false);
const TEXTS: usize = places_of(true);

const fn places() -> [u8; COUNT] {
    let mut places = [0; COUNT];
    let mut row = 0;
    while row < COUNT {
        // The first place that none of the fields before takes which may stand beside it.
        let mut before = 0;
        while before < row {
            let (this, other) = (&TABLE[row], &TABLE[before]);
            let elsewhere = ELSEWHERE & (1 << row | 1 << before) != 0;
            let apart = elsewhere || this.id.is_text() != other.id.is_text() || !are_together(this, other);
            if !apart && places[row] == places[before] {
                places[row] += 1;
                before = 0;
            } else {
                before += 1;
            }
        }
        row += 1;
    }
    places
}

const fn places_of(text: bool) -> usize {
    let (mut row, mut most) = (0, 0);
    while row < COUNT {
        let needs = if ELSEWHERE & 1 << row == 0 { PLACES[row] as usize + 1 } else { 0 };
        most = if TABLE[row].id.is_text() == text && needs > most { needs } else { most };
        row += 1;
    }
    most
}

impl Id {
    /// Whether its value is a span, and not a number.
    pub(super) const fn is_text(self) -> bool {
        matches!(TABLE[self as usize].shape, Shape::Name | Shape::Text)
    }
}

/// Whether a line of one kind may carry both.
const fn are_together(one: &Field, other: &Field) -> bool {
    let (Scope::Telling(ones) | Scope::Only(ones), Scope::Telling(others) | Scope::Only(others)) =
        (one.scope, other.scope)
    else {
        return true;
    };
    let mut i = 0;
    while i < ones.len() * others.len() {
        if ones[i / others.len()] as u8 == others[i % others.len()] as u8 {
            return true;
        }
        i += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_one_kind_of_line_have_places_of_their_own() {
        for kind in Kind::ALL {
            for text in [false, true] {
                let rows = (0..COUNT).filter(|row| {
                    TABLE[*row].id.is_text() == text && ELSEWHERE & 1 << *row == 0 && TABLE[*row].is_kept_on(Some(kind))
                });
                let mut places: Vec<u8> = rows.map(|row| PLACES[row]).collect();
                places.sort_unstable();
                let all = places.len();
                places.dedup();
                assert_eq!(places.len(), all, "{}: {places:?}", kind.name());
            }
        }
        // What a line takes while it waits for its turn.
        assert_eq!((NUMBERS, TEXTS, size_of::<Row>()), (10, 10, 208));
    }
}
