//! A gateway in a temporary directory with one agent, for the MCP conformance suite. Prints
//! `{"url", "token"}` on one line and serves until its input ends.

use kruxos_gateway::agents::CreateAgent;
use kruxos_gateway::config::Config;
use kruxos_gateway::gateway::Gateway;
use kruxos_gateway::layout::Layout;
use kruxos_gateway::operator::Operator;
use kruxos_gateway::sandbox::Sandbox;
use kruxos_types::{AgentName, Object, SystemClock};
use serde_json::json;
use std::io::{Read, Write};
use std::sync::Arc;

fn main() -> anyhow::Result<()> {
    // As the daemon: before there are threads.
    let sandbox = Sandbox::start();
    tokio::runtime::Runtime::new()?.block_on(serve(sandbox))
}

async fn serve(sandbox: Sandbox) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let directory = tempfile::tempdir()?;
    let layout = Layout::new(directory.path(), None, None);
    let gateway = Gateway::open(Config::default(), layout, Arc::new(SystemClock), sandbox).await?;
    let new = CreateAgent {
        name: AgentName::new("conformance")?,
        purpose: "MCP conformance suite".to_owned(),
        policy_group: "personal-permissive".to_owned(),
        settings: Object::new(),
    };
    let made = gateway
        .create_agent(new, &Operator::gateway())
        .await
        .map_err(anyhow::Error::new)?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", json!({"url": url, "token": made.token}))?;
    stdout.flush()?;
    let serving = gateway
        .tasks
        .spawn(kruxos_gateway::transport::serve(gateway.clone(), listener));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    gateway.stop().await;
    serving.await?;
    Ok(())
}
