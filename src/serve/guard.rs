use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::http::{HeaderMap, Method, StatusCode, header};

use super::tokens::{Caller, Tokens};

/// Why somebody is refused, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No token, or one nobody knows.
    Token,
    /// The token does not permit this.
    Scope,
    /// Not asked under a name of this server.
    Host,
    /// Sent by a foreign page.
    Origin,
    /// The token speaks for another agent.
    Agent,
}

impl Reason {
    pub const ALL: [Reason; 5] = [Reason::Token, Reason::Scope, Reason::Host, Reason::Origin, Reason::Agent];

    pub const fn name(self) -> &'static str {
        match self {
            Reason::Token => "token",
            Reason::Scope => "scope",
            Reason::Host => "host",
            Reason::Origin => "origin",
            Reason::Agent => "agent",
        }
    }
}

/// How many were refused, by reason.
#[derive(Debug, Default)]
pub struct Refused([AtomicU64; Reason::ALL.len()]);

impl Refused {
    pub fn count(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}

/// A request that is not answered: the reason, what is wrong, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub reason: Reason,
    pub what: &'static str,
    pub way_out: &'static str,
}

/// Who may ask: with tokens, whoever shows one; without, whoever is on this machine and was not sent by a foreign page.
#[derive(Debug)]
pub struct Access {
    address: SocketAddr,
    tokens: RwLock<Option<Arc<Tokens>>>,
}

impl Access {
    pub fn new(address: SocketAddr, tokens: Option<Tokens>) -> Access {
        Access { address, tokens: RwLock::new(tokens.map(Arc::new)) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts other tokens in the place of the present ones; requests being answered go on.
    pub fn replace(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(tokens));
    }

    /// Judges a request by its head.
    ///
    /// # Errors
    /// 401 without a known token; 403 for a host or origin that is not ours.
    pub fn check(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tokens) = tokens {
            let shown = text(headers, header::AUTHORIZATION).and_then(bearer);
            return shown.and_then(|secret| tokens.find(secret).cloned()).ok_or(Refusal {
                status: StatusCode::UNAUTHORIZED,
                reason: Reason::Token,
                what: "this server wants a token",
                way_out: "send Authorization: Bearer TOKEN",
            });
        }
        if !text(headers, header::HOST).is_some_and(|host| self.is_ours(host)) {
            return Err(Refusal {
                status: StatusCode::FORBIDDEN,
                reason: Reason::Host,
                what: "the Host of the request is not this server",
                way_out: "ask 127.0.0.1 or localhost",
            });
        }
        if self.is_foreign(method, headers) {
            return Err(Refusal {
                status: StatusCode::FORBIDDEN,
                reason: Reason::Origin,
                what: "requests from foreign pages are refused",
                way_out: "ask without a browser, or from this server's own pages",
            });
        }
        Ok(Caller::local())
    }

    /// Whether a page of another origin sent it. A browser says so with `Origin`, and with `Sec-Fetch-Site`, which no
    /// page can set; what only reads is not kept from a link on another page.
    fn is_foreign(&self, method: &Method, headers: &HeaderMap) -> bool {
        let ours = text(headers, header::ORIGIN)
            .and_then(|origin| origin.strip_prefix("http://"))
            .is_some_and(|host| self.is_ours(host));
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        let writes = !matches!(*method, Method::GET | Method::HEAD);
        let elsewhere = site.is_some_and(|site| site != b"same-origin" && site != b"none");
        headers.contains_key(header::ORIGIN) && !ours || writes && elsewhere
    }

    /// Whether a host, with or without port, names this server. A name that anybody can point here does not.
    fn is_ours(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let ip = name.parse::<IpAddr>();
        let known =
            name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback() || ip == self.address.ip());
        known && port == Some(self.address.port())
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The secret behind the scheme, whose case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(token: Option<&str>, method: Method, headers: &[(&'static str, &'static str)], want: u16) {
        let tokens = token.map(|secret| Tokens::single(secret).expect("a long secret"));
        let access = Access::new(([127, 0, 0, 1], 8273).into(), tokens);
        let map: HeaderMap =
            headers.iter().map(|(k, v)| (k.parse().expect("a name"), v.parse().expect("a value"))).collect();
        let got = access.check(&method, &map).map_or_else(|refusal| refusal.status.as_u16(), |_| 200);
        assert_eq!(got, want, "{token:?} {headers:?}");
    }

    #[test]
    fn only_requests_for_this_server_are_answered() {
        let check = |headers: &[(&'static str, &'static str)], want| check(None, Method::GET, headers, want);
        check(&[("host", "127.0.0.1:8273")], 200);
        check(&[("host", "localhost:8273")], 200);
        check(&[("host", "LOCALHOST:8273")], 200);
        check(&[("host", "[::1]:8273")], 200);
        check(&[("host", "127.0.0.1")], 403);
        check(&[("host", "127.0.0.1:80")], 403);
        check(&[("host", "evil.example:8273")], 403);
        check(&[], 403);
        check(&[("host", "localhost:8273"), ("origin", "http://localhost:8273")], 200);
        check(&[("host", "localhost:8273"), ("origin", "http://evil.example")], 403);
        check(&[("host", "localhost:8273"), ("origin", "null")], 403);
        check(&[("host", "localhost:8273"), ("sec-fetch-site", "cross-site")], 200);
    }

    #[test]
    fn a_foreign_page_writes_nothing() {
        let check =
            |site, want| check(None, Method::POST, &[("host", "localhost:8273"), ("sec-fetch-site", site)], want);
        check("same-origin", 200);
        check("none", 200);
        check("same-site", 403);
        check("cross-site", 403);
    }

    #[test]
    fn a_token_is_asked_of_everybody() {
        let check = |headers: &[(&'static str, &'static str)], want| {
            check(Some("secret of some length"), Method::GET, headers, want);
        };
        check(&[("authorization", "Bearer secret of some length"), ("host", "desk.example")], 200);
        check(&[("authorization", "bearer secret of some length")], 200);
        check(&[("authorization", "Bearer secret of some lengt")], 401);
        check(&[("authorization", "secret of some length")], 401);
        check(&[("authorization", "Basic secret of some length")], 401);
        check(&[("host", "127.0.0.1:8273")], 401);
    }

    #[test]
    fn tokens_can_be_replaced() {
        let access = Access::new(([127, 0, 0, 1], 8273).into(), Tokens::single("the former secret").ok());
        access.replace(Tokens::single("the present secret").expect("a long secret"));
        let shown = |secret: &str| {
            let value = format!("Bearer {secret}").parse().expect("a value");
            access.check(&Method::GET, &[(header::AUTHORIZATION, value)].into_iter().collect()).is_ok()
        };
        assert!(!shown("the former secret") && shown("the present secret"));
    }
}
