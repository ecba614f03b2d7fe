//! Agents and User tokens: creating, rotating, revoking, pausing. Every change is audited, takes
//! effect at once, and ends the sessions that it must end.

use crate::auth::{new_agent_token, new_user_token};
use crate::events::EventType;
use crate::gateway::Gateway;
use crate::operator::Operator;
use arc_swap::ArcSwap;
use kruxos_audit::{Durability, Kind, Record, Status};
use kruxos_store::{Agent, AgentPatch, AgentStatus, NewAgent, Store, StoreError, UserToken};
use kruxos_types::{AgentName, CallError, ErrorType, Object, Principal, PrincipalKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The template that an agent starts from when none is named.
pub const DEFAULT_GROUP: &str = "team-moderate";
/// Policy groups an agent can be put in: the shipped templates.
pub const GROUPS: [&str; 3] = [
    "personal-permissive",
    "team-moderate",
    "enterprise-restrictive",
];
/// Name of the agent that `kruxos up` makes.
pub const DEFAULT_AGENT: &str = "default-agent";

/// Every agent, in memory: a call looks here, never in the database.
#[derive(Debug)]
pub struct AgentBook(ArcSwap<BTreeMap<String, Agent>>);

impl AgentBook {
    pub(crate) async fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(ArcSwap::from_pointee(Self::read(store).await?)))
    }

    async fn read(store: &Store) -> Result<BTreeMap<String, Agent>, StoreError> {
        let agents = store.agents().await?;
        Ok(agents
            .into_iter()
            .map(|agent| (agent.name.to_string(), agent))
            .collect())
    }

    /// One agent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Agent> {
        self.0.load().get(name).cloned()
    }

    /// Whether the operator has paused the agent that this principal is.
    pub(crate) fn is_paused(&self, principal: &Principal) -> bool {
        principal.kind == PrincipalKind::Agent
            && self
                .0
                .load()
                .get(&*principal.name)
                .is_some_and(|agent| agent.status == AgentStatus::Paused)
    }

    /// Forgets an agent until the book is read from the store again: no session of it starts.
    fn forget(&self, name: &AgentName) {
        let mut agents = BTreeMap::clone(&self.0.load());
        agents.remove(name.as_str());
        self.0.store(Arc::new(agents));
    }

    /// All agents by name.
    #[must_use]
    pub fn all(&self) -> Vec<Agent> {
        self.0.load().values().cloned().collect()
    }

    /// Which template each agent starts from.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<String, String> {
        self.0
            .load()
            .iter()
            .map(|(name, agent)| (name.clone(), agent.policy_group.clone()))
            .collect()
    }
}

/// What creating an agent takes.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct CreateAgent {
    pub name: AgentName,
    pub purpose: String,
    pub policy_group: String,
    pub settings: Object,
}

/// A created or rotated agent with its token, which is shown this once.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct AgentWithToken {
    pub agent: Agent,
    pub token: String,
}

/// What an operator may do about an agent that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervision {
    /// Keeps its session and answers every call with `SessionPaused`.
    Pause,
    /// Ends a pause; what was approved meanwhile runs now.
    Resume,
    /// Ends its session now, calls that wait included, and pauses it, so that a client that reconnects by
    /// itself stays out.
    Kill,
    /// Its token is good for nothing until it is restored, and its session ends.
    Revoke,
    /// Ends a revocation; the token is the one from before.
    Restore,
}

impl Gateway {
    /// Registers an agent with a workspace of its own.
    ///
    /// # Errors
    /// The name is taken, the group unknown, or the workspace cannot be made.
    pub async fn create_agent(
        &self,
        new: CreateAgent,
        by: &Operator,
    ) -> Result<AgentWithToken, CallError> {
        if !GROUPS.contains(&new.policy_group.as_str()) {
            return Err(CallError::invalid_input(
                "policy_group",
                &format!("'{}' is not a policy group", new.policy_group),
                &GROUPS.join(", "),
            ));
        }
        let workspace = self.layout.workspace_root.join(new.name.as_str());
        crate::layout::make_private(&workspace).map_err(CallError::internal_failure)?;
        let (token, token_sha256) = new_agent_token();
        let _changing = self.changing_agents.lock().await;
        let agent = self
            .store
            .create_agent(NewAgent {
                name: new.name,
                purpose: new.purpose,
                policy_group: new.policy_group,
                workspace: workspace.display().to_string(),
                token_sha256,
                settings: new.settings,
            })
            .await?;
        self.agents_changed().await?;
        self.audit_agent(by, &agent, "created").await?;
        Ok(AgentWithToken { agent, token })
    }

    /// Gives an agent a new token; the old one and its sessions end.
    ///
    /// # Errors
    /// The agent does not exist, or the store's.
    pub async fn rotate_agent(
        &self,
        name: &AgentName,
        by: &Operator,
    ) -> Result<AgentWithToken, CallError> {
        let (token, token_sha256) = new_agent_token();
        let _changing = self.changing_agents.lock().await;
        self.tokens.forget_agent(name);
        let principal = Principal::agent(name.as_str());
        self.end_session_for_good(&principal, "token rotated").await;
        let rotated = self.store.rotate_agent(name, token_sha256).await;
        self.agents_changed().await?;
        let agent = rotated?;
        self.audit_agent(by, &agent, "rotated").await?;
        Ok(AgentWithToken { agent, token })
    }

    /// Changes purpose, policy group or settings.
    ///
    /// # Errors
    /// The agent does not exist, or the group is unknown.
    pub async fn edit_agent(
        &self,
        name: &AgentName,
        patch: AgentPatch,
        by: &Operator,
    ) -> Result<Agent, CallError> {
        if let Some(group) = patch
            .policy_group
            .as_deref()
            .filter(|group| !GROUPS.contains(group))
        {
            let reason = format!("'{group}' is not a policy group");
            return Err(CallError::invalid_input(
                "policy_group",
                &reason,
                &GROUPS.join(", "),
            ));
        }
        let _changing = self.changing_agents.lock().await;
        let agent = self.store.edit_agent(name, patch).await?;
        self.agents_changed().await?;
        self.audit_agent(by, &agent, "edited").await?;
        Ok(agent)
    }

    /// Pauses, resumes, kills, revokes or restores an agent.
    ///
    /// # Errors
    /// The agent does not exist, the store's, or `ConflictError` with the status that does not allow it:
    /// only restoring gives a revoked token its power back.
    pub async fn supervise_agent(
        &self,
        name: &AgentName,
        what: Supervision,
        by: &Operator,
    ) -> Result<Agent, CallError> {
        // Looked at under the lock, so that no pause undoes a revocation that came in between.
        let _changing = self.changing_agents.lock().await;
        let found = self.agents.get(name.as_str());
        let found = found.ok_or_else(|| StoreError::NotFound(name.to_string()))?;
        let principal = Principal::agent(name.as_str());
        let status = match (what, found.status) {
            (Supervision::Revoke, _) => AgentStatus::Revoked,
            (Supervision::Restore, AgentStatus::Revoked) => AgentStatus::Registered,
            (Supervision::Restore, _) => {
                return Err(not_now(&found, "Only a revoked agent can be restored."));
            }
            (_, AgentStatus::Revoked) => return Err(not_now(&found, "Restore the agent first.")),
            (Supervision::Pause | Supervision::Kill, _) => AgentStatus::Paused,
            (Supervision::Resume, AgentStatus::Paused) => match self.sessions.get(&principal) {
                Some(_) => AgentStatus::Active,
                None => AgentStatus::Registered,
            },
            (Supervision::Resume, _) => return Ok(found),
        };
        if what == Supervision::Revoke {
            self.take_out(name, "agent revoked").await;
        }
        let changed = self.store.set_agent_status(name, status).await;
        self.agents_changed().await?;
        let agent = changed?;
        if what == Supervision::Kill {
            self.end_session_for_good(&principal, "killed by the operator")
                .await;
        }
        let told = format!("status {}", json!(status).as_str().unwrap_or_default());
        self.audit_agent(by, &agent, &told).await?;
        if status != AgentStatus::Paused {
            // Where the agent was revoked, they end as failed.
            self.start_held_back(&principal).await?;
        }
        Ok(agent)
    }

    /// Takes an agent out before the store is changed: first from memory, then its session. Whatever call
    /// is still on its way finds its session ended, and where the store then cannot be read, the token
    /// stays dead. [`Gateway::agents_changed`] brings back what the store still has.
    async fn take_out(&self, name: &AgentName, why: &str) {
        self.tokens.forget_agent(name);
        self.agents.forget(name);
        self.end_session_for_good(&Principal::agent(name.as_str()), why)
            .await;
    }

    /// Removes an agent, its token and its state. Its workspace stays where it is.
    ///
    /// # Errors
    /// The agent does not exist, or the store's.
    pub async fn delete_agent(&self, name: &AgentName, by: &Operator) -> Result<(), CallError> {
        let _changing = self.changing_agents.lock().await;
        let agent = self
            .store
            .agent(name)
            .await?
            .ok_or_else(|| StoreError::NotFound(name.to_string()))?;
        self.take_out(name, "agent deleted").await;
        let deleted = self.store.delete_agent(name).await;
        self.agents_changed().await?;
        deleted?;
        // Its requests were cancelled with it.
        self.settle_decisions().await;
        self.audit_agent(by, &agent, "deleted").await
    }

    /// Makes a User token; its value is shown this once.
    ///
    /// # Errors
    /// The label is taken, or the store's.
    pub async fn create_user_token(
        &self,
        label: &str,
        by: &Operator,
    ) -> Result<(UserToken, String), CallError> {
        let (token, token_sha256) = new_user_token();
        let _changing = self.changing_agents.lock().await;
        let stored = self.store.create_user_token(label, token_sha256).await?;
        self.tokens.replace(self.store.token_owners().await?);
        self.audit_admin(
            by,
            "user_token created",
            json!({"label": label, "id": stored.id}),
        )
        .await?;
        Ok((stored, token))
    }

    /// Revokes a User token by id or label; its session ends.
    ///
    /// # Errors
    /// There is none.
    pub async fn revoke_user_token(
        &self,
        id_or_label: &str,
        by: &Operator,
    ) -> Result<UserToken, CallError> {
        let _changing = self.changing_agents.lock().await;
        // In the same order as for an agent. The name may be a token's id.
        let known = self.store.user_tokens().await?.into_iter();
        let mut meant = known.filter(|token| {
            token.revoked_at.is_none() && (token.id == id_or_label || token.label == id_or_label)
        });
        if let Some(token) = meant.next() {
            self.tokens.forget_user(&token.label);
            let principal = Principal::user(&token.label);
            self.end_session_for_good(&principal, "user token revoked")
                .await;
        }
        let revoked = self.store.revoke_user_token(id_or_label).await;
        self.tokens.replace(self.store.token_owners().await?);
        let token = revoked?;
        // Its requests were cancelled with it.
        self.settle_decisions().await;
        self.audit_admin(
            by,
            "user_token revoked",
            json!({"label": token.label, "id": token.id}),
        )
        .await?;
        Ok(token)
    }

    /// Takes the store's agents and tokens over into memory and policy. The caller holds
    /// `changing_agents`, so that an older reading never replaces a newer one.
    async fn agents_changed(&self) -> Result<(), CallError> {
        let agents = AgentBook::read(&self.store).await?;
        self.agents.0.store(Arc::new(agents));
        self.tokens.replace(self.store.token_owners().await?);
        if self.agents.groups() != self.policy.groups() {
            let load = |gateway: &Gateway| gateway.policy.set_groups(|| gateway.agents.groups());
            let outcome = self.load_policy(load).await;
            self.after_policy_load(outcome).await;
        }
        Ok(())
    }

    async fn audit_agent(&self, by: &Operator, agent: &Agent, what: &str) -> Result<(), CallError> {
        let facts = json!({"agent": agent.name, "policy_group": agent.policy_group});
        self.announce(
            EventType::AgentStatus,
            Some(agent.name.as_str()),
            None,
            || json!({"agent": agent.name, "change": what, "status": agent.status}),
        );
        self.audit_admin(by, &format!("agent {what}"), facts).await
    }

    /// An entry for something an operator did outside any call.
    pub(crate) async fn audit_admin(
        &self,
        by: &Operator,
        what: &str,
        facts: Value,
    ) -> Result<(), CallError> {
        let mut metadata = Object::new();
        metadata.insert("event".to_owned(), json!(what));
        metadata.insert("facts".to_owned(), facts);
        let record = Record {
            interface: by.interface,
            metadata,
            ..Record::new(Kind::System, by.principal.clone(), Status::Success)
        };
        self.audit
            .append(record, Durability::Waited)
            .await
            .map_err(|e| crate::call::unaudited(&e))?;
        Ok(())
    }
}

/// The agent's status does not allow it.
fn not_now(agent: &Agent, why: &str) -> CallError {
    CallError::new(ErrorType::ConflictError)
        .with("resource", agent.name.as_str())
        .with("actual_version", json!(agent.status))
        .detail(why)
}
