//! The numbers of principals' sandboxes.

use crate::{Store, StoreError, db};
use kruxos_types::Principal;

impl Store {
    /// The number of a principal's box, from 1 on: the same for good, and never another's, also after
    /// the principal was deleted.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn box_number(&self, principal: &Principal) -> Result<u32, StoreError> {
        let known = "SELECT number FROM boxes WHERE principal_kind = ?1 AND principal_name = ?2";
        let (kind, name) = (principal.kind.as_str(), principal.name.to_string());
        let found =
            self.point(|conn| db::one(conn, known, (kind, &name), |row| Ok(row.get("number")?)))?;
        if let Some(number) = found {
            return Ok(number);
        }
        self.write(move |conn| {
            let sql = "INSERT INTO boxes (principal_kind, principal_name) VALUES (?1, ?2) \
                       ON CONFLICT (principal_kind, principal_name) DO NOTHING";
            db::run(conn, sql, (kind, &name))?;
            let number = db::one(conn, known, (kind, &name), |row| Ok(row.get("number")?))?;
            number.ok_or_else(|| StoreError::NotFound(name))
        })
        .await
    }
}
