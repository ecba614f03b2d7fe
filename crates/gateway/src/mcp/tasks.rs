//! The tasks extension (`io.modelcontextprotocol/tasks`): a held call as a task that the client polls.
//!
//! Nothing is stored for it: the approval request is the task. Its id there has 50 bits and is shown
//! to people, so the task's id adds a code that only this gateway can make, for this principal.

use super::params::Params;
use super::tools::{self, object};
use super::wire::{Fault, INTERNAL_ERROR, INVALID_PARAMS, MISSING_CAPABILITY, to_text};
use super::{Asked, Outcome};
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use kruxos_store::{Approval, ApprovalState, StoreError, TransitionError};
use kruxos_types::{ApprovalId, CallError, Object, Principal};
use serde_json::{Value, json};
use sha2::Sha256;

/// The extension's name.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// How often a client should ask: a person decides in seconds at best.
const POLL_INTERVAL_MS: u64 = 2_000;
/// What keeps these codes apart from anything else made with the same key.
const PURPOSE: &[u8] = b"kruxos mcp task id v1";
/// Bytes of the code: 128 bits cannot be guessed.
const CODE_BYTES: usize = 16;

/// Makes and checks task ids.
#[derive(Debug)]
pub struct TaskIds(Option<Hmac<Sha256>>);

impl TaskIds {
    /// Ids under a key that stays with the data directory, so that they outlive a restart.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // HMAC takes keys of every length; without one no id would be valid.
        Self(Hmac::new_from_slice(key).ok())
    }

    /// `task_<the request's characters>_<code>`.
    #[must_use]
    pub fn id_for(&self, approval: &ApprovalId, principal: &Principal) -> String {
        let tail = approval.as_str().trim_start_matches("ap_");
        format!(
            "task_{tail}_{}",
            HEXLOWER.encode(&self.code(approval, principal))
        )
    }

    /// The request behind an id, if this gateway made the id for this principal.
    #[must_use]
    pub fn read(&self, id: &str, principal: &Principal) -> Option<ApprovalId> {
        let (tail, code) = id.strip_prefix("task_")?.rsplit_once('_')?;
        let approval = ApprovalId::from_text(&format!("ap_{tail}"));
        let presented = HEXLOWER.decode(code.as_bytes()).ok()?;
        let expected = self.code(&approval, principal);
        let same = subtle::ConstantTimeEq::ct_eq(presented.as_slice(), expected.as_slice());
        (self.0.is_some() && bool::from(same)).then_some(approval)
    }

    fn code(&self, approval: &ApprovalId, principal: &Principal) -> Vec<u8> {
        let Some(mut mac) = self.0.clone() else {
            return Vec::new();
        };
        for part in [
            PURPOSE,
            principal.to_string().as_bytes(),
            approval.as_str().as_bytes(),
        ] {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        let mut code = mac.finalize().into_bytes().to_vec();
        code.truncate(CODE_BYTES);
        code
    }
}

/// Whether capabilities declare the extension.
pub(crate) fn declared(capabilities: &Value) -> bool {
    capabilities["extensions"][EXTENSION].is_object()
}

/// `-32021`: the client must declare the extension to use it.
pub(crate) fn undeclared() -> Fault {
    let needed = Object::from_iter([(
        "requiredCapabilities".to_owned(),
        json!({"extensions": {EXTENSION: {}}}),
    )]);
    Fault::new(
        MISSING_CAPABILITY,
        "missing required client capability: io.modelcontextprotocol/tasks",
    )
    .with_facts(needed)
}

/// The answer to `tools/call` that made a task.
pub(crate) fn created(asked: &Asked<'_>, approval: &Approval) -> String {
    let mut task = describe(asked, approval, "working");
    task["resultType"] = json!("task");
    task["_meta"] = json!({"kruxos/approval": {"request_id": approval.id.as_str()}});
    to_text(&task)
}

/// `tasks/get`.
pub(crate) async fn get(asked: &Asked<'_>, params: &Params<'_>) -> Outcome {
    #[cfg(feature = "conformance-fixtures")]
    if let Some(outcome) = asked.peer.mcp.fixtures.task_get(params) {
        return outcome;
    }
    let approval = find(asked, params).await?;
    let gateway = &asked.peer.mcp.gateway;
    let ended = super::approval_status::ended(gateway, &approval).await;
    let mut task = match (approval.state, &ended) {
        (ApprovalState::Cancelled, _) => describe(asked, &approval, "cancelled"),
        (_, None) => describe(asked, &approval, "working"),
        (_, Some(_)) => describe(asked, &approval, "completed"),
    };
    task["resultType"] = json!("complete");
    let text = to_text(&task);
    let Some(ended) = ended.filter(|_| approval.state != ApprovalState::Cancelled) else {
        return Ok(Some(text));
    };
    let result = match ended {
        Ok(output) => tools::result(asked.version, &to_text(&output), false),
        Err(error) => tools::failure(asked.version, &error),
    };
    // The result is JSON text already, so it is spliced in before the closing brace.
    let open = text.strip_suffix('}').unwrap_or_default();
    Ok(Some(format!(r#"{open},"result":{result}}}"#)))
}

/// `tasks/cancel`: withdraws a request that nobody has decided. Asking twice, or too late, is no error.
pub(crate) async fn cancel(asked: &Asked<'_>, params: &Params<'_>) -> Outcome {
    #[cfg(feature = "conformance-fixtures")]
    if let Some(outcome) = asked.peer.mcp.fixtures.task_cancel(params) {
        return outcome;
    }
    let approval = find(asked, params).await?;
    match asked.peer.mcp.gateway.withdraw(&approval.id).await {
        Ok(_) | Err(TransitionError::Conflict(_)) => Ok(Some(object(asked.version, ""))),
        Err(TransitionError::NotFound(_)) => Err(unknown()),
        Err(TransitionError::Store(error)) => Err(internal(error)),
    }
}

/// `tasks/update`: an approval is never given by the client that asked for it, so there is nothing to
/// take; answers to questions that were not asked are ignored.
pub(crate) async fn update(asked: &Asked<'_>, params: &Params<'_>) -> Outcome {
    #[cfg(feature = "conformance-fixtures")]
    if let Some(outcome) = asked.peer.mcp.fixtures.task_update(params) {
        return outcome;
    }
    find(asked, params).await?;
    Ok(Some(object(asked.version, "")))
}

async fn find(asked: &Asked<'_>, params: &Params<'_>) -> Result<Approval, Fault> {
    let id = Params::required(params.task_id.as_ref(), "taskId")?;
    let principal = &asked.peer.session.profile.principal;
    let approval = asked
        .peer
        .mcp
        .task_ids
        .read(id, principal)
        .ok_or_else(unknown)?;
    let found = asked.peer.mcp.gateway.store.approval(&approval).await;
    let found = found.map_err(internal)?;
    found
        .filter(|approval| approval.principal == *principal)
        .ok_or_else(unknown)
}

fn unknown() -> Fault {
    Fault::new(INVALID_PARAMS, "invalid params: unknown taskId")
}

fn internal(error: StoreError) -> Fault {
    Fault::of_error(INTERNAL_ERROR, &CallError::from(error))
}

fn describe(asked: &Asked<'_>, approval: &Approval, status: &str) -> Value {
    let id = asked
        .peer
        .mcp
        .task_ids
        .id_for(&approval.id, &approval.principal);
    let updated = approval.decided_at.unwrap_or(approval.created_at);
    let lives = approval
        .expires_at
        .map(|end| end.duration_since(approval.created_at).as_millis());
    json!({
        "taskId": id,
        "status": status,
        "statusMessage": message(approval),
        "createdAt": approval.created_at,
        "lastUpdatedAt": updated,
        "ttlMs": lives.and_then(|lives| u64::try_from(lives).ok()),
        "pollIntervalMs": POLL_INTERVAL_MS,
    })
}

fn message(approval: &Approval) -> String {
    let (id, capability) = (&approval.id, &approval.capability);
    match approval.state {
        ApprovalState::Pending => {
            format!("{capability} waits for an operator to decide approval request {id}.")
        }
        ApprovalState::Approved | ApprovalState::Executing => {
            format!("Approval request {id} was granted; {capability} is running.")
        }
        ApprovalState::Executed | ApprovalState::Failed => {
            format!("Approval request {id} was granted and {capability} has run.")
        }
        ApprovalState::Rejected => format!("Approval request {id} was rejected."),
        ApprovalState::Expired => format!("Approval request {id} expired undecided."),
        ApprovalState::Cancelled => format!("Approval request {id} was withdrawn."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_id_is_good_for_its_principal_and_key_alone() {
        let ids = TaskIds::new(&[7; 32]);
        let (alice, bob) = (Principal::agent("alice"), Principal::agent("bob"));
        let approval = ApprovalId::random();
        let id = ids.id_for(&approval, &alice);
        assert_eq!(ids.read(&id, &alice), Some(approval.clone()));
        assert_eq!(ids.read(&id, &bob), None);
        assert_eq!(ids.read(&id, &Principal::user("alice")), None);
        assert_eq!(TaskIds::new(&[8; 32]).read(&id, &alice), None);
        assert_eq!(ids.read(approval.as_str(), &alice), None);
        let other = ApprovalId::random();
        let swapped = id.replace(
            approval.as_str().trim_start_matches("ap_"),
            other.as_str().trim_start_matches("ap_"),
        );
        assert_eq!(ids.read(&swapped, &alice), None);
    }

    #[test]
    fn an_id_survives_a_restart() {
        let approval = ApprovalId::random();
        let alice = Principal::agent("alice");
        let id = TaskIds::new(&[7; 32]).id_for(&approval, &alice);
        assert_eq!(TaskIds::new(&[7; 32]).read(&id, &alice), Some(approval));
    }
}
