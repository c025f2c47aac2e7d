use super::{number, reference::DEPTH_MAX};
use crate::event::{
    row::Span,
    words::{self, Padded},
};

/// A place in a line.
#[derive(Clone, Copy)]
pub struct Cursor<'a, 'p> {
    pub text: &'a str,
    /// The same text.
    pub padded: &'p Padded,
    pub at: usize,
}

impl<'a> Cursor<'a, '_> {
    #[inline(always)]
    pub fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Whether a byte stands here, and is the last one.
    #[inline(always)]
    pub fn is_at_last(&self, byte: u8) -> bool {
        self.peek() == byte && self.at + 1 == self.text.len()
    }

    /// The next byte; 0, which nothing that is looked for is, at the end.
    #[inline(always)]
    pub fn peek(&self) -> u8 {
        self.padded.byte(self.at)
    }

    #[inline(always)]
    pub fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    #[inline(always)]
    pub fn blank(&mut self) {
        while self.peek() == b' ' {
            self.at += 1;
        }
    }

    /// Where a string is, and passes it and its quotation marks; `None` where it is unusual: escaped, not ASCII, with control
    /// characters.
    #[inline(always)]
    pub fn string_span(&mut self) -> Option<Span> {
        self.expect(b'"')?;
        let from = self.at;
        self.at = words::plain_end(self.padded, from);
        let span = (from as u32, self.at as u32);
        self.expect(b'"')?;
        Some(span)
    }

    /// The same, as text.
    #[inline(always)]
    pub fn string(&mut self) -> Option<&'a str> {
        let (from, to) = self.string_span()?;
        self.text.get(from as usize..to as usize)
    }

    /// Whether a word stands here; then it is passed.
    #[inline]
    pub fn word(&mut self, word: &str) -> bool {
        let found = self.padded.between(self.at, self.at + word.len()) == word.as_bytes();
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// A number within ±2^53. Minus zero is zero.
    #[inline(always)]
    pub fn float(&mut self) -> Option<f64> {
        let (number, end) = number::float(self.padded, self.at);
        self.at = end;
        (end > 0).then_some(number)
    }

    /// A number from 0 to 2^53.
    #[inline(always)]
    pub fn amount(&mut self) -> Option<f64> {
        self.float().filter(|number| *number >= 0.0)
    }

    /// A whole number from 0 to 2^53.
    #[inline(always)]
    pub fn count(&mut self) -> Option<u64> {
        let (count, end) = number::count(self.padded, self.at);
        self.at = end;
        (end > 0).then_some(count)
    }

    /// Passes any value, which stands so deep; `None` where it is not JSON, nested too deep or unusual.
    pub fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek() {
            b'"' => self.skip_string(),
            b'-' | b'0'..=b'9' => {
                self.at = number::parse(self.padded, self.at)?.1;
                Some(())
            }
            b'{' if depth < DEPTH_MAX => self.skip_list(b'}', |line| {
                line.skip_string()?;
                line.blank();
                line.expect(b':')?;
                line.blank();
                line.skip(depth + 1)
            }),
            b'[' if depth < DEPTH_MAX => self.skip_list(b']', |line| line.skip(depth + 1)),
            _ => ["true", "false", "null"].into_iter().any(|word| self.word(word)).then_some(()),
        }
    }

    /// Passes what stands in brackets, parted by commas.
    fn skip_list(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.blank();
        if self.expect(end).is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            self.blank();
            if self.expect(end).is_some() {
                return Some(());
            }
            self.expect(b',')?;
            self.blank();
        }
    }

    /// Passes any string: what its letters are does not matter.
    fn skip_string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            self.at = words::string_end(self.padded, self.at);
            match self.peek() {
                b'"' => break,
                b'\\' => self.skip_escape()?,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn skip_escape(&mut self) -> Option<()> {
        let digits = match self.padded.byte(self.at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 0,
            b'u' => 4,
            _ => return None,
        };
        let (from, to) = (self.at + 2, self.at + 2 + digits);
        self.at = to;
        self.padded.between(from, to).iter().all(u8::is_ascii_hexdigit).then_some(())
    }
}
