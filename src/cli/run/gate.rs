use std::fs;

use serde_json::Value;

use crate::{
    cli::{desk::Client, figures},
    clock::Clock,
    layout::Layout,
    render::human,
};

/// Whether an agent may start, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub word: String,
    /// It may trade with money.
    pub live: bool,
    pub reasons: Vec<String>,
}

impl Verdict {
    pub fn allows(&self) -> bool {
        self.word == "allow"
    }

    fn deny(reason: String) -> Verdict {
        Verdict { word: "deny".to_owned(), live: false, reasons: vec![reason] }
    }

    /// The verdict that a row states; nothing that is missing permits anything.
    fn of(row: &Value) -> Verdict {
        let Some(word) = row["verdict"].as_str() else { return Verdict::deny("no_verdict".to_owned()) };
        let reasons = row["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let live = word == "allow" && row["live"] == true;
        Verdict { word: word.to_owned(), live, reasons: reasons.map(str::to_owned).collect() }
    }

    /// What is said to whoever wanted to start it.
    pub fn told(&self, agent: &str) -> String {
        let reasons: Vec<_> = self.reasons.iter().map(|reason| human::visible(reason)).collect();
        let mut text = format!("{}: {}", human::visible(agent), human::visible(&self.word));
        if !reasons.is_empty() {
            text += &format!(" ({})", reasons.join(", "));
        }
        if self.reasons.iter().any(|reason| reason == "unknown_agent") {
            text += "; nobody knows it before its first run: begin with one run without --gate, or with \
                     --paper-when-denied";
        }
        text
    }
}

/// The verdict of the server, or without one of `controls.json`. Whatever goes wrong denies.
pub fn ask(client: Option<&Client>, layout: &Layout, clock: &Clock, agent: &str) -> Verdict {
    match client {
        Some(client) => {
            let path = format!("/api/v1/verdicts/{}", encoded(agent));
            client.get(&path, &[]).map_or_else(|error| Verdict::deny(error.to_string()), |row| Verdict::of(&row))
        }
        None => {
            let path = layout.controls();
            let read = fs::read(&path).map_err(|error| error.to_string());
            let parsed = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
            match parsed {
                Ok(controls) => of_controls(&controls, clock, agent),
                Err(error) => Verdict::deny(format!(
                    "no server, and {} cannot be read: {error}; start `runtape serve`",
                    path.display()
                )),
            }
        }
    }
}

fn of_controls(controls: &Value, clock: &Clock, agent: &str) -> Verdict {
    let now = clock.now() as f64 / 1e9;
    match controls["valid_until"].as_f64() {
        Some(until) if now < until => {}
        _ => {
            let until = figures::text(&controls["valid_until"]);
            return Verdict::deny(format!(
                "controls_expired: valid until {until}, and nobody writes them; start `runtape serve`"
            ));
        }
    }
    match &controls["agents"][agent] {
        Value::Null => Verdict::deny("unknown_agent".to_owned()),
        row => Verdict::of(row),
    }
}

/// A name as one segment of a path.
fn encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_or_expired_denies() {
        let clock = Clock::fixed(|| 1_000_000_000_000);
        let controls = json!({ "valid_until": 1001.0, "agents": {
            "good": { "verdict": "allow", "live": true, "reasons": [] },
            "bad": { "verdict": "deny", "live": true, "reasons": ["killed"] },
            "odd": {},
        }});
        let told = |controls: &Value, agent: &str| {
            let verdict = of_controls(controls, &clock, agent);
            (verdict.allows(), verdict.live, verdict.told(agent))
        };
        assert_eq!(told(&controls, "good"), (true, true, "good: allow".to_owned()));
        assert_eq!(told(&controls, "bad"), (false, false, "bad: deny (killed)".to_owned()));
        assert_eq!(told(&controls, "odd"), (false, false, "odd: deny (no_verdict)".to_owned()));
        let (allowed, _, text) = told(&controls, "new");
        assert!(!allowed && text.contains("unknown_agent") && text.contains("without --gate"), "{text}");
        for until in [json!(1000.0), json!(null), json!("2099"), json!(-1)] {
            let mut controls = controls.clone();
            controls["valid_until"] = until;
            let (allowed, _, text) = told(&controls, "good");
            assert!(!allowed && text.contains("controls_expired"), "{text}");
        }
    }

    #[test]
    fn names_are_one_segment_of_a_path() {
        assert_eq!(encoded("carry-btc_2"), "carry-btc_2");
        assert_eq!(encoded("a/b ü.."), "a%2Fb%20%C3%BC%2E%2E");
    }
}
