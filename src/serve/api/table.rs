use super::{
    Answering, Asked, commands, decisions, events,
    fields::{
        Field,
        Shape::{self, Amount, Cursor, Flag, Name, Number, Object, OneOf, Text, Whole},
        WHOLE_MAX,
    },
    policy, reads, requests, runs,
};
use crate::serve::{routes::App, tokens::Scope};

/// What can be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

impl Verb {
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
        }
    }

    /// As it stands in the header `Allow`.
    pub const fn allow(self) -> &'static str {
        match self {
            Verb::Get => "GET,HEAD",
            Verb::Post => "POST",
        }
    }
}

/// What a request carries.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    None,
    Json(&'static [Field]),
    /// Newline-delimited JSON.
    Lines,
}

/// One route: what a request must be, what it gets, and who answers it.
pub struct Route {
    pub verb: Verb,
    pub path: &'static str,
    pub id: &'static str,
    pub doc: &'static str,
    pub scope: Scope,
    pub param: Option<Field>,
    pub query: &'static [Field],
    pub body: Body,
    /// The schema of the answer 200.
    pub answer: &'static str,
    /// Statuses beside those that every route can give.
    pub errors: &'static [u16],
    pub run: fn(App, Asked) -> Answering,
}

const POSITION: Shape = Whole(0, WHOLE_MAX);
const WAIT: Field =
    Field::may("wait", POSITION, "Answer only once every consumer stands past this position, within 10 s.");
const ID: Field =
    Field::may("event_id", Name, "Identity of the request: sent again with it, it is done once and answered the same.");
const REASON: Field = Field::may("reason", Text(4096), "Why, for whoever reads the history.");
const ACTOR: Field = Field::may("actor", Name, "Who asks; where tokens are used, the name of the token instead.");
const AGENT: Field = Field::must("agent", Name, "The agent.");
const RUN_ID: Field = Field::must("run_id", Name, "The run.");

const GATE: Field = Field::may("gate", Name, "Only agents whose gate is in this state.");
const VERDICT: Field = Field::may("verdict", Name, "Only agents with this verdict.");
const STRATEGY: Field = Field::may("strategy", Name, "Only agents of this strategy.");

const RECENT: Field = Field::may(
    "recent",
    Whole(0, 500),
    "Each row with the `recent` entries of its windows, so many at most; 0 unless said.",
);
const STATE_QUERY: &[Field] = &[RECENT, WAIT];
const AGENTS_QUERY: &[Field] = &[GATE, VERDICT, STRATEGY, WAIT];
const DECISIONS_QUERY: &[Field] = &[
    Field::may("consumer", Name, "Only decisions of this consumer."),
    Field::may("subject", Name, "Only decisions about this agent or strategy."),
    Field::may("subject_kind", OneOf(&["agent", "strategy", "fleet"]), "Only decisions about such subjects."),
    Field::may("verdict", Name, "Only decisions with this verdict."),
    Field::may("from", POSITION, "Only decisions caused by this position or a later one."),
    Field::may("to", POSITION, "Only decisions caused by a position before this one."),
    Field::may(
        "after",
        Cursor,
        "Only decisions after this cursor: the `next` of an earlier answer, or the id of an event.",
    ),
    Field::may("limit", Whole(1, 1000), "How many at most; 100 unless said."),
    Field::may("newest", Flag, "The last ones instead of the first ones, whatever `after` says."),
    WAIT,
];
const CHECK: &[Field] = &[
    AGENT,
    Field::may("symbol", Name, "The instrument."),
    Field::may("notional_usd", Amount, "Size of the order, US dollars."),
    Field::may("expected_edge_bps", Number, "Expected edge, basis points."),
    Field::may("spread_bps", Amount, "Spread, basis points."),
    Field::may("slippage_bps", Amount, "Expected slippage, basis points."),
    Field::may("data_age_sec", Amount, "Age of the market data, seconds."),
    Field::may("paper", Flag, "Whether the order is on paper only."),
    Field::may("reduce", Flag, "Whether the order makes a position smaller."),
    ID,
];
const RESERVE: &[Field] = &[AGENT, RUN_ID, Field::must("amount_usd", Amount, "How much is asked for, US dollars."), ID];
const RELEASE: &[Field] = &[RUN_ID, Field::may("agent", Name, "The agent."), ID];
const ACTIONS: &[&str] = &["pause", "resume", "quarantine", "clear", "kill", "revive", "promote", "demote", "retire"];
const WHERE: &[Field] = &[
    GATE,
    VERDICT,
    STRATEGY,
    Field::may("quarantined", Flag, "Only agents that are in quarantine, or that are not."),
    Field::may("policy", Name, "Only agents whose gate was decided under the policy with this hash."),
];
const COMMAND: &[Field] = &[
    Field::must("action", OneOf(ACTIONS), "What is to be done."),
    Field::may("agent", Name, "To this agent."),
    Field::may("strategy", Name, "To this strategy."),
    Field::may("fleet", Flag, "To the fleet; true or left out."),
    Field::may("where", Object(WHERE), "To each agent that is so; at least one condition."),
    REASON,
    ACTOR,
    ID,
];
const POLICY: &[Field] =
    &[Field::must("policy", Text(60 * 1024), "The policy, TOML as of a policy file."), REASON, ACTOR, ID];

const fn get(path: &'static str, id: &'static str, answer: &'static str, doc: &'static str, run: Run) -> Route {
    let (verb, scope, query, errors): (_, _, &[Field], &[u16]) = (Verb::Get, Scope::Read, &[WAIT], &[]);
    Route { verb, path, id, doc, scope, param: None, query, body: Body::None, answer, errors, run }
}

const fn post(path: &'static str, id: &'static str, answer: &'static str, doc: &'static str, run: Run) -> Route {
    let (verb, scope, query, errors): (_, _, &[Field], &[u16]) = (Verb::Post, Scope::Append, &[], &[409, 507]);
    Route { verb, path, id, doc, scope, param: None, query, body: Body::None, answer, errors, run }
}

type Run = fn(App, Asked) -> Answering;

/// Every route of the API.
pub static ROUTES: &[Route] = &[
    get("/api/v1/openapi.json", "openapi", "Document", "This document.", |app, asked| {
        Box::pin(reads::document(app, asked))
    }),
    get(
        "/api/v1/status",
        "status",
        "Status",
        "Whether the recorder is to be relied on, and where it stands.",
        |app, asked| Box::pin(reads::status(app, asked)),
    ),
    Route {
        query: STATE_QUERY,
        ..get("/api/v1/state", "state", "State", "Every number of the fold.", |app, asked| {
            Box::pin(reads::state(app, asked))
        })
    },
    Route {
        query: AGENTS_QUERY,
        ..get("/api/v1/agents", "agents", "Agents", "The agents, all or some.", |app, asked| {
            Box::pin(reads::agents(app, asked))
        })
    },
    Route {
        param: Some(Field::must("name", Name, "The agent.")),
        errors: &[404],
        ..get("/api/v1/agents/{name}", "agent", "Agent", "One agent.", |app, asked| Box::pin(reads::agent(app, asked)))
    },
    Route {
        param: Some(RUN_ID),
        errors: &[404],
        ..get(
            "/api/v1/runs/{run_id}",
            "run",
            "Run",
            "The lines of a run, and the decisions they caused.",
            |app, asked| Box::pin(runs::get(app, asked)),
        )
    },
    Route {
        query: DECISIONS_QUERY,
        ..get(
            "/api/v1/decisions",
            "decisions",
            "Decisions",
            "Decisions in order, page by page. Asked for text/event-stream, it goes on with decisions as they are made: after the cursor in `after` or Last-Event-ID, else from now on.",
            |app, asked| Box::pin(decisions::get(app, asked)),
        )
    },
    Route {
        param: Some(AGENT),
        ..get(
            "/api/v1/verdicts/{agent}",
            "verdict",
            "Verdict",
            "Whether an agent may trade, and at what size.",
            |app, asked| Box::pin(reads::verdict(app, asked)),
        )
    },
    Route {
        errors: &[404],
        ..get(
            "/api/v1/controls",
            "controls",
            "Controls",
            "The verdicts of all agents, as in controls.json.",
            |app, asked| Box::pin(reads::controls(app, asked)),
        )
    },
    Route {
        body: Body::Lines,
        errors: &[507],
        ..post(
            "/api/v1/events",
            "append_events",
            "Appended",
            "Appends lines, all or none; answered once they are on disk.",
            |app, asked| Box::pin(events::post(app, asked)),
        )
    },
    Route {
        body: Body::Json(CHECK),
        ..post("/api/v1/checks", "check", "Checked", "Whether an order may be placed.", |app, asked| {
            Box::pin(requests::check(app, asked))
        })
    },
    Route {
        body: Body::Json(RESERVE),
        ..post(
            "/api/v1/reservations",
            "reserve",
            "Reserved",
            "Sets a part of the budget aside for a run.",
            |app, asked| Box::pin(requests::reserve(app, asked)),
        )
    },
    Route {
        body: Body::Json(RELEASE),
        ..post("/api/v1/releases", "release", "Released", "Gives a reservation back.", |app, asked| {
            Box::pin(requests::release(app, asked))
        })
    },
    Route {
        scope: Scope::Control,
        body: Body::Json(COMMAND),
        errors: &[404, 409, 507],
        ..post(
            "/api/v1/commands",
            "command",
            "Commanded",
            "An operator's command about exactly one of: an agent, a strategy, the fleet, each agent that is so.",
            |app, asked| Box::pin(commands::post(app, asked)),
        )
    },
    get("/api/v1/policy", "policy", "PolicyInForce", "The policy in force.", |app, asked| {
        Box::pin(policy::get(app, asked))
    }),
    Route {
        scope: Scope::Control,
        body: Body::Json(POLICY),
        errors: &[409, 422, 507],
        ..post(
            "/api/v1/policy",
            "set_policy",
            "PolicySet",
            "Brings a policy into force from the next position on.",
            |app, asked| Box::pin(policy::post(app, asked)),
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Action;

    #[test]
    fn the_table_is_consistent() {
        for (index, route) in ROUTES.iter().enumerate() {
            assert!(route.path.starts_with("/api/v1/"), "{}", route.path);
            assert_eq!(route.path.contains('{'), route.param.is_some(), "{}", route.path);
            if let Some(param) = route.param {
                assert!(route.path.ends_with(&format!("{{{}}}", param.name)), "{}", route.path);
            }
            let is_get = route.verb == Verb::Get;
            assert_eq!(
                is_get,
                route.query.iter().any(|field| field.name == "wait"),
                "{}: every GET can wait",
                route.id
            );
            assert_eq!(is_get, matches!(route.body, Body::None), "{}", route.id);
            assert_eq!(is_get, route.scope == Scope::Read, "{}: reading changes nothing", route.id);
            let twin = |other: &Route| other.id == route.id || (other.path, other.verb) == (route.path, route.verb);
            assert!(!ROUTES[..index].iter().any(twin), "{} is there twice", route.id);
        }
    }

    #[test]
    fn the_actions_are_those_of_the_control_stream() {
        assert_eq!(ACTIONS, Action::ALL.map(Action::name));
    }
}
