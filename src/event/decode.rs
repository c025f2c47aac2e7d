use super::line::{Line, Malformed};

/// Lines of the shape that programs write, in one pass.
mod fast;
/// Numbers of JSON to the nearest `f64`.
mod number;
/// What every line means: the plain decoder, slow and complete.
pub mod reference;

pub use reference::DEPTH_MAX;

/// One line, without its `\n`, as a [`Line`] or a [`Malformed`]; a `\r` at its end is part of the line ending.
///
/// [`reference::decode`] is the last word. Lines as programs write them get the same answer in one pass; whatever is
/// unusual about a line, and every fault, is left to the reference.
pub fn decode(bytes: &[u8], line_bytes_max: usize) -> Result<Line<'_>, Malformed> {
    let mut line = Line::default();
    if fast::decode(bytes, line_bytes_max, &mut line).is_some() {
        return Ok(line);
    }
    reference::decode(bytes, line_bytes_max)
}

/// Both decoders on lines made to part them.
#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
