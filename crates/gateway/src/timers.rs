//! What happens by itself: expiry, idle sessions, checkpoints, trash, and watching policy files.

use crate::gateway::Gateway;
use crate::health::SAMPLE_SECONDS;
use notify::{RecursiveMode, Watcher};
use std::time::Duration;
use tokio::sync::mpsc;

const EXPIRY_EVERY: Duration = Duration::from_secs(5);
/// How late an alert about a long wait may be.
const OVERDUE_EVERY: Duration = Duration::from_secs(60);
const IDLE_EVERY: Duration = Duration::from_secs(15);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// Counters that a crash loses are at most this old.
const RATES_EVERY: Duration = Duration::from_secs(2);
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// Editors write a file in several steps; they are taken as one.
const SETTLE: Duration = Duration::from_millis(100);

/// Starts every timer. They end with the gateway.
pub(crate) fn start(gateway: &Gateway) {
    every(gateway, EXPIRY_EVERY, |gateway: Gateway| async move {
        gateway.expire_approvals().await
    });
    every(gateway, OVERDUE_EVERY, |gateway: Gateway| async move {
        gateway.report_overdue().await;
    });
    every(gateway, RATES_EVERY, |gateway: Gateway| async move {
        gateway.save_rates_if_changed().await
    });
    every(
        gateway,
        Duration::from_secs(SAMPLE_SECONDS),
        |gateway: Gateway| async move {
            gateway.health.sample(gateway.clock.now());
        },
    );
    every(gateway, UPKEEP_EVERY, |_: Gateway| async move {
        // Samples wait in memory until they are folded into buckets; without a scraper nobody else does it.
        if let Ok(handle) = crate::metrics::recorder() {
            handle.run_upkeep();
        }
    });
    every(gateway, CHECKPOINT_EVERY, |gateway: Gateway| async move {
        let saved =
            tokio::task::spawn_blocking(move || crate::checkpoints::save_all(&gateway)).await;
        if let Err(error) = saved {
            tracing::error!(%error, "checkpoints failed");
        }
    });
    every(gateway, IDLE_EVERY, |gateway: Gateway| async move {
        for session in gateway.sessions.end_idle() {
            gateway.after_session(&session, "idle").await;
        }
        let unused = Duration::from_secs(gateway.config.sandbox.idle_seconds);
        gateway.boxes.end_idle(unused).await;
    });
    crate::housekeeping::start(gateway);
    crate::webhooks::start(gateway);
    watch_policies(gateway);
}

fn every<F, W>(gateway: &Gateway, period: Duration, work: F)
where
    F: Fn(Gateway) -> W + Send + 'static,
    W: Future<Output = ()> + Send,
{
    let gateway = gateway.clone();
    drop(gateway.clone().tasks.spawn(async move {
        loop {
            tokio::select! {
                () = gateway.stopping.cancelled() => return,
                () = tokio::time::sleep(period) => work(gateway.clone()).await,
            }
        }
    }));
}

/// Reloads policy when a file below its directory changes.
fn watch_policies(gateway: &Gateway) {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours = |event: &notify::Event| {
            !matches!(event.kind, notify::EventKind::Access(_))
                && !event.paths.iter().all(|path| {
                    path.components()
                        .any(|part| part.as_os_str() == ".last-good")
                })
        };
        if event.as_ref().map_or(true, ours) {
            // A full channel already promises a reload.
            changed.try_send(()).ok();
        }
    });
    let directory = gateway.policy.directory().to_owned();
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(&directory, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    let watcher = match watching {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::error!(%error, "policy files are not watched; use `kruxos config` to reload");
            return;
        }
    };
    let gateway = gateway.clone();
    drop(gateway.clone().tasks.spawn(async move {
        let _watcher = watcher;
        loop {
            tokio::select! {
                () = gateway.stopping.cancelled() => return,
                change = changes.recv() => if change.is_none() { return },
            }
            tokio::time::sleep(SETTLE).await;
            while changes.try_recv().is_ok() {}
            gateway.reload_policy().await;
        }
    }));
}
