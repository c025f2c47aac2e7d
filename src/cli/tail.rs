use std::{
    collections::{HashMap, VecDeque},
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::{Events, Found, Output, reading, suggest};
use crate::{
    clock::Clock,
    event::{Decoded, Id, Kind, Stamp, time},
    fold::Place,
    policy::Limits,
    render::human,
    streams::{RawLine, watch::Watch},
    tape::{Directory, RoundSource, each_line},
};

#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    events: Events,
    /// Go on as lines come in
    #[arg(short, long)]
    follow: bool,
    /// How many of the last lines to begin with
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 10)]
    lines: usize,
    /// Only lines of this agent: those that name it, and those of its runs
    #[arg(long)]
    agent: Option<String>,
    /// Only lines of this run
    #[arg(long, value_name = "RUN_ID")]
    run: Option<String>,
    /// Only lines of this kind; `malformed` and `unknown` are kinds here
    #[arg(long)]
    kind: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

/// Kinds a line can be filtered by, beside those of [`Kind`].
const MORE_KINDS: [&str; 2] = ["unknown", "malformed"];

impl Tail {
    pub fn run(self) -> anyhow::Result<Found> {
        if let Some(kind) = &self.kind
            && Kind::from_name(kind).is_none()
            && !MORE_KINDS.contains(&kind.as_str())
        {
            let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).chain(MORE_KINDS).collect();
            return Err(suggest::unknown("kind", kind, &known).into());
        }
        let mut watch = Watch::new(&self.events.layout().dir).context("cannot watch the directory")?;
        let mut out = reading::stdout();
        let mut reader = Reader::new(&self);
        let directory = reading::open(&self.events)?;
        let mut last = VecDeque::new();
        reader.read(&directory, &mut |shown| {
            last.push_back(shown);
            while last.len() > self.lines {
                last.pop_front();
            }
            Ok(())
        })?;
        last.iter().try_for_each(|shown| writeln!(out, "{shown}"))?;
        out.flush()?;
        if !self.follow {
            return Ok(Found::Nothing);
        }
        loop {
            watch.wait(POLL.as_millis() as u64)?;
            let directory = Directory::open(self.events.layout(), Some(Clock::system().now()))?;
            reader.read(&directory, &mut |shown| writeln!(out, "{shown}"))?;
            out.flush()?;
        }
    }
}

const POLL: Duration = Duration::from_millis(200);

/// Goes over the tape once, and later over what came since.
struct Reader<'a> {
    filter: &'a Tail,
    /// Rounds read whole.
    rounds: u64,
    /// The next position.
    position: u64,
    /// Where the lines already shown of the unsealed rest end, by stream and file.
    seen: HashMap<(String, String), u64>,
    /// Agents of runs, to find PnL that names only its run.
    agents: HashMap<String, String>,
}

impl<'a> Reader<'a> {
    fn new(filter: &'a Tail) -> Reader<'a> {
        Reader { filter, rounds: 0, position: 0, seen: HashMap::new(), agents: HashMap::new() }
    }

    fn read(&mut self, directory: &Directory, show: &mut dyn FnMut(String) -> io::Result<()>) -> anyhow::Result<()> {
        self.rounds = self.rounds.max(directory.first_round());
        self.position = self.position.max(directory.first_position());
        for source in directory.rounds(self.rounds)? {
            let source = source?;
            self.round(&source, show)?;
            if let Some(round) = source.round {
                self.rounds = round + 1;
            }
        }
        Ok(())
    }

    fn round(&mut self, source: &RoundSource, show: &mut dyn FnMut(String) -> io::Result<()>) -> anyhow::Result<()> {
        let sealed = source.round.is_some();
        let mut position = self.position;
        let mut written = Ok(());
        each_line(source, Limits::default().line_bytes, &mut |line, place, raw| {
            let key = (place.stream.to_string(), place.file.to_string());
            let seen = self.seen.get(&key).is_some_and(|end| place.offset < *end);
            if !seen {
                if let Some(shown) = self.shown(position, line, place, raw) {
                    written = show(shown);
                }
                self.seen.insert(key, place.offset + 1);
            }
            position += 1;
            written.is_ok()
        })?;
        written?;
        if sealed {
            self.position = position;
        }
        Ok(())
    }

    /// The line as it is printed, if it is one that was asked for.
    fn shown(&mut self, position: u64, line: Decoded, place: &Place, raw: RawLine) -> Option<String> {
        let run = line.as_ref().ok().and_then(|line| line.text(Id::RunId));
        let named = line.as_ref().ok().and_then(|line| line.text(Id::Agent));
        if let (Some(run), Some(agent), true) = (run, named, self.filter.agent.is_some()) {
            self.agents.entry(run.to_owned()).or_insert_with(|| agent.to_owned());
        }
        let agent = named.or_else(|| self.agents.get(run?).map(String::as_str));
        let kind = match line {
            Ok(line) => line.kind.map_or("unknown", Kind::name),
            Err(_) => "malformed",
        };
        let wanted = |asked: &Option<String>, has: Option<&str>| asked.as_deref().is_none_or(|a| has == Some(a));
        let filter = self.filter;
        if !(wanted(&filter.agent, agent) && wanted(&filter.run, run) && wanted(&filter.kind, Some(kind))) {
            return None;
        }
        let text = match raw {
            RawLine::Line(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            RawLine::Oversize(length) => format!("({length} bytes)"),
        };
        if filter.output != Output::Text {
            let ts = line.as_ref().ok().and_then(|line| line.ts.at()).map(time::format);
            let why = line.as_ref().err().map(|why| why.detail.clone());
            let value = json!({
                "position": position, "stream": &*place.stream, "file": &*place.file, "offset": place.offset,
                "kind": kind, "ts": ts, "agent": agent, "run_id": run, "malformed": why, "line": text.trim_end(),
            });
            return Some(value.to_string());
        }
        let ts = match line.as_ref().map(|line| line.ts) {
            Ok(Stamp::At(ts)) => time::format(ts),
            _ => "-".to_owned(),
        };
        let detail = line.as_ref().map_or_else(|why| why.detail.clone(), |_| text.trim().to_owned());
        Some(format!(
            "{position:>8} {:<10} {kind:<9} {ts:<27} {}",
            human::visible(&place.stream),
            human::visible(&detail)
        ))
    }
}
