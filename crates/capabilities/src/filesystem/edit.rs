use super::Scope;
use super::atomic::{self, Publish, Staged};
use super::fault;
use super::io::{read_whole, same_content, size_of};
use super::pattern::{Glob, check_length, regex};
use super::place::{Place, Slot, Spot};
use super::search::join;
use super::text::{sha256, unified_diff};
use super::undo::{self, Begun, Draft};
use super::walk::{Next, Walk};
use super::write::require_writable;
use kruxos_types::{CallError, ErrorType};
use regex::Regex;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};

const DO: &str = "edit";
/// Larger files are not edited, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// A file must not grow beyond this by its replacements, in bytes.
const MAX_RESULT: usize = 64 << 20;
/// Old and new content of one call together, in bytes: it is all held until everything is known.
const MAX_TOTAL: usize = 256 << 20;
/// Files looked at in one call.
const MAX_FILES: usize = 10_000;
/// Files changed in one call: each is made durable twice while the caller waits, and no other change
/// of the principal's files comes between.
const MAX_CHANGED: usize = 500;
/// Bytes of diff answered.
const MAX_DIFF: usize = 10_000;
/// Files left out that are named.
const MAX_SKIPPED: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    pattern: String,
    replace: String,
    include_glob: Option<String>,
    #[serde(default)]
    include_all: bool,
    #[serde(default)]
    regex: bool,
    expected_replacements: Option<u64>,
    #[serde(default)]
    replace_all: bool,
    #[serde(default)]
    dry_run: bool,
}

/// A file with matches, and what it becomes. It holds no handle: there may be thousands.
pub(super) struct Change<'r> {
    spot: Spot<'r>,
    stat: Stat,
    pub(super) shown: String,
    pub(super) old: String,
    pub(super) new: String,
    pub(super) count: u64,
}

/// Everything a call would do.
#[derive(Default)]
pub(super) struct Plan<'r> {
    pub(super) changes: Vec<Change<'r>>,
    skipped: Vec<Value>,
    skipped_more: u64,
    bytes: usize,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let plan = plan(&args, scope)?;
    let total: u64 = plan.changes.iter().map(|change| change.count).sum();
    check_count(&args, &plan, total)?;
    let changed: Vec<&Change<'_>> = plan
        .changes
        .iter()
        .filter(|change| change.old != change.new)
        .collect();
    if changed.len() > MAX_CHANGED {
        return Err(fault::exhausted(
            "files changed in one call",
            MAX_CHANGED as u64,
            changed.len() as u64,
        ));
    }
    let applied = if args.dry_run {
        "dry_run"
    } else if changed.is_empty() {
        "unchanged"
    } else {
        apply(&changed, scope)?;
        "applied"
    };
    let per_file: Vec<Value> = plan
        .changes
        .iter()
        .map(|change| json!({ "path": change.shown, "replacements": change.count }))
        .collect();
    let diff = diff_of(&changed, MAX_DIFF);
    let mut skipped = plan.skipped;
    if plan.skipped_more > 0 {
        skipped.push(
            json!({ "path": null, "reason": format!("and {} more files", plan.skipped_more) }),
        );
    }
    Ok(json!({
        "applied": applied,
        "total_replacements": total,
        "files_changed": changed.len(),
        "per_file": per_file,
        "skipped": skipped,
        "diff": diff,
    }))
}

/// The diffs of several files, at most `limit` bytes in all.
pub(super) fn diff_of(changed: &[&Change<'_>], limit: usize) -> String {
    let mut diff = String::new();
    for (index, change) in changed.iter().enumerate() {
        let room = limit.saturating_sub(diff.len());
        if room < 100 && index > 0 {
            diff.push_str(&format!("(and {} more files)\n", changed.len() - index));
            break;
        }
        diff.push_str(&unified_diff(&change.old, &change.new, &change.shown, room));
    }
    diff
}

/// Finds every replacement and writes nothing.
pub(super) fn plan<'a>(args: &Args, scope: &Scope<'a>) -> Result<Plan<'a>, CallError> {
    let finder = Finder::new(args)?;
    let place = scope.files.roots.locate("path", &args.path)?;
    let wants_tree = args.include_glob.is_some() || args.include_all;
    let mut plan = Plan::default();
    match place.open_directory() {
        Ok(start) if wants_tree => plan_tree(args, scope, &place, start, &finder, &mut plan)?,
        Ok(_) => {
            let expected = "a file; or a directory together with include_glob or include_all";
            return Err(fault::bad_path(&args.path, "it is a directory", expected));
        }
        Err(Errno::NOTDIR) if wants_tree && place.open_file(DO).is_ok() => {
            let expected = "a directory, or a file without include_glob and include_all";
            return Err(fault::bad_path(&args.path, "it is a file", expected));
        }
        Err(Errno::NOTDIR) => {
            if let Some(skip) = plan_file(place, &finder, &mut plan)? {
                return Err(fault::bad_path(
                    &args.path,
                    skip,
                    "a UTF-8 text file of at most 16 MiB",
                ));
            }
        }
        Err(errno) => return Err(place.fault(errno, DO)),
    }
    Ok(plan)
}

fn plan_tree<'a>(
    args: &Args,
    scope: &Scope<'a>,
    place: &Place<'a>,
    start: rustix::fd::OwnedFd,
    finder: &Finder<'_>,
    plan: &mut Plan<'a>,
) -> Result<(), CallError> {
    let glob = args.include_glob.as_deref().map(Glob::new).transpose()?;
    let mut walk = Walk::new(start, false);
    let mut found: Vec<String> = Vec::new();
    let mut too_many = false;
    walk.each(|entry| {
        let wanted = entry.kind == FileType::RegularFile
            && (args.include_all || glob.as_ref().is_some_and(|glob| glob.matches(entry.rel)));
        // A name that is not UTF-8 cannot be named in the answer, so it is not edited either.
        if let (true, Ok(rel)) = (wanted, std::str::from_utf8(entry.rel)) {
            found.push(join(place, rel));
        }
        too_many = found.len() > MAX_FILES;
        if too_many { Next::Stop } else { Next::On }
    });
    if too_many || walk.cut {
        return Err(
            fault::exhausted("files in one edit", MAX_FILES as u64, found.len() as u64).detail(
                "Nothing was written; choose a smaller directory or a narrower include_glob.",
            ),
        );
    }
    found.sort();
    for path in found {
        let file = scope.files.roots.locate("path", &path)?;
        if let Some(reason) = plan_file(file, finder, plan)? {
            if plan.skipped.len() < MAX_SKIPPED {
                plan.skipped.push(json!({ "path": path, "reason": reason }));
            } else {
                plan.skipped_more += 1;
            }
        }
    }
    Ok(())
}

/// Adds a file's change to the plan; answers why it is left out.
fn plan_file<'a>(
    place: Place<'a>,
    finder: &Finder<'_>,
    plan: &mut Plan<'a>,
) -> Result<Option<&'static str>, CallError> {
    let shown = place.show();
    let slot = place
        .target_slot()
        .map_err(|(errno, place)| place.fault(errno, DO))?;
    let file = slot.open().map_err(|errno| slot.fault(errno, DO))?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| slot.fault(errno, DO))?;
    slot.place.require_regular(&stat, DO)?;
    let read =
        read_whole(&file, size_of(&stat), MAX_FILE).map_err(|errno| slot.fault(errno, DO))?;
    let Some(bytes) = read else {
        return Ok(Some("it is larger than 16 MiB"));
    };
    if bytes.contains(&0) {
        return Ok(Some("it is binary"));
    }
    let Ok(old) = String::from_utf8(bytes) else {
        return Ok(Some("it is not UTF-8 text"));
    };
    let (new, count) = finder.replace(&old)?;
    if count == 0 {
        return Ok(None);
    }
    plan.bytes += old.len() + new.len();
    if plan.bytes > MAX_TOTAL {
        return Err(fault::exhausted(
            "bytes in one edit",
            MAX_TOTAL as u64,
            plan.bytes as u64,
        ));
    }
    let spot = slot
        .leave()
        .map_err(|errno| fault::from_errno(errno, DO, &shown))?;
    plan.changes.push(Change {
        spot,
        stat,
        shown,
        old,
        new,
        count,
    });
    Ok(None)
}

/// What to look for and what to put there.
enum Finder<'a> {
    Literal(&'a str, &'a str),
    Regex(Regex, &'a str),
}

impl<'a> Finder<'a> {
    fn new(args: &'a Args) -> Result<Finder<'a>, CallError> {
        if args.regex {
            return Ok(Finder::Regex(regex(&args.pattern)?, &args.replace));
        }
        check_length(&args.pattern)?;
        Ok(Finder::Literal(&args.pattern, &args.replace))
    }

    /// The text after replacing every match, and how many there were.
    fn replace(&self, text: &str) -> Result<(String, u64), CallError> {
        let mut new = String::with_capacity(text.len());
        let (mut last, mut count) = (0, 0);
        let mut put = |from: usize, to: usize, write: &dyn Fn(&mut String)| {
            new.push_str(text.get(last..from).unwrap_or_default());
            write(&mut new);
            last = to;
            count += 1;
            if new.len() > MAX_RESULT {
                return Err(fault::exhausted(
                    "bytes of an edited file",
                    MAX_RESULT as u64,
                    new.len() as u64,
                ));
            }
            Ok(())
        };
        match self {
            Finder::Literal(pattern, with) => {
                for (at, found) in text.match_indices(pattern) {
                    put(at, at + found.len(), &|new| new.push_str(with))?;
                }
            }
            Finder::Regex(regex, with) => {
                for found in regex.captures_iter(text) {
                    let Some(whole) = found.get(0) else { continue };
                    put(whole.start(), whole.end(), &|new| found.expand(with, new))?;
                }
            }
        }
        new.push_str(text.get(last..).unwrap_or_default());
        Ok((new, count))
    }
}

/// The guard: nothing is written unless there are as many matches as the caller thinks.
fn check_count(args: &Args, plan: &Plan<'_>, found: u64) -> Result<(), CallError> {
    /// Files named in the error.
    const MAX_NAMED: usize = 20;
    let (fits, expected) = match (args.expected_replacements, args.replace_all) {
        (Some(expected), _) => (found == expected, expected.to_string()),
        (None, true) => (found > 0, "at least 1".to_owned()),
        (None, false) => (found == 1, "exactly 1".to_owned()),
    };
    if fits {
        return Ok(());
    }
    let per_file: Vec<Value> = plan
        .changes
        .iter()
        .take(MAX_NAMED)
        .map(|change| json!({ "path": change.shown, "matches": change.count }))
        .collect();
    Err(fault::of(ErrorType::MatchCountMismatch, &args.path)
        .with("expected", expected)
        .with("found", found)
        .with("per_file", per_file)
        .detail("Nothing was written."))
}

/// New content of one file, durable under its temporary name; removed again unless it was put in
/// place. Like the change it holds no handle.
struct Ready<'c, 'r> {
    change: &'c Change<'r>,
    temp: Option<String>,
    after: undo::State,
}

impl<'c, 'r> Ready<'c, 'r> {
    fn write(change: &'c Change<'r>, draft: &mut Draft<'_>) -> Result<Ready<'c, 'r>, CallError> {
        let slot = change.slot()?;
        let fail = |errno| slot.fault(errno, DO);
        require_writable(&slot, &change.stat)?;
        draft.around(&slot).map_err(fail)?;
        let staged = Staged::with_content(&slot.dir, Some(&change.stat), change.new.as_bytes())
            .map_err(fail)?;
        let after = staged.state(&sha256(change.new.as_bytes())).map_err(fail)?;
        let temp = Some(staged.leave());
        Ok(Ready {
            change,
            temp,
            after,
        })
    }

    /// Keeps the earlier content, if the file is as it was read.
    fn record(&self, draft: &mut Draft<'_>) -> Result<(), CallError> {
        let slot = self.change.slot()?;
        let stat = self.change.unchanged(&slot)?;
        draft
            .replace(&slot, Some(&stat), Some(self.after.clone()))
            .map_err(|errno| slot.fault(errno, DO))
    }
}

impl Drop for Ready<'_, '_> {
    fn drop(&mut self) {
        if let Some(temp) = self.temp.take()
            && let Ok(slot) = self.change.spot.open()
        {
            atomic::discard(&slot.dir, &temp);
        }
    }
}

impl<'r> Change<'r> {
    fn slot(&self) -> Result<Slot<'r>, CallError> {
        let fail = |errno| self.spot.place.fault(errno, DO);
        self.spot.open().map_err(fail)
    }

    /// Checks that the file is as it was read.
    fn unchanged(&self, slot: &Slot<'_>) -> Result<Stat, CallError> {
        let now = slot.stat().map_err(|errno| slot.fault(errno, DO))?;
        now.filter(|now| same_content(now, &self.stat))
            .ok_or_else(|| fault::changed_meanwhile(&self.shown))
    }
}

/// Writes all changes or none: every new content is on disk before the first is put in place, and
/// if one cannot be, those before it get their earlier content back.
fn apply(changed: &[&Change<'_>], scope: &Scope<'_>) -> Result<(), CallError> {
    let mut draft = Draft::new(scope);
    let mut ready = Vec::with_capacity(changed.len());
    for change in changed {
        ready.push(Ready::write(change, &mut draft)?);
    }
    let _held = scope.files.changing();
    for next in &ready {
        next.record(&mut draft)?;
    }
    let begun = draft
        .begin()
        .map_err(|errno| fault::from_errno(errno, DO, "."))?;
    let mut made: Vec<&Change<'_>> = Vec::with_capacity(changed.len());
    for next in &mut ready {
        if let Err(error) = put_in_place(next) {
            // The unfinished ones of the same directories go first, so that times can be put back.
            drop(ready);
            return Err(roll_back(&made, begun, scope, error));
        }
        made.push(next.change);
    }
    begun.done();
    Ok(())
}

fn put_in_place(ready: &mut Ready<'_, '_>) -> Result<(), CallError> {
    let slot = ready.change.slot()?;
    ready.change.unchanged(&slot)?;
    let Some(temp) = ready.temp.take() else {
        return Ok(());
    };
    atomic::replace(&slot.dir, &temp, &slot.name).map_err(|errno| {
        atomic::discard(&slot.dir, &temp);
        slot.fault(errno, DO)
    })
}

/// Gives files their earlier content back, which is still in memory.
fn roll_back(
    made: &[&Change<'_>],
    begun: Begun<'_>,
    scope: &Scope<'_>,
    cause: CallError,
) -> CallError {
    let mut lost = Vec::new();
    for change in made.iter().rev() {
        let back = change.spot.open().and_then(|slot| {
            let staged =
                Staged::with_content(&slot.dir, Some(&change.stat), change.old.as_bytes())?;
            rustix::fs::futimens(
                &staged.file,
                &undo::modified(undo::modified_at(&change.stat)),
            )?;
            staged.publish(&slot.name, Publish::Replace)
        });
        if back.is_err() {
            lost.push(change.shown.clone());
        }
    }
    if lost.is_empty() {
        begun.put_times_back(scope.files);
        begun.failed();
        cause
    } else {
        cause.with("not_rolled_back", lost)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::filesystem::{Files, FilesOptions};
    use kruxos_types::{Principal, SystemClock};
    use std::sync::Arc;
    use std::time::Duration;

    struct Bed {
        dir: tempfile::TempDir,
        files: Files,
    }

    impl Bed {
        /// A workspace with these files, each with the content `old`.
        fn with(names: &[&str]) -> Bed {
            let dir = tempfile::tempdir().unwrap();
            let options = FilesOptions {
                principal: Principal::agent("tester"),
                workspace: dir.path().join("ws"),
                trash: dir.path().join("trash"),
                trash_keep: Duration::from_secs(60),
                undo_quota: 1 << 30,
                max_watches: 1,
                mounts: Vec::new(),
            };
            let files = Files::open(options, Arc::new(SystemClock), Arc::new(|_| {})).unwrap();
            let bed = Bed { dir, files };
            for name in names {
                std::fs::create_dir_all(bed.path(name).parent().unwrap()).unwrap();
                std::fs::write(bed.path(name), "old").unwrap();
            }
            bed
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join("ws").join(name)
        }

        fn left(&self, dir: &str) -> usize {
            std::fs::read_dir(self.dir.path().join(dir))
                .unwrap()
                .count()
        }

        /// Plans to make every `old` a `new`, lets somebody else act, and applies.
        fn edit(&self, meanwhile: impl FnOnce()) -> CallError {
            let scope = Scope {
                files: &self.files,
                capability: "filesystem.edit",
                session: None,
            };
            let inputs = json!({"path": ".", "include_all": true, "pattern": "old", "replace": "new", "replace_all": true});
            let args: Args = serde_json::from_value(inputs).unwrap();
            let plan = plan(&args, &scope).unwrap();
            meanwhile();
            apply(&plan.changes.iter().collect::<Vec<_>>(), &scope).unwrap_err()
        }

        fn contents(&self, names: &[&str]) -> Vec<String> {
            let read = |name: &&str| std::fs::read_to_string(self.path(name)).unwrap();
            names.iter().map(read).collect()
        }
    }

    #[test]
    fn a_step_that_fails_takes_those_before_it_back() {
        let names = ["a", "b", "c"];
        let bed = Bed::with(&names);
        let error = bed.edit(|| std::fs::write(bed.path("c"), "theirs").unwrap());
        assert_eq!(error.error_type(), ErrorType::ConflictError);
        assert_eq!(bed.contents(&names), ["old", "old", "theirs"]);
        assert_eq!((bed.left("ws"), bed.left("trash")), (3, 0));
    }

    /// Between two looks only the path is kept, and it may lead elsewhere by then.
    #[test]
    fn a_directory_that_was_swapped_is_left_alone() {
        let bed = Bed::with(&["a/file", "b/file"]);
        let error = bed.edit(|| {
            std::fs::rename(bed.path("b"), bed.path("moved")).unwrap();
            std::fs::create_dir(bed.path("b")).unwrap();
            // The very same file, even.
            std::fs::hard_link(bed.path("moved/file"), bed.path("b/file")).unwrap();
        });
        assert_eq!(error.error_type(), ErrorType::ConflictError);
        let now = bed.contents(&["a/file", "b/file", "moved/file"]);
        assert_eq!(now, ["old", "old", "old"]);
        assert_eq!(bed.left("trash"), 0);
        for dir in ["ws/a", "ws/b", "ws/moved"] {
            assert_eq!(bed.left(dir), 1, "{dir}");
        }
    }
}
