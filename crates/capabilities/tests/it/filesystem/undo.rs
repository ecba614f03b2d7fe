//! Undo: what a session changed goes back, byte for byte, with permissions and times, unless something
//! else changed it since.

use super::bed::{Bed, KEEP};
use kruxos_capabilities::filesystem::{FilesMount, clean_changes, recorded_sessions};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const SESSION: &str = "ses_one";

/// Everything that must come back: kind, permissions, modification time, content or target.
type Snapshot = BTreeMap<String, (u32, (i64, i64), Vec<u8>)>;

fn snapshot(root: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    let mut open = vec![(root.to_path_buf(), String::new())];
    while let Some((path, rel)) = open.pop() {
        let facts = std::fs::symlink_metadata(&path).unwrap();
        let content = if facts.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                open.push((path.join(&name), format!("{rel}/{name}")));
            }
            Vec::new()
        } else if facts.is_symlink() {
            std::fs::read_link(&path)
                .unwrap()
                .into_os_string()
                .into_encoded_bytes()
        } else {
            std::fs::read(&path).unwrap()
        };
        found.insert(
            rel,
            (facts.mode(), (facts.mtime(), facts.mtime_nsec()), content),
        );
    }
    found
}

#[track_caller]
fn assert_same(now: &Snapshot, then: &Snapshot, what: &str) {
    for (path, before) in then {
        let there = now.get(path);
        let brief = |(mode, time, content): &(u32, (i64, i64), Vec<u8>)| {
            (
                format!("{mode:o}"),
                *time,
                content.len(),
                String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned(),
            )
        };
        assert_eq!(there.map(brief), Some(brief(before)), "{what}: {path:?}");
        assert_eq!(there, Some(before), "{what}: {path:?}");
    }
    let new: Vec<&String> = now
        .keys()
        .filter(|path| !then.contains_key(*path))
        .collect();
    assert!(new.is_empty(), "{what}: {new:?}");
}

/// One call of a session.
#[derive(Debug, Clone)]
enum Op {
    Write(String, Vec<u8>, bool),
    Append(String, String),
    Edit(String, bool),
    Copy(String, String, bool),
    Move(String, String, bool),
    Delete(String),
    Restore(usize, bool),
}

fn name() -> impl Strategy<Value = String> {
    let parts = [
        "f",
        "g",
        "d",
        "d/f",
        "d/g",
        "d/e",
        "d/e/f",
        "d/e/g",
        "x",
        "x/y",
        "x/y/f",
        "link",
        "dirlink/f",
        "dirlink/e/f",
        "abs/f",
        "d/up",
        "dangling",
        "hard",
        "d/../g",
    ];
    prop::sample::select(parts.to_vec()).prop_map(str::to_owned)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[ab\n]{0,40}".prop_map(String::into_bytes),
        8 => prop::collection::vec(any::<u8>(), 0..40),
        // Beyond what the store reads into memory at once.
        1 => Just(vec![7; (1 << 20) + 5]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (name(), content(), any::<bool>()).prop_map(|(path, content, parents)| Op::Write(path, content, parents)),
        3 => (name(), "[ab]{0,9}").prop_map(|(path, content)| Op::Append(path, content)),
        2 => (name(), any::<bool>()).prop_map(|(path, tree)| Op::Edit(path, tree)),
        2 => (name(), name(), any::<bool>()).prop_map(|(from, to, over)| Op::Copy(from, to, over)),
        4 => (name(), name(), any::<bool>()).prop_map(|(from, to, over)| Op::Move(from, to, over)),
        4 => name().prop_map(Op::Delete),
        2 => (0usize..8, any::<bool>()).prop_map(|(which, over)| Op::Restore(which, over)),
    ]
}

/// Makes a call; one that the files do not allow may fail. `trashed` are the entries so far.
fn make(bed: &Bed, op: &Op, trashed: &mut Vec<Value>) -> bool {
    let (name, inputs) = match op {
        Op::Write(path, content, parents) => {
            let content = data_encoding::BASE64.encode(content);
            (
                "write",
                json!({"path": path, "content": content, "encoding": "base64", "create_parents": parents}),
            )
        }
        Op::Append(path, content) => ("append", json!({"path": path, "content": content})),
        Op::Edit(path, true) => {
            let dir = path.split('/').next().unwrap();
            (
                "edit",
                json!({"path": dir, "include_all": true, "pattern": "a", "replace": "bb", "replace_all": true}),
            )
        }
        Op::Edit(path, false) => (
            "edit",
            json!({"path": path, "pattern": "b", "replace": "", "replace_all": true}),
        ),
        Op::Copy(from, to, over) => (
            "copy",
            json!({"source": from, "destination": to, "overwrite": over}),
        ),
        Op::Move(from, to, over) => (
            "move",
            json!({"source": from, "destination": to, "overwrite": over}),
        ),
        Op::Delete(path) => ("delete", json!({"path": path})),
        Op::Restore(which, over) => {
            let Some(entry) = trashed.get(*which) else {
                return false;
            };
            ("restore", json!({"trash_path": entry, "overwrite": over}))
        }
    };
    match bed.call(name, inputs) {
        Ok(answer) => {
            if let Some(entry) = answer.get("trash_path") {
                trashed.push(entry.clone());
            }
            true
        }
        Err(error) => {
            assert!(
                error.error_type() != kruxos_types::ErrorType::Internal,
                "{op:?}: {error:?}"
            );
            false
        }
    }
}

/// A tree with all that can be in the way.
fn grown(elsewhere: Option<&Path>, seed: u64) -> Bed {
    let bed = Bed::within(&memory(), |options| {
        if let Some(elsewhere) = elsewhere {
            options.trash = elsewhere.to_path_buf();
        }
    });
    let bed = bed.in_session(SESSION);
    for (at, path) in ["f", "g", "d/f", "d/g", "d/e/f", "d/e/g"]
        .iter()
        .enumerate()
    {
        if seed >> at & 1 == 0 {
            bed.put(path, &format!("a line of {path}\nab\n"));
            let mode = [0o644, 0o600, 0o755, 0o664][at % 4];
            std::fs::set_permissions(bed.path(path), std::fs::Permissions::from_mode(mode))
                .unwrap();
        }
    }
    bed.make_dir("d/e");
    bed.put("target", "what the link means\n");
    std::fs::hard_link(bed.path("target"), bed.path("hard")).unwrap();
    symlink("target", bed.path("link")).unwrap();
    symlink("d", bed.path("dirlink")).unwrap();
    symlink("/workspace/d", bed.path("abs")).unwrap();
    symlink("..", bed.path("d/up")).unwrap();
    symlink("nothing", bed.path("dangling")).unwrap();
    let mut old = 1_000_000_000;
    for rel in [
        "f", "g", "d/f", "d/g", "d/e/f", "d/e/g", "target", "d/e", "d", ".",
    ] {
        if bed.path(rel).exists() {
            old += 1_000;
            super::bed::data::set_modified(&bed.path(rel), old);
        }
    }
    bed
}

fn there_and_back(bed: &Bed, ops: &[Op]) {
    let root = bed.path(".");
    let before = snapshot(&root);
    let mut trashed = Vec::new();
    let made = ops.iter().filter(|op| make(bed, op, &mut trashed)).count();
    let after = snapshot(&root);
    if made == 0 {
        assert_same(&after, &before, "nothing was done");
        return;
    }
    let look = bed.look(SESSION, false);
    assert_eq!(
        (look.refused, look.not_kept, look.applied),
        (0, 0, false),
        "{look:#?}"
    );
    assert_same(&snapshot(&root), &after, "a look changes nothing");

    let report = bed.undo(SESSION, "undo_1", false).unwrap();
    assert!(report.applied);
    assert_same(&snapshot(&root), &before, "undone");
    let again = bed.look(SESSION, false);
    assert_eq!((again.undo, again.refused), (0, 0), "{again:#?}");

    bed.undo("undo_1", "undo_2", false).unwrap();
    assert_same(&snapshot(&root), &after, "the undo undone");
    bed.undo(SESSION, "undo_3", false).unwrap();
    assert_same(&snapshot(&root), &before, "undone again");
    bed.undo("undo_3", "undo_4", false).unwrap();
    bed.undo("undo_4", "undo_5", false).unwrap();
    assert_same(&snapshot(&root), &before, "an undo of an undo of an undo");
}

/// What an undo says of one path: verdict and reason.
#[track_caller]
fn said(bed: &Bed, path: &str) -> (String, String) {
    let report = bed.look(SESSION, false);
    let row = report
        .changes
        .iter()
        .find(|row| row.path == format!("/workspace/{path}"));
    let row = row.unwrap_or_else(|| panic!("{path}: {report:#?}"));
    (row.verdict.clone(), row.reason.clone().unwrap_or_default())
}

/// What somebody else does meanwhile.
type Act = fn(&Bed);

#[test]
fn what_changed_since_is_refused_and_everything_with_it() {
    let meanwhile: [(&str, Act); 6] = [
        ("it changed since", |bed| bed.put("f", "their")),
        ("its permissions changed since", |bed| {
            std::fs::set_permissions(bed.path("f"), std::fs::Permissions::from_mode(0o600))
                .unwrap();
        }),
        ("it is gone", |bed| {
            std::fs::remove_file(bed.path("f")).unwrap()
        }),
        ("it is something else by now", |bed| {
            std::fs::remove_file(bed.path("f")).unwrap();
            symlink("g", bed.path("f")).unwrap();
        }),
        ("it changed since", |bed| bed.put("f", "agent2")),
        ("it changed since", |bed| bed.put("f", "")),
    ];
    for (why, act) in meanwhile {
        let bed = Bed::new().in_session(SESSION);
        bed.put("f", "old");
        bed.put("g", "old");
        bed.ok("write", json!({"path": "g", "content": "agent"}));
        bed.ok("write", json!({"path": "f", "content": "agent"}));
        act(&bed);
        assert_eq!(said(&bed, "f"), ("refused".to_owned(), why.to_owned()));
        let error = bed.undo(SESSION, "undo_1", false).unwrap_err().to_json();
        assert_eq!(
            error["context"]["refused"][0]["path"], "/workspace/f",
            "{error}"
        );
        assert_eq!(bed.get("g"), "agent", "nothing was done");
        let there = std::fs::read(bed.path("f")).ok();

        let report = bed.undo(SESSION, "undo_2", true).unwrap();
        assert_eq!((report.undo, report.refused), (1, 1));
        assert_eq!(bed.get("g"), "old");
        assert_eq!(std::fs::read(bed.path("f")).ok().is_some(), there.is_some());
    }
}

/// A file that a program wrote between two calls of the session is not given back to before both.
#[test]
fn a_change_between_two_of_the_session_is_seen() {
    let bed = Bed::new().in_session(SESSION);
    bed.put("f", "old");
    bed.ok("write", json!({"path": "f", "content": "first"}));
    bed.put("f", "a program's");
    bed.ok("write", json!({"path": "f", "content": "second"}));
    let report = bed.undo(SESSION, "undo_1", true).unwrap();
    assert_eq!((report.undo, report.refused), (1, 1));
    assert_eq!(bed.get("f"), "a program's");
}

#[test]
fn a_directory_that_holds_something_else_stays() {
    let bed = Bed::new().in_session(SESSION);
    bed.ok(
        "write",
        json!({"path": "made/deep/f", "content": "x", "create_parents": true}),
    );
    bed.put("made/theirs", "x");
    let report = bed.undo(SESSION, "undo_1", true).unwrap();
    assert_eq!((report.undo, report.refused), (2, 1), "{report:#?}");
    assert_eq!(bed.entries("made"), ["theirs"]);
}

#[test]
fn a_move_is_not_taken_back_onto_something() {
    let bed = Bed::new().in_session(SESSION);
    bed.put("d/f", "x");
    bed.ok("move", json!({"source": "d", "destination": "e"}));
    bed.make_dir("d");
    assert_eq!(said(&bed, "d").0, "refused");
    bed.undo(SESSION, "undo_1", false).unwrap_err();
    assert_eq!(bed.get("e/f"), "x");
}

/// Undo resolves like every other call: a link that a program put in the way is not followed.
#[test]
fn a_link_in_the_way_leads_nowhere() {
    let bed = Bed::new().in_session(SESSION);
    bed.put("d/f", "old");
    bed.put_outside("f", "outside");
    bed.ok("write", json!({"path": "d/f", "content": "outside"}));
    std::fs::rename(bed.path("d"), bed.path("elsewhere")).unwrap();
    for target in [bed.outside(""), bed.path("elsewhere")] {
        symlink(target, bed.path("d")).unwrap();
        assert_eq!(said(&bed, "d/f").0, "refused");
        bed.undo(SESSION, "undo_1", false).unwrap_err();
        std::fs::remove_file(bed.path("d")).unwrap();
    }
    assert_eq!(
        (bed.get_outside("f"), bed.get("elsewhere/f")),
        ("outside".to_owned(), "outside".to_owned())
    );
}

#[test]
fn content_beyond_the_quota_is_not_kept_and_named() {
    let bed = Bed::with(|options| options.undo_quota = 100_000).in_session(SESSION);
    bed.put("large", &"x".repeat(100_001));
    bed.put("small", "old");
    bed.ok("write", json!({"path": "large", "content": "new"}));
    bed.ok("write", json!({"path": "small", "content": "new"}));
    let (verdict, why) = said(&bed, "large");
    assert_eq!(verdict, "not_kept");
    assert!(why.contains("undo.quota_mb"), "{why}");
    bed.undo(SESSION, "undo_1", false).unwrap_err();
    assert_eq!(bed.get("small"), "new");
    bed.undo(SESSION, "undo_2", true).unwrap();
    assert_eq!(
        (bed.get("small"), bed.get("large")),
        ("old".to_owned(), "new".to_owned())
    );
}

/// Bytes of everything below the trash.
fn kept(bed: &Bed) -> u64 {
    let mut open = vec![bed.trash()];
    let mut sum = 0;
    while let Some(path) = open.pop() {
        let facts = std::fs::symlink_metadata(&path).unwrap();
        if facts.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            sum += facts.len();
        }
    }
    sum
}

#[test]
fn the_oldest_sessions_go_first_when_it_is_too_much() {
    const QUOTA: u64 = 400_000;
    let mut bed = Bed::with(|options| options.undo_quota = QUOTA);
    for session in ["ses_a", "ses_b", "ses_c", SESSION] {
        bed = bed.in_session(session);
        for number in 0..6 {
            let path = format!("{session}-{number}");
            bed.put(&path, &format!("{path}{}", "x".repeat(40_000)));
            bed.ok("write", json!({"path": path, "content": "new"}));
            assert!(kept(&bed) <= QUOTA, "{}", kept(&bed));
        }
    }
    let sessions: Vec<String> = recorded_sessions(&bed.trash())
        .unwrap()
        .into_iter()
        .map(|recorded| recorded.session)
        .collect();
    assert_eq!(sessions.first().map(String::as_str), Some(SESSION));
    assert!(!sessions.contains(&"ses_a".to_owned()), "{sessions:?}");
    bed.undo(SESSION, "undo_1", false).unwrap();
    assert!(
        bed.get(&format!("{SESSION}-5"))
            .starts_with(&format!("{SESSION}-5xx"))
    );
}

#[test]
fn the_sweep_takes_what_is_over_and_what_nobody_refers_to() {
    let bed = Bed::new().in_session(SESSION);
    bed.put("f", "old");
    bed.ok("write", json!({"path": "f", "content": "new"}));
    let objects = bed.trash().join("changes/objects");
    let names = || {
        std::fs::read_dir(&objects)
            .unwrap()
            .map(|entry| entry.unwrap())
            .collect::<Vec<_>>()
    };
    let object = &names()[0];
    assert_eq!(
        object.file_name().into_string().unwrap(),
        super::bed::data::sha256(b"old")
    );
    assert_eq!(object.metadata().unwrap().mode() & 0o777, 0o600);
    let orphan = objects.join("0".repeat(64));
    std::fs::write(&orphan, "nobody's").unwrap();
    std::fs::write(objects.join("a person's"), "stays").unwrap();
    // Files get the machine's time, whatever the bed's clock says.
    let now = kruxos_types::Clock::now(&kruxos_types::SystemClock);
    let clean = |now| clean_changes(&bed.trash(), KEEP, 1 << 30, now, &|| false).unwrap();
    assert_eq!(clean(now), 1);
    assert!(!orphan.exists());
    bed.look(SESSION, false);
    assert_eq!(clean(now + KEEP + KEEP), 2);
    assert_eq!(names().len(), 1, "only a person's");
    assert!(recorded_sessions(&bed.trash()).unwrap().is_empty());
    let error = bed.undo(SESSION, "undo_1", false).unwrap_err();
    assert_eq!(error.to_json()["error_type"], "InvalidInput");
    // The session goes on, in a new journal.
    bed.ok("write", json!({"path": "f", "content": "newer"}));
    assert_eq!(bed.look(SESSION, false).undo, 1);
}

#[test]
fn a_full_journal_says_so_and_calls_go_on() {
    let bed = Bed::new().in_session(SESSION);
    bed.put("f", "old");
    bed.ok("write", json!({"path": "f", "content": "new"}));
    let journal = bed.trash().join("changes/sessions").join(SESSION);
    let mut text = std::fs::read(&journal).unwrap();
    text.resize(16 << 20, b'\n');
    std::fs::write(&journal, text).unwrap();
    bed.ok("write", json!({"path": "g", "content": "new"}));
    bed.ok("write", json!({"path": "h", "content": "new"}));
    let report = bed.undo(SESSION, "undo_1", false).unwrap();
    assert!(report.incomplete);
    assert_eq!(
        (bed.get("f"), bed.get("g")),
        ("old".to_owned(), "new".to_owned())
    );
}

/// Copied, since nothing moves between file systems; it comes back with its time and permissions.
#[test]
fn a_move_to_a_mount_goes_back() {
    let shm = Path::new("/dev/shm");
    let other = if shm.is_dir() {
        tempfile::tempdir_in(shm)
    } else {
        tempfile::tempdir()
    };
    let other = other.unwrap();
    let mount = FilesMount {
        label: "disk".to_owned(),
        source: other.path().to_path_buf(),
    };
    let bed = Bed::with(|options| options.mounts = vec![mount]).in_session(SESSION);
    bed.put("d/f", "what moves");
    std::fs::set_permissions(bed.path("d/f"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::write(other.path().join("f"), "what was there").unwrap();
    for path in [
        bed.path("d/f"),
        bed.path("d"),
        other.path().join("f"),
        other.path().to_path_buf(),
    ] {
        super::bed::data::set_modified(&path, 1_000_000_000);
    }
    let before = (snapshot(&bed.path(".")), snapshot(other.path()));
    bed.ok(
        "move",
        json!({"source": "d/f", "destination": "/mnt/disk/f", "overwrite": true}),
    );
    bed.ok(
        "append",
        json!({"path": "/mnt/disk/f", "content": " and grows"}),
    );
    let after = (snapshot(&bed.path(".")), snapshot(other.path()));
    bed.undo(SESSION, "undo_1", false).unwrap();
    assert_same(&snapshot(&bed.path(".")), &before.0, "the workspace");
    assert_same(&snapshot(other.path()), &before.1, "the mount");
    bed.undo("undo_1", "undo_2", false).unwrap();
    assert_eq!(snapshot(&bed.path(".")).len(), after.0.len());
    assert_eq!(
        std::fs::read(other.path().join("f")).unwrap(),
        b"what moves and grows"
    );
}

#[test]
fn the_diff_shows_both_ways_and_hides_nothing() {
    let bed = Bed::new().in_session(SESSION);
    bed.put("t", "one\ntwo\n");
    bed.put_bytes("binary", &[0, 1, 2]);
    bed.ok(
        "edit",
        json!({"path": "t", "pattern": "two", "replace": "2\u{202e}"}),
    );
    bed.ok("write", json!({"path": "binary", "content": "now text"}));
    bed.ok("write", json!({"path": "made", "content": "hello\n"}));
    let forward = bed.look(SESSION, true).diff;
    for line in [
        "-two\n",
        "+2\\u{202e}\n",
        "new file /workspace/made",
        "+hello",
        "file of 3 bytes",
        "file of 8 bytes",
    ] {
        assert!(forward.contains(line), "{line:?}: {forward}");
    }
    let back = bed.look(SESSION, false).diff;
    assert!(
        back.contains("+two\n") && back.contains("deleted file /workspace/made"),
        "{back}"
    );
}

/// Where nothing waits for a disk, if there is such a place.
fn memory() -> PathBuf {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() {
        shm.to_path_buf()
    } else {
        std::env::temp_dir()
    }
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    let asked = std::env::var_os("PROPTEST_CASES");
    let asked = asked.and_then(|cases| cases.to_str()?.parse().ok());
    asked.unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn what_a_session_did_goes_back(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        there_and_back(&grown(None, seed), &ops);
    }

    /// As in a box, where nothing can be linked or moved between workspace and trash.
    #[test]
    fn with_the_trash_elsewhere_too(ops in prop::collection::vec(op(), 1..14), seed: u64) {
        let other = tempfile::tempdir().unwrap();
        there_and_back(&grown(Some(other.path()), seed), &ops);
    }
}
