use super::{Capital, ModelPrice, Prices};
use crate::event::{Id, Line, Nanos, money, time};

/// What a run cost, and by which price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    pub nano_usd: i128,
    /// The line gives a cost or tokens at all.
    pub known: bool,
    /// Priced at the default price although its model is not known to it.
    pub by_default: bool,
}

impl Prices {
    /// The cost of a run: `cost_usd`, else its tokens at the price of its model on the day of `time`, else at the
    /// default price. `tokens_in` includes the cached ones.
    pub fn price(&self, line: &Line, time: Option<Nanos>) -> Priced {
        if let Some(cost) = line.number(Id::CostUsd) {
            return Priced { nano_usd: money::nano_usd(cost), known: true, by_default: false };
        }
        let (input, output) = (line.count(Id::TokensIn).unwrap_or(0), line.count(Id::TokensOut).unwrap_or(0));
        let known = line.count(Id::TokensIn).is_some() || line.count(Id::TokensOut).is_some();
        let Some(price) = line.text(Id::Model).and_then(|model| self.of_model(model, time)) else {
            let nano_usd = money::token_cost(&[(input, self.default.input), (output, self.default.output)]);
            return Priced { nano_usd, known, by_default: input > 0 || output > 0 };
        };
        let cached = line.count(Id::CachedTokens).unwrap_or(0).min(input);
        let parts =
            [(input - cached, price.input), (cached, price.cached.unwrap_or(price.input)), (output, price.output)];
        Priced { nano_usd: money::token_cost(&parts), known, by_default: false }
    }

    /// The newest price of a model that had begun by `time`.
    fn of_model(&self, model: &str, time: Option<Nanos>) -> Option<&ModelPrice> {
        let day = time.map(time::day_text).unwrap_or_default();
        let begun = |price: &&ModelPrice| price.from.as_deref().is_none_or(|from| from <= day.as_str());
        self.models.get(model)?.iter().filter(begun).max_by_key(|price| price.from.as_deref().unwrap_or_default())
    }
}

impl Capital {
    /// `reward x fill_prob x (capital / unit) x max(0, 1 - max_loss / capital)`, where the line, or this policy when
    /// enabled, gives the three numbers; 0 without capital. Bounded like every number of a line.
    pub fn weigh(&self, line: &Line) -> Option<f64> {
        const BOUND: f64 = 9_007_199_254_740_992.0;
        let or_default = |given: Option<f64>, default: f64| given.or(self.enabled.then_some(default));
        let reward = line.number(Id::Reward)?;
        let fill_prob = or_default(line.number(Id::FillProb), self.fill_prob)?;
        let capital = or_default(line.number(Id::CapitalUsd), self.capital_usd)?;
        let max_loss = or_default(line.number(Id::MaxLossUsd), self.max_loss_usd)?;
        if capital == 0.0 {
            return Some(0.0);
        }
        let kept = (1.0 - max_loss / capital).max(0.0);
        Some((reward * fill_prob * (capital / self.unit_usd) * kept).clamp(-BOUND, BOUND))
    }
}
