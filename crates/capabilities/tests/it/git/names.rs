//! Names with odd characters, and paths that lead nowhere or out.

use super::bed::Bed;
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

#[test]
fn odd_names_go_in_and_come_out() {
    let bed = Bed::new();
    let project = "odd \"dir\"\n-x";
    bed.ok("init", json!({"path": project}));
    let names = [
        "a b",
        "new\nline",
        "quo\"te",
        "tab\tback\\slash",
        "-rf",
        "ünïcode",
        ":!x",
        "$(touch x)",
        "esc\x1b[31m",
    ];
    for name in names {
        bed.put(&format!("{project}/{name}"), "1\n");
    }
    let mut status = bed.ok("status", json!({"path": project}))["untracked"].clone();
    let mut listed: Vec<String> = status
        .as_array_mut()
        .unwrap()
        .drain(..)
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    listed.sort();
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(listed, expected);
    // What a status names can be committed under that name.
    let answer = bed.ok(
        "commit",
        json!({"path": project, "message": "m", "files": listed}),
    );
    assert_eq!(answer["files_committed"], names.len());
    for name in names {
        bed.put(&format!("{project}/{name}"), "2\n");
    }
    let diff = bed.ok("diff", json!({"path": project}));
    let changes = diff["changes"].as_array().unwrap();
    assert_eq!(changes.len(), names.len());
    for change in changes {
        assert!(names.contains(&change["path"].as_str().unwrap()));
        assert!(
            change["diff"].as_str().unwrap().ends_with("-1\n+2\n"),
            "{change}"
        );
    }
    for name in names {
        let path = format!("{project}/{name}");
        assert_eq!(
            bed.ok("log", json!({"path": path}))["total_returned"],
            1,
            "{name:?}"
        );
        assert_eq!(
            bed.ok("diff", json!({"path": path}))["files_changed"],
            1,
            "{name:?}"
        );
    }
    assert_eq!(bed.ok("status", json!({"path": project}))["state"], "dirty");
}

#[test]
fn names_that_are_not_utf8_are_shown_as_far_as_they_can_be() {
    let bed = Bed::with_repository();
    let name = OsStr::from_bytes(b"bad\xff\nname");
    std::fs::write(bed.path("p").join(name), b"caf\xe9\n").unwrap();
    let shown = "bad\u{fffd}\\u{a}name";
    assert_eq!(
        bed.ok("status", json!({"path": "p"}))["untracked"],
        json!([shown])
    );
    bed.git("p", ["add", "-A"]);
    let diff = bed.ok("diff", json!({"path": "p", "cached": true}));
    assert_eq!(diff["changes"][0]["path"], shown);
    assert!(
        diff["changes"][0]["diff"]
            .as_str()
            .unwrap()
            .ends_with("+caf\u{fffd}\n")
    );
    assert_eq!(
        bed.ok("commit", json!({"path": "p", "message": "m"}))["files_committed"],
        1
    );
    // A branch of such a name, and a message.
    let branch = OsStr::from_bytes(b"br\xffanch");
    bed.git("p", [OsStr::new("branch"), branch]);
    let list = bed.ok("branch", json!({"path": "p", "action": "list"}));
    assert_eq!(list["branches"], json!(["br\u{fffd}anch", "main"]));
    // As an object: `git commit` takes such bytes for Latin 1 and mends them.
    let tree = bed.git("p", ["rev-parse", "HEAD^{tree}"]);
    let who = "A <a@example.com> 1700000000 +0000";
    let head = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\n");
    bed.put("raw", [head.as_bytes(), b"caf\xe9\n"].concat());
    let commit = bed.git("p", ["hash-object", "-t", "commit", "-w", "../raw"]);
    bed.git("p", ["update-ref", "HEAD", &commit]);
    assert_eq!(
        bed.ok("log", json!({"path": "p"}))["commits"][0]["message"],
        "caf\u{fffd}"
    );
}

#[test]
fn no_path_leads_out() {
    let bed = Bed::with_repository();
    bed.git("../outside", ["init", "-q", "victim"]);
    symlink(bed.outside("victim"), bed.path("link")).unwrap();
    let elsewhere = bed.outside("victim").display().to_string();
    for path in [
        "..",
        "../outside/victim",
        "/etc",
        "/",
        "p/../../outside/victim",
        "/workspace/../etc",
        "/workspaces/x",
        "/mnt/other/x",
        "/mnt",
        &elsewhere,
    ] {
        for (name, mut inputs) in [
            ("status", json!({})),
            ("diff", json!({})),
            ("log", json!({})),
            ("branch", json!({"action": "list"})),
            ("commit", json!({"message": "m"})),
            ("init", json!({})),
            ("clone", json!({"url": bed.remote_url()})),
            ("pull", json!({})),
            ("push", json!({})),
        ] {
            inputs["path"] = path.into();
            let error = bed.fail(name, inputs, "PathOutOfScope");
            assert_eq!(
                error["context"]["allowed_roots"],
                json!(["/workspace", "/mnt/data"])
            );
            assert_eq!(error["recovery_actions"][0]["capability"], "agent.session");
        }
    }
    // Where a link leads is seen when git has found its repository.
    let error = bed.fail("status", json!({"path": "link"}), "PathOutOfScope");
    assert_eq!(
        (&error["context"]["escape"], &error["context"]["mount"]),
        (&json!(true), &json!("workspace"))
    );
    assert_eq!(bed.entries("../outside/victim"), [".git"]);
}

#[test]
fn a_repository_that_says_its_files_are_elsewhere_is_refused() {
    let bed = Bed::with_repository();
    bed.git("../outside", ["init", "-q", "victim"]);
    let elsewhere = bed.outside("victim").display().to_string();
    bed.git("p", ["config", "core.worktree", elsewhere.as_str()]);
    bed.fail("status", json!({"path": "p"}), "PathOutOfScope");
    bed.put("q/.git", format!("gitdir: {elsewhere}/.git\n"));
    bed.fail(
        "commit",
        json!({"path": "q", "message": "m"}),
        "PathOutOfScope",
    );
    assert!(!bed.outside("victim/.git/index").exists());
}

#[test]
fn what_is_no_repository_is_told() {
    let bed = Bed::with_repository();
    bed.put("plain/file", "x");
    bed.put("broken/.git/HEAD", "what");
    bed.put("file/.git", "not a pointer");
    bed.git(".", ["init", "-q", "--bare", "bare.git"]);
    bed.put("config/.git/x", "");
    bed.git(".", ["init", "-q", "config"]);
    bed.put("config/.git/config", "root:x:0:0:secret\n");
    for path in [
        "plain",
        "plain/file",
        "nope",
        ".",
        "broken",
        "file",
        "bare.git",
        "config",
        "p/nope",
        "p/.git",
    ] {
        for (name, mut inputs) in [
            ("status", json!({})),
            ("diff", json!({})),
            ("branch", json!({"action": "list"})),
            ("commit", json!({"message": "m"})),
            ("pull", json!({})),
            ("push", json!({})),
        ] {
            // A diff may be about a file that is gone.
            if name == "diff" && path == "p/nope" {
                continue;
            }
            inputs["path"] = path.into();
            let error = bed.fail(name, inputs, "NotARepository");
            assert_eq!(error["context"]["path"], path);
            assert_eq!(error["recovery_actions"][0]["action"], "clone_first");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
    for path in ["", "a\0b"] {
        assert!(bed.call("status", json!({"path": path})).is_err());
    }
}

#[test]
fn a_linked_work_tree_is_a_repository() {
    let bed = Bed::with_repository();
    bed.git("p", ["worktree", "add", "-q", "../w", "-b", "side"]);
    bed.put("w/new", "x\n");
    let status = bed.ok("status", json!({"path": "w"}));
    assert_eq!(
        (&status["branch"], &status["untracked"]),
        (&json!("side"), &json!(["new"]))
    );
    bed.ok("commit", json!({"path": "w", "message": "m"}));
    bed.fail(
        "branch",
        json!({"path": "w", "action": "switch", "name": "main"}),
        "ConflictError",
    );
}
