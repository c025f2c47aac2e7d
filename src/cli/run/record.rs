use std::io;

use serde_json::{Map, Value, json};

use super::{
    child::{End, Ended},
    report::Reported,
};
use crate::{
    cli::desk::{Client, DeskError},
    event::{
        self, Nanos,
        control::{self, derived_id},
    },
    layout::Layout,
    policy::Limits,
    streams::Appender,
};

/// What one attempt goes by.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    pub run_id: &'a str,
    pub agent: &'a str,
    pub strategy: Option<&'a str>,
    pub model: Option<&'a str>,
    /// From 1.
    pub attempt: u32,
    /// The run that this one tries again.
    pub first: &'a str,
    pub started: Nanos,
    pub ended: Nanos,
}

impl Identity<'_> {
    /// The same for the same attempt, so that its line counts once however often it is sent.
    pub fn event_id(&self) -> String {
        derived_id(self.run_id, &format!("run, attempt {}", self.attempt))
    }
}

/// Where lines go.
pub struct Sink<'a> {
    pub client: Option<&'a Client>,
    pub layout: &'a Layout,
    pub stream: &'a str,
}

/// The line of an attempt, and those it reported. Whatever it reported, there is a line.
pub fn lines(identity: &Identity, ended: &Ended, reported: &mut Reported) -> Vec<String> {
    let mut run = run_line(identity, ended, reported).to_string();
    if let Err(why) = event::decode(run.as_bytes(), Limits::default().line_bytes) {
        // Sums may leave their range, though each part was within.
        reported.refused += 1;
        reported.told.push(format!(
            "everything reported of the run was refused: {} ({})",
            why.detail,
            why.reason.name()
        ));
        reported.fields.clear();
        run = run_line(identity, ended, reported).to_string();
    }
    let mut lines = vec![run];
    lines.append(&mut reported.lines);
    lines
}

fn run_line(identity: &Identity, ended: &Ended, reported: &Reported) -> Value {
    let mut line = Map::new();
    let mut put = |key: &str, value: Value| line.insert(key.to_owned(), value);
    put("kind", json!("run"));
    put("event_id", identity.event_id().into());
    put("ts", control::stamp(identity.started).into());
    put("run_id", identity.run_id.into());
    put("agent", identity.agent.into());
    for (key, value) in [("strategy", identity.strategy), ("model", identity.model)] {
        if let Some(value) = value {
            put(key, value.into());
        }
    }
    // To the microsecond: further digits say nothing.
    put("latency_ms", (ended.latency.as_micros() as f64 / 1000.0).into());
    let failure = ended.end.error_type();
    let outcome = match &ended.end {
        End::Exited(0) => "ok",
        End::TimedOut => "timeout",
        _ => "failed",
    };
    put("outcome", outcome.into());
    for (key, value) in &reported.fields {
        put(key, value.clone());
    }
    let said = reported.fields.get("error_type").filter(|said| *said != "");
    let errors = reported.fields.get("errors").and_then(Value::as_u64).unwrap_or(u64::from(said.is_some()));
    put("errors", errors.max(u64::from(failure.is_some())).into());
    // A command that fails by itself knows best why; of what was done to it, it knows nothing.
    let error_type = match (&ended.end, failure) {
        (End::Exited(_), Some(failure)) => Some(said.cloned().unwrap_or_else(|| failure.into())),
        (_, Some(failure)) => Some(failure.into()),
        // A report that nobody can read is a fault of the reporting, not of the run: it counts as no error.
        (_, None) => said.cloned().or_else(|| (reported.refused > 0 && errors == 0).then(|| "bad_report".into())),
    };
    if let Some(error_type) = error_type {
        put("error_type", error_type);
    }
    if ended.end.started() {
        put("exit_code", ended.end.code().into());
    }
    if let Some(max_rss) = ended.max_rss {
        put("max_rss_kib", max_rss.into());
    }
    if reported.refused > 0 {
        put("refused_reports", reported.refused.into());
    }
    if identity.attempt > 1 {
        put("attempt", identity.attempt.into());
        put("retry_of", identity.first.into());
    }
    Value::Object(line)
}

impl Sink<'_> {
    /// Brings lines to the server and waits until they are seen there; without one, or when it does not take them, into
    /// the directory, where it finds them. Their ids make them count once, if it took them before it fell silent.
    pub fn write(&self, lines: &[String]) {
        let Some(client) = self.client else { return self.spool(lines) };
        match client.append(lines) {
            Ok(answer) => self.seen(client, &answer),
            // What is refused for what it says must not come in by another door; the run's own line says nothing else
            // than we do.
            Err(error) if is_refusal(&error) => match lines {
                [run, more @ ..] if !more.is_empty() => {
                    eprintln!("runtape: {} reported lines were refused: {error}", more.len());
                    more.iter().for_each(|line| eprintln!("{line}"));
                    self.write(std::slice::from_ref(run));
                }
                _ => lost(lines, &error),
            },
            Err(error) => {
                eprintln!("runtape: the server did not take the run, it goes into the directory: {error}");
                self.spool(lines);
            }
        }
    }

    /// Waits until every consumer has the lines: what is asked next shows the run.
    fn seen(&self, client: &Client, answer: &Value) {
        let positions = answer["positions"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        if let Some(last) = positions.max() {
            // They are on disk; a consumer that lags is not ours to report.
            let _ = client.get("/api/v1/status", &[("wait", &last.to_string())]);
        }
    }

    fn spool(&self, lines: &[String]) {
        let mut appender = Appender::shared(self.layout.files.clone(), self.layout.stream(self.stream));
        let appended = appender.append(lines).and_then(|_| appender.sync());
        if let Err(error) = appended {
            lost(lines, &io::Error::new(error.kind(), format!("{}: {error}", appender.path().display())));
        }
    }
}

/// Whether the server read the lines and will not have them, now or later.
fn is_refusal(error: &DeskError) -> bool {
    matches!(error, DeskError::Answered { status, .. } if *status < 500 && ![401, 408, 429].contains(status))
}

/// The last resort: whoever keeps standard error keeps the lines.
fn lost(lines: &[String], error: &dyn std::fmt::Display) {
    eprintln!("runtape: not recorded: {error}; when it is repaired, give these lines to `runtape append`:");
    lines.iter().for_each(|line| eprintln!("{line}"));
}
