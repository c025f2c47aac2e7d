use thiserror::Error;

use super::Policy;

/// Why a policy cannot be used.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PolicyError {
    #[error("the policy is not valid TOML for runtape: {0}")]
    Syntax(String),
    #[error("policy {field} = {value} is out of range: want {allowed}")]
    Range { field: String, value: String, allowed: &'static str },
    #[error("the policy has no key {key}{}", .suggestion.as_ref().map_or(String::new(), |s| format!("; did you mean {s}?")))]
    UnknownKey { key: String, suggestion: Option<String> },
    #[error("policy {field}: {problem}")]
    Contradiction { field: &'static str, problem: String },
}

impl Policy {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// The first field out of range, or two fields that contradict each other.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let quarantine = &self.quarantine;
        between("rolling.window", self.rolling.window as f64, 1.0, 1e6, "1 to 1000000")?;
        between("quarantine.drawdown_limit", quarantine.drawdown_limit, -1e15, 0.0, "a number <= 0")?;
        between("quarantine.clear_drawdown", quarantine.clear_drawdown, -1e15, 0.0, "a number <= 0")?;
        between("quarantine.sharpe_floor", quarantine.sharpe_floor, -1e6, 1e6, "a finite number")?;
        between("quarantine.sharpe_min_runs", quarantine.sharpe_min_runs as f64, 2.0, 1e6, "2 to 1000000")?;
        if let Some(limit) = quarantine.pnl_drawdown_limit_bps {
            between("quarantine.pnl_drawdown_limit_bps", limit, -1e15, 0.0, "a number <= 0")?;
        }
        if quarantine.clear_drawdown < quarantine.drawdown_limit {
            return Err(PolicyError::Contradiction {
                field: "quarantine.clear_drawdown",
                problem: format!(
                    "{} is below drawdown_limit = {}: an agent would leave while the rule to enter still holds",
                    quarantine.clear_drawdown, quarantine.drawdown_limit
                ),
            });
        }
        self.validate_control()?;
        self.validate_desk()?;
        self.validate_money()?;
        self.validate_limits()
    }

    fn validate_control(&self) -> Result<(), PolicyError> {
        let (confidence, gates, budget) = (&self.confidence, &self.gates, &self.budget);
        between("confidence.large_loss_bps", confidence.large_loss_bps, -1e15, 0.0, "a number <= 0")?;
        for (field, factor) in [
            ("confidence.large_loss_factor", confidence.large_loss_factor),
            ("confidence.loss_factor", confidence.loss_factor),
            ("confidence.floor", confidence.floor),
            ("confidence.cap", confidence.cap),
        ] {
            between(field, factor, 0.0, 1.0, "0 to 1")?;
        }
        if confidence.floor > confidence.cap {
            let problem = format!("{} is above cap = {}", confidence.floor, confidence.cap);
            return Err(PolicyError::Contradiction { field: "confidence.floor", problem });
        }
        between("confidence.window", confidence.window as f64, 0.0, 1e6, "0 to 1000000")?;
        between("gates.window", gates.window as f64, 5.0, 1e6, "5 to 1000000")?;
        between("gates.min_runs", gates.min_runs as f64, 1.0, gates.window as f64, "1 to gates.window")?;
        let (promote, kill) = (&gates.promote, &gates.kill);
        between("gates.promote.min_pnl_bps", promote.min_pnl_bps, -1e15, 1e15, "a finite number")?;
        between("gates.promote.max_error_rate", promote.max_error_rate, 0.0, 1.0, "0 to 1")?;
        between("gates.promote.max_median_latency_ms", promote.max_median_latency_ms, 0.0, 1e15, "a number >= 0")?;
        between("gates.promote.alpha", promote.alpha, 1e-9, 0.5, "1e-9 to 0.5")?;
        between("gates.promote.loss_floor_bps", promote.loss_floor_bps, 1e-6, 1e6, "a number > 0")?;
        between("gates.promote.hurdle_bps", promote.hurdle_bps, -1e6, 1e6, "-1e6 to 1e6")?;
        between("gates.kill.last_5_pnl_bps", kill.last_5_pnl_bps, -1e15, 1e15, "a finite number")?;
        between("gates.kill.max_error_rate", kill.max_error_rate, 0.0, 1.0, "0 to 1")?;
        between("gates.kill.alpha", kill.alpha, 1e-9, 0.5, "1e-9 to 0.5")?;
        between("budget.daily_usd", budget.daily_usd, 0.0, 1e12, "0 to 1e12")?;
        between("budget.buffer_usd", budget.buffer_usd, 0.0, 1e12, "0 to 1e12")?;
        between("budget.reservation_ttl_sec", budget.reservation_ttl_sec, 1.0, 1e9, "1 to 1e9 seconds")?;
        for (agent, daily) in &budget.agents {
            between(&format!("budget.agents.{agent}"), *daily, 0.0, 1e12, "0 to 1e12")?;
        }
        Ok(())
    }

    fn validate_desk(&self) -> Result<(), PolicyError> {
        let (desk, allocation) = (&self.desk, &self.allocation);
        between("desk.max_notional_usd", desk.max_notional_usd, 0.0, 1e15, "0 to 1e15")?;
        between("desk.min_net_edge_bps", desk.min_net_edge_bps, -1e6, 1e6, "-1e6 to 1e6")?;
        between("desk.max_data_age_sec", desk.max_data_age_sec, 0.0, 1e9, "0 to 1e9 seconds")?;
        between("desk.daily_loss_limit_usd", desk.daily_loss_limit_usd, 0.0, 1e15, "0 to 1e15")?;
        between("allocation.period_min", f64::from(allocation.period_min), 1.0, 10_080.0, "1 to 10080 minutes")?;
        between("allocation.total_runs", f64::from(allocation.total_runs), 0.0, 1e4, "0 to 10000")?;
        between("allocation.default_min_runs", f64::from(allocation.default_min_runs), 0.0, 1e6, "0 to 1000000")?;
        let reconcile = &self.reconcile;
        between("reconcile.horizon_min", reconcile.horizon_min, 1.0, 1e7, "1 to 1e7 minutes")?;
        for (field, bps) in [
            ("reconcile.stop_bps", reconcile.stop_bps),
            ("reconcile.fee_bps", reconcile.fee_bps),
            ("reconcile.slippage_bps", reconcile.slippage_bps),
        ] {
            between(field, bps, 0.0, 1e4, "0 to 10000 bps")?;
        }
        for (agent, least) in &allocation.min_runs {
            let most = allocation.max_runs.get(agent).copied().unwrap_or(u32::MAX);
            if *least > most {
                let problem = format!("{agent} has {least}, above its max_runs = {most}");
                return Err(PolicyError::Contradiction { field: "allocation.min_runs", problem });
            }
        }
        Ok(())
    }

    fn validate_money(&self) -> Result<(), PolicyError> {
        let capital = &self.capital;
        between("capital.capital_usd", capital.capital_usd, 0.0, 1e15, "0 to 1e15")?;
        between("capital.max_loss_usd", capital.max_loss_usd, 0.0, 1e15, "0 to 1e15")?;
        between("capital.fill_prob", capital.fill_prob, 0.0, 1.0, "0 to 1")?;
        between("capital.unit_usd", capital.unit_usd, 1e-9, 1e15, "a number > 0")?;
        between("prices.default.input", self.prices.default.input, 0.0, 1e6, "0 to 1e6 USD per million tokens")?;
        between("prices.default.output", self.prices.default.output, 0.0, 1e6, "0 to 1e6 USD per million tokens")?;
        for (model, price) in self.prices.models.iter().flat_map(|(m, list)| list.iter().map(move |p| (m, p))) {
            let numbers = [("input", Some(price.input)), ("output", Some(price.output)), ("cached", price.cached)];
            for (name, value) in numbers {
                let field = format!("prices.{model}.{name}");
                between(&field, value.unwrap_or(0.0), 0.0, 1e6, "0 to 1e6 USD per million tokens")?;
            }
            if let Some(from) = &price.from
                && chrono::NaiveDate::parse_from_str(from, "%Y-%m-%d").is_err()
            {
                return Err(PolicyError::Range {
                    field: format!("prices.{model}.from"),
                    value: format!("{from:?}"),
                    allowed: "a day as YYYY-MM-DD",
                });
            }
        }
        Ok(())
    }

    fn validate_limits(&self) -> Result<(), PolicyError> {
        let limits = &self.limits;
        between("limits.dedupe_ids", limits.dedupe_ids as f64, 0.0, 1e9, "0 to 1e9")?;
        between("limits.join_runs", limits.join_runs as f64, 1.0, 1e9, "1 to 1e9")?;
        between("limits.waiting_pnl", limits.waiting_pnl as f64, 0.0, 1e9, "0 to 1e9")?;
        between("limits.agents", limits.agents as f64, 1.0, 1e8, "1 to 1e8")?;
        between("limits.reservations", limits.reservations as f64, 0.0, 1e8, "0 to 1e8")?;
        between("limits.line_bytes", limits.line_bytes as f64, 1024.0, 1_073_741_824.0, "1 KiB to 1 GiB")
    }
}

fn between(field: &str, value: f64, min: f64, max: f64, allowed: &'static str) -> Result<(), PolicyError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(PolicyError::Range { field: field.to_owned(), value: value.to_string(), allowed })
}
