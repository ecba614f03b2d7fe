//! A call that its connection can leave but not tear in half.

use crate::call::CallAnswer;
use futures_util::FutureExt;
use kruxos_types::CallError;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

type Work = Pin<Box<dyn Future<Output = CallAnswer> + Send>>;

/// Runs where it is awaited, which saves two thread changes for each call; dropped before its end it goes
/// on as a task of its own. The tracker waits for it either way. A panic becomes an `Internal` error.
#[must_use]
pub(crate) struct Detached {
    work: Option<Work>,
    tasks: TaskTracker,
    _tracked: TaskTrackerToken,
}

impl Detached {
    pub(crate) fn new(
        tasks: &TaskTracker,
        work: impl Future<Output = CallAnswer> + Send + 'static,
    ) -> Self {
        let guarded = AssertUnwindSafe(work).catch_unwind().map(|done| {
            // The panic itself was printed by the hook.
            done.unwrap_or_else(|_| {
                CallAnswer::Failed(CallError::internal_failure("a call panicked"))
            })
        });
        Self {
            work: Some(Box::pin(guarded)),
            tasks: tasks.clone(),
            _tracked: tasks.token(),
        }
    }
}

impl Future for Detached {
    type Output = CallAnswer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallAnswer> {
        let Some(work) = &mut self.work else {
            // Polled again after its end, which no await does.
            return Poll::Pending;
        };
        let answer = work.as_mut().poll(cx);
        if answer.is_ready() {
            self.work = None;
        }
        answer
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // Without a runtime the process is ending; the audit record says «interrupted».
        if let Some(work) = self.work.take()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(self.tasks.spawn_on(work, &runtime));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_call_goes_on_when_its_caller_leaves() {
        let tasks = TaskTracker::new();
        let (start, started) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel::<()>();
        let mut call = Detached::new(&tasks, async move {
            started.await.unwrap();
            end.send(()).unwrap();
            CallAnswer::Cancelled
        });
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        start.send(()).unwrap();
        ended.await.unwrap();
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let answer = Detached::new(&TaskTracker::new(), async { panic!("on purpose") }).await;
        assert!(matches!(answer, CallAnswer::Failed(_)));
    }
}
