use std::borrow::Cow;

use super::{
    Key,
    line::{Line, Malformed},
    row::Row,
};

/// A place in a line, and what stands there.
mod cursor;
/// Lines of the shape that programs write, in one pass.
mod fast;
/// Numbers of JSON to the nearest `f64`.
mod number;
/// What every line means: the plain decoder, slow and complete.
pub mod reference;
/// What stands between the values of a line.
mod shape;

pub use reference::DEPTH_MAX;

/// One line, without its `\n`, as a [`Line`] or a [`Malformed`]; a `\r` at its end is part of the line ending.
///
/// [`reference::decode`] is the last word. Lines as programs write them get the same answer in one pass; whatever is
/// unusual about a line, and every fault, is left to the reference.
pub fn decode(bytes: &[u8], line_bytes_max: usize) -> Result<Line<'_>, Malformed> {
    Decoder::default().line(bytes, line_bytes_max)
}

/// Decodes lines one after another, the sooner the more alike they are. What it says of a line depends on the line alone.
#[derive(Debug, Default)]
pub struct Decoder {
    before: fast::Experience,
}

impl Decoder {
    /// As [`decode`].
    ///
    /// # Errors
    /// The line is malformed.
    pub fn line<'a>(&mut self, bytes: &'a [u8], line_bytes_max: usize) -> Result<Line<'a>, Malformed> {
        let mut line = Line::default();
        self.decode(bytes, line_bytes_max, &mut line, &|_| {}).map(|()| line)
    }

    /// As [`decode`], into a line whatever it held before. `met` may hear of the line's run before the rest of it is read.
    ///
    /// # Errors
    /// The line is malformed; what was put into `line` is of no use.
    pub fn decode<'a>(
        &mut self,
        bytes: &'a [u8],
        line_bytes_max: usize,
        line: &mut Line<'a>,
        met: &dyn Fn(Key),
    ) -> Result<(), Malformed> {
        if self.at_once(bytes, line_bytes_max, line, met).is_none() {
            *line = reference::decode(bytes, line_bytes_max)?;
        }
        Ok(())
    }

    /// A line that is within the limit, before its turn.
    pub fn before_its_turn(&mut self, text: &str, line: &mut Predecoded) {
        let plain = text.strip_suffix('\r').unwrap_or(text);
        line.rest = match fast::decode(plain, &mut self.before, &mut line.row, &|_| {}) {
            Some(()) => None,
            None => Some(Box::new(reference::decode(text.as_bytes(), usize::MAX))),
        };
    }

    fn at_once<'a>(&mut self, bytes: &'a [u8], most: usize, line: &mut Line<'a>, met: &dyn Fn(Key)) -> Option<()> {
        let text = simdutf8::basic::from_utf8(bytes).ok().filter(|_| bytes.len() <= most)?;
        let text = text.strip_suffix('\r').unwrap_or(text);
        fast::decode(text, &mut self.before, line.row.to_mut(), met)?;
        line.text = Cow::Borrowed(text);
        Some(())
    }
}

/// What a line says that waits for its turn beside its text.
#[derive(Debug)]
pub struct Predecoded {
    /// Where the fast decoder read it.
    row: Row,
    /// What the reference said, where that had to be asked; then the row is of no meaning.
    rest: Option<Box<Result<Line<'static>, Malformed>>>,
}

impl Default for Predecoded {
    fn default() -> Self {
        Predecoded { row: Row::NOTHING, rest: None }
    }
}

impl Predecoded {
    /// Not text.
    pub fn refuse(&mut self, bytes: &[u8]) {
        self.rest = Some(Box::new(reference::decode(bytes, usize::MAX)));
    }

    pub fn oversize(&mut self, length: u64, line_bytes_max: usize) {
        self.rest = Some(Box::new(Err(Malformed::oversize(length, line_bytes_max))));
    }

    /// Says it in `line`; its text is asked for where it is needed.
    ///
    /// # Errors
    /// It is malformed.
    #[inline]
    pub fn say<'a>(&'a self, text: impl FnOnce() -> Option<&'a str>, line: &mut Line<'a>) -> Result<(), Malformed> {
        match &self.rest {
            None => (line.row, line.text) = (Cow::Borrowed(&self.row), Cow::Borrowed(text().unwrap_or_default())),
            Some(rest) => *line = (**rest).clone()?,
        }
        Ok(())
    }

    /// The run that it names.
    #[inline]
    pub fn run(&self) -> Option<Key> {
        match &self.rest {
            None => self.row.run(),
            Some(rest) => rest.as_ref().as_ref().ok()?.run(),
        }
    }
}

/// Both decoders on lines made to part them.
#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
