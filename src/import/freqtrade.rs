use std::collections::BTreeMap;

use serde_json::Value;

use super::{Draft, Drafts, Record, draft, value};
use crate::event::{
    fields::Id,
    time::{self, Nanos},
};

/// How trades are named.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The agent; its strategy's name where there is none.
    pub agent: Option<String>,
}

/// Stake currencies that are worth a US dollar.
const DOLLARS: [&str; 8] = ["USD", "USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "USDP"];

/// The trades of backtest results: the document that `freqtrade backtesting --export trades` writes, which has
/// `strategy.NAME.trades` and `strategy.NAME.stake_currency`. A trade has (`BT_DATA_COLUMNS` of freqtrade) `pair`,
/// `stake_amount`, `open_date`, `close_date`, `open_rate`, `close_rate`, `profit_ratio`, `is_open`, `is_short`,
/// `enter_tag`, `open_timestamp` and `close_timestamp` (milliseconds); older ones have no `is_short` and only buy. It is an
/// alpha line at its opening and, once closed, a pnl line at its closing. `profit_ratio` is net of fees and is taken of the
/// stake, which therefore is the size of the position also under leverage; a stake in anything but dollars is left out.
pub fn convert(documents: &[Record], options: &Options) -> Drafts {
    let mut all = Drafts::default();
    for document in documents {
        let Some(strategies) = document.value.get("strategy").and_then(Value::as_object) else {
            let why = "it has no strategy.NAME.trades; want the result of freqtrade backtesting --export trades";
            all.refuse(&document.place, why);
            continue;
        };
        for (strategy, result) in strategies {
            let Some(trades) = result.get("trades").and_then(Value::as_array) else {
                all.refuse(&document.place, format!("strategy.{strategy} has no list of trades"));
                continue;
            };
            let mut of = Of {
                strategy,
                agent: options.agent.as_deref().unwrap_or(strategy),
                currency: result.get("stake_currency").and_then(Value::as_str),
                opened: BTreeMap::new(),
            };
            let file = document.place.strip_suffix(" record 1").unwrap_or(&document.place);
            for (number, trade) in trades.iter().enumerate() {
                all.see(trade);
                let place = format!("{file} strategy.{strategy}.trades[{number}]");
                if let Err(why) = of.trade(&mut all, &place, trade) {
                    all.refuse(&place, why);
                }
            }
        }
    }
    all
}

/// One strategy of a result.
struct Of<'a> {
    strategy: &'a str,
    agent: &'a str,
    currency: Option<&'a str>,
    /// How often a pair was entered at a time.
    opened: BTreeMap<(String, Nanos), usize>,
}

impl Of<'_> {
    fn trade(&mut self, all: &mut Drafts, place: &str, trade: &Value) -> Result<(), String> {
        let pair = all.text(trade, &["pair"]).ok_or("it has no pair")?;
        let opened = all.time(trade, &["open_timestamp", "open_date"]);
        let opened = opened.ok_or("it has no usable open_timestamp (milliseconds) or open_date")?;
        let id = match all.text(trade, &["trade_id"]) {
            Some(id) => id,
            None => {
                let nth = self.opened.entry((pair.clone(), opened)).or_default();
                *nth += 1;
                nth.to_string()
            }
        };
        let run = draft::name(format!("{}:{pair}:{}:{id}", self.agent, opened / 1_000_000));
        let dollars = self.currency.or_else(|| quote(&pair)).is_some_and(|currency| DOLLARS.contains(&currency));
        let line = |kind: &str, at: Nanos, path: &str| {
            let mut draft = Draft::new(place, format!("{kind}\0{run}"));
            draft.set(Id::Kind, kind, "");
            draft.set(Id::Ts, time::format(at), path);
            draft.set(Id::RunId, run.as_str(), "pair, open_timestamp, trade_id");
            draft.set(Id::Agent, self.agent, "strategy");
            draft.set(Id::Strategy, self.strategy, "strategy");
            draft.set(Id::Symbol, pair.as_str(), "pair");
            draft
        };
        let mut alpha = line("alpha", opened, "open_timestamp");
        let short = all.find(trade, &["is_short"]).is_some_and(|(short, _)| value::is_true(&short));
        alpha.set(Id::Direction, if short { "SHORT" } else { "LONG" }, "is_short");
        let mut drafts = vec![alpha];
        if !all.find(trade, &["is_open"]).is_some_and(|(open, _)| value::is_true(&open)) {
            let closed = all.time(trade, &["close_timestamp", "close_date"]);
            let closed = closed.ok_or("it is closed but has no usable close_timestamp or close_date")?;
            let profit = all.number(trade, &["profit_ratio"]).ok_or("it is closed but has no profit_ratio")?;
            let mut pnl = line("pnl", closed, "close_timestamp");
            pnl.set(Id::RealizedPnlBps, value::of_number(value::times(profit, 1e4)), "profit_ratio");
            all.copy(&mut pnl, Id::EntryPrice, trade, &["open_rate"]);
            all.copy(&mut pnl, Id::ExitPrice, trade, &["close_rate"]);
            drafts.push(pnl);
        }
        for mut draft in drafts {
            if dollars {
                all.copy(&mut draft, Id::NotionalUsd, trade, &["stake_amount"]);
            } else {
                note(all, "the stake is not in US dollars: notional_usd is left out");
            }
            all.drafts.push(draft);
        }
        Ok(())
    }
}

/// What a pair is paid with: USDT of `ETH/USDT` and of the future `ETH/USDT:USDT`.
fn quote(pair: &str) -> Option<&str> {
    pair.split_once('/').map(|(_, quote)| quote.split(':').next().unwrap_or(quote))
}

fn note(all: &mut Drafts, text: &str) {
    if !all.notes.iter().any(|note| note == text) {
        all.notes.push(text.to_owned());
    }
}
