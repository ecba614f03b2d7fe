//! Approval requests and decisions told to whom `approval.webhooks` names.
//!
//! Telling never waits: each receiver has a bounded queue and a courier of its own, which delivers in order
//! and tries again. What is not delivered when the gateway stops is not delivered; the queue of requests
//! itself is in the database, and this only points at it.

mod message;
mod post;

use crate::config::Webhook;
use crate::events::EventType;
use crate::gateway::Gateway;
use jiff::Timestamp;
use kruxos_store::{Approval, Severity};
use kruxos_types::{Object, random_base32};
use message::Message;
use post::{PostError, Poster};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Deliveries that wait for one receiver; beyond it the oldest go. 50 agents' open requests fit.
const MAX_WAITING: usize = 256;
/// How often one delivery is tried.
const TRIES: u32 = 5;
/// The source of alerts about deliveries.
const SOURCE: &str = "webhooks";

/// How long things take; tests are in more of a hurry.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// One try, from connecting to the answer's head.
    timeout: Duration,
    /// Before the second try; each further wait is twice as long.
    first_wait: Duration,
}

const TIMING: Timing = Timing {
    timeout: Duration::from_secs(10),
    first_wait: Duration::from_secs(1),
};

/// The receivers with what waits for them.
#[derive(Debug)]
pub(crate) struct Webhooks(Vec<Arc<Receiver>>);

#[derive(Debug)]
struct Receiver {
    hook: Webhook,
    waiting: Mutex<VecDeque<Message>>,
    more: Notify,
}

impl Receiver {
    fn new(hook: Webhook) -> Self {
        Self {
            hook,
            waiting: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// Queues a message; whether an older one had to go for it.
    fn push(&self, message: Message) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let full = waiting.len() >= MAX_WAITING;
        if full {
            waiting.pop_front();
        }
        waiting.push_back(message);
        drop(waiting);
        self.more.notify_one();
        full
    }

    async fn next(&self) -> Message {
        loop {
            let first = self
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            match first {
                Some(message) => return message,
                None => self.more.notified().await,
            }
        }
    }
}

impl Webhooks {
    pub(crate) fn new(hooks: &[Webhook]) -> Self {
        let receivers = hooks.iter().cloned().map(Receiver::new).map(Arc::new);
        Self(receivers.collect())
    }
}

impl Gateway {
    /// Tells every receiver of a request's new state, without waiting for any.
    pub(crate) fn tell_webhooks(&self, kind: EventType, approval: &Approval) {
        let base = self.config.approval.base_url.as_ref();
        for receiver in &self.webhooks.0 {
            let message = Message::new(kind, approval, self.clock.now(), base);
            if receiver.push(message) {
                let (gateway, origin) = (self.clone(), receiver.hook.url.origin());
                drop(self.tasks.spawn(async move {
                    let message = format!(
                        "The webhook {origin} is too slow: approval events for it are dropped, the oldest first."
                    );
                    let facts = [("bound", json!(MAX_WAITING))];
                    gateway.webhook_alert(message, facts).await;
                }));
            }
        }
    }

    async fn webhook_alert<const N: usize>(
        &self,
        message: String,
        facts: [(&str, serde_json::Value); N],
    ) {
        let facts = facts
            .into_iter()
            .map(|(name, fact)| (name.to_owned(), fact));
        let facts: Object = facts.collect();
        self.alert(Severity::Warning, SOURCE, message, facts).await;
    }
}

/// Starts a courier for each receiver. They end with the gateway.
pub(crate) fn start(gateway: &Gateway) {
    for receiver in &gateway.webhooks.0 {
        let (gateway, receiver) = (gateway.clone(), receiver.clone());
        drop(gateway.clone().tasks.spawn(async move {
            tokio::select! {
                () = gateway.stopping.cancelled() => {}
                () = serve(&gateway, &receiver) => {}
            }
        }));
    }
}

/// Delivers one after the other, for ever.
async fn serve(gateway: &Gateway, receiver: &Receiver) {
    let poster = Poster::default();
    let now = || gateway.clock.now();
    loop {
        let message = receiver.next().await;
        let Err(error) = deliver(&poster, &receiver.hook, &message, TIMING, now).await else {
            continue;
        };
        let origin = receiver.hook.url.origin();
        tracing::warn!(%error, webhook = origin, delivery = message.delivery, "an approval event was not delivered");
        let text = format!("The webhook {origin} does not take approval events.");
        let facts = [
            ("last_error", json!(error.to_string())),
            ("delivery", json!(message.delivery)),
            ("approval_request_id", json!(message.request_id)),
        ];
        gateway.webhook_alert(text, facts).await;
    }
}

/// Delivers one message, trying again while that can help. Each try is signed anew with its own time, under
/// the same delivery id.
async fn deliver(
    poster: &Poster,
    hook: &Webhook,
    message: &Message,
    timing: Timing,
    now: impl Fn() -> Timestamp,
) -> Result<(), PostError> {
    let mut wait = timing.first_wait;
    let mut tried = 1;
    loop {
        let signed = message.signed(&hook.secret, now());
        let posted = tokio::time::timeout(timing.timeout, poster.post(&hook.url, signed)).await;
        let error = match posted.unwrap_or(Err(PostError::TimedOut)) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if tried == TRIES || !error.may_pass() {
            return Err(error);
        }
        tokio::time::sleep(jittered(wait)).await;
        wait *= 2;
        tried += 1;
    }
}

/// Between three quarters and five quarters of a time, so that receivers that came back are not hit at once.
fn jittered(time: Duration) -> Duration {
    let random = random_base32(1).bytes().next().unwrap_or_default() % 32;
    time.mul_f64(0.75 + f64::from(random) / 64.0)
}

#[cfg(test)]
mod tests;
