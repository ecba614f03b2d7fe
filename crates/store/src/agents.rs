//! Agents and the hashes of their tokens.

use crate::{Store, StoreError, db, persistent};
use jiff::Timestamp;
use kruxos_types::{AgentName, Object, PrincipalKind};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AgentStatus {
    Registered,
    Active,
    Paused,
    Disconnected,
    Revoked,
}

/// A registered agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Agent {
    pub name: AgentName,
    pub purpose: String,
    /// Name of the template its policy starts from.
    pub policy_group: String,
    /// Absolute path.
    pub workspace: String,
    pub status: AgentStatus,
    pub created_at: Timestamp,
    pub last_seen_at: Option<Timestamp>,
    /// Goes up with every rotation; sessions of an older one end.
    pub token_generation: u32,
    /// Template name, identity text and whatever later issues add.
    pub settings: Object,
}

/// What creating one takes. The token is made by the caller; only its SHA-256 is stored.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct NewAgent {
    pub name: AgentName,
    pub purpose: String,
    pub policy_group: String,
    pub workspace: String,
    pub token_sha256: [u8; 32],
    pub settings: Object,
}

/// What editing one may change.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct AgentPatch {
    pub purpose: Option<String>,
    pub policy_group: Option<String>,
    pub settings: Option<Object>,
}

/// Whose token a hash belongs to.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum TokenOwner {
    Agent {
        name: AgentName,
        status: AgentStatus,
        generation: u32,
    },
    User {
        id: String,
        label: String,
        revoked: bool,
    },
}

const COLUMNS: &str = "name, purpose, policy_group, workspace, status, created_at, last_seen_at, \
    token_generation, settings";

impl AgentStatus {
    const ALL: [AgentStatus; 5] = [
        AgentStatus::Registered,
        AgentStatus::Active,
        AgentStatus::Paused,
        AgentStatus::Disconnected,
        AgentStatus::Revoked,
    ];

    fn as_str(self) -> &'static str {
        match self {
            AgentStatus::Registered => "registered",
            AgentStatus::Active => "active",
            AgentStatus::Paused => "paused",
            AgentStatus::Disconnected => "disconnected",
            AgentStatus::Revoked => "revoked",
        }
    }

    fn stored(row: &Row<'_>) -> Result<Self, StoreError> {
        let text = row
            .get_ref("status")?
            .as_str()
            .map_err(|_| db::wrong_type("status"))?;
        let known = Self::ALL.into_iter().find(|status| status.as_str() == text);
        known.ok_or_else(|| StoreError::Corrupt(format!("the agent status '{text}'")))
    }
}

impl Store {
    /// Registers an agent. `Exists` if the name is taken.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn create_agent(&self, new: NewAgent) -> Result<Agent, StoreError> {
        let settings = db::to_json(&new.settings)?;
        let clock = self.0.clock.clone();
        self.write(move |conn| {
            let name = new.name.as_str();
            // Left by a write that came in after an agent of this name was deleted: not the new one's.
            if find(conn, name)?.is_none() {
                persistent::forget_agent(conn, name)?;
            }
            let sql = format!(
                "INSERT INTO agents ({COLUMNS}, token_sha256) \
                 VALUES (?1, ?2, ?3, ?4, 'registered', ?5, NULL, 1, ?6, ?7) \
                 ON CONFLICT (name) DO NOTHING RETURNING {COLUMNS}"
            );
            let now = db::now(&*clock).as_microsecond();
            let (group, place) = (new.policy_group, new.workspace);
            let params = (
                name,
                new.purpose,
                group,
                place,
                now,
                settings,
                new.token_sha256,
            );
            db::one(conn, &sql, params, agent)?.ok_or_else(|| StoreError::Exists(name.to_owned()))
        })
        .await
    }

    /// All agents by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn agents(&self) -> Result<Vec<Agent>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM agents ORDER BY name");
        self.scan(move |conn| db::all(conn, &sql, [], agent)).await
    }

    /// One agent.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn agent(&self, name: &AgentName) -> Result<Option<Agent>, StoreError> {
        self.point(|conn| find(conn, name.as_str()))
    }

    /// Changes purpose, group or settings. `NotFound` for an unknown name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn edit_agent(
        &self,
        name: &AgentName,
        patch: AgentPatch,
    ) -> Result<Agent, StoreError> {
        let settings = patch.settings.as_ref().map(db::to_json).transpose()?;
        let sql = "UPDATE agents SET purpose = coalesce(?2, purpose), \
                   policy_group = coalesce(?3, policy_group), settings = coalesce(?4, settings) \
                   WHERE name = ?1";
        let name = name.clone();
        self.write(move |conn| {
            let params = (name.as_str(), patch.purpose, patch.policy_group, settings);
            db::run(conn, sql, params)?;
            known(conn, &name)
        })
        .await
    }

    /// Replaces the token: the old one stops working at commit.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn rotate_agent(
        &self,
        name: &AgentName,
        token_sha256: [u8; 32],
    ) -> Result<Agent, StoreError> {
        let sql = "UPDATE agents SET token_sha256 = ?2, token_generation = token_generation + 1 \
                   WHERE name = ?1";
        let name = name.clone();
        self.write(move |conn| {
            db::run(conn, sql, (name.as_str(), token_sha256))?;
            known(conn, &name)
        })
        .await
    }

    /// Sets the status (pause, resume, revoke, restore).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn set_agent_status(
        &self,
        name: &AgentName,
        status: AgentStatus,
    ) -> Result<Agent, StoreError> {
        let name = name.clone();
        self.write(move |conn| {
            let sql = "UPDATE agents SET status = ?2 WHERE name = ?1";
            db::run(conn, sql, (name.as_str(), status.as_str()))?;
            known(conn, &name)
        })
        .await
    }

    /// Notes that an agent was here now: `last_seen_at`, and `registered` or `disconnected` become
    /// `active`. Answers the agent as it then is; `NotFound` for an unknown name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn agent_seen(&self, name: &AgentName) -> Result<Agent, StoreError> {
        let (name, clock) = (name.clone(), self.0.clock.clone());
        self.write(move |conn| {
            let sql = "UPDATE agents SET last_seen_at = ?2, status = CASE \
                       WHEN status IN ('registered', 'disconnected') THEN 'active' ELSE status END \
                       WHERE name = ?1";
            db::run(
                conn,
                sql,
                (name.as_str(), db::now(&*clock).as_microsecond()),
            )?;
            known(conn, &name)
        })
        .await
    }

    /// Removes an agent and its persistent state. Its requests that have not begun become `cancelled`, and
    /// none of its requests goes to a later agent of its name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete_agent(&self, name: &AgentName) -> Result<(), StoreError> {
        let (name, clock) = (name.clone(), self.0.clock.clone());
        self.write(move |conn| {
            let name = name.as_str();
            if db::run(conn, "DELETE FROM agents WHERE name = ?1", [name])? == 0 {
                return Err(StoreError::NotFound(name.to_owned()));
            }
            persistent::forget_agent(conn, name)?;
            let (kind, why) = (PrincipalKind::Agent, "the agent was deleted");
            crate::approvals::forget(conn, kind, name, why, db::now(&*clock))
        })
        .await
    }

    /// Every token hash with its owner, revoked ones too: loaded at start into memory, where
    /// authentication looks. Retired hashes of rotated tokens are not in it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn token_owners(&self) -> Result<Vec<([u8; 32], TokenOwner)>, StoreError> {
        self.scan(|conn| {
            // One snapshot over both tables.
            let snapshot = conn.unchecked_transaction()?;
            let sql = "SELECT token_sha256, name, status, token_generation FROM agents";
            let mut owners = db::all(&snapshot, sql, [], |row| {
                let (name, status) = (stored_name(row)?, AgentStatus::stored(row)?);
                let generation = row.get("token_generation")?;
                Ok((
                    row.get("token_sha256")?,
                    TokenOwner::Agent {
                        name,
                        status,
                        generation,
                    },
                ))
            })?;
            let sql = "SELECT token_sha256, id, label, revoked_at FROM user_tokens";
            owners.extend(db::all(&snapshot, sql, [], |row| {
                let revoked = row.get::<_, Option<i64>>("revoked_at")?.is_some();
                let (id, label) = (row.get("id")?, row.get("label")?);
                Ok((
                    row.get("token_sha256")?,
                    TokenOwner::User { id, label, revoked },
                ))
            })?);
            Ok(owners)
        })
        .await
    }
}

fn find(conn: &Connection, name: &str) -> Result<Option<Agent>, StoreError> {
    db::one(
        conn,
        &format!("SELECT {COLUMNS} FROM agents WHERE name = ?1"),
        [name],
        agent,
    )
}

/// After an update: the agent, or that there is none.
fn known(conn: &Connection, name: &AgentName) -> Result<Agent, StoreError> {
    find(conn, name.as_str())?.ok_or_else(|| StoreError::NotFound(name.to_string()))
}

fn agent(row: &Row<'_>) -> Result<Agent, StoreError> {
    Ok(Agent {
        name: stored_name(row)?,
        purpose: row.get("purpose")?,
        policy_group: row.get("policy_group")?,
        workspace: row.get("workspace")?,
        status: AgentStatus::stored(row)?,
        created_at: db::time(row, "created_at")?,
        last_seen_at: db::optional_time(row, "last_seen_at")?,
        token_generation: row.get("token_generation")?,
        settings: db::json(row, "settings")?,
    })
}

fn stored_name(row: &Row<'_>) -> Result<AgentName, StoreError> {
    let name = row
        .get_ref("name")?
        .as_str()
        .map_err(|_| db::wrong_type("name"))?;
    AgentName::new(name).map_err(|error| StoreError::Corrupt(format!("the name '{name}': {error}")))
}
