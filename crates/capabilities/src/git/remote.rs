//! Which remotes may be reached.

use super::command::without_credentials;
use super::repository::Repository;
use super::{GitCx, Network};
use kruxos_types::CallError;

/// Longest address of a remote, in bytes: what browsers and servers take.
pub(super) const MAX_URL: usize = 2048;

/// Why a remote is not to be reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("your policy allows no network")]
    NoNetwork,
    #[error("the address is not one of {0}://")]
    Scheme(String),
    #[error("the address is not well-formed")]
    Malformed,
    #[error("the address holds a password; credentials do not belong there")]
    Password,
    #[error("your policy does not allow {0}")]
    Host(String),
    #[error("there is no remote '{0}'")]
    NoRemote(String),
}

/// The network, if policy lets `url` be reached.
pub(super) fn admit<'a>(cx: &'a GitCx, url: &str) -> Result<&'a Network, Refused> {
    let network = cx.network.as_ref().ok_or(Refused::NoNetwork)?;
    let (scheme, host, port) = parse(url, network)?;
    // Files are only among the schemes where the context says that they may be read.
    if scheme != "file" && !(network.allows)(scheme, &host, port) {
        return Err(Refused::Host(format!("{host}:{port}")));
    }
    Ok(network)
}

/// Scheme, host and port. Stricter than what git and curl take, so that no two readers of an address
/// see different hosts in it.
fn parse<'n>(url: &str, network: &'n Network) -> Result<(&'n str, String, u16), Refused> {
    let schemes = || Refused::Scheme(network.schemes.join(":// or "));
    let (given, rest) = url.split_once("://").ok_or_else(schemes)?;
    let mut known = network.schemes.iter();
    let scheme = *known.find(|&&known| known == given).ok_or_else(schemes)?;
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    if url.len() > MAX_URL || url.chars().any(odd) {
        return Err(Refused::Malformed);
    }
    if scheme == "file" {
        return Ok((scheme, String::new(), 0));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    let host = match authority.split_once('@') {
        Some((user, _)) if user.contains(':') => return Err(Refused::Password),
        Some((_, host)) => host,
        None => authority,
    };
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, port)) => (
            host,
            port.strip_prefix(':').or(port.is_empty().then_some("")),
        ),
        None => match host.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, Some("")),
        },
    };
    let in_brackets = authority.contains('[');
    let character = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'-' | b'_')
            || (in_brackets && byte == b':')
    };
    if host.is_empty() || !host.bytes().all(character) {
        return Err(Refused::Malformed);
    }
    let port = match (port.ok_or(Refused::Malformed)?, scheme) {
        ("", "http") => 80,
        ("", _) => 443,
        (port, _) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map_err(|_| Refused::Malformed)?
        }
        _ => return Err(Refused::Malformed),
    };
    Ok((scheme, host.to_ascii_lowercase(), port))
}

/// Which way a remote is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Fetch,
    Push,
}

/// The network, if policy lets every address of a repository's remote be reached that git would use,
/// after the repository's own rewriting of addresses.
pub(super) async fn admit_named<'a>(
    repository: &Repository<'a>,
    name: &str,
    way: Way,
) -> Result<Result<&'a Network, Refused>, CallError> {
    let mut command = repository.git("remote").args(["get-url", "--all"]);
    if way == Way::Push {
        command = command.arg("--push");
    }
    let answer = command.args(["--", name]).run().await?;
    if !answer.succeeded() || answer.cut {
        return Ok(Err(Refused::NoRemote(name.to_owned())));
    }
    let Ok(urls) = std::str::from_utf8(&answer.stdout) else {
        return Ok(Err(Refused::Malformed));
    };
    let mut network = Err(Refused::NoRemote(name.to_owned()));
    for url in urls.lines() {
        network = admit(repository.cx, url);
        if network.is_err() {
            break;
        }
    }
    Ok(network)
}

/// An address for an error.
pub(super) fn show(url: &str) -> String {
    crate::filesystem::quote(&without_credentials(url))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn network(schemes: &'static [&'static str]) -> Network {
        Network {
            proxy: None,
            schemes,
            allows: Arc::new(|_, _, _| true),
        }
    }

    #[test]
    fn an_address_has_one_meaning_or_none() {
        let https = network(Network::HTTPS);
        let host = |url: &str| parse(url, &https).map(|(_, host, port)| format!("{host}:{port}"));
        for (url, expected) in [
            ("https://Example.COM/a.git", "example.com:443"),
            ("https://me@example.com:8443/a", "example.com:8443"),
            ("https://[2001:db8::1]:444/a", "2001:db8::1:444"),
            ("https://[::1]", "::1:443"),
        ] {
            assert_eq!(host(url).as_deref(), Ok(expected), "{url}");
        }
        for url in [
            "http://example.com/",
            "HTTPS://example.com/",
            "ext::sh -c touch x",
            "git@example.com:a/b",
            "/tmp/a",
            "--upload-pack=touch://x",
            "file:///etc",
            "ssh://x/y",
        ] {
            assert_eq!(host(url), Err(Refused::Scheme("https".to_owned())), "{url}");
        }
        for url in [
            "https://",
            "https:///a",
            "https://good.com\\@evil.com/",
            "https://a@b@c/",
            "https://good.com:80:90/",
            "https://good.com:x/",
            "https://good.com:70000/",
            "https://good.com%2eevil.com/",
            "https://[::1]x/",
            "https://a b/",
            "https://a\n/",
        ] {
            assert_eq!(host(url), Err(Refused::Malformed), "{url}");
        }
        assert_eq!(host("https://a:b@c/"), Err(Refused::Password));
    }

    proptest! {
        #[test]
        fn no_address_breaks_it(url in any::<String>(), tail in any::<String>()) {
            let https = network(Network::HTTPS);
            for url in [url.clone(), format!("https://{url}"), format!("https://{url}@{tail}:1/")] {
                if let Ok((_, host, _)) = parse(&url, &https) {
                    prop_assert!(url.to_ascii_lowercase().contains(&host));
                }
            }
        }
    }
}
