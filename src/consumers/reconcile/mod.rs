//! Signals and prices to realized profit, for agents that do not report their own: entry at the first price at or after
//! the signal, exit at an opposite or flat signal, at a horizon, or at a stop. Every position closed becomes a pnl line of
//! the stream `reconcile`. Off until switched on in the policy.

/// Positions, and what becomes of them.
mod book;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::book::{Book, Closed, OPEN_MAX, Position};
use crate::{
    decision::{DecisionLine, Numbers},
    event::{Direction, Nanos, time},
    fold::{At, Body, Consumer, Decisions, Event, batch::Alpha},
    policy::Limits,
    subject::{PerSubject, Subject},
    view::{Family, Load, MetricType, Row, Samples},
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Reconcile {
    book: Book,
    agents: PerSubject<Count>,
    fleet: Count,
    /// Prices that are none: zero or negative.
    worthless_prices: u64,
    enabled: bool,
}

/// What became of the positions of a subject.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Count {
    opened: u64,
    closed: u64,
    /// Its producer reported the profit itself.
    reported: u64,
    /// Closed by a signal before any price came.
    unfilled: u64,
    /// Signals beyond the bound of positions.
    refused: u64,
}

const CLOSED: usize = 0;
const OPEN: usize = 1;

impl Consumer for Reconcile {
    const NAME: &'static str = "reconcile";
    const VERSION: u32 = 1;
    const STREAM: Option<&'static str> = Some("reconcile");
    const FAMILIES: &'static [Family] = &[
        Family::new("reconciled_total", MetricType::Counter, "Signals reconciled to realized profit."),
        Family::new("reconcile_open", MetricType::Gauge, "Signals that are not reconciled yet."),
    ];

    #[inline]
    fn apply(&mut self, at: &At, event: &Event, out: &mut Decisions) {
        self.enabled = at.policy().reconcile.enabled;
        if !self.enabled {
            return;
        }
        match &event.body {
            Body::Alpha(alpha) => self.signal(at, event, alpha, out),
            Body::Price(price) => {
                if price.price > 0.0 {
                    let symbol = price.symbol.map_or("", |symbol| at.text(symbol));
                    let rules = &at.policy().reconcile;
                    for closed in self.book.price(symbol, price.price, event.time, rules) {
                        self.close(closed, out);
                    }
                } else {
                    self.worthless_prices += 1;
                }
            }
            Body::Pnl(pnl) => {
                for position in event.run.map_or(Vec::new(), |run| self.book.reported(run, pnl.realized_pnl_bps)) {
                    self.count(position.agent, |count| count.reported += 1, out);
                }
            }
            _ => {}
        }
    }

    fn samples(&self, subject: Subject, out: &mut Samples) {
        if let Some(count) = self.agents.get(subject).filter(|count| count.opened > 0) {
            out.number(CLOSED, count.closed as f64);
            out.number(OPEN, count.open() as f64);
        }
    }

    fn loads(&self, _limits: &Limits) -> Vec<Load> {
        vec![Load::new("open_positions", OPEN_MAX, self.book.len(), self.fleet.refused)]
    }

    fn row(&self, subject: Subject, out: &mut Row) {
        if let Some(count) = self.agents.get(subject).filter(|count| count.opened > 0) {
            out.insert("reconcile".to_owned(), count.row());
        }
    }

    fn summary(&self, _tape_time: Option<Nanos>) -> Option<(&'static str, Value)> {
        if !self.enabled && self.fleet.opened == 0 {
            return None;
        }
        let mut row = self.fleet.row();
        row["unpriced"] = self.book.unpriced().into();
        row["worthless_prices"] = self.worthless_prices.into();
        Some(("reconcile", row))
    }

    /// A pnl line; its id follows from the position of its signal, so that a refold makes no other.
    fn line(decision: &DecisionLine) -> Option<String> {
        let reason = &decision.reason;
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| drop(line.insert(key.to_owned(), value));
        put("kind", "pnl".into());
        put("event_id", format!("reconcile-{}", reason.get("alpha")?.as_u64()?).into());
        put("ts", reason.get("exit_time").cloned().unwrap_or_default());
        put("agent", decision.subject.as_str().into());
        for key in ["run_id", "symbol", "entry_price", "exit_price", "realized_pnl_bps", "notional_usd"] {
            put(key, reason.get(key).cloned().unwrap_or_default());
        }
        put("cause", decision.cause.into());
        put("ordinal", decision.ordinal.into());
        Some(Value::Object(line).to_string())
    }
}

impl Reconcile {
    fn signal(&mut self, at: &At, event: &Event, alpha: &Alpha, out: &mut Decisions) {
        let (Some(agent), Some(symbol), Some(direction)) = (event.agent, alpha.symbol, alpha.direction) else { return };
        let symbol = at.text(symbol);
        for unfilled in self.book.turn(agent, symbol, direction, event.time) {
            self.count(unfilled.agent, |count| count.unfilled += 1, out);
        }
        if direction == Direction::Flat {
            return;
        }
        let position = Position {
            alpha: at.position,
            agent,
            run: event.run,
            run_id: event.run_id.map(|id| at.text(id).into()),
            long: direction == Direction::Long,
            notional_usd: alpha.notional_usd,
            signal_time: event.time,
            entry: None,
            exit_from: None,
            exit_due: false,
        };
        let opened = self.book.open(symbol, position);
        self.count(agent, |count| if opened { count.opened += 1 } else { count.refused += 1 }, out);
    }

    fn close(&mut self, closed: Closed, out: &mut Decisions) {
        let seconds = |time: Option<Nanos>| Value::from(time.map(time::format));
        let position = &closed.position;
        let numbers: Numbers = vec![
            ("alpha", position.alpha.into()),
            ("run_id", position.run_id.as_deref().into()),
            ("symbol", (*closed.symbol).into()),
            ("direction", if position.long { "LONG" } else { "SHORT" }.into()),
            ("entry_price", closed.entry_price.into()),
            ("entry_time", seconds(closed.entry_time)),
            ("exit_price", closed.exit_price.into()),
            ("exit_time", seconds(closed.exit_time)),
            ("gross_bps", closed.gross_bps.into()),
            ("realized_pnl_bps", closed.net_bps.into()),
            ("notional_usd", position.notional_usd.into()),
        ];
        out.emit(Subject::Agent(position.agent), "reconciled", closed.why, numbers);
        self.count(position.agent, |count| count.closed += 1, out);
    }

    fn count(&mut self, agent: u32, change: impl Fn(&mut Count), out: &mut Decisions) {
        change(&mut self.fleet);
        self.agents.entry(Subject::Agent(agent)).into_iter().for_each(change);
        out.touch(Subject::Agent(agent));
    }
}

impl Count {
    fn open(&self) -> u64 {
        self.opened - self.closed - self.reported - self.unfilled
    }

    fn row(&self) -> Value {
        json!({
            "opened": self.opened,
            "open": self.open(),
            "closed": self.closed,
            "reported": self.reported,
            "unfilled": self.unfilled,
            "refused": self.refused,
        })
    }
}
