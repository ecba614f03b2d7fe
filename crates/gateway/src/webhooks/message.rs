//! What a receiver gets, and its signature.

use crate::config::{Secret, WebUrl};
use crate::events::EventType;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use kruxos_store::Approval;
use kruxos_types::{Tier, random_base32};
use serde_json::{Value, json};
use sha2::Sha256;

/// Longest inputs that are sent, as JSON: a notice for a phone, not a copy of the call.
const MAX_INPUTS: usize = 16 << 10;
/// Longest sentence about what would change, in bytes; file names can make it long.
const MAX_SUMMARY: usize = 2048;

/// One event on its way to one receiver.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// The same for every try.
    pub(super) delivery: String,
    pub(super) request_id: String,
    pub(super) body: String,
}

/// A message with the headers that prove it.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) delivery: String,
    /// Seconds since 1970.
    pub(super) timestamp: String,
    /// `sha256=` and the hex HMAC-SHA256 of timestamp, a dot, and body.
    pub(super) signature: String,
    pub(super) body: String,
}

impl Message {
    pub(super) fn new(
        kind: EventType,
        approval: &Approval,
        now: Timestamp,
        base: Option<&WebUrl>,
    ) -> Self {
        let delivery = format!("wh_{}", random_base32(16));
        let id = approval.id.as_str();
        let size = approval.inputs.to_string().len();
        let fits = size <= MAX_INPUTS;
        let body = json!({
            "event": kind,
            "delivery": delivery,
            "timestamp": now,
            "id": id,
            "agent": approval.principal.name,
            "principal": approval.principal,
            "session_id": approval.session_id,
            "capability": approval.capability,
            // What policy asked for; a decision does not change it.
            "tier": Tier::ApprovalRequired,
            "reason": approval.reason,
            "risk_notes": approval.risk_notes,
            "summary": summary(&approval.preview),
            // Redacted where the request was made.
            "inputs": fits.then_some(&approval.inputs),
            "inputs_omitted": !fits,
            "inputs_bytes": size,
            "created_at": approval.created_at,
            "expires_at": approval.expires_at,
            "state": approval.state,
            "decided_by": approval.decided_by,
            "decided_at": approval.decided_at,
            "decision_reason": approval.decision_reason,
            "link": base.map(|base| link(base, id)),
        });
        Self {
            delivery,
            request_id: id.to_owned(),
            body: body.to_string(),
        }
    }

    pub(super) fn signed(&self, secret: &Secret, now: Timestamp) -> Signed {
        let timestamp = now.as_second().to_string();
        Signed {
            delivery: self.delivery.clone(),
            signature: signature(secret, &timestamp, &self.body),
            timestamp,
            body: self.body.clone(),
        }
    }
}

/// `sha256=` and the hex HMAC-SHA256 of `timestamp.body`.
fn signature(secret: &Secret, timestamp: &str, body: &str) -> String {
    // HMAC takes a key of any length (RFC 2104); an empty signature would be refused by the receiver.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.bytes()) else {
        return String::new();
    };
    for part in [timestamp, ".", body] {
        mac.update(part.as_bytes());
    }
    format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

fn summary(preview: &Value) -> Option<String> {
    let text = preview["summary"].as_str()?;
    let end = text.floor_char_boundary(MAX_SUMMARY.min(text.len()));
    let whole = end == text.len();
    let mut text = text.get(..end).unwrap_or_default().to_owned();
    if !whole {
        text.push('…');
    }
    Some(text)
}

/// Where a person who is signed in can decide.
fn link(base: &WebUrl, id: &str) -> String {
    let path = base.uri().path().trim_end_matches('/');
    format!("{}{path}/approvals/{id}", base.origin())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_anybody_else_computes() {
        let secret: Secret = serde_json::from_value(json!("key")).unwrap();
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signature(&secret, "1700000000", "{\"a\":1}"),
            "sha256=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03"
        );
    }

    #[test]
    fn a_link_leads_to_the_request_below_the_base() {
        for base in ["https://h.example/kruxos", "https://h.example/kruxos/"] {
            let base = WebUrl::parse(base).unwrap();
            let expected = "https://h.example/kruxos/approvals/ap_1";
            assert_eq!(link(&base, "ap_1"), expected);
        }
        let base = WebUrl::parse("https://h.example").unwrap();
        assert_eq!(link(&base, "ap_1"), "https://h.example/approvals/ap_1");
    }
}
