//! Counters and histograms for `/metrics`. Handles are made once for each capability, tier and
//! outcome, so that a call allocates nothing for them.

use kruxos_catalog::{Catalog, Definition};
use kruxos_types::Tier;
use metrics::{Counter, Histogram, counter, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Duration;

/// How a call ended, as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Success,
    Error,
    Denied,
    Pending,
}

impl Outcome {
    const COUNT: usize = 4;

    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Error => "error",
            Outcome::Denied => "denied",
            Outcome::Pending => "pending",
        }
    }
}

struct OfCapability {
    duration: Histogram,
    calls: [[OnceLock<Counter>; Outcome::COUNT]; Tier::ALL.len()],
}

/// The handles of every capability.
pub struct CallMetrics(Vec<OfCapability>);

impl std::fmt::Debug for CallMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CallMetrics({} capabilities)", self.0.len())
    }
}

impl CallMetrics {
    /// Handles for a catalogue.
    #[must_use]
    pub fn new(catalog: &Catalog) -> Self {
        let handles = |definition: &Definition| OfCapability {
            duration: histogram!(
                "kruxos_capability_duration_seconds",
                "capability" => definition.name.to_string()
            ),
            calls: Default::default(),
        };
        Self(catalog.all().iter().map(handles).collect())
    }

    /// Counts one call.
    pub fn count(&self, definition: &Definition, tier: Tier, outcome: Outcome, took: Duration) {
        let Some(handles) = self.0.get(definition.id.index()) else {
            return;
        };
        handles.duration.record(took.as_secs_f64());
        let make = || {
            counter!(
                "kruxos_capability_calls_total",
                "capability" => definition.name.to_string(),
                "tier" => tier.as_str(),
                "outcome" => outcome.as_str()
            )
        };
        handles.calls[tier as usize][outcome as usize]
            .get_or_init(make)
            .increment(1);
    }
}

/// Upper bounds of the latency buckets in seconds: 50 µs to 30 s.
const BUCKETS: [f64; 14] = [
    5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5, 10.0, 30.0,
];

/// Installs the process-wide recorder, once; later calls get the same handle.
///
/// # Errors
/// Another recorder was installed by somebody else.
pub fn recorder() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let matcher = Matcher::Suffix("_seconds".to_owned());
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(matcher, &BUCKETS)?
        .build_recorder();
    let handle = recorder.handle();
    // Two gateways in one process (tests) race here; the loser uses the winner's handle.
    if metrics::set_global_recorder(recorder).is_ok() {
        return Ok(HANDLE.get_or_init(|| handle).clone());
    }
    HANDLE
        .get()
        .cloned()
        .ok_or_else(|| anyhow::anyhow!("another metrics recorder is installed"))
}
