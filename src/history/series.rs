use std::{ops::RangeInclusive, sync::Arc};

use super::schema::{Column, Kind, Value};
use crate::{
    event::Nanos,
    fold::{Batch, Engine},
    render::exposition::Shown,
    subject::{Subject, Subjects},
    view::{Family, MetricType, Sample, Samples, Shelf},
};

/// How long nothing may happen before the series end: then nobody recorded, and they begin again with the next line.
pub const SILENCE_MAX: Nanos = 3_600_000_000_000;

/// The state of everybody at the steps of a history: what a server would have shown then.
pub struct Sampler {
    step: Nanos,
    /// The time of the last line.
    now: Option<Nanos>,
    shelves: Vec<Shelf>,
    /// The consumers that showed something of the fleet before the first look, by number.
    of_fleet: Vec<bool>,
}

impl Sampler {
    /// `step` in nanoseconds, more than 0.
    pub fn new(step: Nanos) -> Sampler {
        Sampler { step, now: None, shelves: Vec::new(), of_fleet: Vec::new() }
    }

    /// The same, where the last line was at `now`, and these consumers showed something of the fleet.
    pub fn at(self, now: Option<Nanos>, of_fleet: Vec<bool>) -> Sampler {
        Sampler { now, of_fleet, ..self }
    }

    /// The consumers that show something of the fleet.
    pub fn of_fleet(&self) -> Vec<bool> {
        if self.shelves.is_empty() {
            return self.of_fleet.clone();
        }
        self.shelves.iter().map(|shelf| shelf.get(Subject::Fleet).is_some()).collect()
    }

    pub fn now(&self) -> Option<Nanos> {
        self.now
    }

    /// The steps between the last line and the next batch, at which the consumers still stand as they are.
    pub fn due(&mut self, batch: &Batch) -> Option<RangeInclusive<i64>> {
        let next = batch.entries.iter().find_map(|entry| entry.now)?;
        let last = self.now.unwrap_or(next).max(next);
        let before = self.now.replace(last)?;
        let steps = self.after(before)..=last.div_euclid(self.step).min(self.last_of(before));
        (!steps.is_empty()).then_some(steps)
    }

    /// The step behind the last line.
    pub fn last(&self) -> Option<i64> {
        self.now.map(|now| self.after(now))
    }

    fn after(&self, now: Nanos) -> i64 {
        now.div_euclid(self.step) + 1
    }

    fn last_of(&self, now: Nanos) -> i64 {
        now.saturating_add(SILENCE_MAX.max(self.step)).div_euclid(self.step)
    }

    /// The time of a step.
    pub fn time(&self, step: i64) -> Nanos {
        step.saturating_mul(self.step)
    }

    /// Brings the samples of all who changed to what the consumers hold now.
    pub fn look(&mut self, engine: &mut Engine) {
        let fresh = self.shelves.is_empty();
        self.shelves.resize_with(engine.slots().len(), Shelf::default);
        for (number, (slot, shelf)) in engine.slots_mut().iter_mut().zip(&mut self.shelves).enumerate() {
            // A consumer that was loaded has all its agents to tell of, and does not know what it told of the fleet.
            let of_fleet = fresh && self.of_fleet.get(number).is_some_and(|showed| *showed);
            for subject in slot.take_touched().into_iter().chain(of_fleet.then_some(Subject::Fleet)) {
                let mut samples = Samples::default();
                slot.samples(subject, &mut samples);
                // Pointers into lines that are long gone: series of the past have none.
                samples.list = samples.list.into_iter().map(Sample::without_exemplars).collect();
                shelf.put(subject, samples);
            }
        }
    }

    /// What is shown, consumer by consumer.
    pub fn shown<'a>(&'a self, engine: &'a Engine) -> Vec<Shown<'a>> {
        let slots = engine.slots().iter().zip(&self.shelves);
        slots.map(|(slot, samples)| Shown { families: slot.families(), subjects: slot.subjects(), samples }).collect()
    }

    /// The samples of an agent, consumer by consumer; none of one that is hidden.
    pub fn of(&self, agent: u32) -> Option<Vec<Option<&Arc<Samples>>>> {
        let all: Vec<_> = self.shelves.iter().map(|shelf| shelf.get(Subject::Agent(agent))).collect();
        let hidden = all.iter().flatten().any(|samples| samples.hidden);
        (!hidden && all.iter().any(Option::is_some)).then_some(all)
    }
}

/// How a family becomes a column. Histograms have none.
fn kind_of(family: &Family) -> Option<Kind> {
    match (family.kind, family.labels) {
        (MetricType::Histogram, _) => None,
        (MetricType::Gauge, [_, ..]) => Some(Kind::Text),
        _ => Some(Kind::Float),
    }
}

/// The columns of the table of series: time, agent, and what the consumers of an engine show of one.
pub fn columns(engine: &Engine) -> Vec<Column> {
    let fixed = [("ts", Kind::Time), ("agent", Kind::Text)];
    let fixed = fixed.map(|(name, kind)| Column { name: name.to_owned(), kind });
    let families = engine.slots().iter().flat_map(|slot| slot.families());
    let shown = families.filter_map(|family| Some(Column { name: family.name.to_owned(), kind: kind_of(family)? }));
    fixed.into_iter().chain(shown).collect()
}

/// Hands on a row of [`columns`] for every agent at a moment.
///
/// # Errors
/// Those of `take`.
pub fn rows<E>(
    sampler: &Sampler,
    engine: &Engine,
    at: Nanos,
    mut take: impl FnMut(&[Value]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(subjects) = engine.slots().first().map(|slot| slot.subjects()) else { return Ok(()) };
    let mut fields = Vec::new();
    for agent in 0..subjects.agents.len() as u32 {
        let Some(samples) = sampler.of(agent) else { continue };
        fields.clear();
        fields.extend([Value::time(Some(at)), Value::Text(name(subjects, agent))]);
        for (slot, samples) in engine.slots().iter().zip(&samples) {
            let list = samples.map_or(&[][..], |samples| &samples.list);
            let families = slot.families().iter().enumerate();
            fields.extend(families.filter_map(|(number, family)| {
                let own = || list.iter().filter(move |sample| sample.family == number);
                Some(match kind_of(family)? {
                    Kind::Text => state(own()),
                    _ => sum(own()),
                })
            }));
        }
        take(&fields)?;
    }
    Ok(())
}

fn name(subjects: &Subjects, agent: u32) -> &str {
    subjects.agents.get(agent as usize).map_or("?", |name| name)
}

/// The label of the series that is 1, of those that say a state by a 1.
fn state<'a>(mut samples: impl Iterator<Item = &'a Sample>) -> Value<'a> {
    let holds = |sample: &&Sample| sample.number() == Some(1.0);
    samples.find(holds).and_then(|sample| sample.labels().first()).map_or(Value::Null, |label| Value::Text(label))
}

/// The number of a family, over all values of its labels.
fn sum<'a>(samples: impl Iterator<Item = &'a Sample>) -> Value<'static> {
    let numbers = samples.filter_map(Sample::number);
    numbers.reduce(|sum, number| sum + number).map_or(Value::Null, Value::Float)
}
