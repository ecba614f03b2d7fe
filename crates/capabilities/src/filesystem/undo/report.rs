//! What an undo did or would do, and a session's changes as one diff.

use super::super::io::read_whole;
use super::super::preview::visible;
use super::super::text::{quote, unified_diff};
use super::super::{Files, fault};
use super::apply::{Stopped, Undoing};
use super::plan::{Step, Verdict, plan};
use super::record::{Change, Kept, Key, Kind, Story};
use super::view::{Content, Thing, View, look_now};
use super::{store, tree};
use kruxos_types::{CallError, ErrorType};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Changes that a report names; the newest come first.
pub const MAX_ROWS: usize = 1_000;
/// Bytes of diff in a report.
pub const MAX_DIFF: usize = 512 << 10;
/// Larger files are told by their sizes, in bytes.
const MAX_COMPARED: u64 = 4 << 20;
/// Time that the diff of all files together takes.
const DIFF_TIME: Duration = Duration::from_secs(20);
/// Paths named in an error.
const MAX_NAMED: usize = 50;

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoOptions {
    /// Whose changes.
    pub session: String,
    /// The journal in which the undo is recorded, so that it can be undone; none for a look.
    pub recorded_as: Option<String>,
    /// Leave what changed since and undo the rest.
    pub skip_changed: bool,
    /// The diff from before the session to now, and not from now to before.
    pub forward: bool,
}

/// One path of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoRow {
    /// Of the record in the session's journal.
    pub seq: u64,
    /// What changed it.
    pub capability: String,
    /// As the agent sees it.
    pub path: String,
    /// `created`, `replaced`, `appended`, `removed` or `moved`.
    pub change: String,
    /// `undo`, `already`, `refused`, `not_kept`.
    pub verdict: String,
    /// Why it is refused or not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an undo did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct UndoReport {
    pub session: String,
    /// Whether anything was done.
    pub applied: bool,
    /// The journal of the undo itself.
    pub recorded_as: Option<String>,
    /// The last change first.
    pub changes: Vec<UndoRow>,
    /// Changes that are not named in `changes`.
    pub more: u64,
    pub undo: u64,
    pub already: u64,
    pub refused: u64,
    pub not_kept: u64,
    /// Records that an earlier undo has taken back.
    pub undone: u64,
    /// The journal was full: later changes are not in it.
    pub incomplete: bool,
    pub diff: String,
}

/// Plans and, where it is to be recorded, applies an undo.
pub(crate) fn run(options: &UndoOptions, files: &Files) -> Result<UndoReport, CallError> {
    let fail = |errno: Errno| fault::from_errno(errno, "undo", &options.session);
    let unknown = || {
        let expected = "the id of a session that changed files, as kruxos session list shows it";
        CallError::invalid_input("session", "no changes are recorded of it", expected)
    };
    let _held = files.changing();
    let area = files.journal.area(files.trash.directory()).map_err(fail)?;
    let story = area
        .story(&options.session)
        .map_err(fail)?
        .ok_or_else(unknown)?;
    let mut view = View::new(files, area.clone());
    let steps = plan(&story, &mut view);
    let mut report = summary(&options.session, &story, &steps, files);
    report.diff = diff(&mut view, options.forward);
    let Some(recorded_as) = &options.recorded_as else {
        return Ok(report);
    };
    if report.refused + report.not_kept > 0 && !options.skip_changed {
        return Err(refusal(&report));
    }
    let mut undoing = Undoing {
        files,
        area,
        session: &options.session,
        recorded_as,
        stories: HashMap::new(),
    };
    let mut restored = 0;
    for (at, step) in steps.iter().enumerate() {
        restored += undoing.step(step).map_err(|stopped| {
            stopped_at(
                &stopped,
                steps.get(at..).unwrap_or_default(),
                restored,
                files,
            )
        })?;
    }
    report.applied = true;
    report.recorded_as = Some(recorded_as.clone());
    Ok(report)
}

fn summary(session: &str, story: &Story, steps: &[Step<'_>], files: &Files) -> UndoReport {
    let undone = story.records.iter().filter(|loaded| loaded.undone).count();
    let mut report = UndoReport {
        session: session.to_owned(),
        undone: undone as u64,
        incomplete: story.full,
        ..UndoReport::default()
    };
    for step in steps {
        for item in &step.items {
            let Some(change) = step.loaded.record.changes.get(item.index) else {
                continue;
            };
            let (count, verdict, reason) = match &item.verdict {
                Verdict::Undo(_) => (&mut report.undo, "undo", None),
                Verdict::Already => (&mut report.already, "already", None),
                Verdict::Refused(why) => (&mut report.refused, "refused", Some(why.clone())),
                Verdict::NotKept(why) => (&mut report.not_kept, "not_kept", Some(why.clone())),
            };
            *count += 1;
            if report.changes.len() >= MAX_ROWS {
                report.more += 1;
                continue;
            }
            report.changes.push(UndoRow {
                seq: step.loaded.record.seq,
                capability: step.loaded.record.capability.clone(),
                path: quote(&tree::show(files, &change.key)),
                change: kind_of(change).to_owned(),
                verdict: verdict.to_owned(),
                reason,
            });
        }
    }
    report
}

fn kind_of(change: &Change) -> &'static str {
    match (&change.kept, &change.before, &change.after) {
        (Kept::Moved(_), ..) => "moved",
        (Kept::Prefix, ..) => "appended",
        (_, None, _) => "created",
        (_, _, None) => "removed",
        _ => "replaced",
    }
}

fn refusal(report: &UndoReport) -> CallError {
    let named = report.changes.iter().filter(|row| row.reason.is_some());
    let rows: Vec<Value> = named
        .take(MAX_NAMED)
        .filter_map(|row| serde_json::to_value(row).ok())
        .collect();
    let count = report.refused + report.not_kept;
    CallError::new(ErrorType::ConflictError)
        .with("resource", report.session.clone())
        .with("refused", rows)
        .with("refused_count", count)
        .detail(format!(
            "{count} of its changes cannot be undone: something else changed the file since, or its earlier content is not kept. Nothing was undone; skip_changed leaves those and undoes the rest."
        ))
}

/// Half way: what is in `rest` was not done; the first of it stopped.
fn stopped_at(stopped: &Stopped, rest: &[Step<'_>], restored: usize, files: &Files) -> CallError {
    let path = |step: &Step<'_>, index: usize| {
        let change = step.loaded.record.changes.get(index);
        change.map(|change| quote(&tree::show(files, &change.key)))
    };
    let left = rest.iter().flat_map(|step| {
        let to_do = step
            .items
            .iter()
            .filter(|item| matches!(item.verdict, Verdict::Undo(_)));
        to_do.filter_map(|item| path(step, item.index))
    });
    let left: Vec<String> = left.collect();
    let at = rest
        .first()
        .and_then(|step| path(step, stopped.index))
        .unwrap_or_default();
    let count = left.len();
    CallError::new(ErrorType::ConflictError)
        .with("resource", at.clone())
        .with("path", at)
        .with("reason", stopped.why.clone())
        .with("restored_count", restored as u64)
        .with("not_restored", left.into_iter().take(MAX_NAMED).collect::<Vec<_>>())
        .with("not_restored_count", count as u64)
        .detail(format!(
            "The undo stopped there: {}. {restored} paths were restored before, {count} were not; the same undo, asked again, goes on.",
            stopped.why
        ))
}

/// One unified diff of all files that would change.
fn diff(view: &mut View<'_>, forward: bool) -> String {
    let until = Instant::now() + DIFF_TIME;
    let mut out = String::new();
    for (from, to) in view.moves() {
        let (from, to) = (tree::show(view.files, from), tree::show(view.files, to));
        let (from, to) = if forward { (to, from) } else { (from, to) };
        out.push_str(&format!(
            "rename directory {} to {}\n",
            quote(&from),
            quote(&to)
        ));
    }
    let pairs: Vec<(Key, Option<Thing>)> = view
        .said()
        .map(|(key, thing)| (key.clone(), thing.cloned()))
        .collect();
    let mut left = pairs.len();
    for (key, then) in pairs {
        let room = MAX_DIFF.saturating_sub(out.len());
        if room < 200 || Instant::now() > until {
            out.push_str(&format!("(and {left} more paths)\n"));
            break;
        }
        left -= 1;
        let at = view.now(&key).unwrap_or_else(|| key.clone());
        let Ok(now) = look_now(view.files, &at) else {
            continue;
        };
        let (old, new) = if forward {
            (&then, &now)
        } else {
            (&now, &then)
        };
        out.push_str(&one(view, &key, old.as_ref(), new.as_ref(), room));
    }
    out
}

fn one(
    view: &View<'_>,
    key: &Key,
    old: Option<&Thing>,
    new: Option<&Thing>,
    room: usize,
) -> String {
    let shown = tree::show(view.files, key);
    let mut out = String::new();
    if let (Some(old), Some(new)) = (old, new)
        && old.state.mode != new.state.mode
        && old.state.kind != Kind::Symlink
    {
        out.push_str(&format!(
            "mode of {} {:o} → {:o}\n",
            quote(&shown),
            old.state.mode,
            new.state.mode
        ));
    }
    let is_file = |thing: Option<&Thing>| thing.is_none_or(|thing| thing.state.kind == Kind::File);
    if !is_file(old) || !is_file(new) {
        if old.map(|old| (old.state.kind, &old.state.target))
            != new.map(|new| (new.state.kind, &new.state.target))
        {
            out.push_str(&format!(
                "{} {} → {}\n",
                quote(&shown),
                word(old),
                word(new)
            ));
        }
        return out;
    }
    let read = |thing: Option<&Thing>| match thing {
        None => Some(Vec::new()),
        Some(thing) => content(view, thing),
    };
    let header = match (old, new) {
        (None, Some(_)) => format!("new file {}\n", quote(&shown)),
        (Some(_), None) => format!("deleted file {}\n", quote(&shown)),
        _ => String::new(),
    };
    let text = |bytes: Option<Vec<u8>>| {
        bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|text| !text.contains('\0'))
    };
    let (before, after) = (read(old), read(new));
    if before.is_some() && before == after {
        out.push_str(&header);
        return out;
    }
    out.push_str(&header);
    match (text(before), text(after)) {
        (Some(before), Some(after)) => {
            out.push_str(&unified_diff(
                &visible(&before),
                &visible(&after),
                &shown,
                room,
            ));
        }
        _ => out.push_str(&format!(
            "{} {} → {}\n",
            quote(&shown),
            word(old),
            word(new)
        )),
    }
    out
}

fn word(thing: Option<&Thing>) -> String {
    match thing.map(|thing| &thing.state) {
        None => "(nothing)".to_owned(),
        Some(state) => match (state.kind, &state.target) {
            (Kind::File, _) => format!("(binary or large file of {} bytes)", state.size),
            (Kind::Directory, _) => "(directory)".to_owned(),
            (Kind::Symlink, Some(target)) => format!("(link to {})", quote(target)),
            (Kind::Symlink, None) => "(link)".to_owned(),
            (Kind::Other, _) => "(neither file, directory nor link)".to_owned(),
        },
    }
}

/// A file's content as far as it is small enough to compare.
fn content(view: &View<'_>, thing: &Thing) -> Option<Vec<u8>> {
    let (source, length) = match &thing.content {
        Content::Prefix(inner, length) => (inner.as_ref(), Some(*length)),
        other => (other, None),
    };
    let file = match source {
        Content::Here(key) => tree::slot(view.files, key).and_then(|slot| slot.open()),
        Content::Object(sha256) => store::open(&view.area.objects, sha256),
        Content::Trash(id) => view.files.trash.open_content(id),
        Content::Prefix(..) => {
            let inner = Thing {
                state: thing.state.clone(),
                content: source.clone(),
            };
            let mut bytes = content(view, &inner)?;
            bytes.truncate(usize::try_from(length?).ok()?);
            return Some(bytes);
        }
        Content::None => return None,
    };
    let mut bytes = read_whole(file.ok()?, thing.state.size, MAX_COMPARED).ok()??;
    if let Some(length) = length {
        bytes.truncate(usize::try_from(length).ok()?);
    }
    Some(bytes)
}
