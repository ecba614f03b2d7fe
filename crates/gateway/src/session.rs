//! Agent sessions: the product's own, keyed on the principal, independent of any transport's.

use crate::config::OnConflict;
use crate::decisions::Decisions;
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kruxos_capabilities::{SessionFacts, SessionState};
use kruxos_types::{CallError, Clock, ErrorType, Principal, SessionId};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What is fixed about a principal when its session starts.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Profile {
    pub principal: Principal,
    pub workspace: Arc<str>,
    pub policy_group: Arc<str>,
    pub purpose: Arc<str>,
    pub created_at: Timestamp,
}

/// One principal's live session.
#[derive(Debug)]
pub struct AgentSession {
    /// Its id, in every audit entry.
    pub id: SessionId,
    /// Whose it is.
    pub profile: Profile,
    /// When it started.
    pub connected_at: Timestamp,
    /// Key-value state that ends with it.
    pub state: Arc<SessionState>,
    /// Ends when the session does; calls that are held or queued watch it.
    pub ended: CancellationToken,
    /// Calls at work at once.
    pub slots: Arc<Semaphore>,
    /// The words of the decisions about its calls.
    pub(crate) decisions: Decisions,
    calls: AtomicU64,
    last_used: AtomicI64,
    connections: Mutex<Vec<Connection>>,
}

/// A long connection: WebSocket, listening stream or bridge.
#[derive(Debug)]
struct Connection {
    id: u64,
    client: String,
    peer: SocketAddr,
    close: CancellationToken,
    reason: Arc<ArcSwapOption<String>>,
}

/// Keeps a long connection registered; dropping it takes it out.
#[derive(Debug)]
pub struct Attached {
    session: Arc<AgentSession>,
    id: u64,
    /// Cancelled when the connection must end; [`Attached::reason`] says why.
    pub close: CancellationToken,
    reason: Arc<ArcSwapOption<String>>,
}

impl Attached {
    /// Why the connection must end, once [`Attached::close`] is cancelled.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reason
            .load()
            .as_deref()
            .cloned()
            .unwrap_or_else(|| "session ended".to_owned())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.session
            .connections()
            .retain(|connection| connection.id != self.id);
    }
}

impl AgentSession {
    /// Counts a call and notes that the session is in use. Answers the count.
    pub fn touch(&self, now: Timestamp) -> u64 {
        self.last_used.store(now.as_second(), Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many calls it has made.
    #[must_use]
    pub fn call_count(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// What a call of a session that has ended is answered.
    pub(crate) fn expired(&self) -> CallError {
        CallError::new(ErrorType::SessionExpired).with("session_id", self.id.as_str())
    }

    /// How many long connections are open.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections().len()
    }

    /// What in-process capabilities see of it.
    #[must_use]
    pub fn facts(&self) -> SessionFacts {
        SessionFacts {
            id: self.id.clone(),
            connected_at: self.connected_at,
            invocation_count: self.call_count(),
            workspace: self.profile.workspace.clone(),
            policy_group: self.profile.policy_group.clone(),
            purpose: self.profile.purpose.clone(),
            created_at: self.profile.created_at,
        }
    }

    /// As shown by `kruxos status` and `agent list`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "id": self.id.as_str(),
            "principal": self.profile.principal,
            "connected_at": self.connected_at,
            "calls": self.call_count(),
            "connections": self.connection_count(),
        })
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Live {
    by_principal: HashMap<Principal, Arc<AgentSession>>,
    /// Whose session has ended, or was to end, since the gateway started: what a crash before that left
    /// of it is over. It grows with what operators make, not with what clients ask.
    ended: HashSet<Principal>,
}

/// All live sessions.
#[derive(Debug)]
pub struct Sessions {
    live: Mutex<Live>,
    clock: Arc<dyn Clock>,
    idle_seconds: i64,
    calls_at_once: usize,
    on_conflict: OnConflict,
    next_connection: AtomicU64,
}

impl Live {
    /// Takes out and ends this session; false if it was not there any more.
    fn take(&mut self, session: &Arc<AgentSession>) -> bool {
        session.ended.cancel();
        let principal = &session.profile.principal;
        let same = |live: &Arc<AgentSession>| Arc::ptr_eq(live, session);
        self.by_principal.get(principal).is_some_and(same)
            && self.by_principal.remove(principal).is_some()
    }
}

/// What [`Sessions::attach`] did to an older connection of the same agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Where the older client was.
    pub old_peer: SocketAddr,
}

impl Sessions {
    /// No sessions yet.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        idle_seconds: u64,
        calls_at_once: usize,
        on_conflict: OnConflict,
    ) -> Self {
        Self {
            live: Mutex::default(),
            clock,
            idle_seconds: i64::try_from(idle_seconds).unwrap_or(i64::MAX),
            calls_at_once,
            on_conflict,
            next_connection: AtomicU64::new(1),
        }
    }

    /// The live session of a principal.
    #[must_use]
    pub fn get(&self, principal: &Principal) -> Option<Arc<AgentSession>> {
        self.lock().by_principal.get(principal).cloned()
    }

    /// The live session, or a new one that `make` allows. The flag says which. `make` learns whether the
    /// principal had none since the gateway started, so that a crash may have left its state; it runs
    /// under the lock that [`Sessions::end`] takes, so whoever makes something known and then ends the
    /// session either is seen by `make` or finds the session. It must not wait.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn get_or_start<E>(
        &self,
        principal: &Principal,
        make: impl FnOnce(bool) -> Result<(Profile, SessionState), E>,
    ) -> Result<(Arc<AgentSession>, bool), E> {
        let mut live = self.lock();
        if let Some(session) = live.by_principal.get(principal) {
            return Ok((session.clone(), false));
        }
        let (profile, state) = make(!live.ended.contains(principal))?;
        let now = self.clock.now();
        let session = Arc::new(AgentSession {
            id: SessionId::random(),
            profile,
            connected_at: now,
            state: Arc::new(state),
            ended: CancellationToken::new(),
            slots: Arc::new(Semaphore::new(self.calls_at_once)),
            decisions: Decisions::default(),
            calls: AtomicU64::new(0),
            last_used: AtomicI64::new(now.as_second()),
            connections: Mutex::default(),
        });
        live.by_principal.insert(principal.clone(), session.clone());
        Ok((session, true))
    }

    /// Takes back a session that could not be opened. What a crash left is still good for the next.
    pub(crate) fn abandon(&self, session: &Arc<AgentSession>) {
        self.lock().take(session);
    }

    /// Registers a long connection. `client` tells connections of one client program (same token, same
    /// client id) from those of another: only different clients conflict.
    ///
    /// # Errors
    /// `session.limit` when another client is connected and `session.on_conflict` is `reject`.
    pub fn attach(
        &self,
        session: &Arc<AgentSession>,
        client: &str,
        peer: SocketAddr,
    ) -> Result<(Attached, Vec<Replaced>), CallError> {
        let mut replaced = Vec::new();
        let mut connections = session.connections();
        let conflicts = |connection: &&Connection| connection.client != client;
        match self.on_conflict {
            OnConflict::Share => {}
            OnConflict::Reject => {
                if let Some(other) = connections.iter().find(conflicts) {
                    return Err(CallError::new(ErrorType::SessionLimit)
                        .with("agent", &*session.profile.principal.name)
                        .detail(format!("It is connected from {}.", other.peer)));
                }
            }
            OnConflict::Replace => {
                for other in connections.iter().filter(conflicts) {
                    let reason = format!("replaced by a new session of the same agent from {peer}");
                    other.reason.store(Some(Arc::new(reason)));
                    other.close.cancel();
                    replaced.push(Replaced {
                        old_peer: other.peer,
                    });
                }
                connections.retain(|connection| connection.client == client);
            }
        }
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let close = session.ended.child_token();
        let reason = Arc::new(ArcSwapOption::empty());
        connections.push(Connection {
            id,
            client: client.to_owned(),
            peer,
            close: close.clone(),
            reason: reason.clone(),
        });
        drop(connections);
        Ok((
            Attached {
                session: session.clone(),
                id,
                close,
                reason,
            },
            replaced,
        ))
    }

    /// Ends a principal's session: connections close, held calls stop waiting. Answers it.
    pub fn end(&self, principal: &Principal) -> Option<Arc<AgentSession>> {
        let mut live = self.lock();
        live.ended.insert(principal.clone());
        let session = live.by_principal.remove(principal)?;
        session.ended.cancel();
        Some(session)
    }

    /// Ends this session and no later one of the same principal; false if it had ended.
    pub(crate) fn end_this(&self, session: &Arc<AgentSession>) -> bool {
        let mut live = self.lock();
        let was_live = live.take(session);
        if was_live {
            live.ended.insert(session.profile.principal.clone());
        }
        was_live
    }

    /// Ends every session that nobody has used for the idle time and that has no connection and no call
    /// at work. Answers them.
    pub fn end_idle(&self) -> Vec<Arc<AgentSession>> {
        let now = self.clock.now().as_second();
        let mut live = self.lock();
        let idle: Vec<_> = live
            .by_principal
            .values()
            .filter(|session| {
                let unused = now.saturating_sub(session.last_used.load(Ordering::Relaxed));
                unused >= self.idle_seconds
                    && session.connection_count() == 0
                    && session.slots.available_permits() == self.calls_at_once
            })
            .cloned()
            .collect();
        for session in &idle {
            live.take(session);
            live.ended.insert(session.profile.principal.clone());
        }
        idle
    }

    /// Every live session.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<AgentSession>> {
        self.lock().by_principal.values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
