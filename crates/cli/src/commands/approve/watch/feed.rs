//! What waits, kept up to date over the gateway's event stream. It comes back by itself when the gateway does.

use crate::client::{Client, Url};
use crate::failure::{Exit, Failure};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Requests that are shown: a page of the API, and 200 times what one agent may have open.
const MAX_SHOWN: usize = 1000;
/// First and longest wait before the gateway is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// One thing that changed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Everything that waits now, oldest first.
    All(Vec<Value>),
    /// A new request.
    Requested(Value),
    /// A request got another state.
    Resolved(Value),
    /// The gateway cannot be reached; why.
    Away(String),
}

/// Tells every change for ever. A gateway that is not there at the start is an error; one that goes later
/// is waited for.
pub(super) async fn follow(client: &Client, agent: Option<&str>, out: Sender<Change>) -> Failure {
    let mut was_there = false;
    let mut wait = FIRST_WAIT;
    loop {
        let ended = session(client, agent, &out, &mut wait, &mut was_there).await;
        // What the gateway refuses it refuses again; only a gateway that is away may come back.
        let may_return = matches!(ended.exit, Exit::Unreachable | Exit::Failed);
        if !was_there || !may_return || out.send(Change::Away(ended.message.clone())).await.is_err()
        {
            return ended;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection, from the first list to its end.
async fn session(
    client: &Client,
    agent: Option<&str>,
    out: &Sender<Change>,
    wait: &mut Duration,
    was_there: &mut bool,
) -> Failure {
    match connected(client, agent, out, wait, was_there).await {
        Ok(()) => Failure::unreachable("the gateway is stopping"),
        Err(failure) => failure,
    }
}

async fn connected(
    client: &Client,
    agent: Option<&str>,
    out: &Sender<Change>,
    wait: &mut Duration,
    was_there: &mut bool,
) -> Result<(), Failure> {
    let url = Url::new(&["events"])
        .with("type", Some("approval_requested,approval_resolved"))
        .with("agent", agent);
    // The stream first: what happens between the two is then told twice rather than not at all.
    let mut events = client.stream(url.as_str()).await?;
    tell(out, pending(client, agent).await?).await?;
    *was_there = true;
    *wait = FIRST_WAIT;
    while let Some(event) = events.next().await? {
        let change = match event["type"].as_str().unwrap_or_default() {
            "events_lost" => Some(pending(client, agent).await?),
            "approval_requested" | "approval_resolved" => one(client, &event).await?,
            _ => None,
        };
        if let Some(change) = change {
            tell(out, change).await?;
        }
    }
    Ok(())
}

async fn tell(out: &Sender<Change>, change: Change) -> Result<(), Failure> {
    let nobody = |_| Failure::refused("nobody reads the changes any more");
    out.send(change).await.map_err(nobody)
}

async fn pending(client: &Client, agent: Option<&str>) -> Result<Change, Failure> {
    let url = Url::new(&["approvals"])
        .with("state", Some("pending"))
        .with("agent", agent)
        .with("limit", Some(MAX_SHOWN));
    match client.get(url.as_str()).await? {
        Value::Array(all) => Ok(Change::All(all)),
        _ => Err(Failure::failed("the gateway's list is no list")),
    }
}

/// The request that an event is about, as it is now.
async fn one(client: &Client, event: &Value) -> Result<Option<Change>, Failure> {
    let id = event["data"]["request_id"].as_str().unwrap_or_default();
    let url = Url::new(&["approvals", id]);
    let mut request = match client.get(url.as_str()).await {
        Ok(request) => request,
        Err(gone) if gone.exit == Exit::NotFound => return Ok(None),
        Err(failure) => return Err(failure),
    };
    if let Some(fields) = request.as_object_mut() {
        // It can be large, and belongs to the agent.
        fields.remove("result");
    }
    Ok(Some(if request["state"] == "pending" {
        Change::Requested(request)
    } else {
        Change::Resolved(request)
    }))
}
