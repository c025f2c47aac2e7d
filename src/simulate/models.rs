//! The language models the agents think with, and what their tokens cost.

/// Prices are USD per million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    pub name: &'static str,
    pub input: f64,
    pub output: f64,
    pub cached: f64,
}

pub const MODELS: [Model; 4] = [
    Model { name: "small-8b", input: 0.1, output: 0.4, cached: 0.01 },
    Model { name: "medium-70b", input: 0.3, output: 1.2, cached: 0.03 },
    Model { name: "large-chat", input: 1.0, output: 4.0, cached: 0.1 },
    Model { name: "large-reasoning", input: 2.0, output: 8.0, cached: 0.2 },
];

impl Model {
    /// `cached_tokens` is the part of `tokens_in` that was read from the provider's cache.
    pub(super) fn cost_usd(&self, tokens_in: u64, cached_tokens: u64, tokens_out: u64) -> f64 {
        let fresh = tokens_in.saturating_sub(cached_tokens) as f64;
        (fresh * self.input + cached_tokens as f64 * self.cached + tokens_out as f64 * self.output) / 1e6
    }
}
