use jiff::Timestamp;
use kruxos_catalog::{Catalog, Definition};
use kruxos_policy::{
    Diagnostic, PolicySet, Query, RateCounters, Source, Sources, Touched, Verdict,
};
use kruxos_types::{Interface, Object, Principal, Tier};
use serde_json::{Value, json};

pub(crate) const WORKSPACE: &str = "/srv/ws/alice";

pub(crate) fn definition(name: &str) -> &'static Definition {
    Catalog::builtin()
        .get(name)
        .unwrap_or_else(|| panic!("{name}"))
}

pub(crate) fn source(file: &str, text: &str) -> Source {
    Source {
        file: file.to_owned(),
        text: text.to_owned(),
    }
}

/// Sources from `(layer, text)`: `system`, `org`, `alice` (agent), `user`.
pub(crate) fn sources(files: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::default();
    for (layer, text) in files {
        match *layer {
            "system" => sources.system = Some(source("policies/system.yaml", text)),
            "org" => sources.organisation = Some(source("policies/org.yaml", text)),
            "user" => sources.user = Some(source("policies/user.yaml", text)),
            agent => {
                sources.agents.insert(
                    agent.to_owned(),
                    source(&format!("policies/agents/{agent}.yaml"), text),
                );
            }
        }
    }
    sources
}

pub(crate) fn compile(sources: &Sources) -> Result<(PolicySet, Vec<Diagnostic>), Vec<Diagnostic>> {
    PolicySet::compile(sources, Catalog::builtin(), 1)
}

/// A set from `(layer, text)`; panics with the diagnostics.
pub(crate) fn set(files: &[(&str, &str)]) -> PolicySet {
    compile(&sources(files))
        .unwrap_or_else(|found| panic!("{found:#?}"))
        .0
}

/// The problems of one agent's file.
pub(crate) fn problems(text: &str) -> Vec<Diagnostic> {
    match compile(&sources(&[("alice", text)])) {
        Ok((_, found)) | Err(found) => found,
    }
}

/// One call, with everything that a test may want to change.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) principal: Principal,
    pub(crate) capability: String,
    pub(crate) inputs: Object,
    pub(crate) interface: Interface,
    pub(crate) now: Timestamp,
    pub(crate) workspace: String,
    pub(crate) touches: Vec<Touched>,
}

pub(crate) fn call(capability: &str, inputs: Value) -> Call {
    let Value::Object(inputs) = inputs else {
        panic!("inputs")
    };
    Call {
        principal: Principal::agent("alice"),
        capability: capability.to_owned(),
        inputs,
        interface: Interface::Mcp,
        // A Wednesday.
        now: "2026-03-04T12:00:00Z".parse().unwrap(),
        workspace: WORKSPACE.to_owned(),
        touches: Vec::new(),
    }
}

pub(crate) fn read(path: &str) -> Call {
    call("filesystem.read", json!({ "path": path }))
}

pub(crate) fn copy(source: &str, destination: &str) -> Call {
    call(
        "filesystem.copy",
        json!({"source": source, "destination": destination}),
    )
}

pub(crate) fn run(command: &str, args: &[&str]) -> Call {
    call("process.run", json!({"command": command, "args": args}))
}

impl Call {
    pub(crate) fn at(mut self, now: &str) -> Self {
        self.now = now.parse().unwrap();
        self
    }

    pub(crate) fn by(mut self, principal: Principal) -> Self {
        self.principal = principal;
        self
    }

    pub(crate) fn through(mut self, interface: Interface) -> Self {
        self.interface = interface;
        self
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query {
            principal: &self.principal,
            definition: definition(&self.capability),
            inputs: &self.inputs,
            interface: self.interface,
            now: self.now,
            workspace: &self.workspace,
            touches: &self.touches,
        }
    }

    pub(crate) fn verdict(&self, set: &PolicySet) -> Verdict {
        set.decide(&self.query(), &RateCounters::default()).unwrap()
    }

    pub(crate) fn tier(&self, set: &PolicySet) -> Tier {
        let rates = RateCounters::default();
        let explained = set.explain(&self.query(), &rates);
        let decided = set.decide(&self.query(), &rates).unwrap();
        assert_eq!(explained.tier, decided.tier(), "decide and explain differ");
        decided.tier()
    }
}
