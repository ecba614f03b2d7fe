//! Host and scheme of an address, read so strictly that no other reader can see another host.
//!
//! Clients disagree on odd spellings (`http:host`, `http://a\@b`, percent signs, tabs, full-width
//! letters), and a rule that sees another host than the client dials is worth nothing. Whatever is
//! not plain is [`Unreadable`]: it never satisfies `domain_in`, and a built-in protection blocks it.

use crate::diagnostic::Mistake;
use smallvec::SmallVec;

/// Bytes of a host name (RFC 1035, section 2.3.4), with brackets of an IPv6 address.
const MAX_HOST: usize = 255;

/// A host in lower case without a trailing dot.
pub(crate) type Host = SmallVec<[u8; 64]>;

/// The address is not in plain form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Splits `scheme://[user@]host[:port][/…]`.
pub(crate) fn split_url(url: &str) -> Result<(&str, Host), Unreadable> {
    if url
        .bytes()
        .any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\')
    {
        return Err(Unreadable);
    }
    let (scheme, rest) = url.split_once("://").ok_or(Unreadable)?;
    let plain_scheme = scheme
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !plain_scheme {
        return Err(Unreadable);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = match host_port.strip_prefix('[') {
        Some(_) => {
            let end = host_port.find(']').ok_or(Unreadable)?;
            let (host, port) = host_port.split_at_checked(end + 1).ok_or(Unreadable)?;
            check_port(port)?;
            host
        }
        None => match host_port.find(':') {
            Some(colon) => {
                let (host, port) = host_port.split_at_checked(colon).ok_or(Unreadable)?;
                check_port(port)?;
                host
            }
            None => host_port,
        },
    };
    Ok((scheme, plain_host(host)?))
}

fn check_port(port: &str) -> Result<(), Unreadable> {
    let digits = match port.strip_prefix(':') {
        Some(digits) => digits,
        None if port.is_empty() => return Ok(()),
        None => return Err(Unreadable),
    };
    if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err(Unreadable)
    }
}

/// A host name or address by itself: lower case, without a trailing dot.
pub(crate) fn plain_host(host: &str) -> Result<Host, Unreadable> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    let is_address = address.contains(':');
    let plain = |byte: u8| {
        if is_address {
            byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
        } else {
            byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || byte == b'_'
        }
    };
    let empty_label = !is_address && address.split('.').any(str::is_empty);
    if address.is_empty() || address.len() > MAX_HOST || empty_label || !address.bytes().all(plain)
    {
        return Err(Unreadable);
    }
    Ok(address
        .bytes()
        .map(|byte| byte.to_ascii_lowercase())
        .collect())
}

/// A list of hosts: exact names and `*.suffix` (names strictly below the suffix).
#[derive(Debug, Clone, Default)]
pub(crate) struct HostSet {
    exact: Vec<Box<[u8]>>,
    /// With their leading dot.
    suffixes: Vec<Box<[u8]>>,
}

impl HostSet {
    /// Adds a name as written in a policy file.
    ///
    /// # Errors
    /// The message for a name that is not a plain host.
    pub(crate) fn add(&mut self, written: &str) -> Result<(), Mistake> {
        let (list, name) = match written.strip_prefix("*.") {
            Some(suffix) => (&mut self.suffixes, suffix),
            None => (&mut self.exact, written),
        };
        let host = plain_host(name).map_err(|Unreadable| {
            format!(
                "`{written}` is not a host name; use `name.example`, `*.suffix` or the xn-- form"
            )
        })?;
        let mut entry = Vec::with_capacity(host.len() + 1);
        if written.starts_with("*.") {
            entry.push(b'.');
        }
        entry.extend_from_slice(&host);
        list.push(entry.into());
        list.sort_unstable();
        list.dedup();
        Ok(())
    }

    pub(crate) fn contains(&self, host: &[u8]) -> bool {
        if self
            .exact
            .binary_search_by(|entry| entry.as_ref().cmp(host))
            .is_ok()
        {
            return true;
        }
        self.suffixes
            .iter()
            .any(|suffix| host.len() > suffix.len() && host.ends_with(suffix))
    }

    /// A name for each entry that it covers, and one beside it that it may not.
    pub(crate) fn samples(&self) -> impl Iterator<Item = String> + '_ {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let exact = self.exact.iter().map(move |name| text(name));
        let below = self.suffixes.iter().flat_map(move |suffix| {
            let suffix = text(suffix);
            let bare = suffix.trim_start_matches('.').to_owned();
            [format!("probe{suffix}"), bare]
        });
        exact.chain(below)
    }

    /// The exact names, when there is nothing else.
    pub(crate) fn only_exact(&self) -> Option<&[Box<[u8]>]> {
        self.suffixes.is_empty().then_some(&self.exact)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn host(url: &str) -> Result<String, Unreadable> {
        split_url(url).map(|(_, host)| String::from_utf8(host.to_vec()).unwrap())
    }

    #[test]
    fn hosts_are_lower_case_without_the_last_dot() {
        for (url, expected) in [
            ("https://API.Example.com/x", "api.example.com"),
            ("https://example.com./", "example.com"),
            ("https://user:pw@example.com:8443?q", "example.com"),
            ("https://a@b@example.com", "example.com"),
            ("https://[::1]:80/", "::1"),
            ("https://example.com#@evil.org", "example.com"),
        ] {
            assert_eq!(host(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn addresses_that_clients_read_differently_are_unreadable() {
        for url in [
            "http:example.com",
            "http:///example.com",
            "http://a\\@b.com",
            "http://exa\tmple.com",
            " http://example.com",
            "http://ex%61mple.com",
            "http://ｅxample.com",
            "http://",
            "example.com",
            "http://a..b",
            "http://a:80:90",
            "http://[::1",
            "http://[::1]x",
            "1http://a",
            "http://a:123456",
        ] {
            assert_eq!(host(url), Err(Unreadable), "{url}");
        }
    }

    #[test]
    fn a_suffix_covers_names_below_it_only() {
        let mut set = HostSet::default();
        set.add("*.Example.org").unwrap();
        set.add("one.test").unwrap();
        for (name, expected) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            ("badexample.org", false),
            ("one.test", true),
            ("two.one.test", false),
        ] {
            assert_eq!(set.contains(name.as_bytes()), expected, "{name}");
        }
        assert!(set.add("*").is_err());
        assert!(set.add("a/b").is_err());
    }
}
