use std::{
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use super::{
    Settings,
    laws::{self, Before},
    life::{Answers, DIR, Life, layout},
    report::{Report, Violation},
    world::{self, AGENTS, World},
};
use crate::{
    files::simulated::{Chance, Image, Simulated, Trouble},
    live::OwnStream,
};

/// 2026-01-05T00:00:00Z.
const START: i64 = 1_767_571_200_000_000_000;

/// One power cut in so many is the death of the program alone.
const DEATHS: u64 = 8;

/// A story drawn from a seed.
pub struct Script {
    seed: u64,
    settings: Settings,
    chance: Chance,
    disk: Simulated,
    world: World,
    answers: Answers,
    /// What was durable before the life that is on.
    durable: u64,
    report: Report,
    trace: blake3::Hasher,
    orders: u64,
}

impl Script {
    pub fn new(seed: u64, settings: Settings) -> Script {
        let disk = Simulated::new(Path::new(DIR));
        let world = World::new(disk.clone(), layout(&disk), START);
        Script {
            seed,
            settings,
            chance: Chance::new(seed),
            disk,
            world,
            answers: Answers::default(),
            durable: 0,
            report: Report { seeds: 1, ..Report::default() },
            trace: blake3::Hasher::new(),
            orders: 0,
        }
    }

    pub fn play(mut self) -> Report {
        let mut life = None;
        for _ in 0..self.settings.steps {
            if life.is_none() {
                self.alone();
                match self.begin() {
                    Ok(begun) => life = Some(begun),
                    Err(()) => break,
                }
            }
            let Some(mut living) = life.take() else { break };
            let goes_on = self.step(&mut living);
            self.check_images();
            if goes_on {
                life = Some(living);
            } else {
                self.cut(living);
            }
        }
        drop(life);
        self.end()
    }

    fn begin(&mut self) -> Result<Life, ()> {
        if self.settings.lying_disk {
            self.disk.lie();
        }
        if self.settings.trace {
            self.disk.tell();
        }
        let promised = (self.durable, self.answers.lock().unwrap_or_else(PoisonError::into_inner).len());
        self.disk.take_images(Arc::new(move || promised));
        match Life::begin(&self.disk, self.world.now, self.durable, self.answers.clone()) {
            Ok(life) => {
                self.disk.take_images(life.witness());
                Ok(life)
            }
            Err(error) => {
                self.violated(None, format!("it does not start: {error}"));
                Err(())
            }
        }
    }

    /// Producers and rotations do not wait for the program: before it is started for the first time, and again.
    fn alone(&mut self) {
        if self.chance.one_in(2) {
            return;
        }
        self.world.alone = true;
        for _ in 0..self.chance.below(6) {
            self.pass();
            let (chance, report) = (&mut self.chance, &mut self.report);
            report.count("while no program ran");
            // Calls of others do not fail: there is nothing to be told.
            let _ = self.disk.outside(|| match chance.below(4) {
                0 => self.world.sync(chance, report),
                1 => self.world.rotate(chance, report),
                _ => self.world.produce(chance, report),
            });
        }
        self.world.alone = false;
    }

    /// Time passes.
    fn pass(&mut self) {
        self.world.now += self.chance.below(30_000_000) as i64;
        self.disk.set_now(self.world.now);
    }

    /// One thing happens. False when the program must be started again.
    fn step(&mut self, life: &mut Life) -> bool {
        self.pass();
        life.now.store(self.world.now, Ordering::Release);
        let (disk, chance, report) = (self.disk.clone(), &mut self.chance, &mut self.report);
        match chance.below(40) {
            0..=7 => _ = disk.outside(|| self.world.produce(chance, report)),
            8 | 9 => _ = disk.outside(|| self.world.sync(chance, report)),
            10..=12 => _ = disk.outside(|| self.world.rotate(chance, report)),
            13..=19 => self.look(life),
            20..=25 => {
                let index = chance.below(life.steps.consumers() as u64) as usize;
                for _ in 0..chance.below(4) {
                    life.steps.fold(index);
                }
            }
            26..=28 => life.steps.keep(),
            29 | 30 => life.steps.control(),
            31..=33 => self.append(life),
            34 | 35 => {
                let trouble = Trouble { chance: chance.split(), one_in: 2 + chance.below(30), only: None };
                let on = chance.one_in(2);
                disk.trouble(on.then_some(trouble));
                if on {
                    self.report.count("disk troubled");
                }
            }
            36 => {
                let full = chance.one_in(2).then(|| chance.below(600) as usize);
                disk.room(full);
                if full.is_some() {
                    self.report.count("disk full");
                }
            }
            37 => return false,
            _ => {
                self.look(life);
                life.steps.fold_all();
                life.steps.keep();
            }
        }
        // Whoever runs it starts a program again that has failed.
        let failed = life.steps.failed().is_some() || life.steps.status().troubles().not_durable.is_some();
        !(failed && self.chance.one_in(3))
    }

    fn look(&mut self, life: &mut Life) {
        let more = life.steps.look();
        // One that found nothing more, and was not kept from looking, has seen all there is.
        if !more && life.steps.is_following() {
            self.world.looked();
        }
    }

    fn append(&mut self, life: &mut Life) {
        let mut orders = Vec::new();
        for _ in 0..1 + self.chance.below(3) {
            let stream = if self.chance.one_in(2) { OwnStream::Api } else { OwnStream::Control };
            let lines = (0..1 + self.chance.below(2)).map(|_| self.order(stream)).collect();
            orders.push((stream, lines));
        }
        let poisoned = life.steps.status().troubles().not_durable.is_some();
        let (answered, refused, _) = life.append(orders);
        (0..answered).for_each(|_| self.report.count("appended, answered"));
        (0..refused).for_each(|_| self.report.count("appended, refused"));
        if poisoned && answered > 0 {
            self.violated(None, "lines were answered for after a sync had failed".to_owned());
        }
    }

    fn order(&mut self, stream: OwnStream) -> String {
        self.orders += 1;
        let (n, ts) = (self.orders, self.world.now as f64 / 1e9);
        let agent = AGENTS[self.chance.below(4) as usize];
        if stream == OwnStream::Api {
            return format!(
                "{{\"o\":{n},\"ts\":{ts},\"run_id\":\"o{n}\",\"agent\":\"{agent}\",\"reward\":-0.7,\"cost_usd\":0.01}}"
            );
        }
        if self.chance.one_in(5) {
            self.report.count("policy changed");
            let window = 3 + self.chance.below(20);
            let limit = 1 + self.chance.below(4);
            return format!(
                "{{\"kind\":\"policy\",\"event_id\":\"o{n}\",\"ts\":{ts},\"actor\":\"ann\",\"policy\":\"[rolling]\\nwindow = {window}\\n[quarantine]\\ndrawdown_limit = -{limit}.0\\nclear_drawdown = -{limit}.0\"}}"
            );
        }
        self.report.count("command");
        let actions = ["pause", "resume", "quarantine", "clear", "kill", "revive", "promote", "demote"];
        let action = self.chance.pick(&actions).copied().unwrap_or("pause");
        format!(
            "{{\"kind\":\"command\",\"event_id\":\"o{n}\",\"ts\":{ts},\"action\":\"{action}\",\"agent\":\"{agent}\",\"actor\":\"ann\",\"reason\":\"drill\"}}"
        )
    }

    /// From the disk as it was at each call just made, the program must come back.
    fn check_images(&mut self) {
        let images = self.disk.images();
        for image in images {
            self.report.count(format!("power cut after {}", image.call));
            let wanted = self.settings.points.is_none_or(|points| self.report.points < points);
            if wanted {
                self.check(&image);
            }
        }
    }

    fn check(&mut self, image: &Image) {
        self.report.points += 1;
        let disk = self.left_of(image);
        let left = if self.settings.trace { disk.shown() } else { Vec::new() };
        match self.outcome(image, &disk) {
            Ok(hash) => {
                self.trace.update(hash.as_bytes());
            }
            Err(what) => {
                if self.settings.trace {
                    let told = [("before", image.survive().shown()), ("left", left), ("after", disk.shown())];
                    let lines = told.into_iter().flat_map(|(when, files)| {
                        files.into_iter().map(move |file| format!("call {}, {when}: {file}", image.number))
                    });
                    self.report.told.extend(lines);
                }
                self.violated(
                    Some(image.number),
                    format!("{what} (power cut after {} {})", image.call, image.path.display()),
                );
            }
        }
    }

    /// What a power cut leaves of the disk of an image, or the death of the program alone.
    fn left_of(&mut self, image: &Image) -> Simulated {
        // One chance per image: whether others are looked at makes no difference to it.
        let mut chance = Chance::new(self.seed ^ image.number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        if chance.one_in(DEATHS) {
            self.report.count("program killed");
            return image.survive();
        }
        image.settle(&mut chance, &mut self.report.disk)
    }

    fn outcome(&mut self, image: &Image, disk: &Simulated) -> Result<String, String> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answers = &answers[..image.answered.min(answers.len())];
        let seen = layout(&image.survive());
        if image.path == seen.controls() {
            self.report.count("controls checked");
            (0..laws::permits(&seen)).for_each(|_| self.report.count("permissions checked"));
        }
        let left = world::streams(disk);
        let before = Before { image, lines: &self.world.lines, answers, seen, left: &left };
        laws::check_files(&layout(disk), &before)?;
        let mut life = Life::begin(disk, self.world.now, image.durable, Answers::default())
            .map_err(|error| format!("it does not start: {error}"))?;
        if life.steps.started().restored.iter().any(|(_, position)| *position > 0) {
            self.report.count("restored from snapshots");
        }
        if life.steps.started().torn.is_some() {
            self.report.count("tape cut at the start");
        }
        if !life.rest() {
            let why = life.steps.failed().unwrap_or("it does not come to rest").to_owned();
            return Err(format!("it cannot go on: {why}"));
        }
        let sound = laws::check(&life, &before)?;
        (0..sound.decisions).for_each(|_| self.report.count("decisions checked"));
        Ok(sound.state_hash)
    }

    /// The power is cut, or the program killed, and the story goes on from what is there.
    fn cut(&mut self, life: Life) {
        let image = self.disk.image();
        let poisoned = life.steps.status().troubles().not_durable.is_some();
        drop(life);
        self.trace.update(self.disk.trace().as_bytes());
        self.report.told.extend(self.disk.told());
        self.report.disk.merge(&self.disk.tally());
        // What a failed sync lost is seen until the machine starts again: only then is the disk what it says.
        self.disk = if self.chance.one_in(2) && !poisoned {
            self.report.count("program killed, went on");
            image.survive()
        } else {
            self.report.count("power cut, went on");
            image.settle(&mut self.chance, &mut self.report.disk)
        };
        self.durable = image.durable;
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|answer| answer.position < image.durable);
        drop(answers);
        self.world.on(self.disk.clone(), layout(&self.disk));
    }

    fn end(mut self) -> Report {
        self.trace.update(self.disk.trace().as_bytes());
        self.report.told.extend(self.disk.told());
        self.report.disk.merge(&self.disk.tally());
        self.report.trace = self.trace.finalize().to_hex().to_string();
        self.report
    }

    fn violated(&mut self, call: Option<u64>, what: String) {
        self.trace.update(what.as_bytes());
        self.report.violations.push(Violation { seed: self.seed, call, what });
    }
}
