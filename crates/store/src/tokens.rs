use crate::{Store, StoreError};
use jiff::Timestamp;
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
    pub async fn create_user_token(&self, _label: &str, _token_sha256: [u8; 32]) -> Result<UserToken, StoreError> {
        todo!()
    }

    /// All User tokens, newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn user_tokens(&self) -> Result<Vec<UserToken>, StoreError> {
        todo!()
    }

    /// Revokes by id or label.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoke_user_token(&self, _id_or_label: &str) -> Result<UserToken, StoreError> {
        todo!()
    }
}
