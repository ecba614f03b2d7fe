use super::build::kind_number;
use crate::entry::{Kind, Status};
use crate::log::AuditError;
use crate::recovery::ChainBreak;
use crate::verify::Report;
use kruxos_types::Timestamp;
use rusqlite::Connection;
use serde::Serialize;
use std::collections::BTreeMap;

/// What `kruxos audit stats` shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    /// RFC 3339; `null`: since the log began.
    pub from: Option<String>,
    pub entries: u64,
    pub by_kind: BTreeMap<String, u64>,
    /// Of all entries but intents, which have none of their own yet.
    pub by_status: BTreeMap<String, u64>,
    /// By the number of calls, most first.
    pub capabilities: Vec<CapabilityStats>,
    pub chain: ChainState,
}

/// The calls of one capability. Latencies are microseconds; `null` where no call had one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct CapabilityStats {
    pub capability: String,
    pub calls: u64,
    pub by_status: BTreeMap<String, u64>,
    pub p50_us: Option<u64>,
    pub p95_us: Option<u64>,
    pub p99_us: Option<u64>,
}

/// What verification of the whole log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct ChainState {
    pub ok: bool,
    pub entries: u64,
    pub files: u64,
    pub breaks: Vec<ChainBreak>,
}

pub(super) fn run(
    connection: &Connection,
    from: Option<Timestamp>,
    chain: &Report,
) -> Result<Stats, AuditError> {
    let since = from.map_or(i64::MIN, Timestamp::as_microsecond);
    let mut by_kind = BTreeMap::new();
    let mut by_status = BTreeMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT kind, status, count(*) FROM entry WHERE at >= ?1 GROUP BY kind, status",
    )?;
    let mut rows = statement.query([since])?;
    let mut entries = 0;
    while let Some(row) = rows.next()? {
        let (kind, status, count): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let count = count.unsigned_abs();
        entries += count;
        *by_kind.entry(kind_name(kind)).or_insert(0) += count;
        if kind != kind_number(Kind::Intent) {
            *by_status.entry(status_name(status)).or_insert(0) += count;
        }
    }
    Ok(Stats {
        from: from.map(crate::codec::timestamp_text),
        entries,
        by_kind,
        by_status,
        capabilities: capabilities(connection, since)?,
        chain: ChainState {
            ok: chain.ok,
            entries: chain.entries,
            files: chain.files,
            breaks: chain.breaks.clone(),
        },
    })
}

fn capabilities(connection: &Connection, since: i64) -> Result<Vec<CapabilityStats>, AuditError> {
    let mut statement = connection.prepare_cached(
        "SELECT name.text, status, duration_us FROM entry JOIN name ON name.id = capability \
         WHERE at >= ?1 AND kind = ?2 AND capability IS NOT NULL",
    )?;
    let mut rows = statement.query((since, kind_number(Kind::Call)))?;
    let mut calls: BTreeMap<String, (BTreeMap<String, u64>, Vec<u64>)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (capability, status, duration): (String, i64, Option<i64>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let (statuses, durations) = calls.entry(capability).or_default();
        *statuses.entry(status_name(status)).or_insert(0) += 1;
        durations.extend(duration.map(i64::unsigned_abs));
    }
    let mut all: Vec<CapabilityStats> = calls
        .into_iter()
        .map(|(capability, (by_status, mut durations))| {
            durations.sort_unstable();
            let at = |percent| percentile(&durations, percent);
            CapabilityStats {
                capability,
                calls: by_status.values().sum(),
                by_status,
                p50_us: at(50),
                p95_us: at(95),
                p99_us: at(99),
            }
        })
        .collect();
    all.sort_by(|a, b| {
        b.calls
            .cmp(&a.calls)
            .then_with(|| a.capability.cmp(&b.capability))
    });
    Ok(all)
}

/// The nearest-rank percentile of sorted numbers.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

fn kind_name(number: i64) -> String {
    let kind = usize::try_from(number)
        .ok()
        .and_then(|at| Kind::ALL.get(at));
    kind.map_or("unknown", |kind| kind.as_str()).to_owned()
}

fn status_name(number: i64) -> String {
    let status = usize::try_from(number)
        .ok()
        .and_then(|at| Status::ALL.get(at));
    status
        .map_or("unknown", |status| status.as_str())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let numbers: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&numbers, 50), Some(100));
        assert_eq!(percentile(&numbers, 95), Some(190));
        assert_eq!(percentile(&numbers, 99), Some(198));
        assert_eq!(percentile(&[7], 50), Some(7));
        assert_eq!(percentile(&[], 99), None);
    }

    #[test]
    fn stored_numbers_are_places_in_the_lists() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind_number(kind), at as i64);
        }
        for (at, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(super::super::build::status_number(status), at as i64);
        }
    }
}
