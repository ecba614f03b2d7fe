//! HTTP sessions of the revisions that begin with `initialize`: `Mcp-Session-Id`, good for one principal.

use super::sse::EventLog;
use crate::mcp::Link;
use crate::session::AgentSession;
use kruxos_types::{Principal, random_base32};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Sessions of one principal; past it the one that was used longest ago ends. Real clients open and
/// drop several for one status check.
const MAX_PER_PRINCIPAL: usize = 32;
/// Characters of an id: 5 bits each, so 260 bits.
const ID_CHARACTERS: usize = 52;

/// One transport session.
#[derive(Debug)]
pub(crate) struct LegacySession {
    /// Its id.
    pub(crate) id: String,
    /// The agent session it belongs to; when that ends, so does this.
    pub(crate) session: Arc<AgentSession>,
    /// What the protocol keeps.
    pub(crate) link: Arc<Link>,
    /// What was sent on event streams.
    pub(crate) log: Arc<EventLog>,
    /// Ends streams when the session ends.
    pub(crate) ended: CancellationToken,
    /// The client sent its token inside `initialize` and can send no header: the id, which is as long
    /// as a token, stands for it on later requests.
    pub(crate) id_is_proof: bool,
    /// The listening stream that is open; a newer one ends it.
    listener: Mutex<CancellationToken>,
    tells: AtomicBool,
    used: Mutex<Instant>,
}

/// All transport sessions.
#[derive(Debug, Default)]
pub(crate) struct LegacySessions(Mutex<HashMap<String, Arc<LegacySession>>>);

impl LegacySessions {
    /// A session that is not yet known to anyone; [`LegacySessions::keep`] makes it so.
    pub(crate) fn prepare(session: &Arc<AgentSession>, id_is_proof: bool) -> Arc<LegacySession> {
        let ended = session.ended.child_token();
        Arc::new(LegacySession {
            id: random_base32(ID_CHARACTERS),
            session: session.clone(),
            link: Arc::default(),
            log: Arc::default(),
            listener: Mutex::new(ended.child_token()),
            ended,
            id_is_proof,
            tells: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
        })
    }

    /// Keeps a session that was agreed on.
    pub(crate) fn keep(&self, new: &Arc<LegacySession>) {
        let mut all = self.lock();
        all.retain(|_, session| !session.ended.is_cancelled());
        let principal = &new.session.profile.principal;
        let mut own: Vec<_> = all
            .values()
            .filter(|known| known.session.profile.principal == *principal)
            .cloned()
            .collect();
        own.sort_by_key(|known| std::cmp::Reverse(known.last_used()));
        for old in own.into_iter().skip(MAX_PER_PRINCIPAL - 1) {
            old.ended.cancel();
            all.remove(&old.id);
        }
        all.insert(new.id.clone(), new.clone());
    }

    /// A live session by its id, for the principal that made it and nobody else.
    pub(crate) fn get(&self, id: &str, principal: &Principal) -> Option<Arc<LegacySession>> {
        self.any(id)
            .filter(|known| known.session.profile.principal == *principal)
    }

    /// A live session whose id proves its caller.
    pub(crate) fn proved(&self, id: &str) -> Option<Arc<LegacySession>> {
        self.any(id).filter(|known| known.id_is_proof)
    }

    fn any(&self, id: &str) -> Option<Arc<LegacySession>> {
        let mut all = self.lock();
        let known = all.get(id)?.clone();
        if known.ended.is_cancelled() {
            all.remove(id);
            return None;
        }
        known.touch();
        Some(known)
    }

    /// Ends a session.
    pub(crate) fn remove(&self, session: &LegacySession) {
        session.ended.cancel();
        self.lock().remove(&session.id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<LegacySession>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LegacySession {
    /// Ends the listening stream that is open, and answers the token that ends the next.
    pub(crate) fn take_listener(&self) -> CancellationToken {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.cancel();
        *listener = self.ended.child_token();
        listener.clone()
    }

    /// Notes that changes are written into the log; answers whether they were already.
    pub(crate) fn starts_telling(&self) -> bool {
        self.tells.swap(true, Ordering::Relaxed)
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last_used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
