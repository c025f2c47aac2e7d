use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::days::Days;
use crate::{
    decision::Numbers,
    event::{Nanos, money, time},
    policy,
    stats::near,
};

/// One subject's spending, nano-USD.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Account {
    pub by_day: Days,
    /// Spent before any time was known: of the first day that is.
    undated: i128,
    /// Granted and not yet settled.
    pub reserved: i128,
    pub exhausted: bool,
    /// The limit it was last held against; none for an agent without a budget of its own.
    pub limit: Option<Limit>,
}

/// A day's budget and what is kept back of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub daily: i128,
    buffer: i128,
}

impl Account {
    /// Nothing spent of a budget.
    pub fn under(limit: Limit) -> Account {
        Account { limit: Some(limit), ..Account::default() }
    }

    /// Fetches itself into the cache.
    #[inline]
    pub fn fetch(&self) {
        near::fetch(&self.by_day);
        near::fetch(&self.limit);
    }

    /// Fetches its last day.
    #[inline]
    pub fn fetch_behind(&self) {
        self.by_day.fetch_last();
    }

    pub fn spend(&mut self, day: Option<i64>, cost: i128) {
        match day {
            Some(day) => self.by_day.add(day, cost),
            None => self.undated += cost,
        }
    }

    /// What was spent before any time was known belongs to this day.
    pub fn date(&mut self, day: i64) {
        let undated = std::mem::take(&mut self.undated);
        self.spend(Some(day), undated);
    }

    fn spent(&self, today: Option<i64>) -> i128 {
        today.map_or(self.undated, |today| self.by_day.of(today))
    }

    /// What is neither spent nor reserved; none without a budget.
    pub fn remaining(&self, today: Option<i64>) -> Option<i128> {
        Some(self.limit?.daily - self.spent(today) - self.reserved)
    }

    /// What may still be reserved; none without a budget.
    pub fn available(&self, today: Option<i64>) -> Option<i128> {
        Some(self.remaining(today)? - self.limit?.buffer)
    }

    fn allowed(&self, today: Option<i64>) -> bool {
        self.available(today).is_none_or(|available| available >= 0)
    }

    /// What changed, if anything did.
    pub fn judge(&mut self, today: Option<i64>) -> Option<&'static str> {
        let exhausted = !self.allowed(today);
        if exhausted == self.exhausted {
            return None;
        }
        self.exhausted = exhausted;
        Some(if exhausted { "exhausted" } else { "restored" })
    }

    pub fn numbers(&self, today: Option<i64>) -> Numbers {
        let usd = |nano: Option<i128>| Value::from(nano.map(money::to_usd));
        vec![
            ("day", day_text(today)),
            ("spent_usd", usd(Some(self.spent(today)))),
            ("reserved_usd", usd(Some(self.reserved))),
            ("remaining_usd", usd(self.remaining(today))),
            ("buffer_usd", usd(self.limit.map(|limit| limit.buffer))),
        ]
    }

    pub fn row(&self, today: Option<i64>) -> Value {
        json!({
            "day": day_text(today),
            "spent_usd": money::to_usd(self.spent(today)),
            "remaining_usd": self.remaining(today).map(money::to_usd),
            "reserved_usd": money::to_usd(self.reserved),
            "daily_usd": self.limit.map(|limit| money::to_usd(limit.daily)),
            "allowed": self.allowed(today),
        })
    }

    /// Spending by day, newest first.
    pub fn days(&self) -> Value {
        let day = |(day, spent): (i64, i128)| json!({ "day": day_text(Some(day)), "spent_usd": money::to_usd(spent) });
        self.by_day.newest_first().map(day).collect()
    }
}

impl Limit {
    pub fn of(daily_usd: f64, rules: &policy::Budget) -> Limit {
        Limit { daily: money::nano_usd(daily_usd), buffer: money::nano_usd(rules.buffer_usd) }
    }
}

/// The UTC day of a time, in days since 1970.
pub fn day(nanos: Nanos) -> i64 {
    nanos.div_euclid(time::DAY)
}

fn day_text(day: Option<i64>) -> Value {
    day.map(|day| time::day_text(day * time::DAY)).into()
}
