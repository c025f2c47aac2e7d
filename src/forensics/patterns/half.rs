use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, LEAST, NUMBERS, WEIGHT, WORDS, gains, meets, word};
use crate::{
    forensics::{Run, Runs},
    stats::subgroups::{self, Bits, Search, Selector, quality, quality_of},
};

/// Cuts of a number to begin with: a twentieth of the runs each.
const CUTS: usize = 20;
/// Words of a kind that are looked at, the most frequent ones.
const MOST_WORDS: usize = 200;
/// Patterns that are tested on the other half.
const TESTED: usize = 10;
/// Two patterns that share more of their runs than this say the same.
const ALIKE: f64 = 0.5;
/// A condition must add so much to the quality of the others, or it goes.
const WORTH: f64 = 1.06;

const SEARCH: Search = Search { width: 60, depth: 3, least: LEAST, weight: WEIGHT };

/// Conditions, each with the rows that meet it.
type Rule = Vec<(Condition, Bits)>;

fn conditions(rule: &Rule) -> Vec<Condition> {
    rule.iter().map(|(condition, _)| condition.clone()).collect()
}

/// The half that is searched.
pub struct Half<'a> {
    rows: &'a [&'a Run],
    gains: Vec<f64>,
    conditions: Vec<Condition>,
    selectors: Vec<Selector>,
}

impl<'a> Half<'a> {
    pub fn new(runs: &Runs, rows: &'a [&'a Run]) -> Half<'a> {
        let mut half = Half { rows, gains: gains(rows), conditions: Vec::new(), selectors: Vec::new() };
        for (feature, (name, of)) in NUMBERS.iter().enumerate() {
            for cut in cuts(rows, *of) {
                half.add(feature, Condition::Above(name, cut), |run| of(run).is_some_and(|x| x > cut));
                half.add(feature, Condition::UpTo(name, cut), |run| of(run).is_some_and(|x| x <= cut));
            }
        }
        for (at, kind) in WORDS.into_iter().enumerate() {
            for word in frequent(runs, rows, kind) {
                let condition = Condition::Is(kind, word);
                let asked = condition.clone();
                half.add(NUMBERS.len() + at, condition, |run| meets(runs, run, &asked));
            }
        }
        half
    }

    /// Adds a condition that some rows meet and some do not.
    fn add(&mut self, feature: usize, condition: Condition, meets: impl Fn(&Run) -> bool) {
        let rows = Bits::of(self.rows.len(), |row| meets(self.rows[row]));
        let count = rows.count();
        if count >= LEAST && count < self.rows.len() as u64 {
            self.selectors.push(Selector { feature, rows });
            self.conditions.push(condition);
        }
    }

    /// The rules to be tested, the best first, none saying what another says.
    pub fn candidates(&self) -> Vec<Vec<Condition>> {
        let found = subgroups::search(&self.selectors, &self.gains, SEARCH);
        let mut rules: Vec<(f64, Vec<Condition>, Bits)> = Vec::new();
        let mut seen = BTreeSet::new();
        for found in &found {
            let part = |at: &usize| (self.conditions[*at].clone(), self.selectors[*at].rows.clone());
            let mut rule: Rule = found.selectors.iter().map(part).collect();
            self.shorten(&mut rule);
            if seen.insert(format!("{:?}", conditions(&rule))) {
                self.sharpen(&mut rule);
                // At its best cuts a rule may need less.
                self.shorten(&mut rule);
                self.sharpen(&mut rule);
                let rows = self.rows_of(&rule, None);
                rules.push((self.quality(&rows), conditions(&rule), rows));
            }
        }
        rules.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut kept: Vec<(Vec<Condition>, Bits)> = Vec::new();
        for (_, rule, rows) in rules {
            if kept.len() < TESTED && kept.iter().all(|(_, other)| other.likeness(&rows) <= ALIKE) {
                kept.push((rule, rows));
            }
        }
        kept.into_iter().map(|(rule, _)| rule).collect()
    }

    /// The rows that meet a rule, or all of it but one condition.
    fn rows_of(&self, rule: &Rule, but: Option<usize>) -> Bits {
        let all = Bits::of(self.rows.len(), |_| true);
        let parts = rule.iter().enumerate().filter(|(at, _)| Some(*at) != but);
        parts.fold(all, |rows, (_, (_, part))| rows.and(part))
    }

    fn quality(&self, rows: &Bits) -> f64 {
        quality(rows, &self.gains, WEIGHT)
    }

    /// Takes away the conditions that add little: they fit this half and nothing else.
    fn shorten(&self, rule: &mut Rule) {
        while rule.len() > 1 {
            let whole = self.quality(&self.rows_of(rule, None));
            let without = (0..rule.len()).map(|at| (self.quality(&self.rows_of(rule, Some(at))), at));
            match without.max_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((quality, at)) if quality * WORTH >= whole => drop(rule.remove(at)),
                _ => break,
            }
        }
    }

    /// Moves each cut to where the rule is best, the others standing still, twice around.
    fn sharpen(&self, rule: &mut Rule) {
        for at in (0..rule.len()).cycle().take(2 * rule.len()) {
            let Some(better) = self.best_cut(&rule[at].0, &self.rows_of(rule, Some(at))) else { continue };
            let (above, cut) = match &better {
                Condition::Above(_, cut) => (true, *cut),
                Condition::UpTo(_, cut) => (false, *cut),
                Condition::Is(..) => continue,
            };
            let of = number_of(&better);
            let rows = Bits::of(self.rows.len(), |row| of(self.rows[row]).is_some_and(|x| (x > cut) == above));
            rule[at] = (better, rows);
        }
    }

    /// The cut of a condition at which it is best among some rows.
    fn best_cut(&self, condition: &Condition, among: &Bits) -> Option<Condition> {
        let (name, above) = match condition {
            Condition::Above(name, _) => (*name, true),
            Condition::UpTo(name, _) => (*name, false),
            Condition::Is(..) => return None,
        };
        let of = number_of(condition);
        let inside = (0..self.rows.len()).filter(|row| among.has(*row));
        let mut values: Vec<(f64, f64)> =
            inside.filter_map(|row| Some((of(self.rows[row])?, self.gains[row]))).collect();
        values.sort_by(|a, b| if above { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) });
        let (mut sum, mut best) = (0.0, None::<(f64, f64)>);
        for (at, (value, gain)) in values.iter().enumerate() {
            sum += gain;
            let next = values.get(at + 1).map_or(*value, |next| next.0);
            let quality = quality_of(at as u64 + 1, sum, self.rows.len(), WEIGHT);
            let enough = at as u64 + 1 >= LEAST && next != *value;
            if enough && best.is_none_or(|(most, _)| quality > most) {
                best = Some((quality, f64::midpoint(*value, next)));
            }
        }
        let (_, cut) = best?;
        Some(if above { Condition::Above(name, cut) } else { Condition::UpTo(name, cut) })
    }
}

fn number_of(condition: &Condition) -> fn(&Run) -> Option<f64> {
    let named = match condition {
        Condition::Above(name, _) | Condition::UpTo(name, _) => *name,
        Condition::Is(..) => "",
    };
    NUMBERS.iter().find(|(name, _)| *name == named).map_or(|_: &Run| None, |(_, of)| *of)
}

/// Where a number is cut: between runs, at every twentieth of them.
fn cuts(rows: &[&Run], of: fn(&Run) -> Option<f64>) -> Vec<f64> {
    let mut values: Vec<f64> = rows.iter().filter_map(|run| of(run)).collect();
    values.sort_by(f64::total_cmp);
    let mut cuts: Vec<f64> = (1..CUTS).filter_map(|cut| values.get(values.len() * cut / CUTS).copied()).collect();
    cuts.dedup();
    cuts
}

/// The most frequent words of a kind, in the order of the alphabet.
fn frequent(runs: &Runs, rows: &[&Run], kind: &str) -> Vec<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for word in rows.iter().filter_map(|run| word(runs, run, kind)) {
        *counts.entry(word.into_owned()).or_default() += 1;
    }
    let mut most: Vec<(String, usize)> = counts.into_iter().filter(|(_, count)| *count as u64 >= LEAST).collect();
    most.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    most.truncate(MOST_WORDS);
    let mut words: Vec<String> = most.into_iter().map(|(word, _)| word).collect();
    words.sort();
    words
}
