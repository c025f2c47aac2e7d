use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    event::{Nanos, time},
    view::Exemplar,
};

/// The run that last did something; none with an empty id. One cache line: each run sets several.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[repr(align(64))]
pub struct Mark {
    run_id: RunId,
    value: f64,
    time: Option<Nanos>,
}

impl Mark {
    #[inline]
    pub fn set(&mut self, run_id: &RunId, value: f64, time: Option<Nanos>) {
        self.run_id.set(run_id);
        self.value = value;
        self.time = time;
    }

    pub fn exemplar(&self) -> Option<Exemplar> {
        let run_id = self.run_id.text();
        let timestamp = self.time.map(time::unix_seconds);
        (!run_id.is_empty()).then(|| Exemplar { run_id: run_id.into(), value: self.value, timestamp })
    }
}

/// A run's name, in place up to [`SHORT`] bytes: a UUID is one of 36.
#[derive(Clone, Debug)]
pub struct RunId(Name);

#[derive(Clone, Debug)]
enum Name {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<str>),
}

const SHORT: usize = 38;

impl RunId {
    /// Short names are copied whole, of whatever length: that is a few moves and no call.
    #[inline]
    fn set(&mut self, other: &RunId) {
        match (&mut self.0, &other.0) {
            (Name::Short { length, bytes }, Name::Short { length: new_length, bytes: new_bytes }) => {
                (*length, *bytes) = (*new_length, *new_bytes);
            }
            _ => self.replace(other),
        }
    }

    #[cold]
    fn replace(&mut self, other: &RunId) {
        *self = other.clone();
    }

    #[inline]
    pub fn of(text: &str) -> RunId {
        if text.len() > SHORT {
            return RunId(Name::Long(text.into()));
        }
        let mut bytes = [0; SHORT];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        RunId(Name::Short { length: text.len() as u8, bytes })
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.0, Name::Short { length: 0, .. })
    }

    fn text(&self) -> &str {
        match &self.0 {
            Name::Short { length, bytes } => str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default(),
            Name::Long(text) => text,
        }
    }
}

impl Default for RunId {
    fn default() -> Self {
        RunId::of("")
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| RunId::of(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_given_back_and_written_as_a_text() {
        assert_eq!(size_of::<Mark>(), 64);
        let mut mark = Mark::default();
        assert_eq!(mark.exemplar(), None);
        for name in ["a", "0190a0b1-c2d3-7e4f-8a5b-6c7d8e9fa0b1", &"é".repeat(19), &"é".repeat(20), "", "b"] {
            mark.set(&RunId::of(name), 1.5, Some(2 * time::SECOND));
            let exemplar = mark.exemplar();
            assert_eq!(exemplar.as_ref().map_or("", |exemplar| &*exemplar.run_id), name);
            let written = postcard::to_allocvec(&mark).expect("serialises");
            assert_eq!(written, postcard::to_allocvec(&(name, 1.5, Some(2 * time::SECOND))).expect("serialises"));
            let read: Mark = postcard::from_bytes(&written).expect("deserialises");
            assert_eq!(read.exemplar(), exemplar);
        }
    }
}
