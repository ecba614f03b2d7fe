//! A gateway's surroundings in small, and calls the way the gateway makes them: admitted, decided,
//! begun in a real log, run, checked against the definition.

use crate::permits;
use kruxos_capabilities::{Cx, Host, SessionFacts, SessionState, run_in_process};
use kruxos_catalog::Catalog;
use kruxos_policy::RateCounters;
use kruxos_store::{NewAlert, Store};
use kruxos_types::{CallError, Clock, FakeClock, Principal, SessionId};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

pub(crate) const QUOTA: u64 = 256 * 1024;
pub(crate) const VERSIONS: u32 = 5;
const START: &str = "2030-01-02T03:04:05.678901Z";

pub(crate) struct Bed {
    _dir: tempfile::TempDir,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) cx: Cx,
    pub(crate) host: Arc<TestHost>,
}

/// What only a running gateway knows, made up.
pub(crate) struct TestHost {
    store: Store,
    pub(crate) health: Mutex<Value>,
    pub(crate) windows: Mutex<Vec<u64>>,
}

#[async_trait::async_trait]
impl Host for TestHost {
    async fn health(&self) -> Value {
        self.health.lock().unwrap().clone()
    }

    async fn resource_metrics(&self, window_seconds: u64) -> Value {
        self.windows.lock().unwrap().push(window_seconds);
        json!({
            "cpu": {"percent": 12, "load_average": [0.1, 0.2, 0.3]},
            "memory": {"percent": 40},
            "disk_io": {"read_bytes_per_second": 1},
            "network_io": {"sent_bytes_per_second": 2},
            "something_else": true,
        })
    }

    async fn agent_count(&self) -> Result<u64, CallError> {
        Ok(3)
    }

    async fn raise_alert(&self, alert: NewAlert) -> Result<String, CallError> {
        Ok(self.store.raise_alert(alert).await?.id)
    }
}

impl Bed {
    pub(crate) fn new() -> Bed {
        Bed::with_policy("  \"*\": {tier: autonomous}\n")
    }

    /// With these rules for the agent `tester`, which handlers show; calls themselves are all allowed.
    pub(crate) fn with_policy(rules: &str) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FakeClock::new(START.parse().unwrap()));
        let options = kruxos_store::Options {
            persistent_quota_bytes: QUOTA,
            versions_kept: VERSIONS,
            approval_key: [7; 32],
        };
        let store = Store::open(&dir.path().join("state.db"), options, clock.clone()).unwrap();
        let host = Arc::new(TestHost {
            store: store.clone(),
            health: Mutex::new(healthy()),
            windows: Mutex::default(),
        });
        let cx = Cx {
            principal: Principal::agent(permits::TESTER),
            session: SessionFacts {
                id: SessionId::from_text("ses_test"),
                connected_at: clock.now(),
                invocation_count: 4,
                workspace: dir.path().join("ws").to_str().unwrap().into(),
                policy_group: "personal-standard".into(),
                purpose: "tests".into(),
                created_at: "2029-12-31T00:00:00Z".parse().unwrap(),
            },
            state: Arc::new(SessionState::default()),
            store,
            policy: Arc::new(permits::policy(rules)),
            rates: Arc::new(RateCounters::default()),
            catalog: Catalog::builtin(),
            clock: clock.clone(),
            host: host.clone(),
        };
        Bed {
            _dir: dir,
            clock,
            cx,
            host,
        }
    }

    /// The same surroundings seen by somebody else.
    pub(crate) fn seen_by(&self, principal: Principal) -> Cx {
        Cx {
            principal,
            ..self.cx.clone()
        }
    }

    pub(crate) async fn call(&self, name: &str, inputs: Value) -> Result<Value, CallError> {
        self.call_as(&self.cx, name, inputs).await
    }

    pub(crate) async fn call_as(
        &self,
        cx: &Cx,
        name: &str,
        inputs: Value,
    ) -> Result<Value, CallError> {
        let definition = permits::definition(name);
        let permit = permits::permit(definition, definition.admit(inputs)?);
        let result = run_in_process(definition, permit, cx).await;
        match &result {
            Ok(output) => {
                if let Err(error) = definition.check_output(output) {
                    panic!("{name} breaks its definition: {error:?}: {output}");
                }
            }
            Err(error) => {
                let declared = definition
                    .errors
                    .iter()
                    .any(|d| d.error == error.error_type());
                assert!(
                    declared || error.error_type().spec().common,
                    "undeclared: {error:?}"
                );
            }
        }
        result
    }

    #[track_caller]
    pub(crate) fn ok(&self, name: &str, inputs: Value) -> Value {
        let call = self.call(name, inputs);
        wait(call).unwrap_or_else(|error| panic!("{name}: {error:?}"))
    }

    #[track_caller]
    pub(crate) fn ok_as(&self, principal: Principal, name: &str, inputs: Value) -> Value {
        let cx = self.seen_by(principal);
        let call = self.call_as(&cx, name, inputs);
        wait(call).unwrap_or_else(|error| panic!("{name}: {error:?}"))
    }

    /// The JSON of the error that the call must end in.
    #[track_caller]
    pub(crate) fn fail(&self, name: &str, inputs: Value, error_type: &str) -> Value {
        failed(wait(self.call(name, inputs)), error_type)
    }

    #[track_caller]
    pub(crate) fn fail_as(
        &self,
        principal: Principal,
        name: &str,
        inputs: Value,
        error_type: &str,
    ) -> Value {
        let cx = self.seen_by(principal);
        failed(wait(self.call_as(&cx, name, inputs)), error_type)
    }
}

pub(crate) fn healthy() -> Value {
    json!({
        "status": "healthy",
        "services": [{"name": "audit", "status": "healthy", "latency_ms": 0, "details": "writing", "checked_at": START}],
        "resources": {"cpu_percent": 3},
        "agent_metrics": {"approval_queue_depth": 2, "dead_letter_queue_depth": 0, "comms_queue_depth": 1},
        "generated_at": START,
    })
}

#[track_caller]
fn failed(result: Result<Value, CallError>, error_type: &str) -> Value {
    match result {
        Ok(output) => panic!("should fail with {error_type}: {output}"),
        Err(error) => {
            let json = error.to_json();
            assert_eq!(json["error_type"], error_type, "{error:?}");
            json
        }
    }
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
