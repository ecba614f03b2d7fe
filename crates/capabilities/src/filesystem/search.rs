use super::fault::type_name;
use super::io::{hash_file, modified, size_of};
use super::list::directory_fault;
use super::pattern::Glob;
use super::place::Place;
use super::roots::show_name;
use super::walk::{Budget, MAX_HELD, Next, Walk};
use super::{Scope, fault};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use rustix::fs::FileType;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// Matches answered at most, whatever is asked for.
const MAX_RESULTS: usize = 10_000;
/// Groups told apart; what belongs to no known group beyond that is left out.
const MAX_GROUPS: usize = 100_000;
/// Files remembered to compare their content.
const MAX_CANDIDATES: usize = 200_000;
/// Groups of equal files and skipped large files answered.
const MAX_DUPLICATES: usize = 100;
/// Paths named in one group of equal files.
const MAX_TWINS: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    pattern: String,
    #[serde(default = "default_results")]
    max_results: usize,
    #[serde(default)]
    include_hidden: bool,
    aggregate: Option<Aggregate>,
    #[serde(default)]
    include_hash: bool,
    #[serde(default = "default_hash_bytes")]
    max_hash_bytes: u64,
}

fn default_results() -> usize {
    100
}

fn default_hash_bytes() -> u64 {
    10 << 20
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Aggregate {
    by: GroupBy,
    #[serde(default)]
    metrics: Vec<Metric>,
    top: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GroupBy {
    Extension,
    Directory,
    TopDirectory,
    Type,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Metric {
    Count,
    Bytes,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let glob = Glob::new(&args.pattern)?;
    if args.max_results == 0 || args.max_results > MAX_RESULTS {
        return Err(CallError::invalid_input(
            "max_results",
            "out of range",
            "1 to 10000",
        ));
    }
    let place = scope.files.roots.locate("path", &args.path)?;
    let start = place.open_directory().map_err(|errno| {
        let error = directory_fault(&place, errno);
        if error.error_type() == ErrorType::NotADirectory {
            return fault::bad_path(
                &args.path,
                "it is not a directory",
                "a directory to search in",
            );
        }
        error
    })?;
    let mut walk = Walk::new(start, args.include_hidden);
    let mut found = Collected::new(&args);
    walk.each(|entry| {
        if glob.matches(entry.rel) {
            found.take(entry);
        }
        Next::On
    });
    let total = found.total;
    let mut truncated = walk.cut || total > args.max_results as u64 || found.candidates_cut;
    let groups = found.groups(&args);
    let mut sums = HashMap::new();
    let (duplicates, skipped) = if args.include_hash {
        let compared = compare(&walk, &found.candidates, &args, &place, &mut sums);
        truncated |= compared.cut;
        (Some(compared.groups), Some(compared.skipped))
    } else {
        (None, None)
    };
    let matches = found.matches(&walk, &args, &place, &sums);
    truncated |= args.include_hash && walk.is_late();
    let mut answer = object([
        ("matches", matches.into()),
        ("total_matches", total.into()),
        ("truncated", truncated.into()),
    ]);
    if let Some(fields) = answer.as_object_mut() {
        if let Some((groups, cut)) = groups {
            fields.insert("groups".to_owned(), groups);
            fields.insert("groups_truncated".to_owned(), cut.into());
        }
        if let (Some(duplicates), Some(skipped)) = (duplicates, skipped) {
            fields.insert("duplicate_groups".to_owned(), duplicates);
            fields.insert("large_files_skipped".to_owned(), skipped);
        }
    }
    Ok(answer)
}

/// What the walk collects: no more of it in memory than can be answered.
struct Collected {
    /// The first matches by path.
    first: BinaryHeap<Vec<u8>>,
    max: usize,
    total: u64,
    by: Option<GroupBy>,
    /// Count and bytes.
    groups: HashMap<String, (u64, u64)>,
    groups_room: Budget,
    groups_cut: bool,
    hash: bool,
    /// Size and path of files whose content may be compared.
    candidates: Vec<(u64, Vec<u8>)>,
    candidates_room: Budget,
    candidates_cut: bool,
}

impl Collected {
    fn new(args: &Args) -> Collected {
        Collected {
            first: BinaryHeap::new(),
            max: args.max_results,
            total: 0,
            by: args.aggregate.as_ref().map(|aggregate| aggregate.by),
            groups: HashMap::new(),
            groups_room: Budget::new(MAX_HELD),
            groups_cut: false,
            hash: args.include_hash,
            candidates: Vec::new(),
            candidates_room: Budget::new(MAX_HELD),
            candidates_cut: false,
        }
    }

    fn take(&mut self, entry: &super::walk::Found<'_>) {
        self.total += 1;
        self.first.push(entry.rel.to_vec());
        if self.first.len() > self.max {
            self.first.pop();
        }
        if self.by.is_none() && !self.hash {
            return;
        }
        let is_file = entry.kind == FileType::RegularFile;
        let size = if is_file {
            entry.stat().map_or(0, |stat| size_of(&stat))
        } else {
            0
        };
        if let Some(by) = self.by
            && (is_file || by == GroupBy::Type)
        {
            self.count(group_key(by, entry.rel, entry.kind), size);
        }
        // Empty files are all alike and waste nothing.
        if self.hash && is_file && size > 0 {
            if self.candidates.len() < MAX_CANDIDATES && self.candidates_room.take(entry.rel) {
                self.candidates.push((size, entry.rel.to_vec()));
            } else {
                self.candidates_cut = true;
            }
        }
    }

    fn count(&mut self, key: String, size: u64) {
        if !self.groups.contains_key(&key)
            && (self.groups.len() >= MAX_GROUPS || !self.groups_room.take(key.as_bytes()))
        {
            self.groups_cut = true;
            return;
        }
        let group = self.groups.entry(key).or_default();
        group.0 += 1;
        group.1 += size;
    }

    /// The largest groups by the first metric, and whether some are missing.
    fn groups(&self, args: &Args) -> Option<(Value, bool)> {
        const DEFAULT_TOP: usize = 20;
        let aggregate = args.aggregate.as_ref()?;
        let top = aggregate.top.unwrap_or(DEFAULT_TOP).clamp(1, 1_000);
        let by_bytes = aggregate.metrics.first() == Some(&Metric::Bytes);
        let wants = |metric| aggregate.metrics.is_empty() || aggregate.metrics.contains(&metric);
        let mut sorted: Vec<(&String, &(u64, u64))> = self.groups.iter().collect();
        sorted.sort_by(|(key, one), (other_key, other)| {
            let weigh = |group: &(u64, u64)| if by_bytes { group.1 } else { group.0 };
            weigh(other)
                .cmp(&weigh(one))
                .then_with(|| key.cmp(other_key))
        });
        let cut = self.groups_cut || sorted.len() > top;
        let rows = sorted.into_iter().take(top).map(|(key, (count, bytes))| {
            let mut row = Map::new();
            row.insert("key".to_owned(), key.as_str().into());
            if wants(Metric::Count) {
                row.insert("count".to_owned(), (*count).into());
            }
            if wants(Metric::Bytes) {
                row.insert("bytes".to_owned(), (*bytes).into());
            }
            Value::Object(row)
        });
        Some((rows.collect(), cut))
    }

    fn matches(
        self,
        walk: &Walk,
        args: &Args,
        place: &Place<'_>,
        sums: &HashMap<Vec<u8>, String>,
    ) -> Vec<Value> {
        let describe = |rel: Vec<u8>| {
            let stat = walk.stat(&rel)?;
            let (shown, lossy) = show_name(&rel);
            let mut entry = json!({
                "path": join(place, &shown),
                "type": type_name(FileType::from_raw_mode(stat.st_mode)),
                "size": size_of(&stat),
                "modified": modified(&stat).to_string(),
            });
            let fields = entry.as_object_mut()?;
            if lossy {
                fields.insert(
                    "note".to_owned(),
                    "the name is not UTF-8 and cannot be opened as shown".into(),
                );
            }
            if args.include_hash
                && let Some(sum) = sums
                    .get(&rel)
                    .cloned()
                    .or_else(|| hash(walk, &rel, args.max_hash_bytes))
            {
                fields.insert("sha256".to_owned(), sum.into());
            }
            Some(entry)
        };
        self.first
            .into_sorted_vec()
            .into_iter()
            .filter_map(describe)
            .collect()
    }
}

/// A path below the searched directory as the agent sees it.
pub(super) fn join(place: &Place<'_>, rel: &str) -> String {
    if rel.is_empty() {
        place.show()
    } else {
        format!("{}/{rel}", place.show())
    }
}

/// The lower-case extension of a raw path, with its dot; `(none)` without one.
pub(super) fn extension(rel: &[u8]) -> String {
    let name = rel.rsplit(|byte| *byte == b'/').next().unwrap_or(rel);
    match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 && dot + 1 < name.len() => {
            String::from_utf8_lossy(name.get(dot..).unwrap_or_default()).to_lowercase()
        }
        _ => "(none)".to_owned(),
    }
}

/// The directory of a raw path below the searched one; `.` for that itself.
pub(super) fn directory(rel: &[u8]) -> String {
    match rel.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => show_name(rel.get(..slash).unwrap_or_default()).0,
        None => ".".to_owned(),
    }
}

fn group_key(by: GroupBy, rel: &[u8], kind: FileType) -> String {
    match by {
        GroupBy::Extension => extension(rel),
        GroupBy::Directory => directory(rel),
        GroupBy::TopDirectory => match rel.iter().position(|byte| *byte == b'/') {
            Some(slash) => show_name(rel.get(..slash).unwrap_or_default()).0,
            None => ".".to_owned(),
        },
        GroupBy::Type => type_name(kind).to_owned(),
    }
}

fn hash(walk: &Walk, rel: &[u8], limit: u64) -> Option<String> {
    let (file, _) = walk.open_file(rel)?;
    hash_file(&file, limit, Some(walk.deadline()))
        .ok()
        .flatten()
}

/// Files of equal content.
struct Compared {
    groups: Value,
    skipped: Value,
    cut: bool,
}

/// Hashes only files that share their size with another one.
fn compare(
    walk: &Walk,
    candidates: &[(u64, Vec<u8>)],
    args: &Args,
    place: &Place<'_>,
    sums: &mut HashMap<Vec<u8>, String>,
) -> Compared {
    let mut by_size: BTreeMap<u64, Vec<&Vec<u8>>> = BTreeMap::new();
    for (size, rel) in candidates {
        by_size.entry(*size).or_default().push(rel);
    }
    let (mut groups, mut skipped, mut cut) = (Vec::new(), Vec::new(), false);
    // The largest first: there is most to gain, should time run out.
    for (size, files) in by_size
        .into_iter()
        .rev()
        .filter(|(_, files)| files.len() > 1)
    {
        if size > args.max_hash_bytes {
            let room = MAX_DUPLICATES - skipped.len();
            cut |= files.len() > room;
            skipped.extend(
                files
                    .iter()
                    .take(room)
                    .map(|rel| json!({ "path": join(place, &show_name(rel).0), "size": size })),
            );
            continue;
        }
        let mut by_sum: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut inodes = std::collections::HashSet::new();
        for rel in files {
            if walk.is_late() {
                cut = true;
                break;
            }
            let Some((file, stat)) = walk.open_file(rel) else {
                continue;
            };
            // A hard link is the same file, not a second copy.
            if !inodes.insert((stat.st_dev, stat.st_ino)) {
                continue;
            }
            let Ok(Some(sum)) = hash_file(&file, args.max_hash_bytes, Some(walk.deadline())) else {
                continue;
            };
            sums.insert(rel.clone(), sum.clone());
            by_sum
                .entry(sum)
                .or_default()
                .push(join(place, &show_name(rel).0));
        }
        for (sum, mut paths) in by_sum.into_iter().filter(|(_, paths)| paths.len() > 1) {
            paths.sort();
            let count = paths.len() as u64;
            let wasted = size.saturating_mul(count - 1);
            paths.truncate(MAX_TWINS);
            groups.push((wasted, json!({
                "sha256": sum, "size": size, "count": count, "wasted_bytes": wasted, "paths": paths,
            })));
        }
    }
    cut |= groups.len() > MAX_DUPLICATES;
    groups.sort_by(|(one, _), (other, _)| other.cmp(one));
    groups.truncate(MAX_DUPLICATES);
    Compared {
        groups: groups.into_iter().map(|(_, group)| group).collect(),
        skipped: skipped.into(),
        cut,
    }
}
