use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    event::{Key, Nanos, time},
    subject::Subject,
};

/// Reservations that are open: granted, and neither settled, released nor expired.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// By run and agent: nobody's run ends the reservation of another.
    open: BTreeMap<Of, Reservation>,
    by_expiry: BTreeSet<(Nanos, Of)>,
    by_agent: BTreeMap<Box<str>, i128>,
    total: i128,
    /// The largest time of a request so far.
    now: Option<Nanos>,
}

/// A run, and the name of the agent that reserved for it.
pub type Of = (Key, Box<str>);

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

    pub fn is_open(&self, run: Key, agent: &str) -> bool {
        self.open.contains_key(&(run, agent.into()))
    }

    /// The agents that reserved for a run.
    pub fn agents_of(&self, run: Key) -> impl Iterator<Item = &str> {
        let from = (run, Box::from(""));
        self.open.range(from..).take_while(move |(of, _)| of.0 == run).map(|(of, _)| &*of.1)
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
        while self.by_expiry.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, (run, agent))) = self.by_expiry.pop_first()
        {
            expired.extend(self.close(run, &agent));
        }
        expired
    }

    /// Opens a reservation of a run that has none, for so many seconds from the last request on.
    pub fn open(&mut self, run: Key, run_id: &str, agent: &str, subject: Subject, amount: i128, ttl_sec: f64) {
        let ttl = (ttl_sec * time::SECOND as f64) as Nanos;
        let expires = self.now.map(|now| now.saturating_add(ttl));
        self.by_expiry.extend(expires.map(|at| (at, (run, agent.into()))));
        *self.by_agent.entry(agent.into()).or_default() += amount;
        self.total += amount;
        let reservation = Reservation { run_id: run_id.into(), agent: agent.into(), subject, amount, expires };
        self.open.insert((run, agent.into()), reservation);
    }

    /// Ends the reservation of an agent for a run.
    pub fn close(&mut self, run: Key, agent: &str) -> Option<Reservation> {
        if self.open.is_empty() {
            return None;
        }
        let of = (run, Box::from(agent));
        let reservation = self.open.remove(&of)?;
        if let Some(at) = reservation.expires {
            self.by_expiry.remove(&(at, of));
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
