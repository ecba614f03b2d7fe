//! An agent's box with the product's own worker, and calls to it.

use crate::bed::{Bed, LONG, Mode};
use crate::permits;
use kruxos_capabilities::filesystem::confined;
use kruxos_capabilities::filesystem::confined::Setup;
use kruxos_sandbox::client::AgentBox;
use kruxos_types::{CallError, Principal};
use serde_json::Value;
use std::path::PathBuf;

pub(crate) struct Setting {
    pub(crate) bed: Bed,
    pub(crate) agent: AgentBox,
    /// On the host.
    pub(crate) workspace: PathBuf,
}

impl Setting {
    pub(crate) fn new(mode: Mode) -> Setting {
        let bed = Bed::new(mode);
        let agent = agent(&bed, permits::TESTER);
        let workspace = bed.directory.path().join(permits::TESTER).join("workspace");
        Setting {
            bed,
            agent,
            workspace,
        }
    }

    /// Runs one permitted call in the worker.
    pub(crate) async fn call(&self, name: &str, inputs: Value) -> Result<Value, CallError> {
        call(&self.agent, name, inputs).await
    }
}

pub(crate) fn agent(bed: &Bed, name: &str) -> AgentBox {
    let mut spec = bed.spec(name);
    let setup = Setup {
        principal: Principal::agent(name),
        workspace: spec.workspace.clone(),
        trash_keep_seconds: 3600,
        undo_quota: 1 << 30,
        mounts: Vec::new(),
    };
    spec.worker_setup = setup.encode().unwrap();
    bed.open(spec)
}

pub(crate) async fn call(agent: &AgentBox, name: &str, inputs: Value) -> Result<Value, CallError> {
    let Value::Object(inputs) = inputs else {
        panic!("inputs are an object");
    };
    let definition = permits::definition(name);
    let permit = permits::permit(definition, inputs);
    let request = confined::request(definition, permit, Some("ses_test")).unwrap();
    confined::answer(&agent.call(&request, LONG).await.unwrap())
}
