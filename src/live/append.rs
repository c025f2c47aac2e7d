use std::io;

use thiserror::Error;

use super::{
    Live,
    tailer::{Request, Tailer},
};
use crate::{
    fold::{Placed, intake::CONTROL_STREAM, lines::Outcome},
    layout::Layout,
    streams::{
        Appender, Scope,
        append::{Written, is_full},
        lines::is_blank,
    },
    tape::TapeError,
};

/// Streams that only this program appends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnStream {
    /// What came in over HTTP.
    Api,
    /// Policies, commands and requests.
    Control,
}

impl OwnStream {
    pub const ALL: [OwnStream; 2] = [OwnStream::Api, OwnStream::Control];

    /// The stream's name.
    pub fn name(self) -> &'static str {
        match self {
            OwnStream::Api => "api",
            OwnStream::Control => CONTROL_STREAM,
        }
    }
}

/// Where a line came to stand on the tape, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub position: u64,
    pub outcome: Outcome,
}

/// Lines that are not on the tape, and why.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    #[error("no room to append to {stream}: {what}; nothing was appended, try again once there is room")]
    Full { stream: &'static str, what: String },
    #[error("cannot append to {stream}: {what}; nothing was appended")]
    Io { stream: &'static str, what: String },
    #[error("line {line} of {stream} is empty or holds a line break; want one JSON object; nothing was appended")]
    NotALine { stream: &'static str, line: usize },
    #[error("nothing can be appended yet: the history is being read; try again when the server is ready")]
    Starting,
    #[error("nothing is appended any more: {0}")]
    Failed(String),
    #[error("the server is stopping; try again when it is back")]
    Stopped,
    #[error(
        "the lines are in {stream} but not on the tape: {what}; they may count later. Send them again with the same event_id"
    )]
    Unknown { stream: &'static str, what: String },
}

/// What came of an append: for each line in order, or for none.
pub type AppendResult = Result<Vec<Appended>, AppendError>;

/// Lines to append, and whom to tell. Whatever happens to an order, it is answered: one that is dropped says that the
/// fold has stopped.
pub struct Order {
    stream: OwnStream,
    lines: Vec<String>,
    reply: Option<Box<dyn FnOnce(AppendResult) + Send>>,
}

impl Order {
    pub fn new(stream: OwnStream, lines: Vec<String>, reply: impl FnOnce(AppendResult) + Send + 'static) -> Order {
        Order { stream, lines, reply: Some(Box::new(reply)) }
    }

    pub fn answer(mut self, result: AppendResult) {
        if let Some(reply) = self.reply.take() {
            reply(result);
        }
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply(Err(AppendError::Stopped));
        }
    }
}

impl Live {
    /// Appends whole JSON lines (without newlines), seals them, and tells where each came to stand, in order; or why none
    /// of them was appended. What arrives together shares one write and one round. `reply` is called from a thread of the
    /// fold and must be quick. It comes when the lines are sealed: they are durable once `status().durable` is past them.
    pub fn append(&self, stream: OwnStream, lines: Vec<String>, reply: impl FnOnce(AppendResult) + Send + 'static) {
        let blank = |line: &String| is_blank(line.as_bytes()) || line.contains(['\n', '\r']);
        if let Some(at) = lines.iter().position(blank) {
            return reply(Err(AppendError::NotALine { stream: stream.name(), line: at + 1 }));
        }
        if lines.is_empty() {
            return reply(Ok(Vec::new()));
        }
        // An order that cannot be sent is dropped, and so answered.
        let _ = self.tailer.send(Request::Append(Order::new(stream, lines, reply)));
        self.waker.wake();
    }
}

/// The streams of ours, as the tailer appends to them.
pub struct OwnStreams([Appender; 2]);

impl OwnStreams {
    pub fn of(layout: &Layout) -> OwnStreams {
        OwnStreams(OwnStream::ALL.map(|stream| Appender::own(layout.files.clone(), layout.stream(stream.name()))))
    }

    fn appender(&mut self, stream: OwnStream) -> &mut Appender {
        &mut self.0[stream as usize]
    }
}

/// Why nothing was sealed just now.
pub struct Unsealed {
    pub what: String,
    /// For want of room.
    pub full: bool,
}

impl Unsealed {
    pub fn new(what: String, error: &io::Error) -> Unsealed {
        Unsealed { what, full: is_full(error) }
    }

    pub fn of(error: TapeError) -> Unsealed {
        let full = matches!(&error, TapeError::Write { source, .. } if is_full(source));
        Unsealed { what: error.to_string(), full }
    }
}

/// Orders for one stream that were written together.
struct Group {
    stream: OwnStream,
    orders: Vec<Order>,
    written: Written,
}

/// The tailer writes these lines itself: it alone knows whether they were sealed, and so whether they may be cut off again.
impl Tailer {
    /// Writes, seals and answers orders.
    ///
    /// # Errors
    /// The history cannot be continued.
    pub fn append(&mut self, orders: Vec<Order>) -> Result<(), String> {
        if orders.is_empty() {
            return Ok(());
        }
        if let Some(why) = self.status.troubles().not_durable {
            orders.into_iter().for_each(|order| order.answer(Err(AppendError::Failed(why.clone()))));
            return Ok(());
        }
        let (api, control) = orders.into_iter().partition(|order: &Order| order.stream == OwnStream::Api);
        let mut groups: Vec<Group> = [(OwnStream::Api, api), (OwnStream::Control, control)]
            .into_iter()
            .filter_map(|(stream, orders)| self.write(stream, orders))
            .collect();
        // Ours by name; else the whole directory, should somebody have renamed the file meanwhile.
        for by_name in [true, false] {
            if groups.is_empty() {
                break;
            }
            let scope = if by_name { self.ours_and_hinted(&groups) } else { Scope::All };
            if let Err(error) = self.poll(&scope) {
                for order in groups.into_iter().flat_map(|group| group.orders) {
                    let (stream, what) = (order.stream.name(), error.clone());
                    order.answer(Err(AppendError::Unknown { stream, what }));
                }
                return Err(error);
            }
            groups = groups.into_iter().filter_map(|group| group.placed(&self.placed)).collect();
        }
        groups.into_iter().for_each(|group| self.undo(group));
        Ok(())
    }

    /// One write for all orders of a stream; those that failed are answered.
    fn write(&mut self, stream: OwnStream, orders: Vec<Order>) -> Option<Group> {
        if orders.is_empty() {
            return None;
        }
        let lines: Vec<&str> = orders.iter().flat_map(|order| &order.lines).map(String::as_str).collect();
        let appender = self.own.appender(stream);
        match appender.append(&lines) {
            Ok(written) => Some(Group { stream, orders, written }),
            Err(error) => {
                let what = format!("{}: {error}", appender.path().display());
                tracing::warn!("nothing was appended to {what}");
                refuse(orders, &failed(stream, &Unsealed::new(what, &error)));
                None
            }
        }
    }

    /// What was written and could not be sealed is cut off again, so that the answer is true.
    fn undo(&mut self, group: Group) {
        let Group { stream, orders, written } = group;
        let why = self.unsealed.take();
        let why = why.unwrap_or_else(|| Unsealed { what: "the file cannot be followed".to_owned(), full: false });
        let error = match self.own.appender(stream).take_back(&written) {
            Ok(()) => failed(stream, &why),
            Err(error) => {
                AppendError::Unknown { stream: stream.name(), what: format!("{}, and not cut off: {error}", why.what) }
            }
        };
        self.unsealed = Some(why);
        tracing::warn!("{error}");
        refuse(orders, &error);
    }

    /// What the kernel says of our own writes is taken together with what it says of others, so that it does not wake us
    /// for nothing afterwards.
    fn ours_and_hinted(&mut self, groups: &[Group]) -> Scope {
        let ours = groups.iter().map(|group| format!("{}.jsonl", group.stream.name()));
        match self.hinted() {
            Some(Scope::All) => Scope::All,
            Some(Scope::Names(names)) => Scope::Names(ours.chain(names).collect()),
            None => Scope::Names(ours.collect()),
        }
    }
}

impl Group {
    /// Answers when the lines were placed; otherwise gives the group back.
    fn placed(self, placed: &[Placed]) -> Option<Group> {
        let mut here = placed.iter().filter(|placed| *placed.stream == *self.stream.name());
        // Both ascend; in between may stand the rest of a torn line.
        let find = |offset: &u64| here.find(|placed| placed.offset == *offset);
        let found = self.written.offsets.iter().map(find);
        let found: Option<Vec<Appended>> =
            { found }.map(|placed| placed.map(|p| Appended { position: p.position, outcome: p.outcome })).collect();
        let Some(found) = found else { return Some(self) };
        let mut found = found.into_iter();
        for order in self.orders {
            let own = found.by_ref().take(order.lines.len()).collect();
            order.answer(Ok(own));
        }
        None
    }
}

fn failed(stream: OwnStream, why: &Unsealed) -> AppendError {
    let (stream, what) = (stream.name(), why.what.clone());
    if why.full { AppendError::Full { stream, what } } else { AppendError::Io { stream, what } }
}

fn refuse(orders: Vec<Order>, error: &AppendError) {
    orders.into_iter().for_each(|order| order.answer(Err(error.clone())));
}
