use foldhash::HashMap;
use serde::{Deserialize, Serialize};

/// A string by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Word(u32);

/// Strings that occur again and again, each kept once, numbered as they come.
#[derive(Debug, Default)]
pub struct Words {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Words {
    pub fn word(&mut self, text: &str) -> Word {
        if let Some(number) = self.numbers.get(text) {
            return Word(*number);
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        Word(number)
    }

    /// All of them, by their numbers.
    pub fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    pub fn text(&self, word: Word) -> &str {
        self.texts.get(word.0 as usize).map_or("", |text| text)
    }
}
