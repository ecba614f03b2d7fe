//! The formats of text inputs. Each check says what is wrong, or nothing.

use crate::shape::Format;
use jiff::Timestamp;

/// The signals that a program can be sent.
pub(crate) const SIGNALS: [&str; 9] = [
    "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGKILL", "SIGSTOP", "SIGCONT", "SIGUSR1", "SIGUSR2",
];

/// What is wrong with this text; lengths are checked by the caller.
pub(crate) fn fault(format: Format, text: &str) -> Option<&'static str> {
    match format {
        Format::Free => None,
        Format::Path | Format::Glob => has_nul(text).then_some("it contains a NUL character"),
        Format::Url => url(text),
        Format::DateTime => (!is_rfc3339(text)).then_some("it is not an RFC 3339 time"),
        Format::Sha256 => {
            let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            (!hex).then_some("it has a character that is not a hexadecimal digit")
        }
        Format::AgentName => (!is_agent_name(text)).then_some("it is not an agent's name"),
        Format::Cron => cron(text),
        Format::Signal => (!SIGNALS.contains(&text)).then_some("it is not the name of a signal"),
    }
}

fn has_nul(text: &str) -> bool {
    text.as_bytes().contains(&0)
}

/// Scheme, `://` and no characters that no URL has. Hosts and ports are the handler's business, which
/// answers `InvalidUrl`.
fn url(text: &str) -> Option<&'static str> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("it contains white space or a control character");
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.as_bytes());
    let valid = |scheme: &[u8]| {
        scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    };
    (!scheme.is_some_and(valid)).then_some("it has no scheme")
}

/// RFC 3339: `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`. The fixed part is checked here because the
/// parser also takes looser spellings; the values are the parser's.
pub(crate) fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let punctuation = at(4) == b'-'
        && at(7) == b'-'
        && matches!(at(10), b'T' | b't')
        && at(13) == b':'
        && at(16) == b':';
    let after_seconds = matches!(at(19), b'.' | b'Z' | b'z' | b'+' | b'-');
    let offset = matches!(bytes.last(), Some(b'Z' | b'z'))
        || bytes.len().checked_sub(6).is_some_and(|start| {
            matches!(at(start), b'+' | b'-') && at(start + 3) == b':' && start >= 19
        });
    punctuation && after_seconds && offset && text.parse::<Timestamp>().is_ok()
}

/// The alphabet of an agent's name. Names that the product keeps for itself are refused where an agent
/// is made, not where one is named.
fn is_agent_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(|first| *first != b'-')
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Five fields of the characters that cron expressions are made of. The ranges are the scheduler's
/// business, which answers `InvalidCronExpression`.
fn cron(text: &str) -> Option<&'static str> {
    let known = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '*' | ',' | '-' | '/' | '#' | '?' | ' ' | '\t')
    };
    if !text.chars().all(known) {
        return Some("it has a character that cron expressions do not have");
    }
    (text.split_ascii_whitespace().count() != 5).then_some("it does not have five fields")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_the_full_form_and_an_offset() {
        for good in [
            "2026-01-31T12:00:00Z",
            "2026-01-31t12:00:00.25z",
            "2026-01-31T12:00:00+02:00",
            "2026-01-31T12:00:00.123456789-11:30",
        ] {
            assert!(is_rfc3339(good), "{good}");
        }
        for bad in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "20260131T120000Z",
            "2026-02-30T12:00:00Z",
            "2026-01-31T25:00:00Z",
            "yesterday",
            "2026-01-31T12:00:00+02",
            "2026-01-31T12:00Z",
            "2026-01-31T12:00:00Z[UTC]",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }

    #[test]
    fn formats_name_what_is_wrong() {
        assert_eq!(
            fault(Format::Path, "a\0b"),
            Some("it contains a NUL character")
        );
        assert_eq!(
            fault(Format::Path, "../etc"),
            None,
            "scope is the handler's business"
        );
        assert_eq!(fault(Format::Url, "https://example.com/a?b"), None);
        assert!(fault(Format::Url, "example.com").is_some());
        assert!(fault(Format::Url, "https://exa mple.com").is_some());
        assert!(fault(Format::Url, "1x://y").is_some());
        assert_eq!(fault(Format::Cron, "*/5 9-17 * JAN-MAR MON"), None);
        assert!(fault(Format::Cron, "* * * *").is_some());
        assert!(fault(Format::Cron, "* * * * $(id)").is_some());
        assert_eq!(fault(Format::AgentName, "agent-7"), None);
        assert!(fault(Format::AgentName, "-a").is_some());
        assert!(fault(Format::AgentName, "Agent").is_some());
        assert_eq!(fault(Format::Signal, "SIGKILL"), None);
        assert!(fault(Format::Signal, "kill").is_some());
    }
}
