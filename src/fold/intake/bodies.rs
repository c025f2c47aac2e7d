use crate::{
    event::{Id, Key, Line, Nanos},
    fold::{
        batch::{Alpha, Batch, Pnl, Run},
        join::Waiting,
    },
    policy::Policy,
};

pub fn run(line: &Line, policy: &Policy, time: Option<Nanos>, batch: &mut Batch) -> Run {
    let priced = policy.prices.price(line, time);
    Run {
        latency_ms: line.number(Id::LatencyMs),
        tokens_in: line.count(Id::TokensIn).unwrap_or_default(),
        tokens_out: line.count(Id::TokensOut).unwrap_or_default(),
        cost: priced.nano_usd,
        cost_known: priced.known,
        default_priced: priced.by_default,
        failed: line.count(Id::Errors).is_some_and(|errors| errors > 0),
        error_type: line.text(Id::ErrorType).map(|text| batch.keep(text)),
        reward: line.number(Id::Reward),
        capital_reward: policy.capital.weigh(line),
        model: line.text(Id::Model).map(|text| batch.keep(text)),
    }
}

pub fn alpha(line: &Line, batch: &mut Batch) -> Alpha {
    Alpha {
        symbol: line.text(Id::Symbol).map(|text| batch.keep(text)),
        direction: line.direction(),
        score_final: line.number(Id::ScoreFinal),
        regime: line.text(Id::Regime).map(|text| batch.keep(text)),
        notional_usd: line.number(Id::NotionalUsd),
        expected_edge_bps: line.number(Id::ExpectedEdgeBps),
    }
}

pub fn pnl(line: &Line, batch: &mut Batch) -> Pnl {
    Pnl {
        realized_pnl_bps: line.number(Id::RealizedPnlBps).unwrap_or_default(),
        symbol: line.text(Id::Symbol).map(|symbol| batch.keep(symbol)),
        entry_price: line.number(Id::EntryPrice),
        exit_price: line.number(Id::ExitPrice),
        notional_usd: line.number(Id::NotionalUsd),
    }
}

/// A PnL that waits for its run.
pub fn waiting(line: &Line, run: Key, origin: u64, time: Option<Nanos>) -> Waiting {
    Waiting {
        run,
        origin,
        time,
        run_id: line.text(Id::RunId).unwrap_or_default().into(),
        strategy: line.text(Id::Strategy).map(Into::into),
        symbol: line.text(Id::Symbol).map(Into::into),
        realized_pnl_bps: line.number(Id::RealizedPnlBps).unwrap_or_default(),
        entry_price: line.number(Id::EntryPrice),
        exit_price: line.number(Id::ExitPrice),
        notional_usd: line.number(Id::NotionalUsd),
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
