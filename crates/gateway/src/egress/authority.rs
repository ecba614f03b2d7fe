//! Where a connection is to go, read so strictly that policy, resolver and server can see only one host
//! in it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Characters of a host name (RFC 1035, section 2.3.4, without the last dot).
const MAX_NAME: usize = 253;
/// Characters of one label of it.
const MAX_LABEL: usize = 63;
/// Longest authority: a name, a colon and a port.
const MAX_AUTHORITY: usize = MAX_NAME + 6;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
}

/// A host by name or address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// In lower case, ASCII (names of other scripts in their `xn--` form), without a last dot.
    Name(String),
    /// Written in the one canonical way.
    Address(IpAddr),
}

/// It is not in the one form that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No port after the host.
    #[error("it needs a port: write host:port")]
    NoPort,
    /// The port is no number from 1 to 65535 in plain digits.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// A user name, a path, or a character that no host has.
    #[error("it has characters that no host name has; a name of another script is written as xn--")]
    Character,
    /// Empty, too long, or with labels that are.
    #[error("its host name is empty, too long, or has dots or dashes where none belong")]
    Name,
    /// An IP address in another spelling than the usual one.
    #[error("its IP address is not in the usual form")]
    Address,
}

impl Authority {
    /// Understands `name:port`, `1.2.3.4:port` and `[2001:db8::1]:port`.
    ///
    /// # Errors
    /// Anything else: other spellings of addresses (octal, hexadecimal, one number, mapped), user names,
    /// zones, a dot at the end, characters outside ASCII.
    pub fn parse(text: &str) -> Result<Authority, Malformed> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if !text.bytes().all(plain) {
            return Err(Malformed::Character);
        }
        if text.len() > MAX_AUTHORITY {
            return Err(Malformed::Name);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let (address, port) = inner.split_once("]:").ok_or(Malformed::NoPort)?;
            return Ok(Authority {
                host: Host::Address(IpAddr::V6(ipv6(address)?)),
                port: port_of(port)?,
            });
        }
        let (name, port) = text.split_once(':').ok_or(Malformed::NoPort)?;
        Ok(Authority {
            port: port_of(port)?,
            host: Host::parse(name)?,
        })
    }
}

impl Host {
    /// A name or an IPv4 address.
    fn parse(name: &str) -> Result<Host, Malformed> {
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_numeric(last) {
            let address: Ipv4Addr = name.parse().map_err(|_| Malformed::Address)?;
            return Ok(Host::Address(IpAddr::V4(address)));
        }
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= MAX_LABEL
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > MAX_NAME || !name.split('.').all(label) {
            return Err(Malformed::Name);
        }
        if name.contains(['[', ']', ':']) {
            return Err(Malformed::Character);
        }
        Ok(Host::Name(name.to_ascii_lowercase()))
    }
}

/// Whether a last label makes readers take the whole for an IPv4 address (WHATWG URL, «ends in a number
/// checker»).
fn is_numeric(label: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    digits(label)
        || hexadecimal.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn ipv6(text: &str) -> Result<Ipv6Addr, Malformed> {
    let address: Ipv6Addr = text.parse().map_err(|_| Malformed::Address)?;
    // The canonical spelling (RFC 5952) only, and none that stands for an IPv4 address.
    if address.to_string() != text.to_ascii_lowercase() || text.contains('.') {
        return Err(Malformed::Address);
    }
    Ok(address)
}

fn port_of(text: &str) -> Result<u16, Malformed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    let port = text.parse().ok().filter(|_| plain);
    port.ok_or(Malformed::Port)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_authority_has_one_meaning_or_none() {
        for (text, shown) in [
            ("Git.Example.COM:443", "git.example.com:443"),
            ("a_b.example:1", "a_b.example:1"),
            ("xn--bcher-kva.example:443", "xn--bcher-kva.example:443"),
            ("localhost:65535", "localhost:65535"),
            ("192.0.2.7:80", "192.0.2.7:80"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("[::1]:443", "[::1]:443"),
        ] {
            assert_eq!(Authority::parse(text).unwrap().to_string(), shown);
        }
        for (text, why) in [
            ("", Malformed::NoPort),
            ("example.com", Malformed::NoPort),
            ("[::1]", Malformed::NoPort),
            ("::1:443", Malformed::Port),
            ("example.com:", Malformed::Port),
            ("example.com:0", Malformed::Port),
            ("example.com:0443", Malformed::Port),
            ("example.com:65536", Malformed::Port),
            ("example.com:44x", Malformed::Port),
            ("example.com:443:80", Malformed::Port),
            ("[::1]:443:80", Malformed::Port),
            ("a@example.com:443", Malformed::Character),
            ("example.com/:443", Malformed::Character),
            ("example.com\\:443", Malformed::Character),
            ("example.com:443 ", Malformed::Character),
            ("exa%6dple.com:443", Malformed::Character),
            ("bücher.example:443", Malformed::Character),
            ("ｅxample.com:443", Malformed::Character),
            ("[fe80::1%25eth0]:443", Malformed::Character),
            ("[a.b:443", Malformed::NoPort),
            ("a]b:443", Malformed::Character),
            (":443", Malformed::Name),
            ("example.com.:443", Malformed::Name),
            ("a..b:443", Malformed::Name),
            ("-a.b:443", Malformed::Name),
            ("2130706433:443", Malformed::Address),
            ("0x7f000001:443", Malformed::Address),
            ("0x7f.1:443", Malformed::Address),
            ("0x:443", Malformed::Address),
            ("127.1:443", Malformed::Address),
            ("017700000001:443", Malformed::Address),
            ("127.0.0.01:443", Malformed::Address),
            ("1.2.3.4.5:443", Malformed::Address),
            ("1.2.3.0x4:443", Malformed::Address),
            ("[::ffff:127.0.0.1]:443", Malformed::Address),
            ("[::ffff:7f00:1]:443", Malformed::Address),
            ("[0:0::1]:443", Malformed::Address),
            ("[1.2.3.4]:443", Malformed::Address),
        ] {
            assert_eq!(Authority::parse(text), Err(why), "{text}");
        }
        let long = format!("{}:443", "a".repeat(64));
        assert_eq!(Authority::parse(&long), Err(Malformed::Name));
        let long = format!("{}:443", "a.".repeat(130));
        assert_eq!(Authority::parse(&long), Err(Malformed::Name));
    }

    proptest! {
        #[test]
        fn what_is_understood_is_shown_as_it_is_read(text in "[a-zA-Z0-9._:\\[\\]-]{0,40}(:[0-9]{1,5})?", any in any::<String>()) {
            for text in [text, any] {
                if let Ok(authority) = Authority::parse(&text) {
                    let shown = authority.to_string();
                    prop_assert_eq!(Authority::parse(&shown), Ok(authority));
                    prop_assert_eq!(shown, text.to_ascii_lowercase());
                }
            }
        }
    }
}
