use std::collections::VecDeque;

use foldhash::HashMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    event::{Key, Nanos, money, time},
    fold::{Event, batch::Pnl},
    subject::{PerSubject, Subject},
};

/// What each agent realized on the UTC day of the tape time, nano-USD, and the sizes that signals named.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Losses {
    /// Days since 1970.
    today: Option<i64>,
    agents: PerSubject<Day>,
    notionals: Notionals,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Day {
    day: Option<i64>,
    realized: i128,
}

/// Sizes of the last so many runs whose signal named one, US dollars; the last signal of a run counts.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Vec<(Key, f64)>")]
struct Notionals {
    order: VecDeque<Key>,
    by_run: HashMap<Key, f64>,
}

impl Losses {
    /// Goes on to the day of a time.
    pub fn turn(&mut self, now: Option<Nanos>) {
        let before = self.today;
        self.today = now.map(day).or(before);
        if before.is_none() && self.today.is_some() {
            // What was realized before any time was known is of the first day that is.
            for (_, account) in self.agents.agents_mut().filter(|(_, account)| account.day.is_none()) {
                account.day = self.today;
            }
        }
    }

    /// A signal of a run: the size it asks for.
    pub fn signal(&mut self, run: Option<Key>, notional_usd: Option<f64>, horizon: usize) {
        if let Some((run, notional)) = run.zip(notional_usd) {
            self.notionals.insert(run, notional, horizon);
        }
    }

    /// Profit or loss: basis points of the record's size, else of its signal's, else of the largest there may be.
    pub fn realize(&mut self, agent: u32, event: &Event, pnl: &Pnl, largest_usd: f64) {
        let of_signal = || event.run.and_then(|run| self.notionals.by_run.get(&run).copied());
        let notional = pnl.notional_usd.or_else(of_signal).unwrap_or(largest_usd).abs();
        let day = event.time.map(day);
        let Some(account) = self.agents.entry(Subject::Agent(agent)) else { return };
        if day > account.day {
            *account = Day { day, realized: 0 };
        }
        if day == account.day {
            let realized = money::nano_usd(pnl.realized_pnl_bps / 10_000.0 * notional);
            account.realized = account.realized.saturating_add(realized);
        }
    }

    /// What an agent realized today, nano-USD; a loss is negative.
    pub fn today(&self, agent: Subject) -> i128 {
        let account = self.agents.get(agent).filter(|account| account.day == self.today);
        account.map_or(0, |account| account.realized)
    }
}

fn day(nanos: Nanos) -> i64 {
    nanos.div_euclid(time::DAY)
}

impl Notionals {
    fn insert(&mut self, run: Key, notional: f64, horizon: usize) {
        if self.by_run.insert(run, notional).is_none() {
            self.order.push_back(run);
        }
        while self.order.len() > horizon {
            if let Some(old) = self.order.pop_front() {
                self.by_run.remove(&old);
            }
        }
    }
}

impl From<Vec<(Key, f64)>> for Notionals {
    fn from(saved: Vec<(Key, f64)>) -> Self {
        Notionals { order: saved.iter().map(|(run, _)| *run).collect(), by_run: saved.into_iter().collect() }
    }
}

impl Serialize for Notionals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.order.iter().map(|run| (run, self.by_run.get(run).copied().unwrap_or(0.0))))
    }
}
