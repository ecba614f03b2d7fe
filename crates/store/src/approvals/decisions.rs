//! Decisions on their way into the audit log: the store keeps which of them the log does not have yet,
//! so that neither a crash nor a full disk between the two loses who decided what.

use super::row::{self, COLUMNS, Damaged};
use super::{Approval, ApprovalState, machine};
use crate::{Store, StoreError, db};
use kruxos_types::ApprovalId;

/// Decisions read at once; the caller asks again until none is left.
const PAGE: usize = 100;

impl Store {
    /// Requests that are no longer pending and whose decision, expiry or withdrawal the audit log does
    /// not have yet, oldest first, at most 100.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn unaudited_decisions(&self) -> Result<Vec<Approval>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM approvals WHERE decision_audited = 0 AND state <> 'pending' \
             ORDER BY seq LIMIT ?1"
        );
        let sealer = &self.0.sealer;
        self.point(|conn| {
            db::all(conn, &sql, [db::limit(PAGE)], |row| {
                row::approval(row, sealer, Damaged::Blank)
            })
        })
    }

    /// Notes that the audit log has how this request came to `state`; false if it has become another
    /// meanwhile, of which the log has still to learn.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn decision_audited(
        &self,
        id: &ApprovalId,
        state: ApprovalState,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write(move |conn| machine::audited(conn, &id, state))
            .await
    }
}
