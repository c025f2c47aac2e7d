use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, StatusCode, header};

/// A secret that a request must show. Kept as its hash, so that it is neither printed nor compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(blake3::Hash);

impl Token {
    pub fn new(secret: &str) -> Token {
        Token(blake3::hash(secret.as_bytes()))
    }
}

/// Who may ask: with a token, whoever shows it; without one, whoever is on this machine and was not sent by a foreign
/// page.
#[derive(Clone, Debug)]
pub struct Access {
    address: SocketAddr,
    token: Option<Token>,
}

/// Why a request is refused: the status, and a sentence that says what to do.
pub type Refusal = (StatusCode, &'static str);

impl Access {
    pub fn new(address: SocketAddr, token: Option<Token>) -> Access {
        Access { address, token }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Judges a request by its headers.
    ///
    /// # Errors
    /// 401 without the token; 403 for a host or origin that is not ours.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if let Some(token) = &self.token {
            let shown = text(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
            return match shown {
                Some(secret) if Token::new(secret) == *token => Ok(()),
                _ => Err((StatusCode::UNAUTHORIZED, "this server wants a token: send Authorization: Bearer TOKEN\n")),
            };
        }
        if !text(headers, header::HOST).is_some_and(|host| self.is_ours(host)) {
            return Err((
                StatusCode::FORBIDDEN,
                "the Host of the request is not this server: ask 127.0.0.1 or localhost\n",
            ));
        }
        let origin = headers.contains_key(header::ORIGIN);
        let ours = text(headers, header::ORIGIN)
            .and_then(|origin| origin.strip_prefix("http://"))
            .is_some_and(|host| self.is_ours(host));
        if origin && !ours {
            return Err((StatusCode::FORBIDDEN, "requests from foreign pages are refused\n"));
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(token: Option<&str>, headers: &[(&'static str, &'static str)], want: u16) {
        let access = Access::new(([127, 0, 0, 1], 8273).into(), token.map(Token::new));
        let map: HeaderMap =
            headers.iter().map(|(k, v)| (k.parse().expect("a name"), v.parse().expect("a value"))).collect();
        let got = access.check(&map).map_or_else(|refusal| refusal.0.as_u16(), |()| 200);
        assert_eq!(got, want, "{token:?} {headers:?}");
    }

    #[test]
    fn only_requests_for_this_server_are_answered() {
        check(None, &[("host", "127.0.0.1:8273")], 200);
        check(None, &[("host", "localhost:8273")], 200);
        check(None, &[("host", "LOCALHOST:8273")], 200);
        check(None, &[("host", "[::1]:8273")], 200);
        check(None, &[("host", "127.0.0.1")], 403);
        check(None, &[("host", "127.0.0.1:80")], 403);
        check(None, &[("host", "evil.example:8273")], 403);
        check(None, &[], 403);
        check(None, &[("host", "localhost:8273"), ("origin", "http://localhost:8273")], 200);
        check(None, &[("host", "localhost:8273"), ("origin", "http://evil.example")], 403);
        check(None, &[("host", "localhost:8273"), ("origin", "null")], 403);
    }

    #[test]
    fn a_token_is_asked_of_everybody() {
        check(Some("secret"), &[("authorization", "Bearer secret"), ("host", "desk.example")], 200);
        check(Some("secret"), &[("authorization", "Bearer secre")], 401);
        check(Some("secret"), &[("authorization", "secret")], 401);
        check(Some("secret"), &[("host", "127.0.0.1:8273")], 401);
    }
}
