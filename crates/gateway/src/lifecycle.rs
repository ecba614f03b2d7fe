//! Sessions from first request to last, policy reloads, and what recovery at start has to say.

use crate::auth::Identity;
use crate::events::EventType;
use crate::gateway::Gateway;
use crate::policy_files::Reload;
use crate::session::{AgentSession, Profile};
use kruxos_audit::{Durability, Kind, Record, Recovery, Status};
use kruxos_capabilities::SessionState;
use kruxos_store::{Agent, AgentStatus, Severity};
use kruxos_types::{AgentName, CallError, ErrorType, Object, Principal, PrincipalKind};
use serde_json::{Value, json};
use std::sync::Arc;

impl Gateway {
    /// The session of an authenticated caller, started if need be. To be called when the whole request
    /// is there: a token that was rotated or revoked since its head was read is refused.
    ///
    /// # Errors
    /// The token is no longer good, the gateway stops, or the workspace cannot be made.
    pub async fn session_for(&self, identity: &Identity) -> Result<Arc<AgentSession>, CallError> {
        self.tokens.recheck(identity)?;
        let (session, started) = self.find_or_start(&identity.principal).await?;
        // Whoever takes a token away first takes it out of the registry and then ends the session that
        // it finds; this looks in the other order, so one of the two sees the other.
        if let Err(gone) = self.tokens.recheck(identity) {
            // This one and no other: a later token may have brought about a later session.
            if started && self.sessions.end_this(&session) {
                self.after_session(&session, "token no longer valid").await;
            }
            return Err(gone);
        }
        Ok(session)
    }

    /// The session of a principal, started if need be.
    ///
    /// # Errors
    /// See [`Gateway::session_for`].
    pub async fn session_of(&self, principal: &Principal) -> Result<Arc<AgentSession>, CallError> {
        Ok(self.find_or_start(principal).await?.0)
    }

    async fn find_or_start(
        &self,
        principal: &Principal,
    ) -> Result<(Arc<AgentSession>, bool), CallError> {
        if let Some(session) = self.sessions.get(principal) {
            return Ok((session, false));
        }
        self.refuse_if_stopping()?;
        let mut profile = self.profile(principal)?;
        let checkpoint = crate::checkpoints::recover(self, principal).await;
        let make = |first| {
            // The agent may have been changed or revoked, and the gateway may have begun to stop, meanwhile.
            self.refuse_if_stopping()?;
            if let Some(agent) = self.check_standing(principal)? {
                profile.policy_group = agent.policy_group.into();
                profile.purpose = agent.purpose.into();
                profile.created_at = agent.created_at;
            }
            let state = checkpoint.filter(|_| first);
            let state = state.map_or_else(SessionState::default, SessionState::import);
            Ok::<_, CallError>((profile, state))
        };
        let (session, started) = self.sessions.get_or_start(principal, make)?;
        if started && let Err(error) = self.open_session(&session).await {
            // Nobody has been told of it, so it goes without a word.
            self.sessions.abandon(&session);
            self.files.close(&session.id);
            self.boxes.close(&session.id);
            return Err(error);
        }
        Ok((session, started))
    }

    /// What a session needs before its first call.
    async fn open_session(&self, session: &Arc<AgentSession>) -> Result<(), CallError> {
        let principal = &session.profile.principal;
        if let Ok(agent) = AgentName::new(&principal.name)
            && principal.kind == PrincipalKind::Agent
        {
            self.store.agent_seen(&agent).await?;
        }
        self.audit_session(session, "started", Object::new())
            .await?;
        self.announce(
            EventType::SessionStarted,
            Some(&principal.name),
            Some(session.id.as_str()),
            || session.to_json(),
        );
        Ok(())
    }

    fn refuse_if_stopping(&self) -> Result<(), CallError> {
        if !self.stopping.is_cancelled() {
            return Ok(());
        }
        Err(CallError::new(ErrorType::ServiceUnavailable)
            .with("service", "gateway")
            .with("reason", "the gateway is stopping"))
    }

    /// The agent that this principal is, if it is one. One that is revoked or gone is an error.
    fn check_standing(&self, principal: &Principal) -> Result<Option<Agent>, CallError> {
        if principal.kind != PrincipalKind::Agent {
            return Ok(None);
        }
        let agent = self.agents.get(&principal.name);
        let in_force = agent.filter(|agent| agent.status != AgentStatus::Revoked);
        let revoked = || CallError::new(ErrorType::AuthAgentRevoked).with("name", &*principal.name);
        in_force.ok_or_else(revoked).map(Some)
    }

    fn profile(&self, principal: &Principal) -> Result<Profile, CallError> {
        if let Some(agent) = self.check_standing(principal)? {
            let profile = Profile {
                principal: principal.clone(),
                workspace: crate::layout::real(agent.workspace.as_ref())
                    .display()
                    .to_string()
                    .into(),
                policy_group: agent.policy_group.into(),
                purpose: agent.purpose.into(),
                created_at: agent.created_at,
            };
            return Ok(profile);
        }
        // `user` is a reserved agent name, so this directory can be no agent's.
        let workspace = self.layout.workspace_root.join("user");
        crate::layout::make_private(&workspace).map_err(CallError::internal_failure)?;
        let profile = Profile {
            principal: principal.clone(),
            workspace: workspace.display().to_string().into(),
            policy_group: "user".into(),
            purpose: "A person's own client".into(),
            created_at: self.clock.now(),
        };
        Ok(profile)
    }

    /// Ends a principal's session, if it has one: connections close, its checkpoint goes.
    pub async fn end_session(&self, principal: &Principal, reason: &str) {
        if let Some(session) = self.sessions.end(principal) {
            self.after_session(&session, reason).await;
        }
    }

    /// The same for good: nothing of a session that was, or that a crash left, goes to the next one.
    pub(crate) async fn end_session_for_good(&self, principal: &Principal, reason: &str) {
        self.end_session(principal, reason).await;
        // Also when it had no session, and when the gateway is about to stop.
        crate::checkpoints::remove(self, principal);
    }

    pub(crate) async fn after_session(&self, session: &AgentSession, reason: &str) {
        let principal = &session.profile.principal;
        self.files.close(&session.id);
        self.boxes.close(&session.id);
        if !self.stopping.is_cancelled() {
            // A stopping gateway keeps the checkpoint, so that a restart is not an end.
            crate::checkpoints::remove(self, principal);
            // They name this session, so that no other could use them; this is for who reads the list.
            if let Err(error) = self.store.end_session_grants(&session.id).await {
                tracing::error!(%error, "the grants of an ended session are still listed");
            }
        }
        let mut facts = Object::new();
        facts.insert("reason".to_owned(), json!(reason));
        facts.insert("calls".to_owned(), json!(session.call_count()));
        if let Err(error) = self.audit_session(session, "ended", facts).await {
            tracing::error!(%error, "the end of a session could not be audited");
        }
        self.announce(
            EventType::SessionEnded,
            Some(&principal.name),
            Some(session.id.as_str()),
            || json!({"reason": reason}),
        );
    }

    async fn audit_session(
        &self,
        session: &AgentSession,
        event: &str,
        facts: Object,
    ) -> Result<(), CallError> {
        let mut metadata = facts;
        metadata.insert("event".to_owned(), json!(format!("session {event}")));
        let record = Record {
            session_id: Some(session.id.to_string()),
            metadata,
            ..Record::new(
                Kind::Session,
                session.profile.principal.clone(),
                Status::Success,
            )
        };
        let written = self.audit.append(record, Durability::Soon).await;
        written
            .map(drop)
            .map_err(|error| crate::call::unaudited(&error))
    }

    /// Audits, announces and, for a file that does not compile, alerts.
    pub(crate) async fn after_policy_load(&self, outcome: Reload) {
        let (generation, problems) = match outcome {
            Reload::Unchanged => return,
            Reload::Applied { generation } => (generation, Vec::new()),
            Reload::Kept {
                problems,
                generation,
            } => (generation, problems),
        };
        self.save_generation().await;
        let status = if problems.is_empty() {
            Status::Success
        } else {
            Status::Error
        };
        let mut facts = Object::new();
        facts.insert("event".to_owned(), json!("policy loaded"));
        facts.insert("generation".to_owned(), json!(generation));
        facts.insert("problems".to_owned(), json!(problems));
        self.audit_system(Kind::Policy, status, facts).await;
        if !problems.is_empty() {
            let message = format!(
                "A policy file is invalid; its last good version stays in force: {}",
                problems.join("; ")
            );
            self.alert(Severity::Critical, "policy", message, Object::new())
                .await;
        }
        self.announce(
            EventType::PolicyReloaded,
            None,
            None,
            || json!({"generation": generation, "problems": problems}),
        );
    }

    /// Says that the log ends before what the database knows was written.
    pub(crate) async fn report_truncation(&self, known: u64, found: Option<u64>) {
        let message = format!(
            "The audit log was cut: entry {known} was on disk once, and the log ends at {}.",
            found.map_or_else(|| "nothing".to_owned(), |seq| seq.to_string())
        );
        tracing::error!("{message}");
        let mut facts = Object::new();
        facts.insert("event".to_owned(), json!("audit log truncated"));
        facts.insert("known_seq".to_owned(), json!(known));
        facts.insert("found_seq".to_owned(), json!(found));
        self.audit_system(Kind::ChainBreak, Status::Error, facts.clone())
            .await;
        self.alert(Severity::Critical, "audit", message, facts)
            .await;
    }

    /// Says what opening the audit log found.
    pub(crate) async fn report_recovery(&self, recovery: &Recovery) {
        if recovery.torn_bytes > 0 {
            tracing::warn!(
                bytes = recovery.torn_bytes,
                "a torn last audit frame was cut off"
            );
        }
        for found in &recovery.breaks {
            let context = match serde_json::to_value(found) {
                Ok(Value::Object(context)) => context,
                _ => Object::new(),
            };
            let message = format!(
                "The audit chain is broken in {}: {}; logging goes on in a new chain.",
                found.file, found.kind
            );
            tracing::error!(file = %found.file, kind = %found.kind, "{message}");
            self.alert(Severity::Critical, "audit", message, context)
                .await;
        }
    }
}
