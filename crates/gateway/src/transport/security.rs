//! Browser safety. A page on the web can make a browser talk to this port; `Origin` says that it did,
//! and `Host` says that a name was made to point here (DNS rebinding). Each is checked alone, because
//! either attack may leave the other header right.

use super::Ends;
use super::http::Http;
use super::refusal::refusal;
use crate::config::Server;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName};
use kruxos_types::{CallError, ErrorType};
use std::net::IpAddr;
use std::sync::Arc;

/// Refuses what no client of ours sends, before anything else is looked at.
pub(crate) async fn check(
    State(http): State<Arc<Http>>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let ends = request.extensions().get::<Ends>().copied();
    let server = &http.mcp.gateway.config.server;
    match ends.map(|ends| inspect(request.headers(), server, ends)) {
        Some(Ok(())) => next.run(request).await,
        Some(Err(refused)) => refusal(&refused.error()),
        None => refusal(&CallError::internal_failure(
            "a request came without its connection",
        )),
    }
}

/// Which header is wrong and how.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    header: &'static str,
    key: &'static str,
}

impl Refused {
    fn error(&self) -> CallError {
        let Refused { header, key } = self;
        CallError::new(ErrorType::PermissionDenied)
            .with("operation", "connect")
            .with("path", "/")
            .detail(format!(
                "The {header} header is not one this gateway answers to; see {key}."
            ))
    }
}

fn inspect(headers: &HeaderMap, server: &Server, ends: Ends) -> Result<(), Refused> {
    let host_refused = Refused {
        header: "Host",
        key: "server.allowed_hosts",
    };
    let Some(host) = only(headers, &HOST) else {
        return Err(host_refused);
    };
    if !host_allowed(host, server, ends) {
        return Err(host_refused);
    }
    if headers.contains_key(ORIGIN)
        && !only(headers, &ORIGIN).is_some_and(|origin| origin_allowed(origin, server, ends))
    {
        return Err(Refused {
            header: "Origin",
            key: "server.allowed_origins",
        });
    }
    Ok(())
}

/// A header that is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// A loopback name, the address that was connected to or bound, or a configured host. The port does
/// not matter: a rebinding attacker has a name of their own, and a forwarded port is honest.
fn host_allowed(host: &str, server: &Server, ends: Ends) -> bool {
    let configured = |allowed: &String| {
        allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(name_of(host))
    };
    is_own_name(name_of(host), server, ends) || server.allowed_hosts.iter().any(configured)
}

fn is_own_name(name: &str, server: &Server, ends: Ends) -> bool {
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bracketed = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let Ok(address) = bracketed.unwrap_or(name).parse::<IpAddr>() else {
        return false;
    };
    let address = address.to_canonical();
    address.is_loopback()
        || address == server.host.to_canonical() && !address.is_unspecified()
        || address == ends.local.ip().to_canonical()
}

/// The gateway's own origin, with its own port, or a configured one. `null` and other schemes are not.
fn origin_allowed(origin: &str, server: &Server, ends: Ends) -> bool {
    if server
        .allowed_origins
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(origin))
    {
        return true;
    }
    let Some(host) = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
    else {
        return false;
    };
    let default = if origin.starts_with("https") { 443 } else { 80 };
    let port = port_of(host).map_or(Some(default), |text| text.parse::<u16>().ok());
    port == Some(ends.local.port()) && is_own_name(name_of(host), server, ends)
}

/// `name`, `name:port`, `[v6]` or `[v6]:port` without the port.
fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host
            .find(']')
            .and_then(|end| host.get(..=end))
            .unwrap_or(host);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

fn port_of(host: &str) -> Option<&str> {
    host.get(name_of(host).len()..)?.strip_prefix(':')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn verdict(host: &str, origin: Option<&str>) -> Result<(), &'static str> {
        let server = Server {
            allowed_hosts: vec!["gate.example".to_owned()],
            allowed_origins: vec!["https://app.example".to_owned()],
            ..Server::default()
        };
        let ends = Ends {
            peer: "10.0.0.9:1".parse().unwrap(),
            local: "10.0.0.5:7700".parse().unwrap(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        inspect(&headers, &server, ends).map_err(|refused| refused.header)
    }

    #[test]
    fn only_our_own_names_are_hosts() {
        for good in [
            "localhost",
            "LOCALHOST:7700",
            "127.0.0.1:7700",
            "127.8.8.8",
            "[::1]:7700",
            "10.0.0.5:7700",
            "gate.example",
            "gate.example:8443",
            "localhost:9",
        ] {
            assert_eq!(verdict(good, None), Ok(()), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.6",
            "0.0.0.0",
            "[::1",
            "",
            "localhost@evil.example",
            "2130706433",
        ] {
            assert_eq!(verdict(bad, None), Err("Host"), "{bad}");
        }
    }

    #[test]
    fn an_origin_must_be_ours_or_listed_whatever_the_host() {
        for good in [
            "http://localhost:7700",
            "http://127.0.0.1:7700",
            "https://app.example",
        ] {
            assert_eq!(verdict("localhost:7700", Some(good)), Ok(()), "{good}");
        }
        for bad in [
            "http://evil.example",
            "null",
            "http://localhost:3000",
            "http://localhost",
            "file://",
            "https://app.example.evil",
            "http://localhost:7700.evil.example",
            "http://localhost:7700/x",
        ] {
            assert_eq!(verdict("localhost:7700", Some(bad)), Err("Origin"), "{bad}");
        }
    }
}
