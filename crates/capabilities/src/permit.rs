use kruxos_audit::Begun;
use kruxos_catalog::Definition;
use kruxos_policy::Verdict;
use kruxos_store::{ClaimedApproval, ClaimedGrant};
use kruxos_types::{Object, Tier};

/// The right to run one call once. Only three things make one, and all need a [`Begun`] audit record:
/// a verdict that lets the call run, an approval that this process has claimed, or a use of a grant that
/// it has claimed. None can be built outside its own crate, so a handler cannot be reached without decision
/// and audit.
#[derive(Debug)]
#[must_use = "a permit is the right to run; dropping it runs nothing"]
pub struct Permit {
    inputs: Object,
}

/// The verdict does not let the call run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held(pub Tier);

impl Permit {
    /// A permit from policy alone.
    ///
    /// # Errors
    /// [`Held`] when the tier is `approval_required` or `blocked`.
    pub fn by_verdict(verdict: &Verdict, _begun: &Begun, inputs: Object) -> Result<Permit, Held> {
        match verdict.tier() {
            Tier::Autonomous | Tier::Notify => Ok(Permit { inputs }),
            tier @ (Tier::ApprovalRequired | Tier::Blocked) => Err(Held(tier)),
        }
    }

    /// A permit from a person's decision, for exactly the inputs that were approved.
    pub fn by_approval(
        claimed: &ClaimedApproval,
        _begun: &Begun,
        _definition: &Definition,
    ) -> Permit {
        Permit {
            inputs: claimed.exact_inputs().clone(),
        }
    }

    /// A permit from a person's decision in advance, for a call that policy would hold.
    ///
    /// # Errors
    /// [`Held`] when policy blocks the call: no grant helps there.
    pub fn by_grant(
        _claimed: &ClaimedGrant,
        verdict: &Verdict,
        _begun: &Begun,
        inputs: Object,
    ) -> Result<Permit, Held> {
        match verdict.tier() {
            Tier::Blocked => Err(Held(Tier::Blocked)),
            Tier::Autonomous | Tier::Notify | Tier::ApprovalRequired => Ok(Permit { inputs }),
        }
    }

    /// Spends the permit.
    pub(crate) fn spend(self) -> Object {
        self.inputs
    }
}
