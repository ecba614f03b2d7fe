//! `agent …`.

use super::{Cx, bytes, items, text, text_or, time};
use crate::args::Agent;
use crate::client::Url;
use crate::failure::Failure;
use crate::output::Look;
use http::Method;
use serde_json::{Map, Value, json};

/// Agents fetched with one request; more follow by cursor.
const PAGE: usize = 1000;

pub(super) async fn run(cx: &Cx<'_>, command: Agent) -> Result<(), Failure> {
    match command {
        Agent::Create {
            name,
            purpose,
            policy_group,
        } => create(cx, name.get(), &purpose, policy_group.as_deref()).await,
        Agent::List => list(cx).await,
        Agent::Show(agent) => show(cx, &agent.name).await,
        Agent::Edit {
            name,
            purpose,
            policy_group,
        } => edit(cx, &name, purpose.as_deref(), policy_group.as_deref()).await,
        Agent::Rotate(agent) => {
            let question = format!(
                "Give '{}' a new token? Its clients stop working.",
                agent.name
            );
            cx.out.confirm(&question, agent.yes)?;
            let made = act(cx, &agent.name, "rotate").await?;
            token(cx, &made);
            Ok(())
        }
        Agent::Revoke(agent) => {
            cx.out
                .confirm(&format!("Shut '{}' out?", agent.name), agent.yes)?;
            let shown = act(cx, &agent.name, "revoke").await?;
            said(cx, &shown, &format!("'{}' is revoked.", agent.name));
            Ok(())
        }
        Agent::Restore(agent) => {
            let shown = act(cx, &agent.name, "restore").await?;
            said(
                cx,
                &shown,
                &format!("'{}' may connect again, with the token it had.", agent.name),
            );
            Ok(())
        }
        Agent::Delete(agent) => {
            let question = format!(
                "Delete '{}' with its token and persistent state? Its files stay.",
                agent.name
            );
            cx.out.confirm(&question, agent.yes)?;
            let url = Url::new(&["agents", &agent.name]);
            let gone = cx
                .client
                .send(Method::DELETE, url.as_str(), None)
                .await?
                .body;
            let left = text(&gone["workspace"]);
            said(
                cx,
                &gone,
                &format!(
                    "'{}' is deleted. Its files are still in {left}.",
                    agent.name
                ),
            );
            Ok(())
        }
    }
}

pub(super) async fn act(cx: &Cx<'_>, name: &str, verb: &str) -> Result<Value, Failure> {
    cx.client
        .post(Url::new(&["agents", name, verb]).as_str(), json!({}))
        .await
}

/// The answer as JSON, or a sentence.
pub(super) fn said(cx: &Cx<'_>, answer: &Value, sentence: &str) {
    if cx.out.json {
        cx.out.value(answer);
    } else {
        cx.out.line(sentence);
    }
}

async fn create(
    cx: &Cx<'_>,
    name: &str,
    purpose: &str,
    policy_group: Option<&str>,
) -> Result<(), Failure> {
    let mut body = json!({"name": name, "purpose": purpose});
    if let (Some(group), Some(fields)) = (policy_group, body.as_object_mut()) {
        fields.insert("policy_group".to_owned(), json!(group));
    }
    let made = cx.client.post("/agents", body).await?;
    token(cx, &made);
    Ok(())
}

/// The token, this once, and what to paste where.
fn token(cx: &Cx<'_>, made: &Value) {
    if cx.out.json {
        cx.out.value(made);
        return;
    }
    let (name, token) = (text(&made["name"]), text(&made["token"]));
    let (url, workspace) = (text(&made["endpoint"]), text(&made["workspace"]));
    cx.out
        .spans(&[(Look::Bold, &format!("Token of '{name}', shown this once:"))]);
    cx.out.text(&token);
    cx.out.line("");
    cx.out.line(&format!("workspace   {workspace}"));
    cx.out.line(&format!("endpoint    {url}"));
    for (client, block) in client_blocks(&url, &name, &token) {
        cx.out.line("");
        cx.out.spans(&[(Look::Bold, client)]);
        for line in block.lines() {
            cx.out.line(&format!("  {line}"));
        }
    }
}

/// Ready configuration for the clients that people use.
fn client_blocks(url: &str, name: &str, token: &str) -> [(&'static str, String); 4] {
    let bearer = format!("Bearer {token}");
    let mut servers = Map::new();
    servers.insert(
        "kruxos".to_owned(),
        json!({"type": "http", "url": url, "headers": {"Authorization": bearer}}),
    );
    let desktop = serde_json::to_string_pretty(&json!({"mcpServers": servers})).unwrap_or_default();
    let code = format!(
        "claude mcp add --transport http kruxos {url} --header \"Authorization: {bearer}\""
    );
    let codex = format!(
        "[mcp_servers.kruxos]\nurl = \"{url}\"\nhttp_headers = {{ Authorization = \"{bearer}\" }}"
    );
    let socket = url.replacen("http", "ws", 1);
    let sdk = format!(
        "export KRUXOS_ENDPOINT={socket}\nexport KRUXOS_AGENT_NAME={name}\nexport KRUXOS_AGENT_TOKEN={token}"
    );
    [
        (
            "Claude Desktop and other clients with an mcpServers file",
            desktop,
        ),
        ("Claude Code", code),
        ("Codex, ~/.codex/config.toml", codex),
        ("SDK", sdk),
    ]
}

async fn list(cx: &Cx<'_>) -> Result<(), Failure> {
    let mut agents = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let url = Url::new(&["agents"])
            .with("limit", Some(PAGE))
            .with("cursor", cursor);
        let page = cx.client.get(url.as_str()).await?;
        agents.extend(items(&page["agents"]).cloned());
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    if cx.out.json {
        cx.out.value(&Value::Array(agents));
        return Ok(());
    }
    let rows = agents.iter().map(|agent| {
        let session = &agent["session"];
        vec![
            text(&agent["name"]),
            text(&agent["status"]),
            text(&agent["policy_group"]),
            text_or(&session["calls"], "-"),
            time(&agent["created_at"]),
            text(&agent["purpose"]),
        ]
    });
    cx.out.table(
        &["name", "status", "policy", "calls", "created", "purpose"],
        rows.collect(),
    );
    Ok(())
}

async fn show(cx: &Cx<'_>, name: &str) -> Result<(), Failure> {
    let agent = cx.client.get(Url::new(&["agents", name]).as_str()).await?;
    if cx.out.json {
        cx.out.value(&agent);
        return Ok(());
    }
    let session = match agent["session"].as_object() {
        Some(session) => format!(
            "{} since {}, {} calls, {} connections",
            session.get("id").map(text).unwrap_or_default(),
            session.get("connected_at").map(time).unwrap_or_default(),
            session.get("calls").map(text).unwrap_or_default(),
            session.get("connections").map(text).unwrap_or_default(),
        ),
        None => "none".to_owned(),
    };
    let state = &agent["state"];
    for (name, value) in [
        ("name", text(&agent["name"])),
        ("status", text(&agent["status"])),
        ("purpose", text(&agent["purpose"])),
        ("policy", text(&agent["policy_group"])),
        ("workspace", text(&agent["workspace"])),
        ("endpoint", text(&agent["endpoint"])),
        ("created", time(&agent["created_at"])),
        ("token", format!("number {}", agent["token_generation"])),
        ("session", session),
        (
            "approvals",
            format!("{} waiting", agent["pending_approvals"]),
        ),
        (
            "state",
            format!(
                "{} keys, {} of {}",
                state["keys"],
                bytes(&state["used_bytes"]),
                bytes(&state["limit_bytes"])
            ),
        ),
    ] {
        cx.out
            .spans(&[(Look::Dim, &format!("{name:<12}")), (Look::Plain, &value)]);
    }
    Ok(())
}

async fn edit(
    cx: &Cx<'_>,
    name: &str,
    purpose: Option<&str>,
    policy_group: Option<&str>,
) -> Result<(), Failure> {
    let mut patch = Map::new();
    for (key, value) in [("purpose", purpose), ("policy_group", policy_group)] {
        if let Some(value) = value {
            patch.insert(key.to_owned(), json!(value));
        }
    }
    let url = Url::new(&["agents", name]);
    let agent = cx
        .client
        .send(Method::PATCH, url.as_str(), Some(Value::Object(patch)))
        .await?
        .body;
    said(cx, &agent, &format!("'{name}' is changed."));
    Ok(())
}
