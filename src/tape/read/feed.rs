use super::{BATCH_LINES, Reader, Until, time_of};
use crate::{
    event::{Decoded, Key, Nanos},
    fold::{Batch, Intake, Place},
    streams::RawLine,
};

/// Lines that become a batch, up to a moment or the end of a step.
pub struct Feed<'a> {
    pub intake: &'a mut Intake,
    pub batch: Batch,
    /// Lines to be passed by: intake has them.
    pub done_before: u64,
    pub at: Option<Nanos>,
    pub until: Until,
    pub step: Option<Nanos>,
    pub sink: &'a mut dyn FnMut(Batch, &Intake) -> bool,
}

impl Reader for Feed<'_> {
    /// Hands one line to intake; false when it lies past `until`, or nobody wants more.
    fn take(&mut self, line: Decoded, place: &Place, _: RawLine) -> bool {
        if self.done_before > 0 {
            self.done_before -= 1;
            return true;
        }
        let past = match self.until {
            Until::End => false,
            Until::Position(end) => self.intake.position() >= end,
            Until::Time(end) => time_of(line) > Some(end),
        };
        if past || self.enters_another_step(line) && !self.flush() {
            return false;
        }
        self.intake.line(line, place, self.at, &mut self.batch);
        self.batch.next - self.batch.first < BATCH_LINES as u64 || self.flush()
    }

    fn hear_of(&self, run: Key) {
        self.intake.hear_of(run);
    }
}

impl Feed<'_> {
    fn enters_another_step(&self, line: Decoded) -> bool {
        let (Some(step), Some(ts)) = (self.step, time_of(line)) else { return false };
        self.intake.tape_time().is_some_and(|now| ts.div_euclid(step) > now.div_euclid(step))
    }

    pub fn flush(&mut self) -> bool {
        let mut next = self.intake.begin();
        // The next batch is mostly of the size of the last.
        next.entries.reserve(self.batch.entries.len());
        next.text.reserve(self.batch.text.len());
        let batch = std::mem::replace(&mut self.batch, next);
        batch.next == batch.first || (self.sink)(batch, self.intake)
    }
}
