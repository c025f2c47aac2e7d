use std::fmt;

use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works, and will not always.
    Warn,
    Fail,
}

/// What was looked at, how it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_out: Option<String>,
}

impl Finding {
    pub fn ok(check: &'static str, what: impl Into<String>) -> Finding {
        Finding { check, level: Level::Ok, what: what.into(), way_out: None }
    }

    pub fn warn(check: &'static str, what: impl Into<String>, way_out: impl Into<String>) -> Finding {
        Finding { check, level: Level::Warn, what: what.into(), way_out: Some(way_out.into()) }
    }

    pub fn fail(check: &'static str, what: impl Into<String>, way_out: impl Into<String>) -> Finding {
        Finding { check, level: Level::Fail, what: what.into(), way_out: Some(way_out.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        write!(f, "{level:<5}{:<12}{}", self.check, self.what)?;
        self.way_out.as_ref().map_or(Ok(()), |way_out| write!(f, "\n{:17}-> {way_out}", ""))
    }
}
