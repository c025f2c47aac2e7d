use std::ops::Range;

use super::Emitted;
use crate::{decision::Decision, event::Nanos};

/// What others said of a batch, each list sorted by position, and how far of it was heard.
pub struct Heard<'a> {
    voices: Vec<&'a [Emitted]>,
    next: u64,
}

impl<'a> Heard<'a> {
    /// The next position when there is nothing more to hear.
    pub const NOBODY: u64 = u64::MAX;

    /// What was said at some positions: whoever is heard may be ahead, or say again what was heard before.
    pub fn of(lists: &[&'a [Emitted]], positions: &Range<u64>) -> Heard<'a> {
        let mut heard = Heard { voices: lists.iter().map(|list| within(list, positions)).collect(), next: 0 };
        heard.next = heard.first();
        heard
    }

    /// The position of the first decision that is still to be heard.
    #[inline]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The tape time at that position.
    pub fn tape_time(&self) -> Option<Nanos> {
        self.firsts().find(|decision| decision.cause == self.next)?.tape_time
    }

    /// Hands over all that was said at that position, and goes on to the next.
    pub fn take(&mut self, mut hear: impl FnMut(&Decision)) {
        for voice in &mut self.voices {
            while let Some((first, rest)) = voice.split_first().filter(|(first, _)| first.decision.cause == self.next) {
                hear(&first.decision);
                *voice = rest;
            }
        }
        self.next = self.first();
    }

    fn first(&self) -> u64 {
        self.firsts().map(|decision| decision.cause).min().unwrap_or(Heard::NOBODY)
    }

    fn firsts(&self) -> impl Iterator<Item = &Decision> {
        self.voices.iter().filter_map(|voice| voice.first()).map(|emitted| &emitted.decision)
    }
}

fn within<'a>(list: &'a [Emitted], positions: &Range<u64>) -> &'a [Emitted] {
    let from = list.partition_point(|emitted| emitted.decision.cause < positions.start);
    let rest = &list[from..];
    &rest[..rest.partition_point(|emitted| emitted.decision.cause < positions.end)]
}
