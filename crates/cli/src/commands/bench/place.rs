//! Where the load goes and as whom: agents made for the run, or those whose tokens were given.

use super::super::{Cx, text};
use crate::args::Bench;
use crate::client::Url;
use crate::failure::Failure;
use http::Method;
use serde_json::json;

/// The agents of a run.
pub(super) struct Crew {
    pub(super) endpoint: String,
    pub(super) tokens: Vec<String>,
    /// The gateway's process, where its control socket told it.
    pub(super) pid: Option<u32>,
    /// Made for this run, with their workspaces.
    made: Vec<(String, String)>,
}

impl Crew {
    pub(super) async fn gather(cx: &Cx<'_>, options: &Bench) -> Result<Crew, Failure> {
        let status = cx.client.get("/status").await;
        let endpoint = match (&options.endpoint, &status) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Ok(status)) => text(&status["endpoint"]),
            (None, Err(_)) => String::new(),
        };
        if endpoint.is_empty() || options.tokens.is_empty() {
            // Both need the control socket: its failure says why there is none.
            let status = status?;
            let pid = pid(&status);
            let mut crew = Crew {
                endpoint,
                tokens: Vec::new(),
                pid,
                made: Vec::new(),
            };
            if options.tokens.is_empty() {
                if let Err(failure) = crew.make(cx, options).await {
                    crew.dismiss(cx).await;
                    return Err(failure);
                }
            } else {
                crew.tokens = shared(options);
            }
            return Ok(crew);
        }
        let pid = status.ok().as_ref().and_then(pid);
        Ok(Crew {
            endpoint,
            tokens: shared(options),
            pid,
            made: Vec::new(),
        })
    }

    async fn make(&mut self, cx: &Cx<'_>, options: &Bench) -> Result<(), Failure> {
        for number in 1..=options.agents {
            let body = json!({
                "name": format!("bench-{}-{number}", std::process::id()),
                "purpose": "Made by `kruxos bench`, removed after it",
                "policy_group": options.policy_group,
            });
            let made = cx.client.post("/agents", body).await?;
            self.made
                .push((text(&made["name"]), text(&made["workspace"])));
            self.tokens.push(text(&made["token"]));
        }
        Ok(())
    }

    /// Removes what the run made. A workspace goes only if the calls left it empty.
    pub(super) async fn dismiss(&self, cx: &Cx<'_>) {
        for (name, workspace) in &self.made {
            let url = Url::new(&["agents", name]);
            match cx.client.send(Method::DELETE, url.as_str(), None).await {
                Ok(_) if std::fs::remove_dir(workspace).is_err() => {
                    cx.out.note(&format!("{workspace} is not empty and stays"));
                }
                Ok(_) => {}
                Err(failure) => {
                    cx.out.note(&format!(
                        "the temporary agent {name} is still there: {}",
                        failure.message
                    ));
                }
            }
        }
    }
}

/// As many connections as were asked for, the given tokens in turn.
fn shared(options: &Bench) -> Vec<String> {
    options
        .tokens
        .iter()
        .cycle()
        .take(usize::from(options.agents))
        .cloned()
        .collect()
}

fn pid(status: &serde_json::Value) -> Option<u32> {
    status["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok())
}
