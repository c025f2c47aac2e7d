use std::io::Write;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Found, Output, Usage, desk::Way, figures, reading};
use crate::render::human;

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    way: Way,
    /// Who wants to trade
    agent: String,
    /// What it wants to trade
    #[arg(long)]
    symbol: Option<String>,
    /// Size of the order, US dollars
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    notional: Option<f64>,
    /// What it expects to earn, basis points
    #[arg(long, value_name = "BPS", allow_negative_numbers = true)]
    edge: Option<f64>,
    /// Spread it pays, basis points
    #[arg(long, value_name = "BPS", allow_negative_numbers = true)]
    spread: Option<f64>,
    /// Slippage it expects, basis points
    #[arg(long, value_name = "BPS", allow_negative_numbers = true)]
    slippage: Option<f64>,
    /// Age of the data it goes by, seconds
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    data_age: Option<f64>,
    /// On paper only
    #[arg(long)]
    paper: bool,
    /// The order makes a position smaller
    #[arg(long)]
    reduce: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Check {
    pub fn run(self) -> anyhow::Result<Found> {
        let reply = self.way.open()?.check(self.fields()?)?;
        let mut out = reading::stdout();
        match self.output {
            Output::Text => writeln!(out, "{}", words(&self.agent, &reply))?,
            Output::Jsonl => writeln!(out, "{reply}")?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut out, &reply)?;
                writeln!(out)?;
            }
        }
        out.flush()?;
        Ok(if reply["verdict"] == "allow" { Found::Nothing } else { Found::Something })
    }

    /// The fields of a check line; what was not given is left out, and is a reason to deny.
    fn fields(&self) -> Result<Map<String, Value>, Usage> {
        let mut fields = Map::new();
        fields.insert("agent".to_owned(), self.agent.as_str().into());
        if let Some(symbol) = &self.symbol {
            fields.insert("symbol".to_owned(), symbol.as_str().into());
        }
        let numbers = [
            ("notional_usd", "--notional", self.notional),
            ("expected_edge_bps", "--edge", self.edge),
            ("spread_bps", "--spread", self.spread),
            ("slippage_bps", "--slippage", self.slippage),
            ("data_age_sec", "--data-age", self.data_age),
        ];
        for (field, option, number) in numbers {
            let Some(number) = number else { continue };
            if !number.is_finite() {
                return Err(Usage(format!("{option} {number}: want a finite number")));
            }
            fields.insert(field.to_owned(), number.into());
        }
        for (field, given) in [("paper", self.paper), ("reduce", self.reduce)] {
            if given {
                fields.insert(field.to_owned(), json!(true));
            }
        }
        Ok(fields)
    }
}

/// The verdict with what speaks for and against it.
fn words(agent: &str, reply: &Value) -> String {
    let mut text = format!("{} {}", figures::text(&reply["verdict"]), human::visible(agent));
    if let Some(size) = reply["size_multiplier"].as_f64() {
        text += &format!("  size {}", figures::three(size));
    }
    if reply["mode"] == "observe" {
        text += "  (observing: nothing is denied)";
    }
    let reason = &reply["decision"]["reason"];
    for code in reply["reasons"].as_array().into_iter().flatten() {
        text += &format!("\n  {}", why(code.as_str().unwrap_or("?"), reason));
    }
    text
}

/// A reason with its numbers, where it has any.
fn why(code: &str, numbers: &Value) -> String {
    let against = |has: &str, limit: &str, unit: &str| {
        format!("{code}: {} against {} {unit}", figures::short(&numbers[has]), figures::short(&numbers[limit]))
    };
    match code {
        "notional" => against("notional_usd", "max_notional_usd", "US dollars at this size"),
        "edge" => against("net_edge_bps", "min_net_edge_bps", "bps after spread and slippage"),
        "stale_data" => against("data_age_sec", "max_data_age_sec", "seconds"),
        "daily_loss" => against("loss_today_usd", "daily_loss_limit_usd", "US dollars lost today"),
        "unknown_agent" => format!("{code}: it has no run, signal or profit yet, or the name is another"),
        "not_promoted" => format!("{code}: only the promoted trade live; --paper is open to it"),
        "paper_only" => format!("{code}: desk.paper_only keeps everybody on paper; --paper is open to it"),
        _ => match code.strip_prefix("missing:") {
            Some(field) => format!("{code}: the order does not say its {}", human::visible(field)),
            None => human::visible(code).into_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_told_with_its_numbers() {
        let reply = json!({
            "verdict": "deny", "size_multiplier": 0.857375, "mode": "enforce",
            "reasons": ["killed", "missing:symbol", "notional", "edge"],
            "decision": { "reason": { "notional_usd": 30_000.0, "max_notional_usd": 21_434.375, "net_edge_bps": -1.5,
                                      "min_net_edge_bps": 0.0 } },
        });
        let want = "deny a\\t  size 0.857\n  killed\n  missing:symbol: the order does not say its symbol\n  \
                    notional: 30000 against 21400 US dollars at this size\n  \
                    edge: -1.5 against 0 bps after spread and slippage";
        assert_eq!(words("a\t", &reply), want);
        let reply = json!({ "verdict": "hold", "reasons": ["behind"], "size_multiplier": null });
        assert_eq!(words("a", &reply), "hold a\n  behind");
    }
}
