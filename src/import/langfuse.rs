use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Draft, Drafts, Record, draft, value};
use crate::event::{Nanos, fields::Id, time};

/// How traces are read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub agent: Option<String>,
    /// The path of the agent in the trace or its first observation; else the trace's name.
    pub agent_from: Option<String>,
    pub strategy: Option<String>,
    /// The score that is the reward.
    pub reward_score: Option<String>,
    /// A cost of 0 is believed.
    pub zero_is_free: bool,
}

const TRACE_ID: [&str; 2] = ["traceId", "trace_id"];
const START: [&str; 2] = ["startTime", "start_time"];
const END: [&str; 2] = ["endTime", "end_time"];
const PARENT: [&str; 2] = ["parentObservationId", "parent_observation_id"];
const DETAILS: [&str; 2] = ["usageDetails", "usage_details"];
const MODEL: [&str; 3] = ["model", "providedModelName", "provided_model_name"];
const COST: [&str; 6] =
    ["calculatedTotalCost", "totalCost", "total_cost", "costDetails.total", "cost_details.total", "usage.totalCost"];
const TOKENS_IN: [&str; 5] = ["usage.input", "inputUsage", "inputTokens", "promptTokens", "usage.promptTokens"];
const TOKENS_OUT: [&str; 5] =
    ["usage.output", "outputUsage", "outputTokens", "completionTokens", "usage.completionTokens"];
const SESSION: [&str; 2] = ["sessionId", "session_id"];
const NAME: [&str; 3] = ["traceName", "trace_name", "name"];

/// Traces as Langfuse's API, its exports and its blob storage give them, in camelCase or snake_case: traces (`id`,
/// `timestamp`, `name`, `sessionId`, `latency` in seconds, `totalCost`, with or without `observations` and `scores`),
/// observations (`id`, `traceId`, `parentObservationId`, `startTime`, `endTime`, `model` or `providedModelName`, `usage` or
/// `usageDetails`, `calculatedTotalCost` or `totalCost`, `level`, `statusMessage`) and scores (`traceId`, `name`, `value`).
/// Each trace is one run line at its end. Usage and cost of an observation that wraps others which have them are theirs
/// over again, and are not counted; the same holds for its error.
pub fn convert(records: &[Record], options: &Options) -> Drafts {
    let mut all = Drafts::default();
    let mut traces: BTreeMap<String, Trace> = BTreeMap::new();
    for record in records {
        all.see(&record.value);
        if let Err(why) = sort_in(&mut all, &mut traces, &record.place, &record.value, options) {
            all.refuse(&record.place, why);
        }
    }
    let mut unpriced = 0usize;
    for (id, trace) in traces {
        match trace.draft(&id, options, &mut unpriced) {
            Ok(draft) => all.drafts.extend(draft),
            Err(why) => all.refuse(&trace.place, why),
        }
    }
    if unpriced > 0 {
        all.notes.push(format!(
            "{unpriced} traces have tokens that Langfuse has no cost of: left without cost, so that the policy prices them \
             (--zero-is-free believes a 0)"
        ));
    }
    all
}

/// What is known of one trace.
#[derive(Debug, Default)]
struct Trace {
    place: String,
    agent: Option<String>,
    name: Option<String>,
    session: Option<String>,
    at: Option<Nanos>,
    latency_ms: Option<f64>,
    /// What the trace says of itself.
    own: Usage,
    /// Its errors by its own words; unknown of a trace that has neither them nor observations.
    errors: Option<f64>,
    observations: BTreeMap<String, Observation>,
    reward: Option<(Nanos, f64)>,
    /// Whether anything but scores was seen.
    known: bool,
}

#[derive(Debug, Default)]
struct Observation {
    parent: Option<String>,
    start: Option<Nanos>,
    end: Option<Nanos>,
    model: Option<String>,
    usage: Usage,
    failed: bool,
    error_type: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    input: Option<f64>,
    output: Option<f64>,
    cached: Option<f64>,
    cost: Option<f64>,
}

impl Usage {
    fn tokens(&self) -> f64 {
        self.input.unwrap_or(0.0) + self.output.unwrap_or(0.0)
    }

    fn has_tokens(&self) -> bool {
        self.tokens() > 0.0
    }
}

fn sort_in(
    all: &mut Drafts,
    traces: &mut BTreeMap<String, Trace>,
    place: &str,
    row: &Value,
    options: &Options,
) -> Result<(), String> {
    let of = all.text(row, &TRACE_ID);
    let is_observation = of.is_some() && all.find(row, &START).is_some();
    if let Some(id) = of.clone().filter(|_| !is_observation) {
        return score(all, entry(traces, id, place), row, options);
    }
    if let Some(id) = of {
        let trace = entry(traces, id, place);
        trace.known = true;
        return observation(all, trace, row, options);
    }
    // A single trace that was downloaded holds itself beside its observations.
    let head = row.get("trace").filter(|head| head.is_object()).unwrap_or(row);
    let (Some(id), Some(at)) = (all.text(head, &["id"]), all.time(head, &["timestamp"])) else {
        return Err(
            "neither a trace (id, timestamp) nor an observation (traceId, startTime) nor a score (traceId, name, \
                    value)"
                .to_owned(),
        );
    };
    let trace = entry(traces, id, place);
    trace.known = true;
    trace.at = Some(at);
    trace.name = all.text(head, &["name"]).or(trace.name.take());
    trace.session = all.text(head, &SESSION).or(trace.session.take());
    trace.latency_ms = all.number(head, &["latency"]).map(|seconds| value::times(seconds, 1000.0));
    trace.own = usage(all, head);
    let level = all.text(head, &["level"]).map(|level| f64::from(u8::from(level.eq_ignore_ascii_case("ERROR"))));
    trace.errors = all.number(head, &["errorCount", "error_count"]).or(level);
    let agent = options.agent_from.as_deref().and_then(|path| all.text(head, &[path]));
    trace.agent = agent.or(trace.agent.take());
    for list in ["observations", "scores"] {
        let items = row.get(list).or_else(|| head.get(list)).and_then(Value::as_array);
        for item in items.into_iter().flatten().filter(|item| item.is_object()) {
            all.used.insert(list.to_owned());
            match list {
                "observations" => observation(all, trace, item, options)?,
                _ => score(all, trace, item, options)?,
            }
        }
    }
    Ok(())
}

fn entry<'a>(traces: &'a mut BTreeMap<String, Trace>, id: String, place: &str) -> &'a mut Trace {
    traces.entry(id).or_insert_with(|| Trace { place: place.to_owned(), ..Trace::default() })
}

fn observation(all: &mut Drafts, trace: &mut Trace, row: &Value, options: &Options) -> Result<(), String> {
    let id = all.text(row, &["id"]).ok_or("an observation without id")?;
    let level = all.text(row, &["level"]).unwrap_or_default();
    let message = all.text(row, &["statusMessage", "status_message"]);
    let parent = all.text(row, &PARENT);
    if trace.name.is_none() {
        let named = if parent.is_none() { &NAME[..] } else { &NAME[..2] };
        trace.name = all.text(row, named);
    }
    trace.session = trace.session.take().or_else(|| all.text(row, &SESSION));
    let from = || options.agent_from.as_deref();
    trace.agent = trace.agent.take().or_else(|| from().and_then(|path| all.text(row, &[path])));
    let start = all.time(row, &START);
    let latency = all.number(row, &["latency"]).map(|seconds| value::times(seconds, 1e9) as Nanos);
    let end = all.time(row, &END).or_else(|| Some(start?.saturating_add(latency?)));
    let failed = level.eq_ignore_ascii_case("ERROR");
    let seen = Observation {
        parent,
        start,
        end,
        model: all.text(row, &MODEL),
        usage: usage(all, row),
        failed,
        error_type: message.filter(|_| failed).and_then(|message| class(&message)),
    };
    trace.observations.insert(id, seen);
    Ok(())
}

/// The class of an error in a message as `TimeoutError: no answer`.
fn class(message: &str) -> Option<String> {
    let head = message.split(':').next().unwrap_or_default().trim();
    let is_class =
        !head.is_empty() && head.len() <= 64 && head.chars().all(|c| c.is_alphanumeric() || "._".contains(c));
    is_class.then(|| head.to_owned())
}

fn score(all: &mut Drafts, trace: &mut Trace, row: &Value, options: &Options) -> Result<(), String> {
    let name = all.text(row, &["name"]).ok_or("a score without name")?;
    let Some(wanted) = &options.reward_score else { return Ok(()) };
    if name != *wanted {
        return Ok(());
    }
    let value = all.number(row, &["value"]).ok_or_else(|| format!("the score {name} has no number as its value"))?;
    let at = all.time(row, &["timestamp", "updatedAt", "updated_at", "createdAt"]).unwrap_or(Nanos::MIN);
    // A score that was given again counts as it was given last.
    if trace.reward.is_none_or(|(before, _)| before <= at) {
        trace.reward = Some((at, value));
    }
    Ok(())
}

/// Tokens and cost of a row. The classes of `usageDetails` exclude one another (`input`, `input_cached_tokens`,
/// `cache_read_input_tokens`, ...); where they do not, its `total` shows it.
fn usage(all: &mut Drafts, row: &Value) -> Usage {
    let cost = all.number(row, &COST);
    let details = all.find(row, &DETAILS).map(|(found, _)| match found {
        Value::String(text) => value::embedded(&text).unwrap_or_default(),
        other => other,
    });
    let Some(Value::Object(classes)) = details.filter(|details| details.as_object().is_some_and(|map| !map.is_empty()))
    else {
        let unit = all.text(row, &["usage.unit"]).unwrap_or_else(|| "TOKENS".to_owned());
        if unit != "TOKENS" {
            return Usage { cost, ..Usage::default() };
        }
        return Usage { input: all.number(row, &TOKENS_IN), output: all.number(row, &TOKENS_OUT), cached: None, cost };
    };
    let sum = |of: &dyn Fn(&str) -> bool| {
        let numbers: Vec<f64> =
            classes.iter().filter(|(name, _)| of(name)).filter_map(|(_, n)| value::number(n)).collect();
        (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>())
    };
    let is_cached = |name: &str| name.contains("input") && name.contains("cache") && !name.contains("creat");
    let (all_in, all_out) = (sum(&|name| name.contains("input")), sum(&|name| name.contains("output")));
    let (one_in, one_out) = (sum(&|name| name == "input"), sum(&|name| name == "output"));
    let total = sum(&|name| name == "total");
    let choices = [(all_in, all_out), (one_in, all_out), (all_in, one_out), (one_in, one_out)];
    let fits = |choice: &&(Option<f64>, Option<f64>)| total == Some(choice.0.unwrap_or(0.0) + choice.1.unwrap_or(0.0));
    let (input, output) = choices.iter().find(fits).copied().unwrap_or((all_in, all_out));
    let cached = sum(&is_cached).filter(|cached| *cached > 0.0).map(|cached| cached.min(input.unwrap_or(0.0)));
    Usage { input, output, cached, cost }
}

impl Trace {
    /// The run line; none of a trace of which only scores are known.
    fn draft(&self, id: &str, options: &Options, unpriced: &mut usize) -> Result<Option<Draft>, String> {
        if !self.known {
            return Err(format!("a score of trace {id}, which is in none of the files; give the file that has it too"));
        }
        let agent = options.agent.as_ref().or(self.agent.as_ref());
        let agent = agent.or(self.name.as_ref().filter(|_| options.agent_from.is_none()));
        let agent = agent.ok_or_else(|| format!("trace {id} has no agent; want --agent-from PATH or --agent NAME"))?;
        let mut draft = Draft::new(&self.place, id.to_owned());
        draft.set(Id::Kind, "run", "");
        draft.set(Id::RunId, draft::name(id.to_owned()), "traceId");
        draft.set(Id::Agent, agent.as_str(), options.agent_from.as_deref().unwrap_or("name"));
        draft.set_some(Id::Strategy, options.strategy.as_deref(), "");
        draft.set_some(Id::SessionId, self.session.as_deref(), "sessionId");
        self.times(&mut draft);
        self.counts(&mut draft, options, unpriced);
        let errors = self.leaves(|seen| seen.failed);
        let counted = (!self.observations.is_empty()).then_some(errors.len() as f64).or(self.errors);
        draft.set_some(Id::Errors, counted.map(value::of_number), "level");
        draft.set_some(Id::ErrorType, errors.iter().find_map(|seen| seen.error_type.as_deref()), "statusMessage");
        let score = options.reward_score.as_deref().unwrap_or_default();
        draft.set_some(Id::Reward, self.reward.map(|(_, value)| value::of_number(value)), &format!("scores {score}"));
        Ok(Some(draft))
    }

    fn times(&self, draft: &mut Draft) {
        let start = self.observations.values().filter_map(|seen| seen.start).min();
        let end = self.observations.values().filter_map(|seen| seen.end.or(seen.start)).max();
        let ended = end.or_else(|| {
            let nanos = value::times(self.latency_ms.unwrap_or(0.0), 1e6) as Nanos;
            self.at.map(|at| at.saturating_add(nanos))
        });
        draft.set_some(Id::Ts, ended.or(self.at).map(time::format), "endTime, timestamp");
        let measured = start.zip(end).map(|(start, end)| value::times(end.saturating_sub(start) as f64, 1e-6));
        draft.set_some(
            Id::LatencyMs,
            self.latency_ms.or(measured).map(value::of_number),
            "latency, endTime - startTime",
        );
    }

    fn counts(&self, draft: &mut Draft, options: &Options, unpriced: &mut usize) {
        let leaves = self.leaves(|seen| seen.usage.has_tokens());
        let whole = [&self.own];
        let of_leaves: Vec<&Usage> = leaves.iter().map(|seen| &seen.usage).collect();
        let counted: &[&Usage] = if leaves.is_empty() { &whole } else { &of_leaves };
        let sum = |of: fn(&Usage) -> Option<f64>| {
            let numbers: Vec<f64> = counted.iter().filter_map(|usage| of(usage)).collect();
            (!numbers.is_empty()).then(|| value::of_number(numbers.iter().sum()))
        };
        draft.set_some(Id::TokensIn, sum(|usage| usage.input), "usage");
        draft.set_some(Id::TokensOut, sum(|usage| usage.output), "usage");
        draft.set_some(Id::CachedTokens, sum(|usage| usage.cached), "usageDetails");
        let longest = leaves.iter().rev().max_by(|a, b| a.usage.tokens().total_cmp(&b.usage.tokens()));
        draft.set_some(Id::Model, longest.and_then(|seen| seen.model.as_deref()), "model");
        match self.cost(options) {
            Ok(cost) => draft.set_some(Id::CostUsd, cost.map(value::of_number), "totalCost"),
            Err(Unpriced) => *unpriced += 1,
        }
    }

    fn cost(&self, options: &Options) -> Result<Option<f64>, Unpriced> {
        let priced = |usage: &Usage| usage.cost.is_some_and(|cost| cost > 0.0 || options.zero_is_free);
        let costs = self.leaves(|seen| priced(&seen.usage));
        let bare =
            |id: &str| !self.line_of(id).any(|id| self.observations.get(id).is_some_and(|seen| priced(&seen.usage)));
        let ids = self.leaf_ids(|seen| seen.usage.has_tokens());
        if costs.is_empty() && (priced(&self.own) || (ids.is_empty() && !self.own.has_tokens())) {
            return Ok(self.own.cost);
        }
        if costs.is_empty() || ids.into_iter().any(bare) {
            return Err(Unpriced);
        }
        Ok(Some(costs.iter().filter_map(|seen| seen.usage.cost).sum()))
    }

    /// The observations that have something while none below them has it.
    fn leaves(&self, has: impl Fn(&Observation) -> bool) -> Vec<&Observation> {
        self.leaf_ids(has).into_iter().filter_map(|id| self.observations.get(id)).collect()
    }

    fn leaf_ids(&self, has: impl Fn(&Observation) -> bool) -> Vec<&str> {
        let having = self.observations.iter().filter(|(_, seen)| has(seen)).map(|(id, _)| id.as_str());
        let wrapping: BTreeSet<&str> = having.clone().flat_map(|id| self.line_of(id).skip(1)).collect();
        having.filter(|id| !wrapping.contains(id)).collect()
    }

    /// An observation and those around it, as far as they are known; a circle is walked once.
    fn line_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        let parent = |id: &&'a str| self.observations.get(*id)?.parent.as_deref();
        let mut seen = BTreeSet::new();
        std::iter::successors(Some(id), parent).take_while(move |id| seen.insert(*id))
    }
}

/// Some of the tokens have no cost.
struct Unpriced;

#[cfg(test)]
mod tests;
