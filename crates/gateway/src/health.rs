//! What `/health` says, and how busy this machine is.

use crate::gateway::Gateway;
use jiff::Timestamp;
use kruxos_audit::MAX_QUEUED;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Samples kept: one each [`SAMPLE_SECONDS`] for 24 hours is too much to keep warm, so the newest hour
/// stays, and longer windows answer with what there is.
const SAMPLES: usize = 240;
/// Seconds between two samples.
pub(crate) const SAMPLE_SECONDS: u64 = 15;

/// Counters of the machine at one instant, from `/proc`.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    at: i64,
    cpu_busy: u64,
    cpu_total: u64,
    memory_used: u64,
    memory_total: u64,
    disk_read: u64,
    disk_written: u64,
    net_received: u64,
    net_sent: u64,
}

/// The latest samples.
#[derive(Debug, Default)]
pub struct Health {
    samples: Mutex<VecDeque<Sample>>,
}

impl Health {
    /// Takes a sample. Called by the gateway's timer.
    pub(crate) fn sample(&self, now: Timestamp) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(read_sample(now));
    }

    /// CPU, memory, disk and network over the last `window_seconds`.
    #[must_use]
    pub fn resources(&self, now: Timestamp, window_seconds: u64) -> Value {
        let newest = read_sample(now);
        let since = now
            .as_second()
            .saturating_sub(i64::try_from(window_seconds).unwrap_or(i64::MAX));
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = samples
            .iter()
            .find(|sample| sample.at >= since)
            .copied()
            .unwrap_or(newest);
        drop(samples);
        let seconds = newest.at.saturating_sub(oldest.at);
        let rate = |new: u64, old: u64| match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => new.saturating_sub(old) / seconds,
            _ => 0,
        };
        json!({
            "cpu": {"percent": cpu_percent(oldest, newest), "load_average": load_average()},
            "memory": {
                "total_bytes": newest.memory_total,
                "used_bytes": newest.memory_used,
                "percent": percent(newest.memory_used, newest.memory_total),
            },
            "disk_io": {
                "read_bytes_per_second": rate(newest.disk_read, oldest.disk_read),
                "written_bytes_per_second": rate(newest.disk_written, oldest.disk_written),
            },
            "network_io": {
                "received_bytes_per_second": rate(newest.net_received, oldest.net_received),
                "sent_bytes_per_second": rate(newest.net_sent, oldest.net_sent),
            },
            "observed_seconds": seconds,
        })
    }
}

impl Gateway {
    /// The document of `/health`.
    pub async fn health_report(&self) -> Value {
        let now = self.clock.now();
        let (problems, _) = self.policy.diagnostics();
        let approvals = self.store.pending_approvals(None).await;
        let mut services = vec![
            service("gateway", "healthy", "accepting calls", now),
            service("audit", "healthy", "writing", now),
        ];
        if self.stopping.is_cancelled() {
            services[0] = service("gateway", "degraded", "stopping", now);
        }
        // Asked for what it knows already: a monitor must not cost a write to the disk.
        if let Some(cause) = self.audit.stopped() {
            services[1] = service("audit", "critical", &cause, now);
        } else if self.audit.queued() > MAX_QUEUED / 2 {
            let queued = self.audit.queued();
            let details = format!("{queued} of {MAX_QUEUED} entries wait for the disk");
            services[1] = service("audit", "degraded", &details, now);
        }
        services.push(match &approvals {
            Ok(_) => service("state", "healthy", "database answers", now),
            Err(error) => service("state", "critical", &error.to_string(), now),
        });
        services.push(match problems.first() {
            None => service(
                "policy",
                "healthy",
                &format!("generation {}", self.policy.mark().0),
                now,
            ),
            Some(problem) => service("policy", "degraded", &problem.to_string(), now),
        });
        let (status, details) = self.sandbox.health();
        services.push(service("sandbox", status, &details, now));
        let status = overall(&services);
        let sessions = self.sessions.all();
        json!({
            "status": status,
            "services": services,
            "resources": self.resource_summary(now),
            "agent_metrics": {
                "active_sessions": sessions.len(),
                "total_invocations": sessions.iter().map(|session| session.call_count()).sum::<u64>(),
                "approval_queue_depth": approvals.unwrap_or(0),
                "dead_letter_queue_depth": 0,
                "comms_queue_depth": 0,
            },
            "generated_at": now,
        })
    }

    fn resource_summary(&self, now: Timestamp) -> Value {
        let resources = self.health.resources(now, 60);
        let (total, available) = disk(&self.layout.data_dir);
        json!({
            "cpu_percent": resources["cpu"]["percent"],
            "memory_total_bytes": resources["memory"]["total_bytes"],
            "memory_used_bytes": resources["memory"]["used_bytes"],
            "memory_percent": resources["memory"]["percent"],
            "disk_total_bytes": total,
            "disk_available_bytes": available,
            "disk_percent": percent(total.saturating_sub(available), total),
            "load_average_1m": resources["cpu"]["load_average"][0],
            "load_average_5m": resources["cpu"]["load_average"][1],
            "load_average_15m": resources["cpu"]["load_average"][2],
        })
    }

    /// How many requests wait in a state, for gauges.
    pub(crate) async fn refresh_gauges(&self) {
        if let Ok(pending) = self.store.pending_approvals(None).await {
            let pending = usize::try_from(pending).unwrap_or(usize::MAX);
            metrics::gauge!("kruxos_approvals_pending").set(gauge(pending));
        }
        metrics::gauge!("kruxos_sessions_active").set(gauge(self.sessions.all().len()));
        metrics::gauge!("kruxos_sandbox_programs_running").set(gauge(self.boxes.running()));
        self.sandbox.refresh_counters();
    }
}

fn gauge(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn service(name: &str, status: &str, details: &str, now: Timestamp) -> Value {
    json!({"name": name, "status": status, "latency_ms": 0, "details": details, "checked_at": now})
}

/// The gateway cannot work without audit and state; anything else only degrades it.
fn overall(services: &[Value]) -> &'static str {
    let any = |status: &str| services.iter().any(|service| service["status"] == status);
    if any("critical") {
        "critical"
    } else if any("degraded") {
        "degraded"
    } else {
        "healthy"
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

fn cpu_percent(old: Sample, new: Sample) -> u64 {
    percent(
        new.cpu_busy.saturating_sub(old.cpu_busy),
        new.cpu_total.saturating_sub(old.cpu_total),
    )
}

fn disk(path: &Path) -> (u64, u64) {
    match rustix::fs::statvfs(path) {
        Ok(stat) => (
            stat.f_blocks.saturating_mul(stat.f_frsize),
            stat.f_bavail.saturating_mul(stat.f_frsize),
        ),
        Err(_) => (0, 0),
    }
}

fn load_average() -> Vec<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut loads: Vec<f64> = text
        .split(' ')
        .take(3)
        .filter_map(|part| part.parse().ok())
        .collect();
    loads.resize(3, 0.0);
    loads
}

/// A file of `/proc` that is missing (another kernel, a container) reads as zeros.
fn read_sample(now: Timestamp) -> Sample {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let numbers = |line: &str| -> Vec<u64> {
        line.split_whitespace()
            .filter_map(|w| w.parse().ok())
            .collect()
    };
    let mut sample = Sample {
        at: now.as_second(),
        ..Sample::default()
    };
    if let Some(line) = read("/proc/stat").lines().next() {
        let times = numbers(line);
        sample.cpu_total = times.iter().take(8).sum();
        // proc(5): the fourth and fifth columns are idle and iowait.
        let idle: u64 = times.iter().skip(3).take(2).sum();
        sample.cpu_busy = sample.cpu_total.saturating_sub(idle);
    }
    let memory = read("/proc/meminfo");
    let kilobytes = |key: &str| {
        memory
            .lines()
            .find(|line| line.starts_with(key))
            .and_then(|line| numbers(line).first().copied())
            .unwrap_or(0)
    };
    sample.memory_total = kilobytes("MemTotal:") * 1024;
    sample.memory_used = sample
        .memory_total
        .saturating_sub(kilobytes("MemAvailable:") * 1024);
    for line in read("/proc/diskstats").lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let sectors = |index: usize| {
            fields
                .get(index)
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0)
        };
        // Kernel iostats.rst: sectors of 512 bytes read (6th) and written (10th column).
        sample.disk_read = sample
            .disk_read
            .saturating_add(sectors(5).saturating_mul(512));
        sample.disk_written = sample
            .disk_written
            .saturating_add(sectors(9).saturating_mul(512));
    }
    for line in read("/proc/net/dev").lines().skip(2) {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let counts = numbers(rest);
        sample.net_received = sample
            .net_received
            .saturating_add(counts.first().copied().unwrap_or(0));
        sample.net_sent = sample
            .net_sent
            .saturating_add(counts.get(8).copied().unwrap_or(0));
    }
    sample
}
