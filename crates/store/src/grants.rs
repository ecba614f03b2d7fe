//! Grants: approvals given in advance for calls like the one that was decided. Each use is one
//! compare-and-swap, so that calls at the same time never get one use too many.

use crate::approvals::{self, Approval};
use crate::seal::{Bound, Part, Sealer};
use crate::{Store, StoreError, db};
use jiff::Timestamp;
use kruxos_types::{ApprovalId, GrantId, Object, Principal, PrincipalKind, SessionId};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How long a grant that covers nothing any more is still listed, in days.
const KEPT_DAYS: i64 = 30;

/// How far a grant reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantScope {
    /// Calls of the session that asked; it ends with that.
    Session,
    /// Calls of the same principal through the same door, so many and so long.
    Task,
}

impl GrantScope {
    /// The scope as it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GrantScope::Session => "session",
            GrantScope::Task => "task",
        }
    }
}

/// What making one takes beyond the request that it is given with, whose principal, session, door and
/// capability it takes over.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct NewGrant {
    pub id: GrantId,
    pub scope: GrantScope,
    pub granted_by: String,
    /// Policy conditions that a covered call meets; sealed at rest.
    pub conditions: Object,
    /// The same, redacted by the caller.
    pub shown: Value,
    /// What policy said of the call that it is given for, by digest.
    pub rule_digest: String,
    /// How many calls; `None` is any number.
    pub uses: Option<u64>,
    pub expires_at: Option<Timestamp>,
}

impl NewGrant {
    /// For the request and its audit entry.
    pub(crate) fn told(&self) -> Value {
        json!({
            "grant_id": self.id,
            "conditions": self.shown,
            "uses": self.uses,
            "expires_at": self.expires_at,
        })
    }
}

/// A grant as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Grant {
    pub id: GrantId,
    /// The request that it was given with.
    pub approval_id: ApprovalId,
    pub principal: Principal,
    pub scope: GrantScope,
    pub session_id: String,
    pub interface: String,
    pub capability: String,
    pub conditions: Value,
    #[serde(skip)]
    pub rule_digest: String,
    pub uses: Option<u64>,
    pub used: u64,
    pub granted_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub revoked_by: Option<String>,
}

/// Evidence that a grant covers one call more, and that this use is counted: only the compare-and-swap
/// makes one.
#[derive(Debug)]
#[must_use = "a use that was counted is gone"]
pub struct ClaimedGrant {
    grant: Grant,
}

impl ClaimedGrant {
    /// The grant, this use counted.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

const COLUMNS: &str = "id, approval_id, principal_kind, principal_name, scope, session_id, interface, \
    capability, rule_digest, uses, used, granted_by, created_at, expires_at, revoked_at, revoked_by, shown";
/// What still covers calls; `?1` is now.
const LIVE: &str = "revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1) \
    AND (uses IS NULL OR used < uses)";

impl Store {
    /// Grants of a principal for a capability that still cover calls, with their conditions, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn live_grants(
        &self,
        principal: &Principal,
        capability: &str,
    ) -> Result<Vec<(Grant, Object)>, StoreError> {
        let now = db::now(&*self.0.clock).as_microsecond();
        let sealer = &self.0.sealer;
        self.point(|conn| {
            let sql = format!(
                "SELECT {COLUMNS}, sealed_pattern FROM grants WHERE {LIVE} \
                 AND principal_kind = ?2 AND principal_name = ?3 AND capability = ?4 ORDER BY seq"
            );
            let (kind, name) = (principal.kind.as_str(), &*principal.name);
            db::all(conn, &sql, (now, kind, name, capability), |row| {
                let grant = grant(row)?;
                let sealed: Vec<u8> = row.get("sealed_pattern")?;
                let conditions = opened(sealer, &grant, &sealed)?;
                Ok((grant, conditions))
            })
        })
    }

    /// Counts one use of a grant, unless it covers nothing any more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn use_grant(&self, id: &GrantId) -> Result<Option<ClaimedGrant>, StoreError> {
        let (id, clock) = (id.clone(), self.0.clock.clone());
        self.write(move |conn| claim(conn, &id, db::now(&*clock)))
            .await
    }

    /// All grants, newest first; of one principal, or only those that still cover calls.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn grants(
        &self,
        principal: Option<&Principal>,
        only_live: bool,
        limit: usize,
    ) -> Result<Vec<Grant>, StoreError> {
        let now = db::now(&*self.0.clock).as_microsecond();
        let live = if only_live { LIVE } else { "?1 = ?1" };
        let sql = format!(
            "SELECT {COLUMNS} FROM grants WHERE {live} \
             AND (?2 IS NULL OR (principal_kind = ?2 AND principal_name = ?3)) \
             ORDER BY seq DESC LIMIT ?4"
        );
        let kind = principal.map(|who| who.kind.as_str());
        let name = principal.map(|who| who.name.to_string());
        self.scan(move |conn| db::all(conn, &sql, (now, kind, name, db::limit(limit)), grant))
            .await
    }

    /// Takes a grant back. `NotFound` if there is none that still covers calls.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoke_grant(&self, id: &GrantId, by: &str) -> Result<Grant, StoreError> {
        let (id, by, clock) = (id.clone(), by.to_owned(), self.0.clock.clone());
        self.write(move |conn| {
            let now = db::now(&*clock).as_microsecond();
            let sql = format!(
                "UPDATE grants SET revoked_at = ?1, revoked_by = ?2 \
                 WHERE id = ?3 AND {LIVE} RETURNING {COLUMNS}"
            );
            let revoked = db::one(conn, &sql, (now, by, id.as_str()), grant)?;
            revoked.ok_or_else(|| StoreError::NotFound(id.to_string()))
        })
        .await
    }

    /// Ends the grants of a session that has ended; answers how many.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_session_grants(&self, session: &SessionId) -> Result<usize, StoreError> {
        let has_any = self.point(|conn| {
            let sql = "SELECT EXISTS (SELECT 1 FROM grants WHERE revoked_at IS NULL \
                       AND scope = 'session' AND session_id = ?1)";
            db::one(conn, sql, [session.as_str()], |row| Ok(row.get(0)?))
        })?;
        if !has_any.unwrap_or(false) {
            return Ok(0);
        }
        let (session, clock) = (session.clone(), self.0.clock.clone());
        self.write(move |conn| {
            let sql = "UPDATE grants SET revoked_at = ?1, revoked_by = 'end of session' \
                       WHERE revoked_at IS NULL AND scope = 'session' AND session_id = ?2";
            db::run(
                conn,
                sql,
                (db::now(&*clock).as_microsecond(), session.as_str()),
            )
        })
        .await
    }
}

/// Stores a grant with the decision it comes from.
pub(crate) fn insert(
    conn: &Connection,
    sealer: &Sealer,
    approval: &Approval,
    new: &NewGrant,
    now: Timestamp,
) -> Result<(), StoreError> {
    make_room(conn, now)?;
    let principal = approval.principal.to_string();
    let bound = Bound {
        id: new.id.as_str(),
        principal: &principal,
        capability: &approval.capability,
        digest: &new.rule_digest,
    };
    let sealed = sealer.seal(Part::Pattern, bound, &new.conditions)?;
    let sql = "INSERT INTO grants (id, approval_id, principal_kind, principal_name, scope, session_id, \
               interface, capability, rule_digest, uses, granted_by, created_at, expires_at, shown, \
               sealed_pattern) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let params: &[&dyn rusqlite::ToSql] = &[
        &new.id.as_str(),
        &approval.id.as_str(),
        &approval.principal.kind.as_str(),
        &approval.principal.name,
        &new.scope.as_str(),
        &approval.session_id,
        &approval.interface,
        &approval.capability,
        &new.rule_digest,
        &new.uses.map(db::integer).transpose()?,
        &new.granted_by,
        &now.as_microsecond(),
        &new.expires_at.map(Timestamp::as_microsecond),
        &db::to_json(&new.shown)?,
        &sealed,
    ];
    db::run(conn, sql, params)?;
    Ok(())
}

/// Counts one use.
pub(crate) fn claim(
    conn: &Connection,
    id: &GrantId,
    now: Timestamp,
) -> Result<Option<ClaimedGrant>, StoreError> {
    let sql =
        format!("UPDATE grants SET used = used + 1 WHERE id = ?2 AND {LIVE} RETURNING {COLUMNS}");
    let params = (now.as_microsecond(), id.as_str());
    db::one(conn, &sql, params, |row| {
        Ok(ClaimedGrant { grant: grant(row)? })
    })
}

/// When a principal goes for good: a later one of the same name inherits nothing.
pub(crate) fn forget(conn: &Connection, kind: PrincipalKind, name: &str) -> Result<(), StoreError> {
    let sql = "DELETE FROM grants WHERE principal_kind = ?1 AND principal_name = ?2";
    db::run(conn, sql, (kind.as_str(), name))?;
    Ok(())
}

/// Lets go of what has covered nothing for a while; the audit log keeps what was done with it.
fn make_room(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let before = now
        .saturating_sub(jiff::SignedDuration::from_hours(24 * KEPT_DAYS))
        .unwrap_or(Timestamp::MIN)
        .as_microsecond();
    let sql = "DELETE FROM grants WHERE revoked_at < ?1 OR expires_at < ?1 \
               OR (used >= uses AND created_at < ?1)";
    db::run(conn, sql, [before])?;
    Ok(())
}

fn opened(sealer: &Sealer, grant: &Grant, sealed: &[u8]) -> Result<Object, StoreError> {
    let principal = grant.principal.to_string();
    let bound = Bound {
        id: grant.id.as_str(),
        principal: &principal,
        capability: &grant.capability,
        digest: &grant.rule_digest,
    };
    sealer.open(Part::Pattern, bound, sealed)
}

fn grant(row: &Row<'_>) -> Result<Grant, StoreError> {
    let scope: String = row.get("scope")?;
    let scopes = [GrantScope::Session, GrantScope::Task];
    let known = scopes.into_iter().find(|known| known.as_str() == scope);
    let optional = |column| {
        let value: Option<i64> = row.get(column)?;
        value.map(|_| db::unsigned(row, column)).transpose()
    };
    Ok(Grant {
        id: GrantId::from_text(&row.get::<_, String>("id")?),
        approval_id: ApprovalId::from_text(&row.get::<_, String>("approval_id")?),
        principal: approvals::principal_of(row)?,
        scope: known.ok_or_else(|| StoreError::Corrupt(format!("the scope '{scope}'")))?,
        session_id: row.get("session_id")?,
        interface: row.get("interface")?,
        capability: row.get("capability")?,
        conditions: db::json(row, "shown")?,
        rule_digest: row.get("rule_digest")?,
        uses: optional("uses")?,
        used: db::unsigned(row, "used")?,
        granted_by: row.get("granted_by")?,
        created_at: db::time(row, "created_at")?,
        expires_at: db::optional_time(row, "expires_at")?,
        revoked_at: db::optional_time(row, "revoked_at")?,
        revoked_by: row.get("revoked_by")?,
    })
}
