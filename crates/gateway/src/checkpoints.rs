//! Session state on disk every 30 s, so that a crash within 5 minutes loses at most that.

use crate::gateway::Gateway;
use crate::layout::write_private;
use jiff::Timestamp;
use kruxos_types::Principal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Version of the file.
const VERSION: u32 = 1;
/// A checkpoint older than this belongs to a session that is over.
const RECOVERABLE_SECONDS: i64 = 300;

#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    version: u32,
    principal: Principal,
    saved_at: Timestamp,
    state: Value,
}

fn path(gateway: &Gateway, principal: &Principal) -> PathBuf {
    let name = data_encoding::HEXLOWER.encode(principal.name.as_bytes());
    gateway
        .layout
        .sessions()
        .join(format!("{}-{name}.ckpt", principal.kind.as_str()))
}

/// Writes a checkpoint of every session that has state. Unchanged state is written again too: its
/// age says when the session was last alive.
pub(crate) fn save_all(gateway: &Gateway) {
    for session in gateway.sessions.all() {
        if !session.state.is_dirty() && session.state.key_count() == 0 {
            continue;
        }
        let principal = session.profile.principal.clone();
        let _writing = gateway.checkpointing();
        if session.ended.is_cancelled() {
            // Its checkpoint has gone or is about to.
            continue;
        }
        let checkpoint = Checkpoint {
            version: VERSION,
            saved_at: gateway.clock.now(),
            state: session.state.export(),
            principal,
        };
        let written = serde_json::to_vec(&checkpoint)
            .map_err(std::io::Error::from)
            .and_then(|bytes| write_private(&path(gateway, &checkpoint.principal), &bytes));
        if let Err(error) = written {
            session.state.mark_dirty();
            tracing::error!(%error, agent = %checkpoint.principal.name, "a session could not be checkpointed");
        }
    }
}

/// The state that a crashed session left, if it is this principal's and recent enough.
pub(crate) async fn recover(gateway: &Gateway, principal: &Principal) -> Option<Value> {
    let path = path(gateway, principal);
    let bytes = tokio::task::spawn_blocking(move || std::fs::read(path))
        .await
        .ok()?
        .ok()?;
    let checkpoint: Checkpoint = match serde_json::from_slice(&bytes) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            tracing::warn!(%error, agent = %principal.name, "a damaged session checkpoint was ignored");
            return None;
        }
    };
    let age = gateway
        .clock
        .now()
        .as_second()
        .saturating_sub(checkpoint.saved_at.as_second());
    let fits = checkpoint.version == VERSION && checkpoint.principal == *principal;
    (fits && age <= RECOVERABLE_SECONDS).then_some(checkpoint.state)
}

/// Removes the checkpoint of a session that has ended.
pub(crate) fn remove(gateway: &Gateway, principal: &Principal) {
    let path = path(gateway, principal);
    let _writing = gateway.checkpointing();
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a session checkpoint could not be removed");
    }
}
