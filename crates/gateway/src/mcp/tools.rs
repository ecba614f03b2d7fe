//! `tools/list` and `tools/call`, the same for every revision but for the dress of the result.

use super::params::Params;
use super::tasks;
use super::wire::{Fault, INVALID_PARAMS, notification, push_escaped, to_text};
use super::{Asked, Outbox, Outcome, Version};
use crate::call::{CallAnswer, CallRequest, Caller, Hold, ProgressSink};
use kruxos_types::{CallError, Interface, Object, PrincipalKind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a client may keep the list: it changes with policy, and clients that listen are told.
const LIST_TTL_MS: u64 = 30_000;

/// The members that close every result of 2026-07-28.
pub(crate) const MODERN_TAIL: &str = concat!(
    r#""resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"kruxos","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}"#
);

/// A result object of these members, closed as the revision wants it.
pub(crate) fn object(version: Version, members: &str) -> String {
    if version.is_legacy() {
        return format!("{{{members}}}");
    }
    let comma = if members.is_empty() { "" } else { "," };
    format!("{{{members}{comma}{MODERN_TAIL}}}")
}

/// `tools/list`.
pub(crate) fn list(asked: &Asked<'_>, params: &Params<'_>) -> Outcome {
    let listing = asked.peer.mcp.listings.of(asked.peer);
    #[cfg_attr(not(feature = "conformance-fixtures"), allow(unused_mut))]
    let mut page = listing.page(params.cursor.as_deref())?;
    #[cfg(feature = "conformance-fixtures")]
    super::fixtures::add_tools(&mut page);
    let mut members = format!(r#""tools":[{}]"#, page.tools);
    if let Some(next) = &page.next {
        members.push_str(r#","nextCursor":"#);
        push_escaped(&mut members, next);
    }
    if !asked.version.is_legacy() {
        members.push_str(&cache_hints(LIST_TTL_MS));
    }
    Ok(Some(object(asked.version, &members)))
}

/// `ttlMs` and `cacheScope`. Private: what is listed depends on who asks.
pub(crate) fn cache_hints(ttl_ms: u64) -> String {
    format!(r#","ttlMs":{ttl_ms},"cacheScope":"private""#)
}

/// `tools/call`. `takes_tasks` says that the client follows a held call as a task.
pub(crate) async fn call(asked: &Asked<'_>, params: &Params<'_>, takes_tasks: bool) -> Outcome {
    let name = Params::required(params.name.as_ref(), "name")?;
    #[cfg(feature = "conformance-fixtures")]
    if let Some(outcome) = super::fixtures::call(asked, name, params, takes_tasks).await {
        return outcome;
    }
    let gateway = &asked.peer.mcp.gateway;
    let session = &asked.peer.session;
    let request = CallRequest {
        name: name.to_owned(),
        arguments: params.arguments()?,
        hold: if takes_tasks {
            Hold::Detach
        } else {
            patience(asked)
        },
        progress: params
            ._meta
            .as_ref()
            .and_then(|meta| progress(meta.progress()?, asked.out)),
        cancel: asked.cancel.clone(),
        metadata: facts(asked),
    };
    let caller = Caller {
        session: session.clone(),
        interface: Interface::Mcp,
    };
    match gateway.call(caller, request).await {
        CallAnswer::Done(output) => Ok(Some(result(asked.version, &to_text(&output), false))),
        CallAnswer::Failed(error) => Ok(Some(failure(asked.version, &error))),
        CallAnswer::Pending(approval, _) if takes_tasks => {
            Ok(Some(tasks::created(asked, &approval)))
        }
        CallAnswer::Pending(_, error) => Ok(Some(result(asked.version, &to_text(&error), false))),
        CallAnswer::Cancelled => Ok(None),
    }
}

/// How long this caller's held calls stay open.
fn patience(asked: &Asked<'_>) -> Hold {
    let approval = &asked.peer.mcp.gateway.config.approval;
    let seconds = match asked.peer.session.profile.principal.kind {
        PrincipalKind::User => approval.user_hold_seconds,
        PrincipalKind::Agent | PrincipalKind::System => approval.hold_seconds,
    };
    Hold::UpTo(Duration::from_secs(seconds))
}

/// What the audit entry says about the client.
fn facts(asked: &Asked<'_>) -> Object {
    let mut facts = Object::new();
    facts.insert("protocol".to_owned(), Value::from(asked.version.as_str()));
    if !asked.client.is_empty() {
        facts.insert("client".to_owned(), Value::from(asked.client));
    }
    facts
}

/// Sends what a held call has to say as progress under the client's token.
fn progress(token: Value, out: &Outbox) -> Option<ProgressSink> {
    let out = out.clone();
    let sent = AtomicU64::new(0);
    Some(Arc::new(move |message| {
        let step = sent.fetch_add(1, Ordering::Relaxed) + 1;
        let params = json!({"progressToken": token, "progress": step, "message": message});
        out.send(notification("notifications/progress", &params));
    }))
}

/// A structured error as a tool result.
pub(crate) fn failure(version: Version, error: &CallError) -> String {
    result(version, &to_text(error), true)
}

/// A tool result around a JSON object that is written already: once as structure, once as text.
pub(crate) fn result(version: Version, body: &str, is_error: bool) -> String {
    let mut members = String::with_capacity(body.len() * 2 + body.len() / 4 + 256);
    members.push_str(r#""content":[{"type":"text","text":"#);
    push_escaped(&mut members, body);
    members.push_str("}]");
    if version.has_structured_content() {
        members.push_str(r#","structuredContent":"#);
        members.push_str(body);
    }
    members.push_str(if is_error {
        r#","isError":true"#
    } else {
        r#","isError":false"#
    });
    object(version, &members)
}

/// `kruxos/checkApproval {request_id, wait_seconds?}`.
pub(crate) async fn check_approval(asked: &Asked<'_>, params: &Params<'_>) -> Outcome {
    let id = Params::required(params.request_id.as_ref(), "request_id")?;
    let gateway = &asked.peer.mcp.gateway;
    let principal = &asked.peer.session.profile.principal;
    let wait = Duration::from_secs(params.wait_seconds.unwrap_or(0));
    let status = tokio::select! {
        status = super::approval_status::status(gateway, principal, id, wait) => status,
        () = asked.cancel.cancelled() => return Ok(None),
    };
    let status = status.map_err(|error| Fault::of_error(INVALID_PARAMS, &error))?;
    let text = to_text(&status);
    // The members of an object that is never empty.
    let members = text
        .trim_start_matches('{')
        .strip_suffix('}')
        .unwrap_or_default();
    Ok(Some(object(asked.version, members)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn text_and_structure_hold_the_same_facts() {
        let body = json!({"a": "quote \" and \u{1}", "n": [1, 2]});
        for version in Version::ALL {
            let written = result(version, &body.to_string(), false);
            let read: Value = serde_json::from_str(&written).unwrap();
            let text = read["content"][0]["text"].as_str().unwrap();
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), body);
            if version.has_structured_content() {
                assert_eq!(read["structuredContent"], body);
            } else {
                assert!(read.get("structuredContent").is_none());
            }
            assert_eq!(read.get("resultType").is_some(), !version.is_legacy());
        }
    }

    #[test]
    fn an_empty_result_is_an_object_in_every_revision() {
        for version in Version::ALL {
            assert!(
                serde_json::from_str::<Value>(&object(version, ""))
                    .unwrap()
                    .is_object()
            );
        }
    }
}
