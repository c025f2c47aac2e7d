use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    event::{Key, Nanos, time},
    subject::Subject,
};

/// Reservations that are open: granted, and neither settled, released nor expired.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    open: BTreeMap<Key, Reservation>,
    by_expiry: BTreeSet<(Nanos, Key)>,
    by_agent: BTreeMap<Box<str>, i128>,
    total: i128,
    /// The largest time of a request so far.
    now: Option<Nanos>,
}

/// Budget set aside for a run, by its amount in nano-USD.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reservation {
    pub run_id: Box<str>,
    pub agent: Box<str>,
    /// As it was known when it reserved.
    pub subject: Subject,
    pub amount: i128,
    expires: Option<Nanos>,
}

impl Ledger {
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn get(&self, run: Key) -> Option<&Reservation> {
        self.open.get(&run)
    }

    /// All that is reserved.
    pub fn total(&self) -> i128 {
        self.total
    }

    /// What an agent has reserved.
    pub fn of(&self, agent: &str) -> i128 {
        self.by_agent.get(agent).copied().unwrap_or(0)
    }

    /// Goes on to the time of a request; returns what expired by then, the earliest first.
    pub fn advance(&mut self, time: Option<Nanos>) -> Vec<Reservation> {
        self.now = self.now.max(time);
        let Some(now) = self.now else { return Vec::new() };
        let mut expired = Vec::new();
        while let Some((at, run)) = self.by_expiry.first().copied().filter(|(at, _)| *at <= now) {
            self.by_expiry.remove(&(at, run));
            expired.extend(self.close(run));
        }
        expired
    }

    /// Opens a reservation of a run that has none, for so many seconds from the last request on.
    pub fn open(&mut self, run: Key, run_id: &str, agent: &str, subject: Subject, amount: i128, ttl_sec: f64) {
        let ttl = (ttl_sec * time::SECOND as f64) as Nanos;
        let expires = self.now.map(|now| now.saturating_add(ttl));
        self.by_expiry.extend(expires.map(|at| (at, run)));
        *self.by_agent.entry(agent.into()).or_default() += amount;
        self.total += amount;
        let reservation = Reservation { run_id: run_id.into(), agent: agent.into(), subject, amount, expires };
        self.open.insert(run, reservation);
    }

    /// Ends the reservation of a run.
    pub fn close(&mut self, run: Key) -> Option<Reservation> {
        let reservation = self.open.remove(&run)?;
        if let Some(at) = reservation.expires {
            self.by_expiry.remove(&(at, run));
        }
        self.total -= reservation.amount;
        if let Some(of_agent) = self.by_agent.get_mut(&reservation.agent) {
            *of_agent -= reservation.amount;
            if *of_agent == 0 {
                self.by_agent.remove(&reservation.agent);
            }
        }
        Some(reservation)
    }
}
