//! Floor 0: what a line can say.
//!
//! [`decode::decode`] turns the bytes of one line into a [`Line`] or a [`Malformed`]; both are values, neither is an
//! error. The table of [`fields`] is the one list of recognised fields: the decoder, the JSON Schemas and the
//! documentation are derived from it.

/// What an operator can command.
pub mod action;
/// The lines of the control stream: commands, policies and requests, as this program writes them.
pub mod control;
/// The shortest decimal of a number, and exact scaling of it.
mod decimal;
/// Bytes of one line to a [`Line`] or a [`Malformed`]. Never fails, never panics.
pub mod decode;
/// The table of recognised fields.
pub mod fields;
/// The fields of an object to a [`Line`]: version, kind, shapes, ranges, requirements.
mod judge;
/// 128-bit keys of outside names: runs and event ids.
pub mod key;
/// Kinds of lines and how an untagged line is recognised.
pub mod kind;
/// The [`Line`] and the [`Malformed`].
pub mod line;
/// Money as integers: nano-USD.
pub mod money;
/// The recognised fields of a line before they are judged.
mod record;
/// The values of a line's fields, as plain data.
mod row;
/// JSON Schemas of the lines, generated from the table.
pub mod schema;
/// Every accepted form of `ts`, to Unix nanoseconds.
pub mod time;
/// Lines of older schema versions, brought to the current one.
pub mod upcast;
/// serde's visitor: JSON to the recognised fields.
mod visit;
/// Text eight bytes at a time.
mod words;

pub use action::Action;
pub use decode::{Decoder, Predecoded, decode};
pub use fields::Id;
pub use key::Key;
pub use kind::Kind;
pub use line::{Decoded, Direction, Line, Malformed, Reason};
pub use time::{Nanos, Stamp};
