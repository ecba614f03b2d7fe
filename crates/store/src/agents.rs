use crate::{Store, StoreError};
use jiff::Timestamp;
use kruxos_types::{AgentName, Object};
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
    Agent { name: AgentName, status: AgentStatus, generation: u32 },
    User { id: String, label: String, revoked: bool },
}

impl Store {
    /// Registers an agent. `Exists` if the name is taken.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn create_agent(&self, _new: NewAgent) -> Result<Agent, StoreError> {
        todo!()
    }

    /// All agents by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn agents(&self) -> Result<Vec<Agent>, StoreError> {
        todo!()
    }

    /// One agent.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn agent(&self, _name: &AgentName) -> Result<Option<Agent>, StoreError> {
        todo!()
    }

    /// Changes purpose, group or settings. `NotFound` for an unknown name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn edit_agent(&self, _name: &AgentName, _patch: AgentPatch) -> Result<Agent, StoreError> {
        todo!()
    }

    /// Replaces the token: the old one stops working at commit.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn rotate_agent(&self, _name: &AgentName, _token_sha256: [u8; 32]) -> Result<Agent, StoreError> {
        todo!()
    }

    /// Sets the status (pause, resume, revoke, restore).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn set_agent_status(&self, _name: &AgentName, _status: AgentStatus) -> Result<Agent, StoreError> {
        todo!()
    }

    /// Removes an agent and its persistent state.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete_agent(&self, _name: &AgentName) -> Result<(), StoreError> {
        todo!()
    }

    /// Every token hash with its owner, revoked ones too: loaded at start into memory, where
    /// authentication looks. Retired hashes of rotated tokens are not in it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn token_owners(&self) -> Result<Vec<([u8; 32], TokenOwner)>, StoreError> {
        todo!()
    }
}
