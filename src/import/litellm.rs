use serde_json::Value;

use super::{Draft, Drafts, Record, value};
use crate::event::fields::Id;

/// How spend logs are read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub agent: Option<String>,
    /// The path of the agent; else the first of [`AGENT`] that is there.
    pub agent_from: Option<String>,
    /// The path of the run; else `request_id`.
    pub run_from: Option<String>,
    pub strategy: Option<String>,
    /// A cost of 0 is believed.
    pub zero_is_free: bool,
}

/// Where the agent is looked for: who called, from the closest to the widest.
pub const AGENT: [&str; 6] =
    ["metadata.user_api_key_alias", "end_user", "user", "metadata.user_api_key_team_alias", "team_id", "api_key"];

/// Where a provider's cache is told of: OpenAI's words, then Anthropic's.
const CACHED: [&str; 4] = [
    "metadata.usage_object.prompt_tokens_details.cached_tokens",
    "metadata.additional_usage_values.prompt_tokens_details.cached_tokens",
    "metadata.additional_usage_values.cache_read_input_tokens",
    "metadata.usage_object.cache_read_input_tokens",
];

/// Spend logs: rows of `LiteLLM_SpendLogs` as `/spend/logs?summarize=false` or an export of the table gives them:
/// `request_id`, `startTime`, `endTime`, `request_duration_ms`, `spend`, `prompt_tokens` (the cached ones included),
/// `completion_tokens`, `model`, `status`, `cache_hit`, `session_id`, `end_user`, `user`, `team_id`, `api_key` and
/// `metadata` (an object, or a text of JSON) with `user_api_key_alias`, `usage_object` and `error_information`. Each row is
/// a run line at its end. A model that LiteLLM has no price for is logged with `spend` 0; such a row is left without a
/// cost, so that its tokens are priced, unless a cache answered.
pub fn convert(records: &[Record], options: &Options) -> Drafts {
    let mut all = Drafts::default();
    let mut unpriced = 0usize;
    for record in records {
        all.see(&record.value);
        if let Err(why) = row(&mut all, record, options, &mut unpriced) {
            all.refuse(&record.place, why);
        }
    }
    if unpriced > 0 {
        all.notes.push(format!(
            "{unpriced} rows have tokens and a spend of 0: left without cost, so that the policy prices them \
             (--zero-is-free believes the 0)"
        ));
    }
    all
}

fn row(all: &mut Drafts, record: &Record, options: &Options, unpriced: &mut usize) -> Result<(), String> {
    let row = &record.value;
    let Some(request) = all.text(row, &["request_id"]) else {
        return Err("it has no request_id; a summary is no log: ask /spend/logs with summarize=false".to_owned());
    };
    let mut draft = Draft::new(&record.place, request);
    draft.set(Id::Kind, "run", "");
    all.copy(&mut draft, Id::RunId, row, &[options.run_from.as_deref().unwrap_or("request_id")]);
    all.copy(&mut draft, Id::Ts, row, &["endTime", "startTime"]);
    match (&options.agent, &options.agent_from) {
        (Some(agent), _) => draft.set(Id::Agent, agent.as_str(), ""),
        (None, Some(path)) => all.copy(&mut draft, Id::Agent, row, &[path]),
        (None, None) => all.copy(&mut draft, Id::Agent, row, &AGENT),
    }
    if draft.get(Id::Agent).is_none() {
        let from = options.agent_from.as_deref().unwrap_or("any of the usual places");
        return Err(format!("no agent at {from}; want --agent-from PATH or --agent NAME"));
    }
    draft.set_some(Id::Strategy, options.strategy.as_deref(), "");
    all.copy(&mut draft, Id::Model, row, &["model", "model_group"]);
    all.copy(&mut draft, Id::SessionId, row, &["session_id"]);
    latency(all, &mut draft, row);
    tokens_and_cost(all, &mut draft, row, options, unpriced);
    let status = all.text(row, &["status", "metadata.status"]).unwrap_or_default();
    let failed = status.eq_ignore_ascii_case("failure");
    draft.set(Id::Errors, failed, "status");
    if failed {
        let class = ["metadata.error_information.error_class", "metadata.error_information.error_code"];
        all.copy(&mut draft, Id::ErrorType, row, &class);
    }
    all.drafts.push(draft);
    Ok(())
}

fn latency(all: &mut Drafts, draft: &mut Draft, row: &Value) {
    if all.find(row, &["request_duration_ms"]).is_some() {
        return all.copy(draft, Id::LatencyMs, row, &["request_duration_ms"]);
    }
    if let (Some(start), Some(end)) = (all.time(row, &["startTime"]), all.time(row, &["endTime"])) {
        let millis = value::times(end.saturating_sub(start).max(0) as f64, 1e-6);
        draft.set(Id::LatencyMs, value::of_number(millis), "endTime - startTime");
    }
}

fn tokens_and_cost(all: &mut Drafts, draft: &mut Draft, row: &Value, options: &Options, unpriced: &mut usize) {
    let hit = all.find(row, &["cache_hit"]).is_some_and(|(hit, _)| value::is_true(&hit));
    let (input, output) = (all.number(row, &["prompt_tokens"]), all.number(row, &["completion_tokens"]));
    // LiteLLM's own cache answered: nothing was read anew.
    let cached = if hit { input } else { all.number(row, &CACHED) };
    let cached = cached.filter(|cached| *cached > 0.0);
    // Cached tokens are part of the input; where there are more of them the row counted them apart.
    let input = match (input, cached) {
        (Some(input), Some(cached)) if cached > input => Some(input + cached),
        (input, _) => input,
    };
    draft.set_some(Id::TokensIn, input.map(value::of_number), "prompt_tokens");
    draft.set_some(Id::TokensOut, output.map(value::of_number), "completion_tokens");
    let path = if hit { "cache_hit" } else { "metadata.usage_object" };
    draft.set_some(Id::CachedTokens, cached.map(value::of_number), path);
    let spend = all.number(row, &["spend"]);
    let tokens = input.unwrap_or(0.0) + output.unwrap_or(0.0);
    if spend == Some(0.0) && tokens > 0.0 && !hit && !options.zero_is_free {
        *unpriced += 1;
    } else {
        all.copy(draft, Id::CostUsd, row, &["spend"]);
    }
}
