use serde::{Deserialize, Serialize};
use std::fmt;

/// How freely a call may run. Ordered: a greater tier is more restrictive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Runs at once.
    Autonomous,
    /// Runs at once and shows up on every live surface.
    Notify,
    /// Waits until a person decides.
    ApprovalRequired,
    /// Never runs and is not listed.
    Blocked,
}

impl Tier {
    /// Every tier, most permissive first.
    pub const ALL: [Tier; 4] = [
        Tier::Autonomous,
        Tier::Notify,
        Tier::ApprovalRequired,
        Tier::Blocked,
    ];

    /// The name used in policy files, definitions and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::Autonomous => "autonomous",
            Tier::Notify => "notify",
            Tier::ApprovalRequired => "approval_required",
            Tier::Blocked => "blocked",
        }
    }

    /// Parses the name that [`Tier::as_str`] gives.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|tier| tier.as_str() == name)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Tier;

    #[test]
    fn the_order_is_from_permissive_to_restrictive() {
        assert!(Tier::Autonomous < Tier::Notify);
        assert!(Tier::Notify < Tier::ApprovalRequired);
        assert!(Tier::ApprovalRequired < Tier::Blocked);
        assert_eq!(Tier::Notify.max(Tier::Blocked), Tier::Blocked);
    }

    #[test]
    fn names_round_trip() {
        for tier in Tier::ALL {
            assert_eq!(Tier::from_name(tier.as_str()), Some(tier));
        }
        assert_eq!(Tier::from_name("Autonomous"), None);
    }
}
