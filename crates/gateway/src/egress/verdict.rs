//! What an agent's network policy says of a host and a port.

use super::authority::{Authority, Host};
use kruxos_policy::{HostRule, NetworkPolicy};
use std::net::IpAddr;

/// Ports that stand for a scheme where a rule names the one without the other.
const SCHEMES: [(&str, u16); 6] = [
    ("https", 443),
    ("wss", 443),
    ("http", 80),
    ("ws", 80),
    ("ssh", 22),
    ("git", 9418),
];
/// TLS from the first byte.
const ENCRYPTED: [&str; 2] = ["https", "wss"];

/// Policy's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not allowed.
    Denied,
    /// Allowed.
    Allowed {
        /// Which addresses besides public ones the name may lead to.
        beyond: Beyond,
        /// Only TLS, whatever the port: the rule names such a scheme.
        encrypted: bool,
    },
}

/// Addresses besides public ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// None.
    Nothing,
    /// Those of private networks: `allow_private`. A name that somebody else resolves does not lead to this
    /// host itself or to its cloud's services.
    Private,
    /// Whatever it is: the address itself is listed, or the name of this very host.
    Any,
}

/// Asks a policy: nothing is allowed that it does not list, and nothing that it denies.
#[must_use]
pub fn judge(policy: &NetworkPolicy, target: &Authority) -> Verdict {
    if denies(policy, target) {
        return Verdict::Denied;
    }
    let rules = policy.allow.iter().filter(|rule| matches(rule, target));
    let rules: Vec<&HostRule> = rules.collect();
    if rules.is_empty() {
        return Verdict::Denied;
    }
    let is_encrypted = |rule: &&HostRule| {
        let scheme = rule.scheme.as_deref();
        scheme.is_some_and(|scheme| ENCRYPTED.contains(&scheme))
    };
    Verdict::Allowed {
        beyond: match rules.iter().any(|rule| rule.allow_private) {
            _ if is_own_name(&target.host) => Beyond::Any,
            true => Beyond::Private,
            false => Beyond::Nothing,
        },
        encrypted: rules.iter().all(is_encrypted),
    }
}

/// Whether a policy denies a target by name. Asked again for the addresses that a name leads to.
#[must_use]
pub fn denies(policy: &NetworkPolicy, target: &Authority) -> bool {
    policy.deny.iter().any(|rule| matches(rule, target))
}

/// An address, or the name of this very host: who lists one says what it leads to. A rule with `*` lists
/// neither.
fn is_own_name(host: &Host) -> bool {
    match host {
        Host::Address(_) => true,
        Host::Name(name) => name == "localhost",
    }
}

fn matches(rule: &HostRule, target: &Authority) -> bool {
    is_host(rule, &target.host) && is_port(rule, target.port)
}

fn is_host(rule: &HostRule, host: &Host) -> bool {
    match host {
        Host::Address(address) => {
            let listed: Option<IpAddr> = rule.host.parse().ok();
            !rule.below && listed == Some(*address)
        }
        Host::Name(name) if rule.below => name
            .strip_suffix(rule.host.as_str())
            .and_then(|above| above.strip_suffix('.'))
            .is_some_and(|above| !above.is_empty()),
        Host::Name(name) => *name == rule.host,
    }
}

/// A port that is given decides. Without one, a scheme has its own; a scheme without a known port, and no
/// scheme at all, mean every port.
fn is_port(rule: &HostRule, port: u16) -> bool {
    if let Some(given) = rule.port {
        return given == port;
    }
    let scheme = rule.scheme.as_deref();
    let known = SCHEMES.iter().find(|(name, _)| Some(*name) == scheme);
    known.is_none_or(|(_, own)| *own == port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use kruxos_catalog::Catalog;
    use kruxos_policy::{PolicySet, Source, Sources};
    use kruxos_types::Principal;

    /// The policy of an agent whose file has this `network` section.
    fn policy(network: &str) -> NetworkPolicy {
        let source = Source {
            file: "agents/a.yaml".to_owned(),
            text: format!("network: {network}"),
        };
        let mut sources = Sources::default();
        sources.agents.insert("a".to_owned(), source);
        let (set, _) = PolicySet::compile(&sources, Catalog::builtin(), 1).unwrap();
        set.network_for(&Principal::agent("a"))
    }

    fn allowed(private: bool, encrypted: bool) -> Verdict {
        let beyond = if private {
            Beyond::Any
        } else {
            Beyond::Nothing
        };
        Verdict::Allowed { beyond, encrypted }
    }

    const BY_NAME: Verdict = Verdict::Allowed {
        beyond: Beyond::Private,
        encrypted: false,
    };

    #[track_caller]
    fn says(policy: &NetworkPolicy, target: &str) -> Verdict {
        judge(policy, &Authority::parse(target).unwrap())
    }

    #[test]
    fn nothing_is_allowed_that_is_not_listed() {
        let none = NetworkPolicy::default();
        assert_eq!(says(&none, "example.com:443"), Verdict::Denied);
        let some = policy(
            "{allow: [API.example.com, '*.example.org:443', 'https://enc.example', 'ssh://git.example', 'https://odd.example:8443']}",
        );
        for (target, verdict) in [
            ("api.example.com:443", allowed(false, false)),
            ("api.example.com:8080", allowed(false, false)),
            ("x.api.example.com:443", Verdict::Denied),
            ("example.com:443", Verdict::Denied),
            ("a.b.example.org:443", allowed(false, false)),
            ("a.example.org:80", Verdict::Denied),
            ("example.org:443", Verdict::Denied),
            ("badexample.org:443", Verdict::Denied),
            ("enc.example:443", allowed(false, true)),
            ("enc.example:80", Verdict::Denied),
            ("git.example:22", allowed(false, false)),
            ("git.example:443", Verdict::Denied),
            ("odd.example:8443", allowed(false, true)),
            ("odd.example:443", Verdict::Denied),
            ("localhost:443", Verdict::Denied),
            ("127.0.0.1:443", Verdict::Denied),
        ] {
            assert_eq!(says(&some, target), verdict, "{target}");
        }
    }

    #[test]
    fn what_is_private_must_be_listed_itself() {
        let some = policy(
            "{allow: [127.0.0.1, '[::1]:80', 'localhost:9', '*.internal.example', {host: nas.example, allow_private: true}, '10.0.0.1:443']}",
        );
        for (target, verdict) in [
            ("127.0.0.1:5000", allowed(true, false)),
            ("127.0.0.2:5000", Verdict::Denied),
            ("[::1]:80", allowed(true, false)),
            ("[::1]:81", Verdict::Denied),
            ("localhost:9", allowed(true, false)),
            ("localhost:10", Verdict::Denied),
            ("a.internal.example:443", allowed(false, false)),
            ("nas.example:445", BY_NAME),
            ("10.0.0.1:443", allowed(true, false)),
            ("10.0.0.1:80", Verdict::Denied),
        ] {
            assert_eq!(says(&some, target), verdict, "{target}");
        }
        // A suffix of digits is no address.
        let digits = policy("{allow: ['*.0.0.1', '*.localhost']}");
        assert_eq!(says(&digits, "127.0.0.1:1"), Verdict::Denied);
        assert_eq!(says(&digits, "a.localhost:1"), allowed(false, false));
    }

    #[test]
    fn what_is_denied_is_not_allowed() {
        let some = policy(
            "{allow: ['*.example.com', 192.0.2.1], deny: ['evil.example.com', '*.example.com:25', 192.0.2.1]}",
        );
        assert_eq!(says(&some, "good.example.com:443"), allowed(false, false));
        assert_eq!(says(&some, "evil.example.com:443"), Verdict::Denied);
        assert_eq!(says(&some, "good.example.com:25"), Verdict::Denied);
        assert_eq!(says(&some, "192.0.2.1:443"), Verdict::Denied);
    }
}
