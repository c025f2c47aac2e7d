//! Floor 1: what a consumer concludes, with its numbers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    event::{Nanos, time},
    subject::Subject,
};

/// The numbers behind a decision, by name, in the order a person would read them.
pub type Numbers = Vec<(&'static str, Value)>;

/// A decision as the fold makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The position that caused it.
    pub cause: u64,
    /// Its place among the decisions of this consumer at this position.
    pub ordinal: u32,
    /// The tape time at that position.
    pub tape_time: Option<Nanos>,
    pub consumer: &'static str,
    pub version: u32,
    pub subject: Subject,
    /// The name of a subject that is unknown.
    pub stranger: Option<Box<str>>,
    pub verdict: &'static str,
    /// Which rule decided; the first key of `reason`.
    pub rule: &'static str,
    pub numbers: Numbers,
}

/// A decision as it is written: names in place of ids, fixed field order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionLine {
    pub cause: u64,
    pub ordinal: u32,
    pub consumer: String,
    pub version: u32,
    pub subject_kind: String,
    pub subject: String,
    pub verdict: String,
    pub reason: Map<String, Value>,
    /// Hash of the policy it was made under.
    pub policy: String,
    /// Tape time in Unix seconds; absent before any time is known.
    pub tape_time: Option<f64>,
}

impl DecisionLine {
    /// The line of a decisions file: with the digest of the round it stands on.
    pub fn written(&self, tape: &str) -> String {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(flatten)]
            line: &'a DecisionLine,
            tape: &'a str,
        }
        serde_json::to_string(&Written { line: self, tape }).expect("a decision holds only finite numbers and text")
    }
}

impl Decision {
    /// One of its numbers, if it is one.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|(given, _)| *given == name)?.1.as_f64()
    }

    /// The written form; `subject` is its name, `policy` the hash in force.
    pub fn line(&self, subject: &str, policy: &str) -> DecisionLine {
        let mut reason = Map::new();
        reason.insert("rule".to_owned(), self.rule.into());
        reason.extend(self.numbers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        DecisionLine {
            cause: self.cause,
            ordinal: self.ordinal,
            consumer: self.consumer.to_owned(),
            version: self.version,
            subject_kind: self.subject.kind().to_owned(),
            subject: subject.to_owned(),
            verdict: self.verdict.to_owned(),
            reason,
            policy: policy.to_owned(),
            tape_time: self.tape_time.map(time::unix_seconds),
        }
    }
}
