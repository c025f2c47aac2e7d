use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::{self, Id};
use super::record::{Record, Value};

/// Recognised fields whose value serde_json refuses though it is JSON: numbers beyond f64 and strings with unpaired
/// surrogates, one bit each. They are read as such on the next attempt, so that only the lines that have the field
/// are malformed for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    overflow: u64,
    surrogate: u64,
}

impl Refused {
    fn value(&self, id: Id) -> Option<Value<'static>> {
        let bit = 1 << id as u64;
        if self.overflow & bit != 0 {
            Some(Value::Overflow)
        } else if self.surrogate & bit != 0 {
            Some(Value::Surrogate)
        } else {
            None
        }
    }

    fn add(&mut self, id: Id, error: &serde_json::Error) {
        let bit = 1 << id as u64;
        // The kind of error is not public; its text is. Only these two remain once the text is known to be JSON.
        if error.to_string().starts_with("number out of range") {
            self.overflow |= bit;
        } else {
            self.surrogate |= bit;
        }
    }
}

/// Reads the recognised fields of a text that begins with `{`. After an error that is not one of syntax, `refused`
/// names one field more and another attempt gets further; `false` when it could not name one.
pub fn read<'a>(text: &'a str, refused: &mut Refused) -> Result<Record<'a>, (serde_json::Error, bool)> {
    let mut reader = Reader { record: Record::default(), refused: *refused, reading: None };
    let mut json = serde_json::Deserializer::from_str(text);
    match json.deserialize_map(&mut reader).and_then(|()| json.end()) {
        Ok(()) => Ok(reader.record),
        Err(error) => {
            if let Some(id) = reader.reading {
                refused.add(id, &error);
            }
            Err((error, reader.reading.is_some()))
        }
    }
}

struct Reader<'a> {
    record: Record<'a>,
    refused: Refused,
    /// The field whose value is being read.
    reading: Option<Id>,
}

impl<'a> Visitor<'a> for &mut Reader<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let Some(id) = fields::lookup(&key) else {
                self.record.strangers.push(key);
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.record.see(id);
            let value = if let Some(value) = self.refused.value(id) {
                map.next_value::<IgnoredAny>()?;
                value
            } else {
                self.reading = Some(id);
                let value = map.next_value()?;
                self.reading = None;
                value
            };
            self.record.set(id, value);
        }
        Ok(())
    }
}

/// A key as bytes: an unpaired surrogate in an unknown key is no reason to refuse a line.
struct Key<'a>(Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(KeyVisitor).map(Key)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_bytes<E: Error>(self, key: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_vec()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Str(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Value::Str(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_key::<Key<'de>>()?.is_some() {
            object.next_value::<IgnoredAny>()?;
        }
        Ok(Value::Object)
    }
}
