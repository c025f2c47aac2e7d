use super::{StartError, reader::Reader};
use crate::{
    fold::Slot,
    replay::restore::{Restorer, Survey},
    tape::{TapeError, journal::Rounds},
};

impl Restorer {
    /// A consumer that failed, as it was last saved, and a reader of the tape from there on.
    ///
    /// # Errors
    /// The tape cannot be read.
    pub fn again(&self, index: usize) -> Result<(Box<dyn Slot>, Reader), StartError> {
        let survey = self.survey()?;
        let mut slot = self.restored(index, u64::MAX, &survey, &mut Vec::new())?;
        let reader = self.reader_of(survey, slot.as_mut())?;
        Ok((slot, reader))
    }

    /// A reader of the tape from where a consumer stands, or a little before.
    ///
    /// # Errors
    /// The tape cannot be read.
    pub fn reader(&self, slot: &mut dyn Slot) -> Result<Reader, StartError> {
        self.reader_of(self.survey()?, slot)
    }

    fn reader_of(&self, survey: Survey, slot: &mut dyn Slot) -> Result<Reader, StartError> {
        let (intake, seam) = self.intake(slot.position(), &survey, &mut Vec::new())?;
        slot.learn(intake.subjects());
        Ok(Reader::open(&self.layout, survey, intake, &seam)?)
    }

    fn survey(&self) -> Result<Survey, TapeError> {
        Survey::of(&mut Rounds::open(&self.layout.files, &self.layout.tape())?, self.wanted())
    }
}
