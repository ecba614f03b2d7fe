//! The `undo` section.

use serde::{Deserialize, Serialize};

/// A terabyte in MB, and ten years in hours: what nobody means to pass.
const MOST_MB: u64 = 1 << 20;
const MOST_HOURS: u64 = 87_600;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "each field is a row of KEYS, which documents it"
)]
pub struct Undo {
    pub quota_mb: u64,
    pub keep_hours: u64,
}

impl Default for Undo {
    fn default() -> Self {
        Self {
            quota_mb: 1024,
            keep_hours: 168,
        }
    }
}

impl Undo {
    /// The quota in bytes.
    #[must_use]
    pub fn quota_bytes(&self) -> u64 {
        self.quota_mb << 20
    }

    /// Bounds that no value may be outside of: the key's last part and the range.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        for (name, value, most) in [
            ("quota_mb", self.quota_mb, MOST_MB),
            ("keep_hours", self.keep_hours, MOST_HOURS),
        ] {
            if !(1..=most).contains(&value) {
                return Err((name, format!("must be 1 to {most}")));
            }
        }
        Ok(())
    }
}
