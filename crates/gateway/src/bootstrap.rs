//! What `kruxos up` prepares so that a first try needs nothing else: an agent and a User token.

use crate::agents::{AgentWithToken, CreateAgent, DEFAULT_AGENT};
use crate::gateway::Gateway;
use crate::operator::Operator;
use crate::serve::Listening;
use kruxos_types::{AgentName, CallError, Object};
use serde_json::{Value, json};

/// Template of the first agent: a person trying the product on their own machine.
const FIRST_GROUP: &str = "personal-permissive";
/// Label of the first User token.
const FIRST_LABEL: &str = "operator";

/// What this start made. Tokens are there only when it made them.
#[derive(Debug)]
pub struct Prepared {
    agent_token: Option<String>,
    user_token: Option<String>,
}

/// Makes the default agent and the first User token unless they exist.
///
/// # Errors
/// The store's or the audit log's.
pub async fn prepare(gateway: &Gateway) -> Result<Prepared, CallError> {
    let by = Operator::gateway();
    let name = AgentName::new(DEFAULT_AGENT).map_err(CallError::internal_failure)?;
    let agent_token = if gateway.agents.get(name.as_str()).is_none() {
        let new = CreateAgent {
            name,
            purpose: "Made by `kruxos up` for a first try".to_owned(),
            policy_group: FIRST_GROUP.to_owned(),
            settings: Object::new(),
        };
        let AgentWithToken { token, .. } = gateway.create_agent(new, &by).await?;
        Some(token)
    } else {
        None
    };
    let user_token = if gateway.store.user_tokens().await?.is_empty() {
        Some(gateway.create_user_token(FIRST_LABEL, &by).await?.1)
    } else {
        None
    };
    Ok(Prepared {
        agent_token,
        user_token,
    })
}

impl Prepared {
    /// The line of `kruxos up --json`. What this build does not have is null, and the vault says
    /// «absent».
    #[must_use]
    pub fn to_json(&self, gateway: &Gateway, listening: &Listening) -> Value {
        json!({
            "gateway": format!("http://{}", listening.agents),
            "dashboard": null,
            "user_api": null,
            "health": format!("http://{}/health", listening.health),
            "control_socket": gateway.layout.control_socket(),
            "data_dir": gateway.layout.data_dir,
            "workspace": gateway.layout.workspace_root.join(DEFAULT_AGENT),
            "agent": {"name": DEFAULT_AGENT, "token": self.agent_token},
            "user_token": self.user_token,
            "vault": "absent",
            "pid": std::process::id(),
        })
    }

    /// What a person reads: where it listens, the token once, and what to paste where.
    #[must_use]
    pub fn to_text(&self, gateway: &Gateway, listening: &Listening) -> String {
        let url = format!("http://{}/mcp", listening.agents);
        let workspace = gateway.layout.workspace_root.join(DEFAULT_AGENT);
        let data = gateway.layout.data_dir.display();
        let kruxos = command();
        let mut text = format!(
            "kruxos {} is running.\n\n  \
             agents connect to   {url}\n  \
             health and metrics  http://{}/health\n  \
             data directory      {data}\n  \
             agent's workspace   {}\n  \
             dashboard, vault    not in this build\n",
            env!("CARGO_PKG_VERSION"),
            listening.health,
            workspace.display(),
        );
        match &self.agent_token {
            Some(token) => text.push_str(&first_steps(&url, token)),
            None => text.push_str(&format!(
                "\nThe agent '{DEFAULT_AGENT}' exists already; its token was shown when it was made.\n\
                 A new one:  {kruxos} --data-dir {data} agent rotate {DEFAULT_AGENT}\n"
            )),
        }
        if let Some(token) = &self.user_token {
            text.push_str(&format!(
                "\nYour own User token (shown once):\n\n  {token}\n"
            ));
        }
        text.push_str(&format!(
            "\nIn another terminal:\n\n  \
             {kruxos} --data-dir {data} watch            see every call live\n  \
             {kruxos} --data-dir {data} approve list     what waits for you\n  \
             {kruxos} --data-dir {data} audit tail       what happened\n\n\
             Ctrl-C stops it.\n"
        ));
        text
    }
}

/// How to call the command line from a shell: by name where it is installed, in a directory called `bin`,
/// else by its path, as after a build that installed nothing.
fn command() -> String {
    let own = std::env::current_exe().unwrap_or_default();
    let installed = own.parent().is_some_and(|parent| parent.ends_with("bin"));
    let beside = own.with_file_name("kruxos");
    if installed || !beside.exists() {
        return "kruxos".to_owned();
    }
    beside.display().to_string()
}

fn first_steps(url: &str, token: &str) -> String {
    let config = json!({"mcpServers": {"kruxos": {
        "type": "http", "url": url, "headers": {"Authorization": format!("Bearer {token}")}
    }}});
    let pretty = serde_json::to_string_pretty(&config)
        .unwrap_or_default()
        .replace('\n', "\n  ");
    format!(
        "\nThe token of the agent '{DEFAULT_AGENT}' (shown once):\n\n  {token}\n\n\
         Claude Code:\n\n  \
         claude mcp add --transport http kruxos {url} --header \"Authorization: Bearer {token}\"\n\n\
         Any client with an mcpServers file:\n\n  {pretty}\n"
    )
}
