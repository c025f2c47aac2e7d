//! A failure as a program reads it.

use std::{ffi::OsString, io};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use serde_json::{Value, json};

use super::{Usage, desk::DeskError};
use crate::{
    policy::PolicyError,
    replay::ReplayError,
    serve::{ServeError, TokensError},
    store::LockError,
    tape::{OpenError, TapeError},
};

/// Set to 1, every command speaks JSON unless `-o` says otherwise.
const MACHINE: &str = "LLMFORMAT";

/// Whether the environment asks for JSON.
pub fn machine() -> bool {
    std::env::var_os(MACHINE).is_some_and(|value| value == "1")
}

/// Whether whoever typed this reads JSON.
pub fn wants_json(args: &[OsString]) -> bool {
    let words: Vec<&str> = args.iter().map_while(|arg| arg.to_str()).take_while(|arg| *arg != "--").collect();
    let glued = |word: &str| word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")).map(str::to_owned);
    let mut said = None;
    for (at, word) in words.iter().enumerate() {
        if matches!(*word, "-o" | "--output") {
            said = words.get(at + 1).map(|next| (*next).to_owned());
        } else if let Some(value) = glued(word) {
            said = Some(value);
        }
    }
    said.map_or_else(machine, |said| said.trim_start_matches('=').starts_with("json"))
}

/// The same commands, with JSON as what they print unless told otherwise; lines of it where they go on.
pub fn speaking_json(command: Command) -> Command {
    let format = if matches!(command.get_name(), "tail" | "decisions") { "jsonl" } else { "json" };
    let has = command.get_arguments().any(|arg| arg.get_id() == "output");
    let command = if has { command.mut_arg("output", |arg| arg.default_value(format)) } else { command };
    command.mut_subcommands(speaking_json)
}

/// A failure in the form that the API gives its own.
pub fn json(error: &anyhow::Error, exit: u8) -> Value {
    let (code, place, way_out) = parts(error, exit);
    let message = match error.downcast_ref::<DeskError>() {
        Some(DeskError::Answered { message, .. }) => message.clone(),
        _ => format!("{error:#}"),
    };
    json!({ "error": { "code": code, "message": message, "place": place, "value": null, "way_out": way_out, "exit": exit } })
}

type Parts = (String, Option<String>, Option<String>);

fn parts(error: &anyhow::Error, exit: u8) -> Parts {
    let open = match error.downcast_ref::<OpenError>() {
        Some(open) => Some(open),
        None => match error.downcast_ref::<ServeError>() {
            Some(ServeError::Start(crate::live::StartError::Open(open))) => Some(open),
            _ => None,
        },
    };
    if let Some(desk) = error.downcast_ref::<DeskError>() {
        return of_desk(desk);
    }
    let verify = Some("run `runtape verify`".to_owned());
    match open {
        Some(OpenError::Missing(dir)) => {
            let way_out = "give one with --events DIR".to_owned();
            return ("no_directory".to_owned(), Some(dir.display().to_string()), Some(way_out));
        }
        Some(OpenError::NotDirectory(dir)) => {
            let way_out = "--events wants the directory that holds the *.jsonl streams".to_owned();
            return ("no_directory".to_owned(), Some(dir.display().to_string()), Some(way_out));
        }
        _ => {}
    }
    if let Some(LockError::Held { dir, .. }) = error.downcast_ref() {
        let way_out = "ask the server that holds it, or stop it".to_owned();
        return ("held".to_owned(), Some(dir.display().to_string()), Some(way_out));
    }
    if let Some(policy) = error.downcast_ref::<PolicyError>() {
        let place = match policy {
            PolicyError::Range { field, .. } => Some(field.clone()),
            PolicyError::UnknownKey { key, .. } => Some(key.clone()),
            PolicyError::Contradiction { field, .. } => Some((*field).to_owned()),
            PolicyError::Syntax(_) => None,
        };
        return ("policy".to_owned(), place, Some("`runtape policy show` prints every field".to_owned()));
    }
    if error.downcast_ref::<ReplayError>().is_some() || error.downcast_ref::<TapeError>().is_some() {
        return ("damaged".to_owned(), None, verify);
    }
    let usage = error.is::<Usage>() || error.is::<TokensError>() || exit == 2;
    let disk = error.chain().any(|cause| cause.is::<io::Error>());
    let code = if usage {
        "usage"
    } else if disk {
        "io"
    } else {
        "failed"
    };
    (code.to_owned(), None, None)
}

fn of_desk(error: &DeskError) -> Parts {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    match error {
        DeskError::Answered { code, way_out, .. } => {
            let code = if code.is_empty() { "answered" } else { code };
            (code.to_owned(), None, some(way_out))
        }
        DeskError::Silent { url, way_out, .. } => ("server_silent".to_owned(), some(url), some(way_out)),
        DeskError::Nonsense { url, .. } => {
            ("server_other".to_owned(), some(url), some("use the runtape of the server's version"))
        }
    }
}

/// What is wrong with the words themselves; none where somebody asked for help or the version.
pub fn of_words(error: &clap::Error) -> Option<Value> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    let of = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(list)) => Some(list.join(", ")),
        _ => None,
    };
    let first = |kinds: &[ContextKind]| kinds.iter().find_map(|kind| of(*kind));
    let place = first(&[ContextKind::InvalidArg, ContextKind::InvalidSubcommand]);
    let value = first(&[ContextKind::InvalidValue]);
    let meant = first(&[ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue])
        .map(|meant| format!("did you mean {meant}?"));
    let way_out = meant.or_else(|| of(ContextKind::ValidValue).map(|valid| format!("want one of {valid}")));
    let way_out = way_out
        .unwrap_or_else(|| "`runtape help` lists the commands, `runtape COMMAND --help` what each wants".to_owned());
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    Some(json!({ "error": {
        "code": "usage", "message": message, "place": place, "value": value, "way_out": way_out, "exit": 2,
    } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_json_is_known_by_the_words() {
        let wants = |text: &str| wants_json(&text.split(' ').map(OsString::from).collect::<Vec<_>>());
        for text in ["x status -o json", "x status -ojsonl", "x status --output=json", "x status --output jsonl"] {
            assert!(wants(text), "{text}");
        }
        for text in ["x status", "x status -o text", "x status -o json -o text", "x run -- y -o json"] {
            assert!(!wants(text), "{text}");
        }
    }
}
