use std::{ffi::OsString, process::Command, time::Duration};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{
    Found, Usage,
    append::stream_name,
    desk::{Client, Way},
    figures,
};
use crate::{
    clock::{Clock, Stopwatch},
    event::{control::derived_id, fields::NAME_BYTES_MAX},
    render::human,
};
use child::{Patience, Report};
use record::{Identity, Sink};
use report::Reported;
use signals::Signals;

/// The process, from its start to its end.
mod child;
/// Whether the agent may start.
mod gate;
/// Standard output, passed through.
mod pump;
/// The line of the run, and where it goes.
mod record;
/// What the command says of its run.
mod report;
/// Signals, passed on.
mod signals;
/// The terminal, lent to a command that reads from it.
mod terminal;

/// The command was not started: it may be later. As `EX_TEMPFAIL` of sysexits.
const DENIED: u8 = 75;
/// No pause between attempts is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Between two looks for signals while pausing.
const PAUSE_POLL: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
#[command(
    after_help = "The command finds RUNTAPE_RUN_ID, RUNTAPE_AGENT, RUNTAPE_URL, RUNTAPE_PAPER=1 where it may not \
trade live, and RUNTAPE_REPORT_FD: what it writes there, one JSON object per line, goes onto its run. Exit codes: the \
command's; 128+N killed by signal N; 124 timeout; 126 not executable; 127 not found; 75 not started, since denied."
)]
pub struct Run {
    #[command(flatten)]
    way: Way,
    /// Whose run it is (default: RUNTAPE_AGENT)
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Its strategy
    #[arg(long, value_name = "NAME")]
    strategy: Option<String>,
    /// Its model, unless the command reports one
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Name of the run; given again, it is not recorded again (default: a new one)
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Start only what the desk allows: not what is denied, held, unknown, or when nobody can be asked
    #[arg(long)]
    gate: bool,
    /// With the gate, start what is denied with RUNTAPE_PAPER=1
    #[arg(long)]
    paper_when_denied: bool,
    /// Reserve this much of the budget before the start, US dollars; start only when granted
    #[arg(long, value_name = "USD", allow_negative_numbers = true)]
    max_cost_usd: Option<f64>,
    /// End the command, with its whole process group, after this time: 500ms, 90s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// Between being told to end and being made to
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5s")]
    grace: Duration,
    /// Try a failed command again, this often at most; each attempt is a run of its own
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u32,
    /// Pause before the first further attempt, doubled for each one after it
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "1s")]
    backoff: Duration,
    /// Take the last line of standard output that is a JSON object as a report
    #[arg(long)]
    result_json: bool,
    /// Stream that the run goes to where no server takes it
    #[arg(long, value_name = "NAME", default_value = "runs")]
    stream: String,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What came of an attempt.
enum Attempt {
    Denied,
    Ended { code: u8, again: bool },
}

/// What stays the same over all attempts.
struct Setup {
    agent: String,
    first: String,
    client: Option<Client>,
    stream: String,
    clock: Clock,
}

impl Run {
    pub fn run(self) -> anyhow::Result<Found> {
        // First of all, so that the descriptor has the number 3.
        let mut report = Report::open().context("cannot make a pipe for reports")?;
        let setup = self.setup()?;
        let mut signals = Signals::take().context("cannot take signals")?;
        let (mut last, mut pause) = (None, self.backoff);
        for number in 1..=self.retries.saturating_add(1) {
            if number > 1 {
                eprintln!("runtape: attempt {number} of {} in {pause:?}", self.retries.saturating_add(1));
                if was_ended(&mut signals, pause) {
                    break;
                }
                pause = pause.saturating_mul(2).min(BACKOFF_MAX);
                report.renew().context("cannot make a pipe for reports")?;
            }
            match self.attempt(&setup, &mut signals, &report, number)? {
                Attempt::Denied => return Ok(Found::Code(last.unwrap_or(DENIED))),
                Attempt::Ended { code, again } => {
                    last = Some(code);
                    if !again {
                        break;
                    }
                }
            }
        }
        Ok(Found::Code(last.unwrap_or(0)))
    }

    fn setup(&self) -> anyhow::Result<Setup> {
        let from_env = || std::env::var("RUNTAPE_AGENT").ok().filter(|name| !name.is_empty());
        let Some(agent) = self.agent.clone().or_else(from_env) else {
            return Err(Usage("whose run is it? give --agent NAME, or set RUNTAPE_AGENT".to_owned()).into());
        };
        let named =
            [("--agent", Some(&agent)), ("--strategy", self.strategy.as_ref()), ("--run-id", self.run_id.as_ref())];
        for (option, name) in named {
            let Some(name) = name else { continue };
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
                let name = human::visible(name);
                return Err(Usage(format!("{option} {name:?}: want 1 to 128 bytes without control characters")).into());
            }
        }
        if let Some(usd) = self.max_cost_usd.filter(|usd| !(usd.is_finite() && *usd >= 0.0)) {
            return Err(Usage(format!("--max-cost-usd {usd}: want a finite number from 0")).into());
        }
        let first = self.run_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let (client, stream) = (self.way.client()?, stream_name(&self.stream)?);
        Ok(Setup { agent, first, client, stream, clock: Clock::system() })
    }

    fn attempt(&self, setup: &Setup, signals: &mut Signals, report: &Report, number: u32) -> anyhow::Result<Attempt> {
        let run_id = match number {
            1 => setup.first.clone(),
            _ => derived_id(&setup.first, &format!("attempt {number}")),
        };
        let Some(paper) = self.may_start(setup) else { return Ok(Attempt::Denied) };
        if !self.reserve(setup, &run_id) {
            return Ok(Attempt::Denied);
        }
        let mut command = self.command(setup, &run_id, paper);
        let started = setup.clock.now();
        let patience = Patience { timeout: self.timeout, grace: self.grace };
        let ended = child::run(&mut command, signals, report, patience, self.result_json);
        if !ended.as_ref().is_ok_and(|ended| ended.end.started()) {
            self.release(setup, &run_id);
        }
        let program = || human::visible(&self.command[0].to_string_lossy()).into_owned();
        let mut ended = ended.with_context(|| format!("cannot run {}", program()))?;
        match &ended.end {
            child::End::NotFound => eprintln!("runtape: {}: not found: want a file, or a name in PATH", program()),
            child::End::NotExecutable(why) => eprintln!("runtape: {}: not executable: {why}", program()),
            child::End::TimedOut => eprintln!("runtape: {}: ended after {:?}", program(), ended.latency),
            _ => {}
        }
        let identity = Identity {
            run_id: &run_id,
            agent: &setup.agent,
            strategy: self.strategy.as_deref(),
            model: self.model.as_deref(),
            attempt: number,
            first: &setup.first,
            started,
            ended: setup.clock.now(),
        };
        // Without a started command there is no output to find a result in.
        let result = (self.result_json && ended.end.started()).then(|| ended.result.take());
        let mut reported = Reported::judge(&identity, std::mem::take(&mut ended.lines), result);
        let lines = record::lines(&identity, &ended, &mut reported);
        reported.told.iter().for_each(|text| eprintln!("runtape: {}", human::visible(text)));
        self.compare(&reported);
        let sink = Sink { client: setup.client.as_ref(), layout: &self.way.events.layout(), stream: &setup.stream };
        sink.write(&lines);
        let again = ended.end.code() != 0 && ended.end.started() && !ended.interrupted;
        Ok(Attempt::Ended { code: ended.end.code(), again })
    }

    /// Whether it may start, and if so, whether on paper.
    fn may_start(&self, setup: &Setup) -> Option<bool> {
        if !self.gate && !self.paper_when_denied {
            return Some(false);
        }
        let verdict = gate::ask(setup.client.as_ref(), &self.way.events.layout(), &setup.clock, &setup.agent);
        if verdict.allows() {
            return Some(!verdict.live);
        }
        let told = verdict.told(&setup.agent);
        if self.paper_when_denied {
            eprintln!("runtape: on paper: {told}");
            return Some(true);
        }
        eprintln!("runtape: not started: {told}");
        None
    }

    /// Whether the run may cost what it wants to.
    fn reserve(&self, setup: &Setup, run_id: &str) -> bool {
        let Some(usd) = self.max_cost_usd else { return true };
        let Some(client) = &setup.client else {
            // In a directory nobody serves, what others spend meanwhile would come to stand before or behind.
            eprintln!("runtape: not started: --max-cost-usd needs a server to reserve with; start `runtape serve`");
            return false;
        };
        let event_id = derived_id(run_id, "reserve");
        let asked = json!({ "agent": setup.agent, "run_id": run_id, "amount_usd": usd, "event_id": event_id });
        match client.post("/api/v1/reservations", &asked) {
            Ok(answer) if answer["granted"] == true => true,
            Ok(answer) => {
                let reason = &answer["decision"]["reason"];
                let (rule, way_out) = (figures::text(&reason["rule"]), figures::text(&reason["way_out"]));
                let left = figures::usd(&reason["available_usd"]);
                eprintln!(
                    "runtape: not started: {usd} US dollars were not granted ({rule}; {left} available): {way_out}; \
                     see `runtape budget`"
                );
                false
            }
            Err(error) => {
                eprintln!("runtape: not started: {usd} US dollars could not be reserved: {error}");
                // It may have been granted all the same.
                self.release(setup, run_id);
                false
            }
        }
    }

    /// Gives a reservation back; one that is not given back expires.
    fn release(&self, setup: &Setup, run_id: &str) {
        if let (Some(_), Some(client)) = (self.max_cost_usd, &setup.client) {
            let event_id = derived_id(run_id, "release");
            let asked = json!({ "agent": setup.agent, "run_id": run_id, "event_id": event_id });
            let _ = client.post("/api/v1/releases", &asked);
        }
    }

    fn command(&self, setup: &Setup, run_id: &str, paper: bool) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env("RUNTAPE_RUN_ID", run_id).env("RUNTAPE_AGENT", &setup.agent);
        if let Some(client) = &setup.client {
            command.env("RUNTAPE_URL", client.url());
        }
        if paper {
            command.env("RUNTAPE_PAPER", "1");
        }
        command
    }

    /// Says when a run cost more than was reserved for it.
    fn compare(&self, reported: &Reported) {
        let cost = reported.fields.get("cost_usd").and_then(serde_json::Value::as_f64);
        if let (Some(cost), Some(usd)) = (cost, self.max_cost_usd)
            && cost > usd
        {
            eprintln!("runtape: the run cost {cost} US dollars, and {usd} were reserved (--max-cost-usd)");
        }
    }
}

/// Pauses; whether it was asked to end meanwhile.
fn was_ended(signals: &mut Signals, pause: Duration) -> bool {
    let stopwatch = Stopwatch::start();
    loop {
        if signals.pending().into_iter().any(signals::is_end) {
            return true;
        }
        let left = pause.saturating_sub(stopwatch.elapsed());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(left.min(PAUSE_POLL));
    }
}

/// A time as `500ms`, `90s`, `5m` or `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?} is no time; want a number with ms, s, m or h, as 90s or 5m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no time; want a number as in 90s or 5m"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("{text:?} is too long a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(time("0s"), Ok(Duration::ZERO));
        for text in ["", "5", "s", "-1s", "5 m", "1..2s", "5d", "99999999999999999999h"] {
            let told = time(text).expect_err("no time");
            assert!(told.contains(&format!("{text:?}")), "{told}");
        }
    }
}
