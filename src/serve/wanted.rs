use crate::{consumers::REGISTRY, fold::Registration, render::exposition::KINDS};

/// What of the page of metrics is asked for: consumers by name and the recorder's own families, or families by name.
/// Without either everything, with both what is in both.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    parts: Option<Vec<String>>,
    families: Option<Vec<String>>,
}

/// The part that is no consumer, and how its families begin.
const RECORDER: &str = "recorder";
const RECORDER_PREFIX: &str = "runtape_";

/// What follows the name of a family of histograms in that of a series.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// What follows the name of a counter in OpenMetrics.
const OF_COUNTERS: &str = "_total";

/// So much of an unknown word is repeated.
const WORD_CHARS: usize = 100;

impl Wanted {
    /// What the `collect[]` and `name[]` of a query ask for.
    ///
    /// # Errors
    /// A part or a family that there is none of: what to answer.
    pub fn of(query: Vec<(String, String)>) -> Result<Wanted, String> {
        let (mut parts, mut families) = (Vec::new(), Vec::new());
        for (key, word) in query {
            match &*key {
                "collect[]" => parts.push(word),
                "name[]" => families.push(word),
                _ => {}
            }
        }
        let all = || REGISTRY.iter().map(|registration| registration.name).chain([RECORDER]);
        if let Some(unknown) = parts.iter().find(|asked| !all().any(|part| part == *asked)) {
            let all: Vec<&str> = all().collect();
            return Err(format!("collect[]: there is no part {}; want {}\n", quoted(unknown), all.join(", ")));
        }
        let families = families.into_iter().map(known).collect::<Result<Vec<_>, _>>()?.concat();
        let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
        Ok(Wanted { parts: some(parts), families: some(families) })
    }

    /// Whether anything of a part is on the page.
    pub fn has(&self, part: &str) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.iter().any(|wanted| wanted == part))
    }

    /// Whether anything of the recorder's own is on the page.
    pub fn recorder(&self) -> bool {
        let families = self.families.as_ref();
        self.has(RECORDER) && families.is_none_or(|names| names.iter().any(|name| name.starts_with(RECORDER_PREFIX)))
    }

    /// Whether a family is on the page, if its part is.
    pub fn shows(&self, family: &str) -> bool {
        self.families.as_ref().is_none_or(|names| names.iter().any(|asked| is_of(asked, family)))
    }

    /// Whether the page depends on a consumer: it is on it, it may hide others, or the recorder says how it does.
    pub fn needs(&self, consumer: &str) -> bool {
        let serves = |one: &Registration| {
            self.has(consumer) && self.families.as_ref().is_none_or(|names| names.iter().any(|name| serves(one, name)))
        };
        let registration = REGISTRY.iter().find(|registration| registration.name == consumer);
        self.recorder() || registration.is_none_or(|registration| registration.hides || serves(registration))
    }
}

/// The names of families that one asked for may be: in OpenMetrics a counter is known without its ending, unless another
/// family has that very name.
///
/// # Errors
/// There is no such family: what to answer.
fn known(asked: String) -> Result<Vec<String>, String> {
    let counter = asked.clone() + OF_COUNTERS;
    if asked.starts_with(RECORDER_PREFIX) {
        return Ok(vec![asked, counter]);
    }
    let is_there = |asked: &String| REGISTRY.iter().any(|one| serves(one, asked));
    let found = [asked.clone(), counter].into_iter().find(is_there);
    found
        .map(|name| vec![name])
        .ok_or_else(|| format!("name[]: there is no family {}; want one that /metrics has\n", quoted(&asked)))
}

/// Whether a consumer has the family that is asked for.
fn serves(registration: &Registration, asked: &str) -> bool {
    let named =
        |kind: &str, family: &str| asked.strip_prefix(kind)?.strip_prefix('_').filter(|rest| is_of(rest, family));
    registration.families.iter().any(|family| KINDS.iter().any(|kind| named(kind, family.name).is_some()))
}

/// Whether what is asked for is a family, by its own name or by that of one of its series.
fn is_of(asked: &str, family: &str) -> bool {
    let series = |rest: &str| OF_HISTOGRAMS.contains(&rest);
    asked.strip_prefix(family).is_some_and(|rest| rest.is_empty() || series(rest))
}

fn quoted(word: &str) -> String {
    format!("{:?}", word.chars().take(WORD_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a query asks for, of two consumers, two families and the recorder.
    #[track_caller]
    fn check(query: &[(&str, &str)], want: &str) {
        let query = query.iter().map(|(key, word)| ((*key).to_owned(), (*word).to_owned())).collect();
        let got = match Wanted::of(query) {
            Err(why) => why,
            Ok(wanted) => {
                let needs = ["runs", "rolling", "desk"].map(|part| (part, wanted.needs(part)));
                let shows =
                    ["agent_runs_total", "agent_cost_usd", "runtape_position"].map(|name| (name, wanted.shows(name)));
                let all = needs.into_iter().chain(shows).chain([("recorder", wanted.recorder())]);
                all.filter(|(_, is)| *is).map(|(name, _)| name).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(got, want);
    }

    #[test]
    fn parts_and_families_are_asked_for_by_name() {
        check(&[], "runs rolling desk agent_runs_total agent_cost_usd runtape_position recorder");
        check(&[("format", "x"), ("collect[]", "runs")], "runs desk agent_runs_total agent_cost_usd runtape_position");
        check(&[("name[]", "agent_runs_total")], "runs desk agent_runs_total");
        check(&[("name[]", "agent_runs")], "runs desk agent_runs_total");
        check(&[("name[]", "strategy_runs_total")], "runs desk");
        check(&[("name[]", "agent_cost_usd_bucket")], "runs desk agent_cost_usd");
        check(&[("name[]", "agent_cost_usd_total")], "runs desk");
        check(&[("name[]", "agent_cost_usd")], "runs desk agent_cost_usd");
        check(&[("name[]", "runtape_position")], "runs rolling desk runtape_position recorder");
        check(&[("name[]", "agent_runs_total"), ("collect[]", "rolling")], "desk agent_runs_total");
        check(
            &[("name[]", "agent_runs_tota")],
            "name[]: there is no family \"agent_runs_tota\"; want one that /metrics has\n",
        );
        check(&[("name[]", "")], "name[]: there is no family \"\"; want one that /metrics has\n");
    }
}
