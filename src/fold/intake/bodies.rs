use crate::{
    event::{Key, Line, Nanos},
    fold::{
        batch::{Alpha, Batch, Pnl, Run},
        join::Waiting,
    },
    policy::Policy,
};

pub fn run(line: &Line, policy: &Policy, time: Option<Nanos>, batch: &mut Batch) -> Run {
    let priced = policy.prices.price(line, time);
    Run {
        latency_ms: line.latency_ms,
        tokens_in: line.tokens_in.unwrap_or_default(),
        tokens_out: line.tokens_out.unwrap_or_default(),
        cost: priced.nano_usd,
        cost_known: priced.known,
        default_priced: priced.by_default,
        failed: line.errors.is_some_and(|errors| errors > 0),
        error_type: line.error_type.as_deref().map(|text| batch.keep(text)),
        reward: line.reward,
        capital_reward: policy.capital.weigh(line),
        model: line.model.as_deref().map(|text| batch.keep(text)),
    }
}

pub fn alpha(line: &Line, batch: &mut Batch) -> Alpha {
    Alpha {
        symbol: line.symbol.as_deref().map(|text| batch.keep(text)),
        direction: line.direction,
        score_final: line.score_final,
        regime: line.regime.as_deref().map(|text| batch.keep(text)),
        notional_usd: line.notional_usd,
        expected_edge_bps: line.expected_edge_bps,
    }
}

pub fn pnl(line: &Line, batch: &mut Batch) -> Pnl {
    Pnl {
        realized_pnl_bps: line.realized_pnl_bps.unwrap_or_default(),
        symbol: line.symbol.as_deref().map(|symbol| batch.keep(symbol)),
        entry_price: line.entry_price,
        exit_price: line.exit_price,
        notional_usd: line.notional_usd,
    }
}

/// A PnL that waits for its run.
pub fn waiting(line: &Line, run: Key, origin: u64, time: Option<Nanos>) -> Waiting {
    Waiting {
        run,
        origin,
        time,
        run_id: line.run_id.as_deref().unwrap_or_default().into(),
        strategy: line.strategy.as_deref().map(Into::into),
        symbol: line.symbol.as_deref().map(Into::into),
        realized_pnl_bps: line.realized_pnl_bps.unwrap_or_default(),
        entry_price: line.entry_price,
        exit_price: line.exit_price,
        notional_usd: line.notional_usd,
    }
}

/// A PnL whose run was claimed.
pub fn released(pnl: &Waiting, batch: &mut Batch) -> Pnl {
    Pnl {
        realized_pnl_bps: pnl.realized_pnl_bps,
        symbol: pnl.symbol.as_deref().map(|symbol| batch.keep(symbol)),
        entry_price: pnl.entry_price,
        exit_price: pnl.exit_price,
        notional_usd: pnl.notional_usd,
    }
}
