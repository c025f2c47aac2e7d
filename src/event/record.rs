use std::borrow::Cow;

use super::fields::{self, Id};

/// The value of a recognised field as JSON gives it, before anything is asked of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// Absent, or null.
    #[default]
    Null,
    Bool(bool),
    /// An integer literal. One beyond i64 is a `Float`: exactness matters only up to 2^53 and for times before 2100.
    Int(i64),
    Float(f64),
    /// A number literal beyond f64.
    Overflow,
    Str(Cow<'a, str>),
    /// A string with an unpaired surrogate: JSON, but no text.
    Surrogate,
    List,
    Object,
}

/// The recognised fields of one line, by [`Id`], and what else it takes to judge the line.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    values: [Value<'a>; fields::COUNT],
    /// Fields with a value other than null, one bit each.
    present: u64,
    /// Fields whose key stood on the line, one bit each.
    seen: u64,
    /// The first recognised key given twice.
    twice: Option<Id>,
    pub strangers: Strangers<'a>,
}

impl Default for Record<'_> {
    fn default() -> Self {
        Record {
            values: [const { Value::Null }; fields::COUNT],
            present: 0,
            seen: 0,
            twice: None,
            strangers: Strangers::default(),
        }
    }
}

impl<'a> Record<'a> {
    /// Notes that the key of this field stands on the line.
    pub fn see(&mut self, id: Id) {
        let bit = 1 << id as u64;
        if self.seen & bit != 0 && self.twice.is_none() {
            self.twice = Some(id);
        }
        self.seen |= bit;
    }

    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    pub fn has(&self, id: Id) -> bool {
        self.present & 1 << id as u64 != 0
    }

    pub fn set(&mut self, id: Id, value: Value<'a>) {
        let bit = 1 << id as u64;
        if value == Value::Null {
            self.present &= !bit;
        } else {
            self.present |= bit;
        }
        self.values[id as usize] = value;
    }

    /// The value, leaving absence behind.
    pub fn take(&mut self, id: Id) -> Value<'a> {
        self.present &= !(1 << id as u64);
        std::mem::take(&mut self.values[id as usize])
    }

    /// The first field that has a value, in the order of the table.
    pub fn first(&self) -> Option<Id> {
        fields::TABLE.get(self.present.trailing_zeros() as usize).map(|field| field.id)
    }

    /// A key that was given twice, recognised or not.
    pub fn duplicate(&self) -> Option<String> {
        self.twice.map(|id| id.field().name.to_owned()).or_else(|| self.strangers.duplicate())
    }
}

const FEW: usize = 16;

/// The unescaped keys of a line that are not recognised, kept to find one given twice. Off the heap while they are
/// few and unescaped.
#[derive(Clone, Debug, Default)]
pub struct Strangers<'a> {
    few: [&'a [u8]; FEW],
    count: usize,
    more: Vec<Cow<'a, [u8]>>,
}

impl<'a> Strangers<'a> {
    pub fn push(&mut self, key: Cow<'a, [u8]>) {
        match key {
            Cow::Borrowed(key) if self.count < FEW => {
                self.few[self.count] = key;
                self.count += 1;
            }
            key => self.more.push(key),
        }
    }

    fn duplicate(&self) -> Option<String> {
        let few = &self.few[..self.count];
        let found = if self.more.is_empty() {
            few.iter().enumerate().find(|(i, key)| few[..*i].contains(key)).map(|(_, key)| *key)
        } else {
            let mut all: Vec<&[u8]> = few.iter().copied().chain(self.more.iter().map(|key| &**key)).collect();
            all.sort_unstable();
            all.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
        };
        found.map(|key| String::from_utf8_lossy(key).into_owned())
    }
}
