use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use thiserror::Error;
use toml::{Table, Value};

use crate::event::fields::NAME_BYTES_MAX;

/// What a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Read,
    Append,
    Control,
}

impl Scope {
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Append, Scope::Control];

    pub const fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Append => "append",
            Scope::Control => "control",
        }
    }
}

/// Who asks, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token; none without tokens.
    pub name: Option<Arc<str>>,
    pub scopes: Arc<[Scope]>,
    /// The one agent it may speak for.
    pub agent: Option<Arc<str>>,
    /// The one strategy its lines may name, when it speaks for one agent.
    pub strategy: Option<Arc<str>>,
}

impl Caller {
    /// Whoever asks where no token is wanted.
    pub fn local() -> Caller {
        Caller { name: None, scopes: Arc::new(Scope::ALL), agent: None, strategy: None }
    }

    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it may speak for an agent, or for nobody in particular.
    pub fn speaks_for(&self, agent: Option<&str>) -> bool {
        self.agent.as_deref().is_none_or(|own| agent == Some(own))
    }

    /// Whether its lines may name a strategy: what a strategy is judged by is not for one agent to say.
    pub fn may_name(&self, strategy: Option<&str>) -> bool {
        self.agent.is_none() || strategy.is_none() || strategy == self.strategy.as_deref()
    }
}

/// Tokens and whom they stand for. Secrets are kept as hashes, whose comparison takes the same time wherever they
/// differ, and are never printed.
#[derive(Clone, Debug)]
pub struct Tokens(Vec<(blake3::Hash, Caller)>);

/// A token file that cannot be used. No message holds a secret.
#[derive(Debug, Error)]
pub enum TokensError {
    #[error("cannot read the tokens {path}: {source}")]
    Unreadable { path: String, source: io::Error },
    #[error("{path}: {what}")]
    Invalid { path: String, what: String },
}

const SECRET_MIN: usize = 16;

impl Tokens {
    /// One secret with all scopes, called `token`.
    ///
    /// # Errors
    /// The secret is too short.
    pub fn single(secret: &str) -> Result<Tokens, String> {
        let name = Arc::from("token");
        let caller = Caller { name: Some(name), scopes: Arc::new(Scope::ALL), agent: None, strategy: None };
        Ok(Tokens(vec![(hash("the token", secret)?, caller)]))
    }

    /// The `[[token]]` tables of a TOML text.
    ///
    /// # Errors
    /// Names the token, the key and what is wanted; never a secret.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        // The parser's own words quote the text, and with it secrets.
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            format!("line {line} is not valid TOML: {}", error.message())
        })?;
        if let Some(key) = table.keys().find(|key| *key != "token") {
            return Err(unknown_key(key, "the file", &["token"]));
        }
        let Some(Value::Array(list)) = table.get("token") else {
            return Err("there is no [[token]] in it: give each a name, a secret and scopes".to_owned());
        };
        let mut tokens = Tokens(Vec::new());
        for (index, token) in list.iter().enumerate() {
            let Value::Table(token) = token else { return Err(format!("token {} is no table", index + 1)) };
            tokens.add(index + 1, token)?;
        }
        if tokens.0.is_empty() {
            return Err("there is no [[token]] in it: give each a name, a secret and scopes".to_owned());
        }
        Ok(tokens)
    }

    fn add(&mut self, number: usize, token: &Table) -> Result<(), String> {
        const KEYS: [&str; 5] = ["name", "secret", "scopes", "agent", "strategy"];
        let name = name(token, "name", &format!("token {number}"))?
            .ok_or_else(|| format!("token {number} has no name; give it name = \"...\""))?;
        let place = format!("token {name:?}");
        if let Some(key) = token.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(unknown_key(key, &place, &KEYS));
        }
        let secret = match token.get("secret") {
            Some(Value::String(secret)) => hash(&place, secret)?,
            Some(_) => return Err(format!("{place}: secret is no text; put it into quotes")),
            None => return Err(format!("{place} has no secret; give it one of at least {SECRET_MIN} characters")),
        };
        let scopes = scopes(token.get("scopes"), &place)?;
        let agent = self::name(token, "agent", &place)?;
        let strategy = self::name(token, "strategy", &place)?;
        if strategy.is_some() && agent.is_none() {
            return Err(format!("{place}: strategy is for a token of one agent; give it agent = \"...\" too"));
        }
        for (other, caller) in &self.0 {
            if caller.name.as_deref() == Some(name.as_str()) {
                return Err(format!("there are two tokens {name:?}; give each a name of its own"));
            }
            if *other == secret {
                let first = caller.name.as_deref().unwrap_or_default();
                return Err(format!("tokens {first:?} and {name:?} have the same secret; give each its own"));
            }
        }
        let caller = Caller {
            name: Some(name.into()),
            scopes: scopes.into(),
            agent: agent.map(Arc::from),
            strategy: strategy.map(Arc::from),
        };
        self.0.push((secret, caller));
        Ok(())
    }

    /// A file with one secret, or with `[[token]]` tables.
    ///
    /// # Errors
    /// The file cannot be read, or says what cannot be used.
    pub fn read(path: &Path, single: bool) -> Result<Tokens, TokensError> {
        let place = || path.display().to_string();
        let unreadable = |source| TokensError::Unreadable { path: place(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let tokens = if single { Tokens::single(text.trim()) } else { Tokens::parse(&text) };
        let tokens = tokens.map_err(|what| TokensError::Invalid { path: place(), what })?;
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            let shown = path.display();
            tracing::warn!("{shown} can be read by others (mode {:03o}): chmod 600 {shown}", mode & 0o777);
        }
        Ok(tokens)
    }

    /// Whom a secret stands for. Every token is looked at, so that the time does not tell which one was near.
    pub fn find(&self, secret: &str) -> Option<&Caller> {
        let shown = blake3::hash(secret.as_bytes());
        let mut found = None;
        for (token, caller) in &self.0 {
            if *token == shown {
                found = Some(caller);
            }
        }
        found
    }
}

fn hash(place: &str, secret: &str) -> Result<blake3::Hash, String> {
    let length = secret.chars().count();
    if length < SECRET_MIN {
        return Err(format!("the secret of {place} has {length} characters; want at least {SECRET_MIN}"));
    }
    if !secret.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(format!("the secret of {place} holds what no header can carry; want printable ASCII"));
    }
    Ok(blake3::hash(secret.as_bytes()))
}

fn name(token: &Table, key: &str, place: &str) -> Result<Option<String>, String> {
    match token.get(key) {
        None => Ok(None),
        Some(Value::String(name))
            if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control) =>
        {
            Ok(Some(name.clone()))
        }
        Some(_) => {
            Err(format!("{place}: {key} is not a text of 1 to {NAME_BYTES_MAX} bytes without control characters"))
        }
    }
}

fn scopes(value: Option<&Value>, place: &str) -> Result<Vec<Scope>, String> {
    const NAMES: [&str; 3] = ["read", "append", "control"];
    const WANT: &str = "want a list of \"read\", \"append\", \"control\"";
    let Some(Value::Array(list)) = value else { return Err(format!("{place} has no list of scopes; {WANT}")) };
    if list.is_empty() {
        return Err(format!("{place} has no scopes and could do nothing; {WANT}"));
    }
    let mut scopes = Vec::new();
    for item in list {
        let given = item.as_str().ok_or_else(|| format!("{place}: a scope is no text; {WANT}"))?;
        let Some(scope) = Scope::ALL.into_iter().find(|scope| scope.name() == given) else {
            let near = nearest(given, &NAMES).map_or(WANT.to_owned(), |near| format!("did you mean {near:?}?"));
            return Err(format!("{place}: there is no scope {given:?}; {near}"));
        };
        scopes.push(scope);
    }
    Ok(scopes)
}

fn unknown_key(key: &str, place: &str, known: &[&str]) -> String {
    let hint =
        nearest(key, known).map_or_else(|| format!("want {}", known.join(", ")), |k| format!("did you mean {k}?"));
    format!("{place} has no key {key}; {hint}")
}

/// The known word that was most likely meant.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    // What is far longer than any word is no slip of the fingers, and not worth the comparison.
    if given.len() > 64 {
        return None;
    }
    let distances = known.iter().map(|word| (strsim::damerau_levenshtein(given, word), *word));
    distances.min().filter(|(far, _)| *far <= 1 + given.len() / 3).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let got = Tokens::parse(text).map_or_else(|error| error, |tokens| format!("{} tokens", tokens.0.len()));
        assert!(got.contains(want), "{text}\n want {want}\n got  {got}");
        assert!(!got.contains("secretsecret"), "a message holds no secret: {got}");
    }

    const ONE: &str = "[[token]]\nname = \"one\"\nsecret = \"secretsecretsecret1\"\nscopes = [\"read\"]\n";

    #[test]
    fn a_token_file_says_what_is_wrong_with_it() {
        check(ONE, "1 tokens");
        check(&format!("{ONE}agent = \"a\""), "1 tokens");
        check(&format!("{ONE}{}", ONE.replace("one", "two").replace("secret1", "secret2")), "2 tokens");
        check(&format!("{ONE}{}", ONE.replace("secret1", "secret2")), "two tokens \"one\"");
        check(&format!("{ONE}{}", ONE.replace("one", "two")), "\"one\" and \"two\" have the same secret");
        check("", "no [[token]]");
        check("[[tokens]]", "no key tokens; did you mean token?");
        check("token = 3", "no [[token]]");
        check("[[token]]\nsecret = \"secretsecretsecret\"", "token 1 has no name");
        check(&format!("{ONE}agnet = \"a\""), "token \"one\" has no key agnet; did you mean agent?");
        check(&format!("{ONE}agent = \"\""), "token \"one\": agent is not a text of 1 to 128 bytes");
        check(&ONE.replace("\"read\"", "\"reed\""), "no scope \"reed\"; did you mean \"read\"?");
        check(&ONE.replace("\"read\"", ""), "has no scopes");
        check(&ONE.replace("[\"read\"]", "\"read\""), "has no list of scopes");
        check(&ONE.replace("secretsecretsecret1", "short"), "has 5 characters; want at least 16");
        check(&ONE.replace("secretsecretsecret1", "sécretsécretsécret"), "want printable ASCII");
        check(&ONE.replace("scopes", "= secretsecretsecret1"), "line 4 is not valid TOML");
        check(&ONE.replace("\"secretsecretsecret1\"", "secretsecretsecret1"), "line 3 is not valid TOML");
    }

    #[test]
    fn a_secret_stands_for_its_caller() {
        let tokens = Tokens::parse(&format!("{ONE}agent = \"a\"")).expect("a token file");
        let caller = tokens.find("secretsecretsecret1").expect("a token");
        assert_eq!(caller.name.as_deref(), Some("one"));
        assert!(caller.may(Scope::Read) && !caller.may(Scope::Append));
        assert!(caller.speaks_for(Some("a")) && !caller.speaks_for(Some("b")) && !caller.speaks_for(None));
        assert_eq!(tokens.find("secretsecretsecret"), None);
        assert!(!format!("{tokens:?}").contains("secretsecret"));
        assert!(Caller::local().speaks_for(None) && Caller::local().may(Scope::Control));
    }
}
