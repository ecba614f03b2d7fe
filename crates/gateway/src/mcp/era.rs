//! Protocol revisions and what each allows.

use serde_json::{Value, json};

/// A revision of the protocol. Ordered by date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "named by date")]
pub enum Version {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

/// The revision that needs no handshake.
pub const MODERN: Version = Version::V2026_07_28;
/// What `initialize` answers when it is asked for a revision that is not served.
pub const LATEST_LEGACY: Version = Version::V2025_11_25;

impl Version {
    /// Every revision served, oldest first.
    pub const ALL: [Version; 5] = [
        Version::V2024_11_05,
        Version::V2025_03_26,
        Version::V2025_06_18,
        Version::V2025_11_25,
        Version::V2026_07_28,
    ];

    /// The revision's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::V2024_11_05 => "2024-11-05",
            Version::V2025_03_26 => "2025-03-26",
            Version::V2025_06_18 => "2025-06-18",
            Version::V2025_11_25 => "2025-11-25",
            Version::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Version> {
        Version::ALL
            .into_iter()
            .find(|version| version.as_str() == name)
    }

    /// Whether it begins with `initialize`.
    #[must_use]
    pub fn is_legacy(self) -> bool {
        self < MODERN
    }

    /// What `initialize` agrees on. 2024-11-05 had another HTTP transport, so over Streamable HTTP
    /// such a client is offered the newest revision that begins with `initialize`.
    #[must_use]
    pub fn negotiate(asked: &str, over_http: bool) -> Version {
        Version::named(asked)
            .filter(|version| version.is_legacy())
            .filter(|version| !(over_http && *version == Version::V2024_11_05))
            .unwrap_or(LATEST_LEGACY)
    }

    /// Several messages in one array: only 2025-03-26 has them.
    #[must_use]
    pub fn has_batches(self) -> bool {
        self == Version::V2025_03_26
    }

    /// Event streams that can be taken up again, and the empty event that begins them. Older clients
    /// lose the connection on that event.
    #[must_use]
    pub fn has_resumable_streams(self) -> bool {
        self == Version::V2025_11_25
    }

    /// `structuredContent` in results.
    #[must_use]
    pub fn has_structured_content(self) -> bool {
        self >= Version::V2025_06_18
    }
}

/// What the gateway offers on a revision. Prompts, resources and completions exist only for the
/// conformance suite.
#[must_use]
pub fn capabilities(version: Version) -> Value {
    let mut offered = json!({"tools": {"listChanged": true}});
    if version.is_legacy() {
        offered["logging"] = json!({});
    } else {
        offered["extensions"] = json!({super::tasks::EXTENSION: {}});
    }
    #[cfg(feature = "conformance-fixtures")]
    super::fixtures::add_capabilities(&mut offered, version);
    offered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialize_never_agrees_on_a_revision_without_initialize() {
        assert_eq!(Version::negotiate("2026-07-28", false), LATEST_LEGACY);
        assert_eq!(Version::negotiate("2031-01-01", true), LATEST_LEGACY);
        assert_eq!(Version::negotiate("2025-03-26", true), Version::V2025_03_26);
        assert_eq!(Version::negotiate("2024-11-05", true), LATEST_LEGACY);
        assert_eq!(
            Version::negotiate("2024-11-05", false),
            Version::V2024_11_05
        );
    }

    #[test]
    fn names_round_trip() {
        for version in Version::ALL {
            assert_eq!(Version::named(version.as_str()), Some(version));
        }
    }
}
