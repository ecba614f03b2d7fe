use data_encoding::{BASE32_NOPAD, Encoding};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// The name of an agent: `[a-z0-9][a-z0-9-]{0,62}`, not one that the product keeps for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AgentName(Arc<str>);

/// Why a string is not an agent's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAgentName {
    /// Empty, too long, or a character outside the alphabet.
    #[error(
        "an agent's name is 1 to 63 characters of a-z, 0-9 and '-', and starts with a letter or digit"
    )]
    Alphabet,
    /// A name that means something else.
    #[error("'{0}' is reserved")]
    Reserved(String),
}

impl AgentName {
    /// Names that mean something else in policies, audit entries and paths.
    pub const RESERVED: [&'static str; 6] =
        ["default", "system", "user", "admin", "kruxos", "operator"];

    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidAgentName`] says which rule it breaks.
    pub fn new(name: &str) -> Result<Self, InvalidAgentName> {
        let bytes = name.as_bytes();
        let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let starts_well = bytes.first().is_some_and(|b| *b != b'-');
        if !starts_well || bytes.len() > 63 || !bytes.iter().all(allowed) {
            return Err(InvalidAgentName::Alphabet);
        }
        if Self::RESERVED.contains(&name) {
            return Err(InvalidAgentName::Reserved(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AgentName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Lower-case base32 without padding (RFC 4648 alphabet): readable aloud, safe in a path or URL.
const BASE32_LOWER: fn() -> Encoding = || {
    let mut spec = BASE32_NOPAD.specification();
    spec.symbols = "abcdefghijklmnopqrstuvwxyz234567".to_owned();
    spec.encoding().unwrap_or(BASE32_NOPAD)
};

/// `characters` random base32 characters (5 bits each) from the operating system.
#[must_use]
pub fn random_base32(characters: usize) -> String {
    let mut bytes = vec![0u8; (characters * 5).div_ceil(8)];
    fill_random(&mut bytes);
    let mut text = BASE32_LOWER().encode(&bytes);
    text.truncate(characters);
    text
}

/// Fills from the operating system's generator. Its failure leaves no safe way on, so it aborts:
/// a predictable token would be worse than no gateway.
fn fill_random(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        std::process::abort();
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $make:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// A fresh, unguessable id.
            #[must_use]
            pub fn random() -> Self {
                let make: fn() -> String = $make;
                Self(make().into())
            }

            /// An id read back from storage or named by a caller; nothing is known to exist under it.
            #[must_use]
            pub fn from_text(text: &str) -> Self {
                Self(text.into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// An agent session: `ses_` and 26 base32 characters (130 bits).
    SessionId,
    || format!("ses_{}", random_base32(26))
);
text_id!(
    /// An approval request: `ap_` and 10 base32 characters (50 bits; never a credential by itself).
    ApprovalId,
    || format!("ap_{}", random_base32(10))
);
text_id!(
    /// A grant, an approval given in advance: `gr_` and 10 base32 characters (50 bits; never a credential
    /// by itself).
    GrantId,
    || format!("gr_{}", random_base32(10))
);
text_id!(
    /// Ties a caller's error to the gateway's own log: a UUIDv7.
    TraceId,
    || Uuid::now_v7().to_string()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_names_follow_the_rule() {
        for good in ["a", "default-agent", "0x", &"a".repeat(63)] {
            assert!(AgentName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "A",
            "a_b",
            "a.b",
            "ä",
            "a b",
            "a\0",
            "../x",
            &"a".repeat(64),
        ] {
            assert_eq!(
                AgentName::new(bad),
                Err(InvalidAgentName::Alphabet),
                "{bad:?}"
            );
        }
        assert!(matches!(
            AgentName::new("system"),
            Err(InvalidAgentName::Reserved(_))
        ));
    }

    #[test]
    fn ids_have_their_documented_shape() {
        let approval = ApprovalId::random();
        let tail = approval.as_str().strip_prefix("ap_").unwrap_or_default();
        assert_eq!(tail.len(), 10);
        assert!(
            tail.bytes()
                .all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
        );
        assert_ne!(SessionId::random(), SessionId::random());
    }
}
