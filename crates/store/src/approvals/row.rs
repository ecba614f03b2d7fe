//! A request's row: which parts are sealed, and how it is read.

use super::{Approval, ApprovalState};
use crate::seal::{Bound, Part, Sealer};
use crate::{StoreError, db};
use kruxos_types::{ApprovalId, Object, Principal, PrincipalKind};
use rusqlite::Row;
use serde_json::Value;

/// What of a row [`approval`] reads.
pub(super) const COLUMNS: &str = "id, principal_kind, principal_name, session_id, interface, \
    capability, shown_inputs, digest, reason, rule, risk_notes, created_at, expires_at, state, \
    decided_by, decided_at, decision_reason, scope, edited_inputs, remembered, result_taken, sealed_preview, sealed_result";

/// What to do with a sealed part that does not open, as after the key was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damaged {
    /// The request is asked for by itself: say so.
    Refuse,
    /// One of a list: the others must still be seen. The part reads as null and the log says why.
    Blank,
}

/// To what this request's sealed parts are bound.
pub(super) struct Binding {
    id: String,
    principal: String,
    capability: String,
    digest: String,
}

impl Binding {
    pub(super) fn new(
        id: &ApprovalId,
        principal: &Principal,
        capability: &str,
        digest: &str,
    ) -> Self {
        Self {
            id: id.to_string(),
            principal: principal.to_string(),
            capability: capability.to_owned(),
            digest: digest.to_owned(),
        }
    }

    pub(super) fn of(approval: &Approval) -> Self {
        Self::new(
            &approval.id,
            &approval.principal,
            &approval.capability,
            &approval.digest,
        )
    }

    pub(super) fn bound(&self) -> Bound<'_> {
        Bound {
            id: &self.id,
            principal: &self.principal,
            capability: &self.capability,
            digest: &self.digest,
        }
    }
}

/// A request as it is shown.
pub(super) fn approval(
    row: &Row<'_>,
    sealer: &Sealer,
    damaged: Damaged,
) -> Result<Approval, StoreError> {
    let mut approval = Approval {
        id: ApprovalId::from_text(
            row.get_ref("id")?
                .as_str()
                .map_err(|_| db::wrong_type("id"))?,
        ),
        principal: principal(row)?,
        session_id: row.get("session_id")?,
        interface: row.get("interface")?,
        capability: row.get("capability")?,
        inputs: db::json(row, "shown_inputs")?,
        digest: row.get("digest")?,
        reason: row.get("reason")?,
        rule: db::json(row, "rule")?,
        preview: Value::Null,
        risk_notes: db::json(row, "risk_notes")?,
        created_at: db::time(row, "created_at")?,
        expires_at: db::optional_time(row, "expires_at")?,
        state: state(row)?,
        decided_by: row.get("decided_by")?,
        decided_at: db::optional_time(row, "decided_at")?,
        decision_reason: row.get("decision_reason")?,
        scope: row.get("scope")?,
        edited_inputs: optional_json(row, "edited_inputs")?,
        remembered: optional_json(row, "remembered")?,
        result: None,
        result_taken: row.get("result_taken")?,
    };
    let binding = Binding::of(&approval);
    let open = |part, column| match (open_part(row, sealer, &binding, part, column), damaged) {
        (Err(error), Damaged::Blank) => {
            tracing::error!(%error, "a sealed part of an approval request is not shown");
            Ok(Some(Value::Null))
        }
        (opened, _) => opened,
    };
    approval.preview = open(Part::Preview, "sealed_preview")?.unwrap_or_default();
    approval.result = open(Part::Result, "sealed_result")?;
    Ok(approval)
}

/// The exact inputs of a request, as they were asked for or as the operator edited them, from a row that
/// has `sealed_inputs` and `sealed_edit` too.
pub(super) fn exact_inputs(
    row: &Row<'_>,
    sealer: &Sealer,
    binding: &Binding,
) -> Result<Object, StoreError> {
    if let Some(edit) = row.get::<_, Option<Vec<u8>>>("sealed_edit")? {
        return sealer.open(Part::Edit, binding.bound(), &edit);
    }
    let sealed: Vec<u8> = row.get("sealed_inputs")?;
    sealer.open(Part::Inputs, binding.bound(), &sealed)
}

fn optional_json(row: &Row<'_>, column: &str) -> Result<Option<Value>, StoreError> {
    let text = row.get_ref(column)?.as_bytes_or_null();
    let text = text.map_err(|_| db::wrong_type(column))?;
    text.map(|text| db::from_json(text, column)).transpose()
}

fn open_part(
    row: &Row<'_>,
    sealer: &Sealer,
    binding: &Binding,
    part: Part,
    column: &str,
) -> Result<Option<Value>, StoreError> {
    let sealed = row
        .get_ref(column)?
        .as_blob_or_null()
        .map_err(|_| db::wrong_type(column))?;
    sealed
        .map(|sealed| sealer.open(part, binding.bound(), sealed))
        .transpose()
}

pub(crate) fn principal(row: &Row<'_>) -> Result<Principal, StoreError> {
    let column = "principal_kind";
    let kind = row
        .get_ref(column)?
        .as_str()
        .map_err(|_| db::wrong_type(column))?;
    let kinds = [
        PrincipalKind::Agent,
        PrincipalKind::User,
        PrincipalKind::System,
    ];
    let kind = kinds.into_iter().find(|known| known.as_str() == kind);
    let kind =
        kind.ok_or_else(|| StoreError::Corrupt("an unknown kind of principal".to_owned()))?;
    Ok(Principal {
        kind,
        name: row.get("principal_name")?,
    })
}

fn state(row: &Row<'_>) -> Result<ApprovalState, StoreError> {
    let text = row
        .get_ref("state")?
        .as_str()
        .map_err(|_| db::wrong_type("state"))?;
    let known = ApprovalState::ALL
        .into_iter()
        .find(|state| state.as_str() == text);
    known.ok_or_else(|| StoreError::Corrupt(format!("the approval state '{text}'")))
}
