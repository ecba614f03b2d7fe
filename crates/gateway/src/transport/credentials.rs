//! Who asks: proved from the request's head, before its body is read.

use super::Ends;
use crate::auth::Identity;
use crate::gateway::Gateway;
use crate::mcp::Meta;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use kruxos_types::{CallError, ErrorType};

/// Proves the caller from the head. `None`: it carries no credentials at all, which only a request
/// that may bring them inside `initialize` survives.
///
/// # Errors
/// See [`crate::auth::Tokens::authenticate`].
pub(crate) fn from_head(
    gateway: &Gateway,
    headers: &HeaderMap,
    uri: &Uri,
    ends: Ends,
) -> Option<Result<Identity, CallError>> {
    let peer = ends.peer.ip();
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer);
        return Some(match token {
            Some(token) => gateway.tokens.authenticate(token, peer),
            None => Err(gateway.tokens.missing(peer)),
        });
    }
    if !gateway.config.server.allow_query_token {
        return None;
    }
    let token = query_value(uri, "token")?;
    Some(gateway.tokens.authenticate(&token, peer))
}

/// Proves the caller from `params._meta["kruxos/auth"]` of `initialize`.
///
/// # Errors
/// See [`crate::auth::Tokens::authenticate`]; an agent's name that is not the token's is refused too.
pub(crate) fn from_meta(
    gateway: &Gateway,
    meta: Option<Meta<'_>>,
    ends: Ends,
) -> Result<Identity, CallError> {
    let peer = ends.peer.ip();
    let Some(credentials) = meta.and_then(|meta| meta.auth) else {
        return Err(gateway.tokens.missing(peer));
    };
    let identity = gateway.tokens.authenticate(&credentials.token, peer)?;
    match (credentials.agent.as_deref(), identity.agent.as_ref()) {
        (Some(named), Some(agent)) if named != agent.as_str() => {
            Err(CallError::new(ErrorType::AuthInvalidCredentials)
                .detail("The token belongs to another agent than the one named."))
        }
        _ => Ok(identity),
    }
}

/// The token of a `Bearer` header; the scheme's case does not matter (RFC 9110).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim_start().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// One parameter of the query, percent-decoded as far as tokens and names need.
pub(crate) fn query_value(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let raw = pairs.into_iter().find(|(key, _)| *key == name)?.1;
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_scheme_may_be_in_any_case_and_must_be_bearer() {
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("BEARER  abc "), Some(" abc "));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }

    #[test]
    fn query_values_are_decoded() {
        let uri: Uri = "/mcp?x=1&toolset=a%20b%2Dc&bad=%g0&cut=%2".parse().unwrap();
        assert_eq!(query_value(&uri, "toolset").unwrap(), "a b-c");
        assert_eq!(query_value(&uri, "bad"), None);
        assert_eq!(query_value(&uri, "cut"), None);
        assert_eq!(query_value(&uri, "none"), None);
    }
}
