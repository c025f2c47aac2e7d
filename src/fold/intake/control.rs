use std::sync::Arc;

use super::Intake;
use crate::{
    event::{Action, Id, Kind, Line, Malformed, Nanos, Reason, money},
    fold::batch::{Batch, Body, Check, Command, Event, Named, Release, Reserve},
    policy::{InForce, Policy},
    subject::Subject,
};

/// The one stream in which control lines count; only runtape appends to it.
pub const CONTROL_STREAM: &str = "control";

/// The policy that a line brings, if it does. In the control stream control lines must be whole, and a policy valid;
/// elsewhere they are refused whatever they hold.
pub fn fault_or_policy(line: &Line, stream: &str) -> Result<Option<Policy>, Malformed> {
    if stream != CONTROL_STREAM {
        return Ok(None);
    }
    if let Some(fault) = line.control_fault() {
        return Err(fault);
    }
    let text = line.text(Id::Policy).filter(|_| line.kind == Some(Kind::Policy));
    let policy = text.map(Policy::from_toml).transpose();
    policy.map_err(|error| Malformed { reason: Reason::Range, detail: error.to_string() })
}

impl Intake {
    /// A line of the control stream.
    pub(super) fn control_line(
        &mut self,
        line: &Line,
        policy: Option<Policy>,
        position: u64,
        time: Option<Nanos>,
        batch: &mut Batch,
    ) {
        let body = match line.kind {
            Some(Kind::Command) => self.command(line, batch).map(Body::Command),
            Some(Kind::Policy) => policy.map(|policy| self.enforce(line, policy, position, batch)),
            Some(Kind::Check) => self.check(line, batch).map(Body::Check),
            Some(Kind::Reserve) => self.reserve(line, batch).map(Body::Reserve),
            Some(Kind::Release) => {
                let agent = line.text(Id::Agent).map(|name| (self.named_agent(name, batch), batch.keep(name)));
                Some(Body::Release(Release { agent }))
            }
            _ => None,
        };
        let Some(body) = body else { return };
        let run = line.run();
        let run_id = line.text(Id::RunId).map(|id| batch.keep(id));
        // The agent stands in the body: none of its own lines is this.
        let event = Event { origin: position, time, agent: None, strategy: None, run, run_id, body };
        self.push(event, position, batch);
    }

    /// Brings a policy into force, from this position on.
    fn enforce(&mut self, line: &Line, policy: Policy, position: u64, batch: &mut Batch) -> Body {
        if !self.fixed {
            self.policy = Arc::new(InForce::new(policy));
            self.state.policy = line.text(Id::Policy).map(str::to_owned);
            batch.policies.push((position, self.policy.clone()));
        }
        Body::Policy
    }

    fn command(&self, line: &Line, batch: &mut Batch) -> Option<Command> {
        let subject = match (line.text(Id::Agent), line.text(Id::Strategy)) {
            (Some(agent), _) => self.named_agent(agent, batch),
            (None, Some(strategy)) => match self.strategy_ids.get(strategy) {
                Some(id) => Named::Known(Subject::Strategy(*id)),
                None => Named::Stranger(Subject::UnknownStrategy, batch.keep(strategy)),
            },
            (None, None) => Named::Known(Subject::Fleet),
        };
        Some(Command {
            action: Action::from_name(line.text(Id::Action)?)?,
            subject,
            actor: batch.keep(line.text(Id::Actor)?),
            reason: line.text(Id::Reason).map(|text| batch.keep(text)),
        })
    }

    fn check(&self, line: &Line, batch: &mut Batch) -> Option<Check> {
        Some(Check {
            agent: self.named_agent(line.text(Id::Agent)?, batch),
            symbol: line.text(Id::Symbol).map(|text| batch.keep(text)),
            notional_usd: line.number(Id::NotionalUsd),
            expected_edge_bps: line.number(Id::ExpectedEdgeBps),
            spread_bps: line.number(Id::SpreadBps),
            slippage_bps: line.number(Id::SlippageBps),
            data_age_sec: line.number(Id::DataAgeSec),
            paper: line.flag(Id::Paper),
            reduce: line.flag(Id::Reduce),
        })
    }

    fn reserve(&self, line: &Line, batch: &mut Batch) -> Option<Reserve> {
        let agent = line.text(Id::Agent)?;
        Some(Reserve {
            agent: self.named_agent(agent, batch),
            name: batch.keep(agent),
            amount: money::nano_usd(line.number(Id::AmountUsd)?),
        })
    }

    /// An agent by a name that makes nobody known.
    fn named_agent(&self, name: &str, batch: &mut Batch) -> Named {
        match self.agent_ids.get(name) {
            Some(id) => Named::Known(Subject::Agent(*id)),
            None => Named::Stranger(Subject::UnknownAgent, batch.keep(name)),
        }
    }
}
