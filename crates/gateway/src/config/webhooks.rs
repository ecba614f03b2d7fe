//! Where approval requests and decisions are sent: `approval.webhooks` and `approval.base_url`.

use http::Uri;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use std::fmt;
use std::net::IpAddr;

/// Webhooks there may be; each has a queue and a connection of its own.
const MAX_WEBHOOKS: usize = 8;
/// Longest address, in bytes.
const MAX_URL_BYTES: usize = 2048;
/// Longest secret, in bytes.
const MAX_SECRET_BYTES: usize = 1024;
/// What stands where a secret is not shown.
const HIDDEN: &str = "(hidden)";

/// One receiver of approval events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `https`, or `http` to this machine itself.
    pub url: WebUrl,
    /// The key of the signature.
    pub secret: Secret,
}

impl Webhook {
    /// As it may be shown: no secret, and of the address only whose it is, for many services take a path as
    /// the password.
    fn shown(&self) -> Value {
        json!({"url": self.url.origin(), "secret": HIDDEN})
    }
}

/// Webhooks as they may be shown.
pub(super) fn shown(webhooks: &[Webhook]) -> Value {
    webhooks.iter().map(Webhook::shown).collect()
}

pub(super) fn check(webhooks: &[Webhook]) -> Option<String> {
    (webhooks.len() > MAX_WEBHOOKS).then(|| format!("may list at most {MAX_WEBHOOKS}"))
}

/// An address on the web without a name and password in it. Never shown whole.
#[derive(Clone, PartialEq)]
pub struct WebUrl(Uri);

/// Why a text is no [`WebUrl`]. The text is not in the message: it can be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No absolute http or https address.
    #[error("expected an address such as https://example.com/hook")]
    Malformed,
    /// A name or password in it would end up in logs of the other side.
    #[error("an address must not have a user name or password in it")]
    UserInfo,
    /// Readable and forgeable on its way.
    #[error("expected https; http only to 127.0.0.1, [::1] or localhost")]
    Plain,
    /// Too long.
    #[error("an address may have at most 2048 bytes")]
    TooLong,
}

impl WebUrl {
    /// Parses an address.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Malformed);
        };
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(UrlError::Malformed);
        }
        match scheme {
            "https" => Ok(Self(uri)),
            "http" if is_loopback(authority.host()) => Ok(Self(uri)),
            "http" => Err(UrlError::Plain),
            _ => Err(UrlError::Malformed),
        }
    }

    /// The parsed address.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether the way there is encrypted. If not it leads to this machine.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host, an IPv6 address without its brackets, and the port.
    #[must_use]
    pub fn place(&self) -> (&str, u16) {
        let host = self.0.host().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let usual = if self.is_https() { 443 } else { 80 };
        (bare.unwrap_or(host), self.0.port_u16().unwrap_or(usual))
    }

    /// Scheme, host and port: what may be shown.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}")
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

impl Serialize for WebUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for WebUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, "an address is text")?;
        WebUrl::parse(&text).map_err(D::Error::custom)
    }
}

/// A secret of the configuration. It is serialised as it is, because the configuration file is written from
/// it, and never shown.
#[derive(Clone, PartialEq, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, "a secret is text; quote it")?;
        if text.is_empty() || text.len() > MAX_SECRET_BYTES {
            return Err(D::Error::custom("a secret has 1 to 1024 bytes"));
        }
        if text == HIDDEN {
            return Err(D::Error::custom("this is how a secret is shown, not one"));
        }
        Ok(Self(text))
    }
}

/// A text; the error does not repeat what was found instead.
fn text<'de, D: Deserializer<'de>>(deserializer: D, message: &str) -> Result<String, D::Error> {
    match Value::deserialize(deserializer) {
        Ok(Value::String(text)) => Ok(text),
        Ok(_) | Err(_) => Err(D::Error::custom(message)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn only_addresses_that_nobody_can_listen_in_on_are_taken() {
        for good in [
            "https://example.com/hook?a=b",
            "https://example.com",
            "http://127.0.0.1:8080/x",
            "http://localhost/x",
            "http://[::1]:80/x",
        ] {
            assert!(WebUrl::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://example.com/", UrlError::Plain),
            ("http://127.0.0.1.example.com/", UrlError::Plain),
            ("http://localhost.example.com/", UrlError::Plain),
            ("https://a:b@example.com/", UrlError::UserInfo),
            ("http://127.0.0.1@example.com/", UrlError::UserInfo),
            ("ftp://example.com/", UrlError::Malformed),
            ("/hook", UrlError::Malformed),
            ("example.com", UrlError::Malformed),
        ] {
            assert_eq!(WebUrl::parse(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_kept_but_neither_shown_nor_printed() {
        let text = r#"[{"url":"https://h.example/T0/s3cr3t-path","secret":"s3cr3t"}]"#;
        let config = Config::default()
            .with("approval.webhooks", text, "test")
            .unwrap();
        assert_eq!(config.approval.webhooks[0].secret.bytes(), b"s3cr3t");
        let shown = config.get("approval.webhooks").unwrap().to_string();
        assert_eq!(
            shown,
            r#"[{"secret":"(hidden)","url":"https://h.example"}]"#
        );
        assert!(!format!("{config:?}").contains("s3cr3t"));
        // Another key is set without losing it.
        let config = config.with("server.port", "1", "test").unwrap();
        assert_eq!(config.approval.webhooks[0].secret.bytes(), b"s3cr3t");
    }

    #[test]
    fn mistakes_are_refused_without_repeating_what_may_be_secret() {
        for text in [
            r#"[{"url":"http://h.example/s3cr3t","secret":"s3cr3t"}]"#,
            r#"[{"url":"https://h.example/","secret":53237}]"#,
            r#"[{"url":"https://h.example/","secret":""}]"#,
            r#"[{"url":"https://h.example/","secret":"(hidden)"}]"#,
            r#"[{"url":"https://h.example/"}]"#,
            r#"[{"url":"https://h.example/","secret":"s3cr3t","more":1}]"#,
        ] {
            let error = Config::default().with("approval.webhooks", text, "test");
            let error = error.unwrap_err().to_string();
            assert!(
                !error.contains("s3cr3t") && !error.contains("53237"),
                "{error}"
            );
        }
        let many = [r#"{"url":"https://h.example/","secret":"x"}"#; MAX_WEBHOOKS + 1];
        let many = format!("[{}]", many.join(","));
        assert!(
            Config::default()
                .with("approval.webhooks", &many, "test")
                .is_err()
        );
    }
}
