use std::{collections::BTreeMap, sync::Arc};

use crate::{
    fold::{Intake, Registration, Slot},
    layout::Layout,
    policy::InForce,
    store::{Snapshot, Snapshots, snapshot::Header},
    tape::{
        Horizon, HorizonError, Known, TapeError,
        journal::{Rounds, Seam},
    },
};

/// Brings consumers and intake back from their snapshots. A snapshot that does not stand on this tape, version and policy
/// counts as absent.
pub struct Restorer {
    pub layout: Layout,
    pub registry: &'static [Registration],
    pub policy: Arc<InForce>,
    pub snapshots: Snapshots,
}

/// The tape read through once: the files it names, and where those rounds end on which snapshots stand.
pub struct Survey {
    pub known: Known,
    /// By number of the round; none for a round that the tape does not have.
    seams: BTreeMap<u64, Option<Seam>>,
    /// Where history begins, and where it was pruned to.
    start: Seam,
    horizon: Option<Arc<Horizon>>,
    /// The end of the tape.
    pub end: Seam,
}

impl Survey {
    /// Reads rounds to their end; `wanted` are those on which snapshots stand.
    ///
    /// # Errors
    /// The tape cannot be read, or is damaged.
    pub fn of(rounds: &mut Rounds, wanted: impl IntoIterator<Item = u64>) -> Result<Survey, TapeError> {
        let mut seams: BTreeMap<u64, Option<Seam>> = wanted.into_iter().map(|round| (round, None)).collect();
        let (start, horizon) = (rounds.seam(), rounds.horizon().cloned());
        let mut known = Known::of(horizon.as_deref());
        if let Some(seam) = start.next_round.checked_sub(1).and_then(|last| seams.get_mut(&last)) {
            *seam = Some(start.clone());
        }
        while let Some(round) = rounds.next() {
            let round = round?;
            known.add(&round);
            if let Some(seam) = seams.get_mut(&round.round) {
                *seam = Some(rounds.seam());
            }
        }
        Ok(Survey { known, seams, start, horizon, end: rounds.seam() })
    }

    /// The first round past the end of the tape on which a snapshot stands.
    pub fn missing(&self) -> Option<u64> {
        self.seams.keys().copied().find(|round| *round >= self.end.next_round)
    }

    /// The place that a snapshot says it was taken at, if the tape has it.
    fn place(&self, header: &Header) -> Option<&Seam> {
        self.end_of(header.round, &header.tape, header.position)
    }

    /// The place where one of the wanted rounds ends, if the tape has it with this digest and position.
    pub fn end_of(&self, round: u64, tape: &str, position: u64) -> Option<&Seam> {
        let seam = self.seams.get(&round)?.as_ref()?;
        (seam.prev == tape && seam.next_position == position).then_some(seam)
    }
}

impl Restorer {
    /// The rounds on which snapshots stand.
    pub fn wanted(&self) -> Vec<u64> {
        self.snapshots.rounds()
    }

    /// Every consumer as it stood at a position or before it, in list order. One that is heard must say again what those
    /// who hear it have not folded yet: it is taken back at least as far as they are.
    ///
    /// # Errors
    /// History was pruned, and what was kept in its place cannot be used.
    pub fn slots(
        &self,
        at_most: u64,
        survey: &Survey,
        passed_over: &mut Vec<String>,
    ) -> Result<Vec<Box<dyn Slot>>, HorizonError> {
        let mut slots: Vec<Box<dyn Slot>> = Vec::with_capacity(self.registry.len());
        for (index, registration) in self.registry.iter().enumerate().rev() {
            let hearers = slots.iter().filter(|slot| slot.hears().contains(&registration.name));
            let heard = hearers.map(|slot| slot.position()).min().unwrap_or(at_most);
            slots.push(self.restored(index, heard, survey, passed_over)?);
        }
        slots.reverse();
        Ok(slots)
    }

    /// Intake where it must begin for consumers that stand at `position` or later, and the place on the tape.
    ///
    /// # Errors
    /// As [`Self::slots`].
    pub fn intake(
        &self,
        position: u64,
        survey: &Survey,
        passed_over: &mut Vec<String>,
    ) -> Result<(Intake, Seam), HorizonError> {
        let snapshot = self.newest("intake", Intake::VERSION, position, survey, passed_over);
        let loaded = snapshot.and_then(|snapshot| {
            let intake = Intake::load(self.policy.clone(), &snapshot.state);
            let intake = intake.map_err(|error| passed_over.push(format!("a snapshot of intake: {error}"))).ok()?;
            Some((intake, survey.place(&snapshot.header)?.clone()))
        });
        if let Some(loaded) = loaded {
            return Ok(loaded);
        }
        let policy = self.policy.clone();
        let intake = match &survey.horizon {
            Some(horizon) => horizon.intake(&self.layout, policy)?,
            None => Intake::new(policy),
        };
        Ok((intake, survey.start.clone()))
    }

    /// A consumer from its newest snapshot that fits, or as it stood where history begins. It does not know any names yet.
    ///
    /// # Errors
    /// As [`Self::slots`].
    pub fn restored(
        &self,
        index: usize,
        at_most: u64,
        survey: &Survey,
        passed_over: &mut Vec<String>,
    ) -> Result<Box<dyn Slot>, HorizonError> {
        let registration = &self.registry[index];
        let mut slot = (registration.new)();
        let (name, version) = (slot.name(), slot.version());
        if let Some(snapshot) = self.newest(name, version, at_most, survey, passed_over) {
            match slot.load(snapshot.header.position, &snapshot.state) {
                Ok(()) => return Ok(slot),
                Err(error) => passed_over.push(error.to_string()),
            }
        }
        survey.horizon.as_ref().map_or(Ok(slot), |horizon| horizon.slot(&self.layout, registration))
    }

    fn newest(
        &self,
        of: &str,
        version: u32,
        at_most: u64,
        survey: &Survey,
        passed_over: &mut Vec<String>,
    ) -> Option<Snapshot> {
        let fits = |header: &Header| {
            if header.version != version {
                return Err(format!("it is of version {}, this runtape has {version}", header.version));
            }
            if header.policy != self.policy.hash {
                return Err("it was made under another policy".to_owned());
            }
            match survey.place(header) {
                Some(_) => Ok(()),
                None => Err(format!("it does not stand on this tape (round {})", header.round)),
            }
        };
        match self.snapshots.newest(of, at_most, fits) {
            Ok((snapshot, passed)) => {
                passed_over.extend(passed.into_iter().map(|p| format!("{}: {}", p.path.display(), p.why)));
                snapshot
            }
            Err(error) => {
                passed_over.push(format!("the snapshots of {of}: they cannot be listed: {error}"));
                None
            }
        }
    }
}
