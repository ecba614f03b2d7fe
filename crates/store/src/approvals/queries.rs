use super::row::{self, COLUMNS, Damaged};
use super::{Approval, ApprovalState};
use crate::seal::Sealer;
use crate::{Store, StoreError, db};
use jiff::Timestamp;
use kruxos_types::{ApprovalId, Principal};
use rusqlite::Connection;

impl Store {
    /// One request.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM approvals WHERE id = ?1");
        let sealer = &self.0.sealer;
        self.point(|conn| {
            db::one(conn, &sql, [id.as_str()], |row| {
                row::approval(row, sealer, Damaged::Refuse)
            })
        })
    }

    /// One request, for the principal that made it: none where somebody else did, or an earlier bearer of
    /// its name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approval_of(
        &self,
        id: &ApprovalId,
        principal: &Principal,
    ) -> Result<Option<Approval>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM approvals WHERE id = ?1 AND principal_kind = ?2 \
             AND principal_name = ?3 AND owner_gone = 0"
        );
        let sealer = &self.0.sealer;
        let params = (id.as_str(), principal.kind.as_str(), &*principal.name);
        self.point(|conn| {
            db::one(conn, &sql, params, |row| {
                row::approval(row, sealer, Damaged::Refuse)
            })
        })
    }

    /// Requests, oldest first while pending, else newest first. A sealed part that cannot be opened
    /// any more is null here.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approvals(
        &self,
        state: Option<ApprovalState>,
        principal: Option<&Principal>,
        limit: usize,
    ) -> Result<Vec<Approval>, StoreError> {
        let order = if state == Some(ApprovalState::Pending) {
            "ASC"
        } else {
            "DESC"
        };
        // Two texts, so that the index on the state serves where one is named.
        let of_state = if state.is_some() {
            "state = ?1"
        } else {
            "?1 IS NULL"
        };
        let sql = format!(
            "SELECT {COLUMNS} FROM approvals WHERE {of_state} \
             AND (?2 IS NULL OR (principal_kind = ?2 AND principal_name = ?3)) \
             ORDER BY seq {order} LIMIT ?4"
        );
        let (kind, name) = parts(principal);
        let (state, sealer) = (state.map(ApprovalState::as_str), self.0.sealer.clone());
        self.scan(move |conn| {
            db::all(conn, &sql, (state, kind, name, db::limit(limit)), |row| {
                row::approval(row, &sealer, Damaged::Blank)
            })
        })
        .await
    }

    /// How many are pending and not yet due to expire, for one principal or all.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn pending_approvals(
        &self,
        principal: Option<&Principal>,
    ) -> Result<u64, StoreError> {
        let now = db::now(&*self.0.clock);
        self.point(|conn| pending(conn, principal, now))
    }

    /// The newest request of this principal with this digest that is pending and not due, approved,
    /// executing, or finished after `since` with its result not yet taken.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn matching_approval(
        &self,
        principal: &Principal,
        digest: &str,
        since: Timestamp,
    ) -> Result<Option<Approval>, StoreError> {
        let now = db::now(&*self.0.clock);
        let sealer = &self.0.sealer;
        self.point(|conn| matching(conn, sealer, principal, digest, since, now))
    }
}

/// [`Store::pending_approvals`] on a connection.
pub(super) fn pending(
    conn: &Connection,
    principal: Option<&Principal>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) AS pending FROM approvals \
               WHERE state = 'pending' AND (expires_at IS NULL OR expires_at > ?1) \
               AND (?2 IS NULL OR (principal_kind = ?2 AND principal_name = ?3))";
    let (kind, name) = parts(principal);
    let params = (now.as_microsecond(), kind, name);
    let count = db::one(conn, sql, params, |row| db::unsigned(row, "pending"))?;
    Ok(count.unwrap_or_default())
}

/// [`Store::matching_approval`] on a connection.
pub(super) fn matching(
    conn: &Connection,
    sealer: &Sealer,
    principal: &Principal,
    digest: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<Option<Approval>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM approvals \
         WHERE principal_kind = ?1 AND principal_name = ?2 AND digest = ?3 AND owner_gone = 0 \
         AND (state IN ('approved', 'executing') \
              OR (state = 'pending' AND (expires_at IS NULL OR expires_at > ?4)) \
              OR (state IN ('executed', 'failed') AND result_taken = 0 AND finished_at > ?5)) \
         ORDER BY seq DESC LIMIT 1"
    );
    let (kind, name) = (principal.kind.as_str(), &*principal.name);
    let params = (
        kind,
        name,
        digest,
        now.as_microsecond(),
        since.as_microsecond(),
    );
    db::one(conn, &sql, params, |row| {
        row::approval(row, sealer, Damaged::Refuse)
    })
}

fn parts(principal: Option<&Principal>) -> (Option<&'static str>, Option<String>) {
    (
        principal.map(|who| who.kind.as_str()),
        principal.map(|who| who.name.to_string()),
    )
}
