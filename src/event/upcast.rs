use std::borrow::Cow;

use super::fields::{Id, TABLE};
use super::record::{Record, Value};

/// The newest schema version: what [`super::Line`] means. Version 1 is what agents wrote before there were versions.
pub const CURRENT: u64 = STEPS.len() as u64 + 1;

/// Brings a line of one version to the next. Pure; frozen once released, since old lines never change. It sees values
/// that nobody has checked yet and leaves alone what it does not understand: the check reports it.
type Step = fn(&mut Record<'_>);

/// Step `i` brings version `i + 1` to `i + 2`. A new version is one function and one line here.
const STEPS: &[Step] = &[canonical_names];

/// Brings a line of this version (1 to [`CURRENT`]) to the current one, without the fields its version does not have.
pub(super) fn bring(record: &mut Record<'_>, version: u64) {
    for field in TABLE {
        if field.until < version {
            record.take(field.id);
        }
    }
    for step in STEPS.iter().skip(usize::try_from(version - 1).unwrap_or(usize::MAX)) {
        step(record);
    }
}

/// 1 to 2: one name for the score of a signal, one set of words for its direction. Where both names are given the
/// canonical one wins, and the alias stays to be checked.
fn canonical_names(record: &mut Record<'_>) {
    if !record.has(Id::ScoreFinal) && record.has(Id::EnsembleScoreFinal) {
        let score = record.take(Id::EnsembleScoreFinal);
        record.set(Id::ScoreFinal, score);
    }
    let words = [("BUY", "LONG"), ("SELL", "SHORT"), ("HOLD", "FLAT")];
    if let Value::Str(text) = record.get(Id::Direction)
        && let Some((_, word)) = words.into_iter().find(|(alias, _)| alias.eq_ignore_ascii_case(text))
    {
        record.set(Id::Direction, Value::Str(Cow::Borrowed(word)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: u64, before: &[(Id, Value<'static>)], after: &[(Id, Value<'static>)]) {
        let mut record = Record::default();
        for (id, value) in before {
            record.set(*id, value.clone());
        }
        bring(&mut record, version);
        let mut rest = Vec::new();
        while let Some(id) = record.first() {
            rest.push((id, record.take(id)));
        }
        assert_eq!(rest, after, "version {version}: {before:?}");
    }

    fn text(text: &'static str) -> Value<'static> {
        Value::Str(Cow::Borrowed(text))
    }

    #[test]
    fn version_1_to_2_is_frozen() {
        use Id::{Direction, EnsembleScoreFinal, ScoreFinal};
        let (one, two) = (Value::Int(1), Value::Float(2.5));
        check(1, &[(EnsembleScoreFinal, one.clone())], &[(ScoreFinal, one.clone())]);
        check(1, &[(ScoreFinal, one.clone())], &[(ScoreFinal, one.clone())]);
        let both = [(ScoreFinal, one.clone()), (EnsembleScoreFinal, two)];
        check(1, &both, &both);
        for (alias, word) in [("BUY", "LONG"), ("sell", "SHORT"), ("Hold", "FLAT"), ("long", "long"), ("up", "up")] {
            check(1, &[(Direction, text(alias))], &[(Direction, text(word))]);
        }
        check(1, &[(Direction, one.clone())], &[(Direction, one)]);
    }

    #[test]
    fn version_2_has_no_aliases() {
        check(2, &[(Id::EnsembleScoreFinal, Value::Int(1))], &[]);
        check(2, &[(Id::Direction, text("BUY"))], &[(Id::Direction, text("BUY"))]);
        assert_eq!(CURRENT, 2);
    }
}
