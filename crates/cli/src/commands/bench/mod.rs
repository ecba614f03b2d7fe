//! `bench`: N agents call a running gateway as fast as it answers, one call at a time each.

mod figures;
mod load;
mod place;

use super::{Cx, text};
use crate::args::{Bench, Transport};
use crate::failure::{Exit, Failure};
use figures::Figures;
use load::{Agent, Limit, Work};
use place::Crew;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Calls of each agent unless told otherwise.
const DEFAULT_CALLS: u64 = 1000;
/// User and system time in `/proc/PID/stat` count in ticks of 1/100 s: USER_HZ, the same on every
/// Linux that userland is built for (proc(5)).
const TICK: Duration = Duration::from_millis(10);

pub(super) async fn run(cx: &Cx<'_>, options: Bench) -> Result<(), Failure> {
    let inputs: Value = serde_json::from_str(&options.inputs)
        .map_err(|error| Failure::usage(format!("--inputs is not JSON: {error}")))?;
    if !inputs.is_object() {
        return Err(Failure::usage("--inputs is not a JSON object"));
    }
    let limit = match options.duration {
        Some(time) => Limit::Until(time),
        None => Limit::Calls(options.calls.unwrap_or(DEFAULT_CALLS)),
    };
    let crew = Crew::gather(cx, &options).await?;
    let work = Work::new(
        &crew.endpoint,
        options.transport,
        &options.capability,
        inputs,
    )?;
    let measured = tokio::select! {
        measured = measure(&crew, &work, limit) => measured,
        // The temporary agents go even when the run is cut short.
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted")),
    };
    crew.dismiss(cx).await;
    let report = report(&options, &crew, &measured?);
    if cx.out.json {
        cx.out.value(&report);
    } else {
        show(cx, &report);
    }
    // A run whose every call failed measured nothing.
    if report["calls"] == report["errors"] {
        Err(Failure::shown(Exit::Failed))
    } else {
        Ok(())
    }
}

struct Measured {
    figures: Figures,
    wall: Duration,
    cpu: Option<Duration>,
}

async fn measure(crew: &Crew, work: &Work, limit: Limit) -> Result<Measured, Failure> {
    let mut agents = Vec::new();
    for token in &crew.tokens {
        agents.push(Agent::connect(work, token).await?);
    }
    let before = crew.pid.and_then(cpu_time);
    let started = Instant::now();
    let running: Vec<_> = agents
        .into_iter()
        .map(|agent| tokio::spawn(agent.run(limit)))
        .collect();
    let mut figures = Figures::default();
    for one in running {
        let found = one
            .await
            .map_err(|error| Failure::failed(error.to_string()))??;
        figures.add(&found);
    }
    let wall = started.elapsed();
    let after = crew.pid.and_then(cpu_time);
    let cpu = after
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(Measured { figures, wall, cpu })
}

/// User plus system time of a process and all its threads.
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&stat).map(|ticks| TICK * ticks)
}

/// Fields 14 and 15 of `/proc/PID/stat`. The name in field 2 may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u32>);
    Some(times.next()?.ok()?.saturating_add(times.next()?.ok()?))
}

fn report(options: &Bench, crew: &Crew, measured: &Measured) -> Value {
    let figures = &measured.figures;
    let calls = figures.calls();
    let seconds = measured.wall.as_secs_f64();
    let per_second = if seconds > 0.0 {
        calls as f64 / seconds
    } else {
        0.0
    };
    let micros = |time: Duration| (time.as_secs_f64() * 1e7).round() / 10.0;
    let cpu = measured
        .cpu
        .filter(|_| calls > 0)
        .map(|cpu| (cpu.as_secs_f64() * 1e7 / calls as f64).round() / 10.0);
    json!({
        "endpoint": crew.endpoint,
        "transport": match options.transport { Transport::Ws => "ws", Transport::Http => "http" },
        "capability": options.capability,
        "agents": crew.tokens.len(),
        "calls": calls,
        "errors": figures.errors(),
        "seconds": (seconds * 1000.0).round() / 1000.0,
        "calls_per_second": per_second.round() as u64,
        "latency_us": {
            "p50": micros(figures.percentile(0.50)),
            "p90": micros(figures.percentile(0.90)),
            "p99": micros(figures.percentile(0.99)),
            "max": micros(figures.max()),
        },
        "gateway_cpu_us_per_call": cpu,
    })
}

fn show(cx: &Cx<'_>, report: &Value) {
    let latency = &report["latency_us"];
    cx.out.line(&format!(
        "{} over {}, {} agents: {} calls/s ({} calls in {} s, {} errors)",
        text(&report["capability"]),
        text(&report["transport"]),
        report["agents"],
        report["calls_per_second"],
        report["calls"],
        report["seconds"],
        report["errors"],
    ));
    cx.out.line(&format!(
        "latency µs: p50 {}  p90 {}  p99 {}  max {}",
        latency["p50"], latency["p90"], latency["p99"], latency["max"]
    ));
    let cpu = super::text_or(&report["gateway_cpu_us_per_call"], "unknown");
    cx.out.line(&format!("gateway CPU µs per call: {cpu}"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_process_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert!(cpu_time(std::process::id()).is_some());
    }
}
