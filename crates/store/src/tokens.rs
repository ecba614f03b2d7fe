//! User tokens. Only their SHA-256 is stored.

use crate::{Store, StoreError, db};
use jiff::Timestamp;
use kruxos_types::{PrincipalKind, random_base32};
use rusqlite::Row;
use serde::Serialize;

/// A User token (`krx_user_…`) without its value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct UserToken {
    pub id: String,
    pub label: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl Store {
    /// Stores a User token's hash under a label. `Exists` if a live token has the label.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn create_user_token(
        &self,
        label: &str,
        token_sha256: [u8; 32],
    ) -> Result<UserToken, StoreError> {
        let (label, clock) = (label.to_owned(), self.0.clock.clone());
        self.write(move |conn| {
            let sql = "INSERT INTO user_tokens (id, label, token_sha256, created_at) \
                       VALUES (?1, ?2, ?3, ?4) \
                       ON CONFLICT (label) WHERE revoked_at IS NULL DO NOTHING \
                       RETURNING id, label, created_at, revoked_at";
            let id = format!("ut_{}", random_base32(10));
            let params = (id, &label, token_sha256, db::now(&*clock).as_microsecond());
            db::one(conn, sql, params, user_token)?.ok_or(StoreError::Exists(label))
        })
        .await
    }

    /// All User tokens, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn user_tokens(&self) -> Result<Vec<UserToken>, StoreError> {
        let sql = "SELECT id, label, created_at, revoked_at FROM user_tokens ORDER BY seq DESC";
        self.scan(move |conn| db::all(conn, sql, [], user_token))
            .await
    }

    /// Revokes by id, or by label where a live token has it. Doing it twice by id keeps the first time.
    /// Requests of this person that have not begun become `cancelled`, and none goes to a later token of
    /// the label.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoke_user_token(&self, id_or_label: &str) -> Result<UserToken, StoreError> {
        let (name, clock) = (id_or_label.to_owned(), self.0.clock.clone());
        self.write(move |conn| {
            let sql = "SELECT id, label, created_at, revoked_at FROM user_tokens \
                       WHERE id = ?1 OR (label = ?1 AND revoked_at IS NULL) \
                       ORDER BY id = ?1 DESC LIMIT 1";
            let mut token = db::one(conn, sql, [&name], user_token)?
                .ok_or_else(|| StoreError::NotFound(name.clone()))?;
            if token.revoked_at.is_some() {
                // Its label may be another token's by now.
                return Ok(token);
            }
            let now = db::now(&*clock);
            let sql = "UPDATE user_tokens SET revoked_at = ?2 WHERE id = ?1";
            db::run(conn, sql, (&token.id, now.as_microsecond()))?;
            let (kind, why) = (PrincipalKind::User, "the User token was revoked");
            crate::approvals::forget(conn, kind, &token.label, why, now)?;
            token.revoked_at = Some(now);
            Ok(token)
        })
        .await
    }
}

fn user_token(row: &Row<'_>) -> Result<UserToken, StoreError> {
    Ok(UserToken {
        id: row.get("id")?,
        label: row.get("label")?,
        created_at: db::time(row, "created_at")?,
        revoked_at: db::optional_time(row, "revoked_at")?,
    })
}
