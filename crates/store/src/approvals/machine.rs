//! The state machine itself, on a connection inside a transaction. Each function is one transition by
//! compare-and-swap; `None` means that the request was not in the state it starts from.

use super::row::{self, Binding, COLUMNS, Damaged};
use super::{Approval, ApprovalState, ClaimedApproval, Edit};
use crate::seal::{Part, Sealer};
use crate::{StoreError, db};
use jiff::{SignedDuration, Timestamp};
use kruxos_types::{ApprovalId, CallError, Object, PrincipalKind};
use rusqlite::{Connection, Row};
use serde_json::Value;

/// How long a finished request keeps its result, for clients that ask by id.
const RESULT_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How a request stops being pending, other than by expiry.
#[derive(Debug, Clone)]
pub(crate) struct Leave {
    pub(crate) to: ApprovalState,
    pub(crate) scope: Option<&'static str>,
    pub(crate) by: Option<String>,
    pub(crate) reason: Option<String>,
    /// JSON.
    pub(crate) remembered: Option<String>,
    pub(crate) edit: Option<Edit>,
}

/// One request with all its parts.
pub(crate) fn find(
    conn: &Connection,
    sealer: &Sealer,
    id: &ApprovalId,
) -> Result<Option<Approval>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE id = ?1");
    db::one(conn, &sql, [id.as_str()], |row| whole(row, sealer))
}

/// `pending → approved | rejected | cancelled` while it is not due; when it is, `pending → expired`.
pub(crate) fn leave_pending(
    conn: &Connection,
    sealer: &Sealer,
    id: &ApprovalId,
    leave: &Leave,
    now: Timestamp,
) -> Result<Option<Approval>, StoreError> {
    let sql = format!(
        "UPDATE approvals SET state = ?2, scope = ?3, decided_by = ?4, decision_reason = ?5, \
         decided_at = ?6, remembered = ?7, \
         sealed_inputs = CASE WHEN ?2 = 'approved' THEN sealed_inputs ELSE x'' END \
         WHERE id = ?1 AND state = 'pending' \
         AND (expires_at IS NULL OR expires_at > ?6) RETURNING {COLUMNS}"
    );
    let now = now.as_microsecond();
    let Leave {
        to,
        scope,
        by,
        reason,
        remembered,
        edit,
    } = leave;
    let params = (id.as_str(), to.as_str(), scope, by, reason, now, remembered);
    let left = db::one(conn, &sql, params, |row| whole(row, sealer))?;
    match (left, edit) {
        (None, _) => {
            let sql = "UPDATE approvals SET state = 'expired', decided_at = ?2, sealed_inputs = x'' \
                       WHERE id = ?1 AND state = 'pending' AND expires_at <= ?2";
            db::run(conn, sql, (id.as_str(), now))?;
            Ok(None)
        }
        (Some(left), Some(edit)) => put_edit(conn, sealer, &left, edit).map(Some),
        (left, None) => Ok(left),
    }
}

/// Puts an operator's inputs in the place of those that were asked for.
fn put_edit(
    conn: &Connection,
    sealer: &Sealer,
    approval: &Approval,
    edit: &Edit,
) -> Result<Approval, StoreError> {
    let bound = Binding::of(approval);
    let sealed = sealer.seal(Part::Edit, bound.bound(), &edit.exact_inputs)?;
    let sql = format!(
        "UPDATE approvals SET edited_inputs = ?2, sealed_edit = ?3 WHERE id = ?1 RETURNING {COLUMNS}"
    );
    let shown = db::to_json(&edit.shown_inputs)?;
    let params = (approval.id.as_str(), shown, sealed);
    let edited = db::one(conn, &sql, params, |row| whole(row, sealer))?;
    edited.ok_or_else(|| StoreError::NotFound(approval.id.to_string()))
}

/// The exact inputs of a request that has not ended.
pub(crate) fn exact_inputs(
    conn: &Connection,
    sealer: &Sealer,
    id: &ApprovalId,
) -> Result<Option<(Approval, Object)>, StoreError> {
    let sql = format!(
        "SELECT sealed_inputs, sealed_edit, {COLUMNS} FROM approvals \
         WHERE id = ?1 AND state IN ('pending', 'approved', 'executing')"
    );
    db::one(conn, &sql, [id.as_str()], |row| {
        let approval = whole(row, sealer)?;
        let inputs = row::exact_inputs(row, sealer, &Binding::of(&approval))?;
        Ok((approval, inputs))
    })
}

/// Whether [`expire`] would change anything.
pub(crate) fn is_any_due(conn: &Connection, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM approvals WHERE state = 'pending' \
               AND expires_at <= ?1) OR EXISTS (SELECT 1 FROM approvals \
               WHERE sealed_result IS NOT NULL AND finished_at < ?2)";
    let params = (now.as_microsecond(), results_before(now));
    let due = db::one(conn, sql, params, |row| Ok(row.get(0)?))?;
    Ok(due.unwrap_or_default())
}

/// `pending → expired` for everything due; drops results that were kept long enough.
pub(crate) fn expire(
    conn: &Connection,
    sealer: &Sealer,
    now: Timestamp,
) -> Result<Vec<Approval>, StoreError> {
    let sql = "UPDATE approvals SET sealed_result = NULL \
               WHERE sealed_result IS NOT NULL AND finished_at < ?1";
    db::run(conn, sql, [results_before(now)])?;
    let sql = format!(
        "UPDATE approvals SET state = 'expired', decided_at = ?1, sealed_inputs = x'' \
         WHERE state = 'pending' AND expires_at <= ?1 RETURNING {COLUMNS}"
    );
    db::all(conn, &sql, [now.as_microsecond()], |row| {
        row::approval(row, sealer, Damaged::Blank)
    })
}

fn results_before(now: Timestamp) -> i64 {
    now.saturating_sub(RESULT_KEPT)
        .unwrap_or(Timestamp::MIN)
        .as_microsecond()
}

/// Notes that the audit log has how a request came to `state`; false if that is not its state.
pub(crate) fn audited(
    conn: &Connection,
    id: &ApprovalId,
    state: ApprovalState,
) -> Result<bool, StoreError> {
    let sql = "UPDATE approvals SET decision_audited = 1 \
               WHERE id = ?1 AND state = ?2 AND state <> 'pending'";
    Ok(db::run(conn, sql, (id.as_str(), state.as_str()))? == 1)
}

/// `approved → executing`, once the audit log has the decision and unless the agent is paused. Both are
/// looked at here, in the one statement that lets a call run, so that nothing can come in between.
pub(crate) fn claim(
    conn: &Connection,
    sealer: &Sealer,
    id: &ApprovalId,
) -> Result<Option<ClaimedApproval>, StoreError> {
    let sql = format!(
        "UPDATE approvals SET state = 'executing' WHERE id = ?1 AND state = 'approved' \
         AND decision_audited = 1 AND NOT EXISTS (SELECT 1 FROM agents WHERE status = 'paused' \
             AND principal_kind = 'agent' AND agents.name = principal_name) \
         RETURNING sealed_inputs, sealed_edit, {COLUMNS}"
    );
    db::one(conn, &sql, [id.as_str()], |row| {
        let approval = whole(row, sealer)?;
        let exact_inputs = row::exact_inputs(row, sealer, &Binding::of(&approval))?;
        Ok(ClaimedApproval {
            approval,
            exact_inputs,
        })
    })
}

/// `executing → executed | failed`. The result is sealed for the row it goes to.
pub(crate) fn finish(
    conn: &Connection,
    sealer: &Sealer,
    id: &ApprovalId,
    to: ApprovalState,
    result: &Value,
    now: Timestamp,
) -> Result<Option<Approval>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM approvals WHERE id = ?1 AND state = 'executing'");
    let blank = |row: &Row<'_>| row::approval(row, sealer, Damaged::Blank);
    let Some(current) = db::one(conn, &sql, [id.as_str()], blank)? else {
        return Ok(None);
    };
    let sealed = sealer.seal(Part::Result, Binding::of(&current).bound(), result)?;
    let sql = format!(
        "UPDATE approvals SET state = ?2, sealed_result = ?3, finished_at = ?4, \
         sealed_inputs = x'', sealed_edit = NULL \
         WHERE id = ?1 AND state = 'executing' RETURNING {COLUMNS}"
    );
    let params = (id.as_str(), to.as_str(), sealed, now.as_microsecond());
    db::one(conn, &sql, params, blank)
}

/// Marks the result of a finished request as handed over; false if it was.
pub(crate) fn take_result(conn: &Connection, id: &ApprovalId) -> Result<bool, StoreError> {
    let sql = "UPDATE approvals SET result_taken = 1 \
               WHERE id = ?1 AND state IN ('executed', 'failed') AND result_taken = 0";
    Ok(db::run(conn, sql, [id.as_str()])? == 1)
}

/// What a crash left: `(failed, approved)`, each oldest first. That a request failed is for the audit
/// log to learn, as a decision is.
pub(crate) fn recover(
    conn: &Connection,
    sealer: &Sealer,
    now: Timestamp,
) -> Result<(Vec<Approval>, Vec<Approval>), StoreError> {
    let fail = |id: &ApprovalId, error: CallError| {
        let sql = "UPDATE approvals SET decision_audited = 0 WHERE id = ?1";
        db::run(conn, sql, [id.as_str()])?;
        finish(
            conn,
            sealer,
            id,
            ApprovalState::Failed,
            &error.to_json(),
            now,
        )
    };
    let mut failed = Vec::new();
    for (request, _) in in_state(conn, sealer, ApprovalState::Executing)? {
        failed.extend(fail(&request.id, interrupted(&request))?);
    }
    let mut approved = Vec::new();
    for (request, readable) in in_state(conn, sealer, ApprovalState::Approved)? {
        if readable {
            approved.push(request);
            continue;
        }
        let sql = "UPDATE approvals SET state = 'executing' WHERE id = ?1 AND state = 'approved'";
        db::run(conn, sql, [request.id.as_str()])?;
        let why = "the approved inputs do not open with this approval key";
        failed.extend(fail(&request.id, CallError::internal_failure(why))?);
    }
    Ok((failed, approved))
}

fn interrupted(request: &Approval) -> CallError {
    CallError::internal_failure("the gateway stopped while an approved call was running")
        .with("request_id", request.id.as_str())
        .with("interrupted", true)
        .detail(
            "The gateway stopped while this approved call was running. Whether it took effect is not \
             known; it is not run again.",
        )
}

/// Requests in a state, oldest first, and whether their exact inputs open.
fn in_state(
    conn: &Connection,
    sealer: &Sealer,
    state: ApprovalState,
) -> Result<Vec<(Approval, bool)>, StoreError> {
    let sql = format!(
        "SELECT sealed_inputs, sealed_edit, {COLUMNS} FROM approvals WHERE state = ?1 ORDER BY seq"
    );
    db::all(conn, &sql, [state.as_str()], |row| {
        let approval = row::approval(row, sealer, Damaged::Blank)?;
        let readable = row::exact_inputs(row, sealer, &Binding::of(&approval)).is_ok();
        Ok((approval, readable))
    })
}

/// When a principal goes for good: nothing of its requests goes to a later one of the same name. What
/// has not begun is cancelled, also when it was approved; `why` then stands as the reason.
pub(crate) fn forget(
    conn: &Connection,
    kind: PrincipalKind,
    name: &str,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE approvals SET state = 'cancelled', decision_audited = 0, decision_reason = ?3, \
               sealed_inputs = x'', sealed_edit = NULL, decided_at = coalesce(decided_at, ?4) \
               WHERE principal_kind = ?1 AND principal_name = ?2 AND state IN ('pending', 'approved')";
    crate::grants::forget(conn, kind, name)?;
    let kind = kind.as_str();
    db::run(conn, sql, (kind, name, why, now.as_microsecond()))?;
    let sql =
        "UPDATE approvals SET owner_gone = 1 WHERE principal_kind = ?1 AND principal_name = ?2";
    db::run(conn, sql, (kind, name))?;
    Ok(())
}

fn whole(row: &Row<'_>, sealer: &Sealer) -> Result<Approval, StoreError> {
    row::approval(row, sealer, Damaged::Refuse)
}
