use jiff::Timestamp;
use kruxos_store::{NewAgent, NewApproval, Options, Store};
use kruxos_types::{AgentName, ApprovalId, Clock, FakeClock, Object, Principal};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const QUOTA: u64 = 1000;
pub(crate) const VERSIONS: u32 = 4;

pub(crate) fn options() -> Options {
    Options {
        persistent_quota_bytes: QUOTA,
        versions_kept: VERSIONS,
        approval_key: [7; 32],
    }
}

/// A store in a directory of its own, under a clock that stands still.
pub(crate) struct Bed {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) store: Store,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(options())
    }

    pub(crate) fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new("2030-01-01T00:00:00Z".parse().unwrap()));
        let store = Store::open(&dir.path().join("state.db"), options, clock.clone()).unwrap();
        Self { dir, clock, store }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    /// Closes and opens again.
    pub(crate) fn reopen(self, options: Options) -> Self {
        let Self { dir, clock, store } = self;
        drop(store);
        let store = Store::open(&dir.path().join("state.db"), options, clock.clone()).unwrap();
        Self { dir, clock, store }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

pub(crate) fn name(name: &str) -> AgentName {
    AgentName::new(name).unwrap()
}

pub(crate) fn object(value: serde_json::Value) -> Object {
    value.as_object().unwrap().clone()
}

pub(crate) fn new_agent(agent: &str, token: u8) -> NewAgent {
    NewAgent {
        name: name(agent),
        purpose: "tests".to_owned(),
        policy_group: "team-moderate".to_owned(),
        workspace: format!("/srv/{agent}"),
        token_sha256: [token; 32],
        settings: object(json!({"template": "coder"})),
    }
}

pub(crate) fn new_approval(id: &str, expires_at: Option<Timestamp>) -> NewApproval {
    NewApproval {
        id: ApprovalId::from_text(id),
        principal: Principal::agent("tester"),
        session_id: "ses_1".to_owned(),
        interface: "mcp".to_owned(),
        capability: "filesystem.delete".to_owned(),
        exact_inputs: object(json!({"path": "notes.md", "token": "exact-secret"})),
        shown_inputs: json!({"path": "notes.md", "token": "[REDACTED:token]"}),
        digest: "d1".to_owned(),
        reason: "rule 3".to_owned(),
        rule: json!({"tier": "approval_required"}),
        preview: json!({"diff": "preview-content"}),
        risk_notes: vec!["cannot be undone".to_owned()],
        expires_at,
    }
}
