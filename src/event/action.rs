use serde::{Deserialize, Serialize};

/// What an operator can command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Nobody trades until resumed.
    Pause,
    Resume,
    /// Off the market until cleared by an operator.
    Quarantine,
    Clear,
    /// Final until revived.
    Kill,
    Revive,
    Promote,
    /// A candidate again; only an operator promotes it after that.
    Demote,
    /// For good: its series vanish.
    Retire,
}

impl Action {
    pub const ALL: [Action; 9] = [
        Action::Pause,
        Action::Resume,
        Action::Quarantine,
        Action::Clear,
        Action::Kill,
        Action::Revive,
        Action::Promote,
        Action::Demote,
        Action::Retire,
    ];

    /// The word on a line, on the command line and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Quarantine => "quarantine",
            Action::Clear => "clear",
            Action::Kill => "kill",
            Action::Revive => "revive",
            Action::Promote => "promote",
            Action::Demote => "demote",
            Action::Retire => "retire",
        }
    }

    /// The consumer whose decision answers it.
    pub const fn consumer(self) -> &'static str {
        match self {
            Action::Pause | Action::Resume | Action::Retire => "desk",
            Action::Quarantine | Action::Clear => "quarantine",
            Action::Kill | Action::Revive | Action::Promote | Action::Demote => "gates",
        }
    }

    /// The action of that exact word.
    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }

    /// All words, for a message.
    pub fn words() -> String {
        Action::ALL.map(Action::name).join(", ")
    }
}
