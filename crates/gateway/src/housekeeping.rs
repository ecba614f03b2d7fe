//! What calls leave behind and nobody asks for any more: entries of the trash whose time is over, journals
//! of changes with the earlier content they refer to, and unfinished files that a crash left in a workspace.

use crate::gateway::Gateway;
use kruxos_audit::{Kind, Status};
use kruxos_capabilities::filesystem::{clean_changes, clean_trash, sweep_unfinished};
use kruxos_types::Object;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// spec/state.md: the trash is cleaned every hour.
const EVERY: Duration = Duration::from_secs(3600);
/// The first time comes soon after the start, but behind the first calls.
const FIRST: Duration = Duration::from_secs(2);

/// Starts the timer. It ends with the gateway.
pub(crate) fn start(gateway: &Gateway) {
    let gateway = gateway.clone();
    drop(gateway.clone().tasks.spawn(async move {
        let mut wait = FIRST;
        loop {
            tokio::select! {
                () = gateway.stopping.cancelled() => return,
                () = tokio::time::sleep(wait) => tidy(&gateway).await,
            }
            wait = EVERY;
        }
    }));
}

/// What one round removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tidied {
    trash_entries: u64,
    unfinished_files: u64,
    undo_files: u64,
}

/// One round. What it removed for good is in the audit log.
async fn tidy(gateway: &Gateway) {
    let worker = gateway.clone();
    let done = tokio::task::spawn_blocking(move || Tidied {
        trash_entries: clean_all(&worker, false),
        unfinished_files: sweep_all(&worker),
        undo_files: clean_changes_all(&worker),
    });
    match done.await {
        Ok(tidied) if tidied == Tidied::default() => {}
        Ok(tidied) => {
            let mut facts = Object::new();
            facts.insert("event".to_owned(), json!("housekeeping"));
            facts.insert("trash_entries".to_owned(), json!(tidied.trash_entries));
            facts.insert(
                "unfinished_files".to_owned(),
                json!(tidied.unfinished_files),
            );
            facts.insert("undo_files".to_owned(), json!(tidied.undo_files));
            gateway
                .audit_system(Kind::System, Status::Success, facts)
                .await;
        }
        Err(error) => tracing::error!(%error, "housekeeping failed"),
    }
}

/// Cleans every trash there is, also of agents that were deleted since; with `dry_run` it only counts.
pub(crate) fn clean_all(gateway: &Gateway, dry_run: bool) -> u64 {
    let stop = || gateway.stopping.is_cancelled();
    let mut gone = 0;
    for trash in directories(&gateway.layout.data_dir.join("trash")) {
        // `Layout::trash` names them by the kind of their owner.
        let of_an_agent = trash
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"agent-"));
        let hours = if of_an_agent {
            gateway.config.trash.agent_hours
        } else {
            gateway.config.trash.user_hours
        };
        let keep = Duration::from_secs(hours.saturating_mul(3600));
        match clean_trash(&trash, keep, gateway.clock.now(), dry_run, &stop) {
            Ok(count) => gone += count,
            Err(error) => {
                tracing::error!(%error, trash = %trash.display(), "a trash cannot be cleaned");
            }
        }
    }
    gone
}

/// Cleans what undo keeps, in every trash there is.
fn clean_changes_all(gateway: &Gateway) -> u64 {
    let stop = || gateway.stopping.is_cancelled();
    let undo = &gateway.config.undo;
    let keep = Duration::from_secs(undo.keep_hours.saturating_mul(3600));
    let mut gone = 0;
    for (_, trash) in gateway.trashes() {
        if stop() {
            break;
        }
        let now = gateway.clock.now();
        match clean_changes(&trash, keep, undo.quota_bytes(), now, &stop) {
            Ok(count) => gone += count,
            Err(error) => {
                tracing::error!(%error, trash = %trash.display(), "what undo keeps cannot be cleaned");
            }
        }
    }
    gone
}

/// Sweeps every workspace below the configured root, also those of agents that were deleted since, and
/// those that agents have elsewhere from an earlier configuration.
fn sweep_all(gateway: &Gateway) -> u64 {
    let stop = || gateway.stopping.is_cancelled();
    let mut workspaces = directories(&gateway.layout.workspace_root);
    let of_agents = gateway.agents.all().into_iter();
    workspaces.extend(of_agents.map(|agent| PathBuf::from(agent.workspace)));
    workspaces.sort();
    workspaces.dedup();
    let mut removed = 0;
    for workspace in workspaces {
        if stop() {
            break;
        }
        let shown = workspace.display();
        match sweep_unfinished(&workspace, gateway.clock.now(), &stop) {
            Ok(swept) => {
                removed += swept.removed;
                if swept.cut {
                    tracing::info!(workspace = %shown, "not all of a workspace could be looked at for unfinished files");
                }
            }
            Err(error) => {
                tracing::error!(%error, workspace = %shown, "a workspace cannot be swept");
            }
        }
    }
    removed
}

/// The directories in a directory, links left out; none if it is not there.
pub(crate) fn directories(parent: &Path) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::error!(%error, directory = %parent.display(), "housekeeping cannot look here");
            }
            return Vec::new();
        }
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config::Config;
    use crate::layout::Layout;
    use data_encoding::HEXLOWER;
    use kruxos_types::{Clock, FakeClock, SystemClock};
    use sha2::{Digest, Sha256};
    use std::sync::Arc;

    const HOUR: Duration = Duration::from_secs(3600);

    /// An entry of a trash that lost its sidecar in a crash, made so long ago.
    fn trash_entry(trash: &Path, clock: &dyn Clock, ago: Duration) -> PathBuf {
        std::fs::create_dir_all(trash).unwrap();
        let made = (clock.now() - ago).as_millisecond();
        let entry = trash.join(format!("d{made:011x}-abcdefghijkl"));
        std::fs::write(&entry, "deleted").unwrap();
        entry
    }

    /// An unfinished file of an earlier process.
    fn unfinished(workspace: &Path) -> PathBuf {
        let named = ".kruxos-tmp-aaaaaaaabbbbbbbbbbbbbbbb";
        let check = HEXLOWER.encode(&Sha256::digest(named.as_bytes())[..4]);
        std::fs::create_dir_all(workspace.join("deep")).unwrap();
        let file = workspace.join("deep").join(format!("{named}{check}"));
        std::fs::write(&file, "torn").unwrap();
        file
    }

    /// Whoever starts a gateway gets the timer with it; nobody has to have a session.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_gateway_tidies_up_by_itself_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path(), None, None);
        // Files get the machine's time, so an hour has passed for them when the gateway looks.
        let clock = Arc::new(FakeClock::new(SystemClock.now() + 2 * HOUR));
        let agents = layout.trash("agent", "gone");
        let users = layout.trash("user", "laptop");
        let old = trash_entry(&agents, clock.as_ref(), 25 * HOUR);
        let young = trash_entry(&agents, clock.as_ref(), 23 * HOUR);
        let kept_longer = trash_entry(&users, clock.as_ref(), 25 * HOUR);
        let torn = unfinished(&layout.workspace_root.join("gone"));
        let users_own = torn.with_file_name(".kruxos-tmp-notes");
        std::fs::write(&users_own, "a user's").unwrap();

        let gateway = Gateway::open(
            Config::default(),
            layout,
            clock,
            crate::sandbox::Sandbox::absent("a test"),
        )
        .await
        .unwrap();
        let mut entries = gateway.audit.subscribe();
        let told = async {
            loop {
                let entry = entries.recv().await.unwrap();
                if entry["metadata"]["event"] == "housekeeping" {
                    return entry;
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(30), told)
            .await
            .expect("an entry about it");

        assert_eq!(told["metadata"]["trash_entries"], 1, "{told}");
        assert_eq!(told["metadata"]["unfinished_files"], 1, "{told}");
        assert!(!old.exists() && !torn.exists());
        assert!(young.exists() && kept_longer.exists() && users_own.exists());
        gateway.stop().await;
    }
}
