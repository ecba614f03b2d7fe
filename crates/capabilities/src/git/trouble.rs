//! Why a remote could not be used, where git's words tell: a caller does other things about a missing
//! credential than about a policy or a line that is down.

use super::command::Output;
use super::remote::Refused;
use kruxos_types::CallError;

/// What stands in the way. In an error's context it is `cause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The remote wants a credential, or another one.
    Authentication,
    /// The agent may not reach it.
    Policy,
    /// It may, but the connection does not come about.
    Network,
}

impl Cause {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Cause::Authentication => "authentication",
            Cause::Policy => "policy",
            Cause::Network => "network",
        }
    }

    /// The cause that an error names.
    pub(super) fn of(error: &CallError) -> Option<Cause> {
        let named = error.context().get("cause")?.as_str()?;
        [Cause::Authentication, Cause::Policy, Cause::Network]
            .into_iter()
            .find(|cause| cause.name() == named)
    }
}

/// The error for a command that failed at a remote; `failed` makes one of a reason.
pub(super) fn explain(answer: &Output, failed: impl FnOnce(&str) -> CallError) -> CallError {
    let error = match told(answer.stderr()) {
        Some((cause, reason)) => failed(reason).with("cause", cause.name()),
        None => failed(&answer.reason()),
    };
    error.internal(answer.stderr())
}

/// The error for a remote that is not to be reached.
pub(super) fn refuse(refused: &Refused, failed: impl FnOnce(&str) -> CallError) -> CallError {
    let error = failed(&refused.to_string());
    if !matches!(refused, Refused::NoNetwork | Refused::Host(_)) {
        return error;
    }
    error.with("cause", Cause::Policy.name()).detail(
        "The operator can list the host under network.allow in your policy file; agent.policy shows what is allowed now.",
    )
}

/// What git says when it has no credential, in the C locale, across its versions.
const NO_CREDENTIAL: [&str; 5] = [
    "could not read Username",
    "could not read Password",
    "unable to get password",
    "Authentication failed",
    "returned error: 401",
];

/// Understands what git and curl say. A remote's own words have another prefix and decide nothing.
fn told(said: &str) -> Option<(Cause, &'static str)> {
    let own = |line: &&str| line.starts_with("fatal: ") || line.starts_with("error: ");
    said.lines().filter(own).find_map(|line| {
        if NO_CREDENTIAL.iter().any(|words| line.contains(words)) {
            let reason = "the remote asks for a credential, and there is none for it (401)";
            return Some((Cause::Authentication, reason));
        }
        if line.contains("returned error: 403") {
            let reason = "the remote refuses access to this repository (403)";
            return Some((Cause::Authentication, reason));
        }
        if let Some(status) = of_proxy(line) {
            return Some(match status {
                "403" => (
                    Cause::Policy,
                    "the network proxy does not let you reach this host",
                ),
                "504" => (Cause::Network, "the host does not answer (504)"),
                "503" => (
                    Cause::Network,
                    "too many of your connections are open (503)",
                ),
                _ => (
                    Cause::Network,
                    "the network proxy could not connect to the host",
                ),
            });
        }
        let is_down = [
            "Could not resolve",
            "Failed to connect",
            "Couldn't connect",
            "Operation too slow",
        ];
        is_down
            .iter()
            .any(|words| line.contains(words))
            .then_some((Cause::Network, "the remote cannot be connected to"))
    })
}

/// The status of a proxy that did not connect, as curl tells it: before 8.7, and since.
fn of_proxy(line: &str) -> Option<&str> {
    let since = line.split_once("CONNECT tunnel failed, response ");
    let before = line.split_once("Received HTTP code ");
    let (_, rest) = since.or_else(|| before.filter(|_| line.contains("from proxy")))?;
    rest.get(..3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn causes_are_told_apart() {
        for (said, cause) in [
            (
                "fatal: could not read Username for 'https://x': terminal prompts disabled",
                Some(Cause::Authentication),
            ),
            (
                "warning: x\nfatal: unable to get password from user\n",
                Some(Cause::Authentication),
            ),
            (
                "remote: no\nfatal: Authentication failed for 'https://x/y/'",
                Some(Cause::Authentication),
            ),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 403",
                Some(Cause::Authentication),
            ),
            (
                "fatal: unable to access 'https://x/': CONNECT tunnel failed, response 403",
                Some(Cause::Policy),
            ),
            (
                "fatal: unable to access 'https://x/': Received HTTP code 403 from proxy after CONNECT",
                Some(Cause::Policy),
            ),
            (
                "fatal: unable to access 'https://x/': CONNECT tunnel failed, response 504",
                Some(Cause::Network),
            ),
            (
                "fatal: unable to access 'https://x/': Failed to connect to 127.0.0.1 port 3128 after 0 ms",
                Some(Cause::Network),
            ),
            (
                "remote: fatal: could not read Username\nfatal: early EOF",
                None,
            ),
            ("fatal: repository 'https://x/' not found", None),
        ] {
            assert_eq!(told(said).map(|(cause, _)| cause), cause, "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_words_break_it(said in any::<String>()) {
            let line = format!("fatal: CONNECT tunnel failed, response {said}");
            prop_assert!(said.contains("fatal:") || said.contains("error:") || told(&said).is_none());
            prop_assert!(told(&line).is_none_or(|(cause, _)| cause != Cause::Authentication || !said.is_empty()));
        }
    }
}
