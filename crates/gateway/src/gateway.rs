//! The running gateway: its parts, how they are opened, and the timers that keep them tidy.

use crate::agents::AgentBook;
use crate::approvals::Approvals;
use crate::auth::Tokens;
use crate::boxes::Boxes;
use crate::config::{Config, Durability as ConfiguredDurability};
use crate::events::Events;
use crate::files::FileRoots;
use crate::health::Health;
use crate::layout::{DirectoryLock, Layout, LayoutError};
use crate::metrics::{CallMetrics, Outcome};
use crate::policy_files::{PolicyFiles, PolicyLoadError, Reload};
use crate::sandbox::Sandbox;
use crate::session::Sessions;
use crate::webhooks::Webhooks;
use data_encoding::HEXLOWER;
use kruxos_audit::{AuditError, AuditLog};
use kruxos_catalog::{Catalog, Definition};
use kruxos_policy::RateCounters;
use kruxos_store::{Store, StoreError};
use kruxos_types::{Clock, Tier};
use serde_json::{Value, json};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One gateway on one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

/// The parts of a gateway.
#[allow(missing_docs, reason = "each part's type documents it")]
pub struct Inner {
    pub config: Config,
    pub layout: Layout,
    pub clock: Arc<dyn Clock>,
    pub catalog: &'static Catalog,
    pub tokens: Tokens,
    pub agents: AgentBook,
    pub sessions: Sessions,
    pub policy: PolicyFiles,
    pub rates: Arc<RateCounters>,
    pub audit: AuditLog,
    pub store: Store,
    pub events: Events,
    pub files: FileRoots,
    pub boxes: Boxes,
    pub sandbox: Sandbox,
    pub health: Health,
    pub started: Instant,
    /// The addresses that were really bound; set once by `serve::start`.
    pub listening: std::sync::OnceLock<crate::serve::Listening>,
    /// Every call at work and every background task; shutdown waits for it.
    pub tasks: TaskTracker,
    /// Cancelled once, when the gateway begins to stop.
    pub stopping: CancellationToken,
    pub(crate) approvals: Approvals,
    pub(crate) webhooks: Webhooks,
    pub(crate) call_metrics: CallMetrics,
    /// Held from a change of agents or tokens in the store until memory and sessions follow it.
    pub(crate) changing_agents: tokio::sync::Mutex<()>,
    /// Held while a checkpoint is written or removed, so that none comes back after its removal.
    checkpointing: Mutex<()>,
    saved_rates: Mutex<Value>,
    #[cfg(test)]
    pub(crate) hooks: crate::hooks::Hooks,
    _lock: DirectoryLock,
}

impl Deref for Gateway {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gateway({})", self.layout.data_dir.display())
    }
}

/// Why a gateway cannot open.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant wraps an error that documents itself"
)]
pub enum OpenError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Policy(#[from] PolicyLoadError),
}

/// How long calls at work have to end once the gateway stops; service managers kill after 90 s.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// How long the disk has to take what is kept after that.
const KEEP_PATIENCE: Duration = Duration::from_secs(10);
/// Name of the stored fact that keeps the policy generation.
const GENERATION_FACT: &str = "policy.generation";
/// Name of the stored fact that keeps the rate counters.
const RATES_FACT: &str = "policy.rates";

impl Gateway {
    /// Takes the data directory, opens every part and recovers what a crash left. Nothing listens yet.
    ///
    /// # Errors
    /// See [`OpenError`]; each message names the file and the way out.
    pub async fn open(
        config: Config,
        layout: Layout,
        clock: Arc<dyn Clock>,
        sandbox: Sandbox,
    ) -> Result<Gateway, OpenError> {
        let lock = layout.prepare()?;
        let catalog = Catalog::builtin();
        let audit_options = kruxos_audit::Options {
            include_content: config.audit.include_content,
            strict: config.audit.durability == ConfiguredDurability::Strict,
            segment_bytes: config.audit.segment_bytes,
        };
        let (audit, recovery) = AuditLog::open(&layout.audit(), audit_options, clock.clone())?;
        let store_options = kruxos_store::Options {
            persistent_quota_bytes: config.state.persistent.quota_mb * 1024 * 1024,
            versions_kept: config.state.persistent.versions,
            approval_key: layout.approval_key()?,
        };
        let store = Store::open(&layout.database(), store_options, clock.clone())?;
        let truncated = log_ends_before(&store, &audit).await?;
        let log = audit.clone();
        store.set_audit_mark(Arc::new(move || log.durable_seq()));
        let agents = AgentBook::load(&store).await?;
        let known = stored_generation(&store).await?;
        let (policy, loaded) =
            PolicyFiles::open(&layout.policies(), catalog, agents.groups(), known)?;
        let rates = match store.fact(RATES_FACT).await? {
            Some(snapshot) => RateCounters::restore(&snapshot, clock.now()),
            None => RateCounters::default(),
        };
        let gateway = Gateway(Arc::new(Inner {
            tokens: Tokens::new(store.token_owners().await?, clock.clone()),
            sessions: Sessions::new(
                clock.clone(),
                config.session.idle_timeout_seconds,
                config.server.max_calls_per_session,
                config.session.on_conflict,
            ),
            files: FileRoots::default(),
            boxes: Boxes::default(),
            sandbox,
            changing_agents: tokio::sync::Mutex::default(),
            health: Health::default(),
            call_metrics: CallMetrics::new(catalog),
            rates: Arc::new(rates),
            events: Events::default(),
            approvals: Approvals::default(),
            webhooks: Webhooks::new(&config.approval.webhooks),
            started: Instant::now(),
            listening: std::sync::OnceLock::new(),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            config,
            layout,
            clock,
            catalog,
            agents,
            policy,
            audit,
            store,
            saved_rates: Mutex::default(),
            checkpointing: Mutex::default(),
            #[cfg(test)]
            hooks: crate::hooks::Hooks::default(),
            _lock: lock,
        }));
        gateway.report_recovery(&recovery).await;
        if let Some((known, found)) = truncated {
            gateway.report_truncation(known, found).await;
        }
        gateway.after_policy_load(loaded).await;
        gateway.recover_approvals().await?;
        crate::timers::start(&gateway);
        Ok(gateway)
    }

    /// Stops: no new calls, held ones are answered, those at work finish, everything is flushed. It takes
    /// at most [`STOP_PATIENCE`] and [`KEEP_PATIENCE`]; calls that are still at work then are left behind,
    /// and their intents stand in the audit log.
    pub async fn stop(&self) {
        self.stop_within(STOP_PATIENCE).await;
    }

    async fn stop_within(&self, patience: Duration) {
        self.stopping.cancel();
        if tokio::time::timeout(patience, self.wind_down())
            .await
            .is_err()
        {
            tracing::error!(
                at_work = self.tasks.len(),
                "calls did not end in time and are left behind"
            );
        }
        let kept = async {
            self.save_rates().await;
            self.save_generation().await;
            if let Err(error) = self.audit.flush().await {
                tracing::error!(%error, "the audit log could not be flushed");
            }
        };
        if tokio::time::timeout(KEEP_PATIENCE, kept).await.is_err() {
            tracing::error!("the disk did not take everything in time");
        }
        // Already gone if nothing ever listened.
        drop(std::fs::remove_file(self.layout.control_socket()));
    }

    async fn wind_down(&self) {
        let gateway = self.clone();
        let saved = tokio::task::spawn_blocking(move || crate::checkpoints::save_all(&gateway));
        if let Err(error) = saved.await {
            tracing::error!(%error, "checkpoints failed");
        }
        for session in self.sessions.all() {
            self.end_session(&session.profile.principal, "gateway stopping")
                .await;
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn checkpointing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.checkpointing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the policy files again, as the file watch and `kruxos config` do.
    pub async fn reload_policy(&self) -> Reload {
        let outcome = self.load_policy(|gateway| gateway.policy.reload()).await;
        self.after_policy_load(outcome.clone()).await;
        outcome
    }

    /// Loads policy on the blocking pool: it reads files and compiles them.
    pub(crate) async fn load_policy(
        &self,
        load: impl FnOnce(&Gateway) -> Reload + Send + 'static,
    ) -> Reload {
        let gateway = self.clone();
        let loaded = tokio::task::spawn_blocking(move || load(&gateway)).await;
        loaded.unwrap_or_else(|error| Reload::Kept {
            problems: vec![format!("policy could not be loaded: {error}")],
            generation: self.policy.mark().0,
        })
    }

    /// Saves the counters if any call was counted since they were last saved.
    pub(crate) async fn save_rates_if_changed(&self) {
        let snapshot = self.rates.snapshot(self.clock.now());
        let changed = {
            let mut saved = self
                .saved_rates
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let changed = *saved != snapshot;
            saved.clone_from(&snapshot);
            changed
        };
        if changed && let Err(error) = self.store.put_fact(RATES_FACT, snapshot).await {
            tracing::error!(%error, "rate counters could not be saved");
        }
    }

    async fn save_rates(&self) {
        let snapshot = self.rates.snapshot(self.clock.now());
        if let Err(error) = self.store.put_fact(RATES_FACT, snapshot).await {
            tracing::error!(%error, "rate counters could not be saved");
        }
    }

    pub(crate) async fn save_generation(&self) {
        let (generation, fingerprint) = self.policy.mark();
        let fact = json!({"generation": generation, "fingerprint": HEXLOWER.encode(&fingerprint)});
        if let Err(error) = self.store.put_fact(GENERATION_FACT, fact).await {
            tracing::error!(%error, "the policy generation could not be saved");
        }
    }

    /// Whether every call waits for the disk.
    pub(crate) fn audits_strictly(&self) -> bool {
        self.config.audit.durability == ConfiguredDurability::Strict
    }

    pub(crate) fn count(
        &self,
        definition: &Definition,
        tier: Tier,
        outcome: Outcome,
        since: Instant,
    ) {
        self.call_metrics
            .count(definition, tier, outcome, since.elapsed());
    }
}

/// Every commit of the database keeps the log's last durable entry; a log that ends before it was cut
/// or replaced while the gateway was down. Answers what the database knew and what the log has.
async fn log_ends_before(
    store: &Store,
    audit: &AuditLog,
) -> Result<Option<(u64, Option<u64>)>, StoreError> {
    let found = audit.durable_seq();
    let known = store.audit_mark().await?;
    Ok(known
        .filter(|known| found.is_none_or(|found| found < *known))
        .map(|known| (known, found)))
}

async fn stored_generation(store: &Store) -> Result<(u64, [u8; 32]), StoreError> {
    let fact = store.fact(GENERATION_FACT).await?.unwrap_or(Value::Null);
    let fingerprint = fact["fingerprint"]
        .as_str()
        .and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
    let fingerprint = fingerprint
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or([0; 32]);
    Ok((fact["generation"].as_u64().unwrap_or(0), fingerprint))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use futures_util::poll;
    use kruxos_audit::{Durability, Kind, Record, Status};
    use kruxos_store::{ApprovalState, NewApproval};
    use kruxos_types::{ApprovalId, ErrorType, Object, Principal, SystemClock};
    use std::pin::pin;

    /// What a test waits for takes milliseconds; this only says where it hangs.
    const LONG: Duration = Duration::from_secs(30);

    async fn open(directory: &tempfile::TempDir) -> Gateway {
        let layout = Layout::new(directory.path(), None, None);
        Gateway::open(
            Config::default(),
            layout,
            Arc::new(SystemClock),
            Sandbox::absent("a test"),
        )
        .await
        .unwrap()
    }

    fn entry() -> Record {
        Record {
            ..Record::new(Kind::Policy, Principal::system(), Status::Success)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_call_that_never_ends_does_not_keep_the_gateway_from_stopping() {
        let directory = tempfile::tempdir().unwrap();
        let gateway = open(&directory).await;
        drop(gateway.tasks.spawn(std::future::pending::<()>()));
        let last = gateway.audit.append(entry(), Durability::Soon).await;
        let stopped = gateway.stop_within(Duration::from_millis(20));
        tokio::time::timeout(LONG, stopped).await.expect("it hangs");
        let durable = gateway.audit.durable_seq();
        assert!(durable >= Some(last.unwrap().seq), "{durable:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_a_decision_is_answered_when_the_gateway_stops() {
        let directory = tempfile::tempdir().unwrap();
        let gateway = open(&directory).await;
        let new = NewApproval {
            id: ApprovalId::random(),
            principal: Principal::agent("a"),
            session_id: "ses_1".to_owned(),
            interface: "rpc".to_owned(),
            capability: "system.time".to_owned(),
            exact_inputs: Object::new(),
            shown_inputs: json!({}),
            digest: "d".to_owned(),
            reason: "a test".to_owned(),
            rule: json!({}),
            preview: Value::Null,
            risk_notes: Vec::new(),
            expires_at: None,
        };
        let made = gateway.store.create_approval(new).await.unwrap();
        let mut waiting = pin!(gateway.await_approval(&made.id, &made.principal, 100 * LONG));
        assert!(poll!(&mut waiting).is_pending());
        gateway.stopping.cancel();
        let found = tokio::time::timeout(LONG, waiting)
            .await
            .expect("it waits on");
        assert_eq!(found.unwrap().unwrap().state, ApprovalState::Pending);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_session_starts_behind_the_back_of_a_stop() {
        let directory = tempfile::tempdir().unwrap();
        let gateway = open(&directory).await;
        // The stop comes while a session is being made, past the first look at whether it may be.
        for attempt in 0.. {
            let principal = Principal::user(&format!("laptop-{attempt}"));
            let mut made = pin!(gateway.session_of(&principal));
            if poll!(&mut made).is_ready() {
                continue;
            }
            gateway.stopping.cancel();
            let error = made.await.unwrap_err();
            assert_eq!(error.error_type(), ErrorType::ServiceUnavailable);
            assert!(gateway.sessions.get(&principal).is_none());
            break;
        }
        tokio::time::timeout(LONG, gateway.stop())
            .await
            .expect("it hangs");
        let late = gateway.session_of(&Principal::user("late")).await;
        assert!(late.is_err() && gateway.sessions.all().is_empty());
    }
}
