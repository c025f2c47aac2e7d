use super::Kind;

/// Names (`run_id`, `agent`, `strategy`, `event_id`, `kind`, `symbol`) have 1 to this many bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;
/// Every number lies within ±2^53, where integers are exact in an f64.
pub const NUMBER_MAX: u64 = 1 << 53;
/// How many fields the table has.
pub const COUNT: usize = TABLE.len();

/// One recognised field.
#[derive(Debug)]
pub struct Field {
    pub id: Id,
    /// The key, case-sensitive, as it stands on a line once unescaped.
    pub name: &'static str,
    pub shape: Shape,
    pub scope: Scope,
    /// The last schema version that has it.
    pub until: u64,
    /// For a person: meaning and unit.
    pub doc: &'static str,
}

/// What a value must be. null is absence everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A string of 1 to [`NAME_BYTES_MAX`] bytes without control characters or unpaired surrogates.
    Name,
    /// Any string without unpaired surrogates; an empty one says nothing and is absence.
    Text,
    /// A time. Whatever it is, it is at worst unusable; only a number that overflows is malformed.
    Stamp,
    /// A schema version: a whole number from 1.
    Version,
    /// A number within ±2^53.
    Number,
    /// A number from 0 to 2^53.
    Amount,
    /// A whole number from 0 to 2^53; 5.0 is one.
    Count,
    /// A count, or true (1) or false (0).
    CountOrBool,
    /// true or false.
    Flag,
    /// LONG, SHORT or FLAT in any ASCII case.
    Direction,
}

impl Shape {
    /// What is wanted, as the end of "...; want ".
    pub const fn want(self) -> &'static str {
        match self {
            Shape::Name => "a string of 1 to 128 bytes without control characters",
            Shape::Text => "a string",
            Shape::Stamp => "an RFC 3339 text or a number",
            Shape::Version => "a whole number from 1",
            Shape::Number => "a number from -2^53 to 2^53",
            Shape::Amount => "a number from 0 to 2^53",
            Shape::Count => "a whole number from 0 to 2^53",
            Shape::CountOrBool => "a whole number from 0 to 2^53, true or false",
            Shape::Flag => "true or false",
            Shape::Direction => "LONG, SHORT or FLAT (version 1: also BUY, SELL, HOLD)",
        }
    }
}

/// On which lines a field is checked, and kept.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    /// Every line has it.
    Shared,
    /// Its presence tells the kind, so it is checked on every line; kept where the kind has it.
    Telling(&'static [Kind]),
    /// Lines of these kinds have it; any other line may use the name as it likes.
    Only(&'static [Kind]),
}

impl Field {
    /// Whether a line of this kind (`None`: unknown) is malformed when the value is not of the shape.
    pub fn is_checked_on(&self, kind: Option<Kind>) -> bool {
        matches!(self.scope, Scope::Shared | Scope::Telling(_)) || self.is_kept_on(kind)
    }

    /// Whether a line of this kind carries the field.
    pub fn is_kept_on(&self, kind: Option<Kind>) -> bool {
        match self.scope {
            Scope::Shared => true,
            Scope::Telling(kinds) | Scope::Only(kinds) => kind.is_some_and(|kind| kinds.contains(&kind)),
        }
    }
}

/// The index of a field in [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Id {
    Kind,
    V,
    Ts,
    RunId,
    Agent,
    Strategy,
    EventId,
    Symbol,
    LatencyMs,
    TokensIn,
    TokensOut,
    CostUsd,
    Errors,
    Reward,
    RealizedPnlBps,
    ScoreFinal,
    EnsembleScoreFinal,
    Direction,
    Price,
    CachedTokens,
    ErrorType,
    Model,
    SessionId,
    Phase,
    Outcome,
    CapitalUsd,
    MaxLossUsd,
    FillProb,
    Regime,
    ExpectedEdgeBps,
    NotionalUsd,
    EntryPrice,
    ExitPrice,
    Action,
    Fleet,
    Actor,
    Reason,
    Policy,
    AmountUsd,
    SpreadBps,
    SlippageBps,
    DataAgeSec,
    Paper,
    Reduce,
}

impl Id {
    /// The row of the table.
    pub fn field(self) -> &'static Field {
        &TABLE[self as usize]
    }
}

const SHARED: Scope = Scope::Shared;
const TELLS_RUN: Scope = Scope::Telling(&[Kind::Run]);
const TELLS_ALPHA: Scope = Scope::Telling(&[Kind::Alpha]);
const TELLS_PNL: Scope = Scope::Telling(&[Kind::Pnl]);
const TELLS_PRICE: Scope = Scope::Telling(&[Kind::Price]);
const RUN: Scope = Scope::Only(&[Kind::Run]);
const ALPHA: Scope = Scope::Only(&[Kind::Alpha]);
const PNL: Scope = Scope::Only(&[Kind::Pnl]);
const ALPHA_CHECK: Scope = Scope::Only(&[Kind::Alpha, Kind::Check]);
const ALPHA_PNL_CHECK: Scope = Scope::Only(&[Kind::Alpha, Kind::Pnl, Kind::Check]);
const COMMAND: Scope = Scope::Only(&[Kind::Command]);
const ORDER: Scope = Scope::Only(&[Kind::Command, Kind::Policy]);
const POLICY: Scope = Scope::Only(&[Kind::Policy]);
const CHECK: Scope = Scope::Only(&[Kind::Check]);
const RESERVE: Scope = Scope::Only(&[Kind::Reserve]);

const fn row(id: Id, name: &'static str, shape: Shape, scope: Scope, doc: &'static str) -> Field {
    Field { id, name, shape, scope, until: u64::MAX, doc }
}

/// Every recognised field, in the order in which faults are reported. Everything else on a line is ignored.
#[rustfmt::skip]
pub const TABLE: &[Field] = &[
    row(Id::Kind, "kind", Shape::Name, SHARED, "Kind of line; without it the fields tell the kind."),
    row(Id::V, "v", Shape::Version, SHARED, "Schema version of the line; 1 when absent."),
    row(Id::Ts, "ts", Shape::Stamp, SHARED, "When it happened: RFC 3339, or Unix seconds, milliseconds (above 1e11), microseconds (above 1e14) or nanoseconds (above 1e17)."),
    row(Id::RunId, "run_id", Shape::Name, SHARED, "The run: joins signals, runs and realized profit."),
    row(Id::Agent, "agent", Shape::Name, SHARED, "The agent."),
    row(Id::Strategy, "strategy", Shape::Name, SHARED, "The class of agents it belongs to."),
    row(Id::EventId, "event_id", Shape::Name, SHARED, "Identity for deduplication within its kind; without one, equal lines are all taken."),
    row(Id::Symbol, "symbol", Shape::Name, SHARED, "The instrument."),
    row(Id::LatencyMs, "latency_ms", Shape::Amount, TELLS_RUN, "Duration of the run, milliseconds."),
    row(Id::TokensIn, "tokens_in", Shape::Count, TELLS_RUN, "Input tokens."),
    row(Id::TokensOut, "tokens_out", Shape::Count, TELLS_RUN, "Output tokens."),
    row(Id::CostUsd, "cost_usd", Shape::Amount, TELLS_RUN, "Cost of the run, US dollars; without it tokens are priced."),
    row(Id::Errors, "errors", Shape::CountOrBool, TELLS_RUN, "Errors of the run; above 0 it is one failed run."),
    row(Id::Reward, "reward", Shape::Number, TELLS_RUN, "Reward of the run."),
    row(Id::RealizedPnlBps, "realized_pnl_bps", Shape::Number, TELLS_PNL, "Realized profit or loss of the run, basis points; further records add up."),
    row(Id::ScoreFinal, "score_final", Shape::Number, TELLS_ALPHA, "Final score of the signal."),
    Field { until: 1, ..row(Id::EnsembleScoreFinal, "ensemble_score_final", Shape::Number, TELLS_ALPHA, "Alias of score_final in version 1.") },
    row(Id::Direction, "direction", Shape::Direction, TELLS_ALPHA, "What the signal asks for: LONG, SHORT or FLAT, in any case; version 1 also BUY, SELL, HOLD."),
    row(Id::Price, "price", Shape::Number, TELLS_PRICE, "Price of the symbol, quote currency."),
    row(Id::CachedTokens, "cached_tokens", Shape::Count, RUN, "Input tokens served from a cache."),
    row(Id::ErrorType, "error_type", Shape::Text, RUN, "Class of the error."),
    row(Id::Model, "model", Shape::Text, RUN, "The model, for its token price."),
    row(Id::SessionId, "session_id", Shape::Text, RUN, "Session the run belongs to."),
    row(Id::Phase, "phase", Shape::Text, RUN, "Phase of the session."),
    row(Id::Outcome, "outcome", Shape::Text, RUN, "Outcome of the run."),
    row(Id::CapitalUsd, "capital_usd", Shape::Number, RUN, "Capital behind the run, US dollars."),
    row(Id::MaxLossUsd, "max_loss_usd", Shape::Number, RUN, "Largest loss the run may take, US dollars."),
    row(Id::FillProb, "fill_prob", Shape::Number, RUN, "Probability of a fill."),
    row(Id::Regime, "regime", Shape::Text, ALPHA, "Market regime the signal saw."),
    row(Id::ExpectedEdgeBps, "expected_edge_bps", Shape::Number, ALPHA_CHECK, "Expected edge, basis points."),
    row(Id::NotionalUsd, "notional_usd", Shape::Number, ALPHA_PNL_CHECK, "Size of the position, US dollars."),
    row(Id::EntryPrice, "entry_price", Shape::Number, PNL, "Price at entry, quote currency."),
    row(Id::ExitPrice, "exit_price", Shape::Number, PNL, "Price at exit, quote currency."),
    row(Id::Action, "action", Shape::Name, COMMAND, "What is commanded: pause, resume, quarantine, clear, kill, revive, promote, demote or retire."),
    row(Id::Fleet, "fleet", Shape::Flag, COMMAND, "true: the command is about the whole fleet."),
    row(Id::Actor, "actor", Shape::Name, ORDER, "Who gave the order."),
    row(Id::Reason, "reason", Shape::Text, ORDER, "Why, in the words of the actor."),
    row(Id::Policy, "policy", Shape::Text, POLICY, "The policy file, TOML."),
    row(Id::AmountUsd, "amount_usd", Shape::Amount, RESERVE, "Budget to reserve, US dollars."),
    row(Id::SpreadBps, "spread_bps", Shape::Amount, CHECK, "Spread to be paid, basis points."),
    row(Id::SlippageBps, "slippage_bps", Shape::Amount, CHECK, "Slippage expected, basis points."),
    row(Id::DataAgeSec, "data_age_sec", Shape::Amount, CHECK, "Age of the data behind the order, seconds."),
    row(Id::Paper, "paper", Shape::Flag, CHECK, "true: on paper, without money."),
    row(Id::Reduce, "reduce", Shape::Flag, CHECK, "true: the order makes a position smaller."),
];

/// The field with exactly this key, in unescaped bytes.
#[inline]
pub fn lookup(key: &[u8]) -> Option<Id> {
    let field = TABLE.get(usize::from(SLOTS[slot(key, SEED)?]))?;
    same(field.name.as_bytes(), key).then_some(field.id)
}

/// Whether two keys are equal. They are compared by their first and last bytes, which overlap or meet.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        17..=32 => a.first_chunk::<16>() == b.first_chunk() && a.last_chunk::<16>() == b.last_chunk(),
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        4..8 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        _ => a == b,
    }
}

// A perfect hash over length, first, middle and last byte. Its multiplier is searched for at compile time, so that a
// new row needs no other edit.
const EMPTY: u8 = u8::MAX;
const SEED: u32 = find_seed();
const SLOTS: [u8; 256] = match slots(SEED) {
    Some(slots) => slots,
    None => panic!("find_seed returns a seed without collisions"),
};

#[inline]
const fn slot(key: &[u8], seed: u32) -> Option<usize> {
    if key.is_empty() || key.len() > 255 {
        return None;
    }
    let traits = [key[0], key[key.len() / 2], key[key.len() - 1], key.len() as u8];
    Some((u32::from_le_bytes(traits).wrapping_mul(seed) >> 24) as usize)
}

const fn slots(seed: u32) -> Option<[u8; 256]> {
    let mut slots = [EMPTY; 256];
    let mut i = 0;
    while i < COUNT {
        match slot(TABLE[i].name.as_bytes(), seed) {
            Some(at) if slots[at] == EMPTY => slots[at] = i as u8,
            _ => return None,
        }
        i += 1;
    }
    Some(slots)
}

const fn find_seed() -> u32 {
    let mut seed: u32 = 1;
    while slots(seed).is_none() {
        seed = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453) | 1;
    }
    seed
}

// One bit per field in a u64, and ids that are indices.
const _: () = {
    assert!(COUNT <= 64);
    let mut i = 0;
    while i < COUNT {
        assert!(TABLE[i].id as usize == i);
        i += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_its_neighbours_are_not() {
        for field in TABLE {
            let name = field.name;
            assert_eq!(lookup(name.as_bytes()), Some(field.id), "{name}");
            assert_eq!(lookup(name.to_uppercase().as_bytes()), None);
            assert_eq!(lookup(format!("{name}x").as_bytes()), None);
            assert_eq!(lookup(&name.as_bytes()[1..]), None);
            for place in 0..name.len() {
                let mut other = name.as_bytes().to_vec();
                other[place] ^= 1;
                assert!(!same(&other, name.as_bytes()) && same(name.as_bytes(), name.as_bytes()), "{name}");
            }
        }
        assert_eq!(lookup(b""), None);
        assert_eq!(lookup(&[b'a'; 1000]), None);
    }
}
