use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::{
    Found, Output, Usage,
    desk::{self, Answer, Desk, Order, Way, Whom},
    figures, reading,
    select::{self, Condition},
};
use crate::{
    event::{Action, control},
    fold::orders::REFUSED,
    render::human,
};

/// Whom an operator's order is about, and what is said of it.
#[derive(Debug, Args)]
pub struct Orders {
    #[command(flatten)]
    way: Way,
    /// Agents, by name
    #[arg(value_name = "AGENT", conflicts_with_all = ["strategy", "fleet", "conditions", "cause_policy"])]
    agents: Vec<String>,
    /// A strategy, and with it every agent it has or will have
    #[arg(long, value_name = "NAME", conflicts_with_all = ["fleet", "conditions", "cause_policy"])]
    strategy: Option<String>,
    /// The whole fleet
    #[arg(long, conflicts_with_all = ["conditions", "cause_policy"])]
    fleet: bool,
    /// Every agent that fits: gate=killed, verdict=deny, strategy=NAME, quarantined=true, policy=HASH; several must all hold
    #[arg(long = "where", value_name = "KEY=VALUE")]
    conditions: Vec<String>,
    /// Every agent whose gate moved under this policy; the same as --where policy=HASH
    #[arg(long, value_name = "HASH")]
    cause_policy: Option<String>,
    /// Why; it stands in the log for ever
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who orders it (default: the user of this machine; a server goes by the token)
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Say whom it would hit, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on without asking
    #[arg(short, long)]
    yes: bool,
    /// Name of this order: given again, it is not carried out again
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Orders {
    pub fn run(self, action: Action) -> anyhow::Result<Found> {
        let conditions = self.conditions()?;
        if conditions.is_empty() && self.agents.is_empty() && self.strategy.is_none() && !self.fleet {
            let word = action.name();
            return Err(Usage(format!(
                "{word} whom? give agents, or --strategy NAME, --fleet, or --where KEY=VALUE as --where gate=killed"
            ))
            .into());
        }
        if let Some((what, _)) = [("--actor", &self.actor), ("--event-id", &self.event_id), ("--reason", &self.reason)]
            .into_iter()
            .find(|(_, given)| given.as_deref() == Some(""))
        {
            return Err(Usage(format!("{what} is empty: give a text, or leave it out")).into());
        }
        let mut desk = self.way.open()?;
        let whom = self.whom(desk.as_mut(), &conditions)?;
        if whom.is_empty() {
            let fits: Vec<String> =
                conditions.iter().map(|c| format!("{}={}", c.key, human::visible(&c.value))).collect();
            eprintln!("runtape: no agent has {}: nothing was done", fits.join(" and "));
            return Ok(Found::Something);
        }
        if self.dry_run {
            let rows: Vec<Value> = whom
                .iter()
                .map(|whom| json!({ "subject_kind": whom.kind(), "subject": whom.name(), "would": action.name() }))
                .collect();
            self.print(&rows, |row| {
                format!("would {} {}", action.name(), subject(&row["subject_kind"], &row["subject"]))
            })?;
            return Ok(Found::Nothing);
        }
        self.confirm(action, &whom)?;
        let orders = self.orders(action, whom);
        let rows: Vec<Value> = desk.order(&orders)?.iter().zip(&orders).map(|(a, order)| row(a, order)).collect();
        self.print(&rows, line)?;
        let refused = rows.iter().any(|row| row["verdict"] == REFUSED);
        Ok(if refused { Found::Something } else { Found::Nothing })
    }

    fn conditions(&self) -> Result<Vec<Condition>, Usage> {
        let by_policy = self.cause_policy.iter().map(|hash| Condition::new("policy", hash));
        self.conditions.iter().map(|text| Condition::parse(text)).chain(by_policy).collect()
    }

    fn whom(&self, desk: &mut dyn Desk, conditions: &[Condition]) -> anyhow::Result<Vec<Whom>> {
        // To stop everybody, nobody need be known.
        if self.fleet {
            return Ok(vec![Whom::Fleet]);
        }
        let state = match desk.state() {
            Ok(state) => state,
            // Whoever is named can be stopped while a part of the recorder is down: it says itself who is unknown.
            Err(_) if conditions.is_empty() && !self.agents.is_empty() => {
                return Ok(self.agents.iter().cloned().map(Whom::Agent).collect());
            }
            Err(error) => return Err(error),
        };
        if let Some(strategy) = &self.strategy {
            desk::known_strategy(&state, strategy)?;
            return Ok(vec![Whom::Strategy(strategy.clone())]);
        }
        if !conditions.is_empty() {
            return Ok(select::agents(&state, conditions)?.into_iter().map(Whom::Agent).collect());
        }
        let mut whom: Vec<Whom> = Vec::new();
        for name in &self.agents {
            desk::known_agent(&state, name)?;
            let agent = Whom::Agent(name.clone());
            if !whom.contains(&agent) {
                whom.push(agent);
            }
        }
        Ok(whom)
    }

    /// Asks before what is final, or hits many.
    fn confirm(&self, action: Action, whom: &[Whom]) -> anyhow::Result<()> {
        let is_one = matches!(whom, [Whom::Agent(_)]);
        // Who must stop somebody now is not asked: a pause is undone by a word.
        let is_brake = matches!(action, Action::Pause);
        if self.yes || is_brake || is_one && !matches!(action, Action::Kill | Action::Retire) {
            return Ok(());
        }
        let what = format!("{} {}", action.name(), all(whom));
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Usage(format!("{what}: nobody can be asked here; give --yes, or --dry-run to see whom")).into());
        }
        eprint!("{what}? [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(Usage("nothing was done".to_owned()).into())
    }

    /// One order each; given again under the same name, each has the same id again.
    fn orders(&self, action: Action, whom: Vec<Whom>) -> Vec<Order> {
        let request = self.event_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let is_one = whom.len() == 1 && self.conditions.is_empty() && self.cause_policy.is_none();
        let order = |subject: Whom| Order {
            action,
            event_id: if is_one { request.clone() } else { control::derived_id(&request, subject.name()) },
            subject,
            actor: actor(self.actor.as_deref()),
            actor_given: self.actor.is_some(),
            reason: self.reason.clone(),
        };
        whom.into_iter().map(order).collect()
    }

    fn print(&self, rows: &[Value], text: impl Fn(&Value) -> String) -> anyhow::Result<()> {
        let mut out = reading::stdout();
        match self.output {
            Output::Text => rows.iter().try_for_each(|row| writeln!(out, "{}", text(row)))?,
            Output::Jsonl => rows.iter().try_for_each(|row| writeln!(out, "{row}"))?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut out, rows)?;
                writeln!(out)?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// Who acts: as given, else the user of this machine.
pub fn actor(given: Option<&str>) -> String {
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    given.map(str::to_owned).or_else(user).unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

fn all(whom: &[Whom]) -> String {
    match whom {
        [Whom::Fleet] => "the whole fleet".to_owned(),
        [one] => format!("{} {}", one.kind(), human::visible(one.name())),
        many => format!("{}: {}", figures::some(many.len(), "agent"), figures::names(many.iter().map(Whom::name))),
    }
}

fn row(answer: &Answer, order: &Order) -> Value {
    let reason = answer.decision.as_ref().map(|decision| decision["reason"].clone());
    json!({
        "subject_kind": order.subject.kind(),
        "subject": order.subject.name(),
        "verdict": answer.verdict(),
        "position": answer.position,
        "event_id": order.event_id,
        "reason": reason,
    })
}

fn subject(kind: &Value, name: &Value) -> String {
    if kind == "fleet" { "the fleet".to_owned() } else { format!("{} {}", figures::text(kind), figures::text(name)) }
}

/// What was done to one subject, or why it was not.
fn line(row: &Value) -> String {
    let whom = subject(&row["subject_kind"], &row["subject"]);
    let at = row["position"].as_u64().map_or(String::new(), |at| format!(" at position {at}"));
    match row["verdict"].as_str().unwrap_or("") {
        REFUSED => {
            let reason = &row["reason"];
            let way_out =
                reason["way_out"].as_str().map_or(String::new(), |text| format!("; {}", human::visible(text)));
            format!("{whom}: refused: {}{way_out}", figures::text(&reason["rule"]))
        }
        "repeated" => {
            format!("{whom}: nothing done again: the event id {} was used before", figures::text(&row["event_id"]))
        }
        verdict => format!("{whom}: {verdict}{at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_done_or_why_not() {
        let row = |verdict: &str, reason: Value| {
            json!({ "subject_kind": "agent", "subject": "a\n", "verdict": verdict, "position": 7, "event_id": "e",
                    "reason": reason })
        };
        assert_eq!(line(&row("killed", json!({}))), "agent a\\n: killed at position 7");
        let why = json!({ "rule": "already killed", "way_out": "revive undoes it" });
        assert_eq!(line(&row("refused", why)), "agent a\\n: refused: already killed; revive undoes it");
        assert_eq!(
            line(&row("repeated", json!(null))),
            "agent a\\n: nothing done again: the event id e was used before"
        );
        let fleet = json!({ "subject_kind": "fleet", "subject": "fleet", "verdict": "paused", "position": null });
        assert_eq!(line(&fleet), "the fleet: paused");
    }
}
