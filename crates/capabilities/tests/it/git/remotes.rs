//! `git.clone`, `git.pull`, `git.push`.

use super::bed::Bed;
use super::server::Server;
use kruxos_capabilities::git::Network;
use serde_json::{Value, json};
use std::sync::Arc;

fn head(bed: &Bed, rel: &str) -> String {
    bed.git(rel, ["rev-parse", "HEAD"])
}

#[test]
fn a_clone_is_a_repository_of_ones_own() {
    let bed = Bed::with_remote();
    bed.commit_elsewhere("b.txt", "b\n");
    let url = bed.remote_url();
    let answer = bed.ok("clone", json!({"url": url, "path": "deep/new one"}));
    let expected = head(&bed, "../outside/r.git");
    assert_eq!(
        answer,
        json!({"path": "/workspace/deep/new one", "default_branch": "main", "head_commit": expected})
    );
    assert_eq!(bed.entries("deep/new one"), [".git", "a.txt", "b.txt"]);
    assert!(!bed.path("deep/new one/.git/hooks").exists());
    assert_eq!(bed.entries("."), ["deep", "p"]);
    let status = bed.ok("status", json!({"path": "deep/new one"}));
    assert_eq!(status["upstream"], "origin/main");
    let shallow = bed.ok(
        "clone",
        json!({"url": url, "path": "s", "depth": 1, "branch": "main"}),
    );
    assert_eq!(shallow["head_commit"], expected);
    assert_eq!(bed.ok("log", json!({"path": "s"}))["total_returned"], 1);
    bed.git("../outside/r.git", ["tag", "v1"]);
    let tag = bed.ok("clone", json!({"url": url, "path": "t", "branch": "v1"}));
    assert_eq!(tag["default_branch"], "v1");
    bed.git(
        "../outside",
        ["init", "-q", "--bare", "-b", "main", "empty.git"],
    );
    let empty = format!("file://{}", bed.outside("empty.git").display());
    let answer = bed.ok("clone", json!({"url": empty, "path": "e"}));
    assert_eq!(
        (&answer["default_branch"], &answer["head_commit"]),
        (&json!("main"), &json!(""))
    );
}

#[test]
fn a_clone_overwrites_nothing() {
    let bed = Bed::with_remote();
    std::fs::create_dir(bed.path("empty")).unwrap();
    std::os::unix::fs::symlink("nowhere", bed.path("dangling")).unwrap();
    for path in ["p", "p/a.txt", "empty", "dangling", ".", "/workspace"] {
        let error = bed.fail(
            "clone",
            json!({"url": bed.remote_url(), "path": path}),
            "DestinationExists",
        );
        assert_eq!(error["context"]["path"], path);
        let ways = error["recovery_actions"].as_array().unwrap();
        assert_eq!(ways[0]["inputs"], json!({"path": path}));
    }
    assert_eq!(bed.entries("."), ["dangling", "empty", "p"]);
    bed.fail(
        "clone",
        json!({"url": bed.remote_url(), "path": "p/a.txt/new"}),
        "CloneFailed",
    );
    assert_eq!(bed.entries("p"), [".git", "a.txt"]);
}

#[test]
fn what_cannot_be_cloned_is_told() {
    let bed = Bed::with_remote();
    let missing = format!("file://{}", bed.outside("nope.git").display());
    let error = bed.fail("clone", json!({"url": missing, "path": "n"}), "CloneFailed");
    assert_eq!(error["context"]["url"], missing);
    assert_eq!(error["recovery_actions"][1]["capability"], "alerts.send");
    let error = bed.fail(
        "clone",
        json!({"url": bed.remote_url(), "path": "n", "branch": "nope"}),
        "CloneFailed",
    );
    assert!(
        error["context"]["reason"]
            .as_str()
            .unwrap()
            .contains("nope"),
        "{error}"
    );
    bed.fail(
        "clone",
        json!({"url": bed.remote_url(), "path": "n", "branch": "--mirror"}),
        "InvalidInput",
    );
    assert_eq!(bed.entries("."), ["p"]);
}

/// The error's cause, its reason, and the capabilities of its ways out.
fn told(error: &Value) -> (&str, &str, Vec<&str>) {
    let text = |value: &'static str| error["context"][value].as_str().unwrap_or_default();
    let ways = error["recovery_actions"].as_array().unwrap();
    let ways = ways.iter().map(|way| way["action"].as_str().unwrap());
    (text("cause"), text("reason"), ways.collect())
}

#[test]
fn a_missing_credential_is_told_as_such() {
    let bed = Bed::with_remote();
    for (status, reason) in [
        (
            "401 Unauthorized",
            "the remote asks for a credential, and there is none for it (401)",
        ),
        (
            "403 Forbidden",
            "the remote refuses access to this repository (403)",
        ),
    ] {
        let server = Server::that_answers(status);
        bed.git("p", ["remote", "set-url", "origin", &server.url("x.git")]);
        let inputs = json!({"url": server.url("x.git"), "path": "n"});
        let error = bed.fail("clone", inputs, "CloneFailed");
        let ways = vec!["check_url", "check_auth"];
        assert_eq!(told(&error), ("authentication", reason, ways));
        for (name, error_type) in [("pull", "PullFailed"), ("push", "PushFailed")] {
            let error = bed.fail(name, json!({"path": "p"}), error_type);
            let expected = ("authentication", reason, vec!["check_auth"]);
            assert_eq!(told(&error), expected);
        }
    }
    assert_eq!(bed.entries("."), ["p"]);
}

#[test]
fn what_the_proxy_says_is_told() {
    let mut bed = Bed::with_remote();
    let ask = |status: &str| Server::that_answers(status);
    for (status, cause) in [
        ("403 Forbidden", "policy"),
        ("502 Bad Gateway", "network"),
        ("504 Gateway Timeout", "network"),
    ] {
        let proxy = ask(status);
        bed.cx.network = Some(Network {
            proxy: Some(format!("http://{}", proxy.address)),
            schemes: Network::HTTPS,
            allows: Arc::new(|_, _, _| true),
        });
        let url = "https://git.example.invalid/r.git";
        let error = bed.fail("clone", json!({"url": url, "path": "n"}), "CloneFailed");
        assert_eq!(told(&error).0, cause, "{error}");
        assert!(
            proxy
                .seen()
                .starts_with("CONNECT git.example.invalid:443 HTTP/1.1"),
            "{}",
            proxy.seen()
        );
        bed.git("p", ["remote", "set-url", "origin", url]);
        let error = bed.fail("push", json!({"path": "p"}), "PushFailed");
        let ways = match cause {
            "policy" => vec!["check_policy", "request_access"],
            _ => vec!["retry"],
        };
        let (told_cause, _, told_ways) = told(&error);
        assert_eq!((told_cause, told_ways), (cause, ways), "{error}");
    }
}

#[test]
fn without_a_network_nothing_is_started_and_the_way_out_is_told() {
    let mut bed = Bed::with_remote();
    bed.git("p", ["remote", "set-url", "origin", "https://127.0.0.1/x"]);
    bed.cx.network = None;
    let inputs = json!({"url": "https://127.0.0.1/x", "path": "n"});
    let error = bed.fail("clone", inputs, "CloneFailed");
    let ways = vec!["check_url", "request_access"];
    let reason = "your policy allows no network";
    assert_eq!(told(&error), ("policy", reason, ways));
    assert!(bed.programs.jobs.lock().unwrap().is_empty());
    for (name, error_type) in [("pull", "PullFailed"), ("push", "PushFailed")] {
        let error = bed.fail(name, json!({"path": "p"}), error_type);
        let ways = vec!["check_policy", "request_access"];
        assert_eq!(told(&error), ("policy", reason, ways));
        let description = error["description"].as_str().unwrap();
        assert!(description.contains("network.allow"), "{description}");
    }
}

#[test]
fn only_what_policy_allows_is_reached() {
    let mut bed = Bed::with_remote();
    let server = Server::for_nobody();
    let clone = |bed: &Bed, url: &str| {
        let error = bed.fail("clone", json!({"url": url, "path": "n"}), "CloneFailed");
        error["context"]["reason"].as_str().unwrap().to_owned()
    };
    let reason = clone(&bed, "http://localhost:1/x");
    assert_eq!(reason, "your policy does not allow localhost:1");
    assert!(clone(&bed, "http://127.0.0.1:1@evil.example/x").contains("password"));
    bed.git(
        "p",
        ["remote", "set-url", "origin", "https://evil.example/x"],
    );
    let error = bed.fail("pull", json!({"path": "p"}), "PullFailed");
    assert_eq!(
        error["context"]["reason"],
        "your policy does not allow evil.example:443"
    );
    bed.fail("push", json!({"path": "p"}), "PushFailed");
    // What a repository makes of an address counts, not what is written.
    bed.git("p", ["remote", "set-url", "origin", "https://127.0.0.1/x"]);
    bed.git(
        "p",
        [
            "config",
            "url.https://evil.example/.insteadOf",
            "https://127.0.0.1/",
        ],
    );
    bed.fail("pull", json!({"path": "p"}), "PullFailed");
    let error = bed.fail("push", json!({"path": "p"}), "PushFailed");
    assert_eq!(
        error["context"]["reason"],
        "your policy does not allow evil.example:443"
    );
    bed.git(
        "p",
        ["config", "--remove-section", "url.https://evil.example/"],
    );
    bed.git(
        "p",
        [
            "remote",
            "set-url",
            "--push",
            "origin",
            "https://evil.example/x",
        ],
    );
    let error = bed.fail("push", json!({"path": "p"}), "PushFailed");
    assert_eq!(
        error["context"]["reason"],
        "your policy does not allow evil.example:443"
    );
    // Only encrypted, or nothing at all.
    bed.cx.network.as_mut().unwrap().schemes = Network::HTTPS;
    for url in [
        bed.remote_url(),
        server.url("x"),
        "ssh://127.0.0.1/x".to_owned(),
        "git://127.0.0.1/x".to_owned(),
    ] {
        assert!(clone(&bed, &url).contains("https://"), "{url}");
    }
    bed.cx.network = None;
    assert_eq!(
        clone(&bed, "https://127.0.0.1/x"),
        "your policy allows no network"
    );
    let error = bed.fail("pull", json!({"path": "p"}), "PullFailed");
    assert_eq!(error["context"]["reason"], "your policy allows no network");
    assert_eq!(server.seen(), "");
}

#[test]
fn a_pull_brings_what_is_new() {
    let bed = Bed::with_remote();
    let answer = bed.ok("pull", json!({"path": "p"}));
    assert_eq!(
        answer,
        json!({"new_commits": 0, "files_changed": 0, "head_commit": head(&bed, "p"), "up_to_date": true})
    );
    bed.commit_elsewhere("b.txt", "b\n");
    bed.commit_elsewhere("c.txt", "c\n");
    let answer = bed.ok("pull", json!({"path": "p"}));
    let expected = head(&bed, "../outside/other");
    assert_eq!(
        answer,
        json!({"new_commits": 2, "files_changed": 2, "head_commit": expected, "up_to_date": false})
    );
    // With commits and changes of one's own.
    bed.commit_elsewhere("d.txt", "d\n");
    bed.put("p/mine.txt", "mine\n");
    bed.ok("commit", json!({"path": "p", "message": "mine"}));
    bed.put("p/a.txt", "not committed\n");
    let answer = bed.ok(
        "pull",
        json!({"path": "p", "remote": "origin", "branch": "main"}),
    );
    assert_eq!(
        (&answer["new_commits"], &answer["files_changed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(bed.get("p/a.txt"), "not committed\n");
    let people = bed.git("p", ["log", "-1", "--format=%an %cn %s"]);
    assert_eq!(
        people,
        "tester tester Merge remote-tracking branch 'origin/main'"
    );
}

#[test]
fn a_pull_into_an_empty_repository() {
    let bed = Bed::with_remote();
    bed.ok("init", json!({"path": "q"}));
    bed.git("q", ["remote", "add", "origin", &bed.remote_url()]);
    let answer = bed.ok("pull", json!({"path": "q"}));
    assert_eq!(
        (&answer["new_commits"], &answer["files_changed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(bed.get("q/a.txt"), "one\n");
}

#[test]
fn a_pull_with_a_conflict_changes_nothing() {
    let bed = Bed::with_remote();
    bed.commit_elsewhere("a.txt", "theirs\n");
    bed.commit_elsewhere("new.txt", "theirs\n");
    let snapshot = |bed: &Bed| {
        (
            head(bed, "p"),
            bed.get("p/a.txt"),
            bed.ok("status", json!({"path": "p"}))["staged"].clone(),
        )
    };
    // Changes that are not committed, files that git does not know, and commits.
    bed.put("p/a.txt", "ours\n");
    let before = snapshot(&bed);
    let error = bed.fail("pull", json!({"path": "p"}), "MergeConflict");
    assert_eq!(error["context"]["files"], json!(["a.txt"]));
    assert_eq!(error["recovery_actions"][0]["inputs"], json!({"path": "p"}));
    assert_eq!(snapshot(&bed), before);
    bed.git("p", ["checkout", "-q", "."]);
    bed.put("p/new.txt", "ours\n");
    let error = bed.fail("pull", json!({"path": "p"}), "MergeConflict");
    assert_eq!(error["context"]["files"], json!(["new.txt"]));
    assert_eq!(bed.get("p/new.txt"), "ours\n");
    std::fs::remove_file(bed.path("p/new.txt")).unwrap();
    bed.put("p/a.txt", "ours\n");
    bed.git("p", ["commit", "-qam", "ours"]);
    bed.put("p/note", "untracked\n");
    let before = snapshot(&bed);
    let error = bed.fail("pull", json!({"path": "p"}), "MergeConflict");
    assert_eq!(error["context"]["files"], json!(["a.txt"]));
    assert_eq!(snapshot(&bed), before);
    assert_eq!(bed.entries("p"), [".git", "a.txt", "note"]);
    assert!(!bed.path("p/.git/MERGE_HEAD").exists());
}

#[test]
fn a_pull_that_cannot_be_is_told() {
    let bed = Bed::with_remote();
    let fail = |inputs| {
        let error = bed.fail("pull", inputs, "PullFailed");
        error["context"]["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        fail(json!({"path": "p", "remote": "nope"})),
        "there is no remote 'nope'"
    );
    assert!(fail(json!({"path": "p", "branch": "nope"})).contains("nope"));
    for remote in [
        "--upload-pack=touch x",
        "ext::sh",
        "https://127.0.0.1/x",
        "../r.git",
    ] {
        bed.fail(
            "pull",
            json!({"path": "p", "remote": remote}),
            "InvalidInput",
        );
        bed.fail(
            "push",
            json!({"path": "p", "remote": remote}),
            "InvalidInput",
        );
    }
    bed.git("p", ["bisect", "start"]);
    assert_eq!(fail(json!({"path": "p"})), "a bisection is under way");
    bed.git("p", ["bisect", "reset"]);
    bed.git("p", ["switch", "-q", "--detach"]);
    assert_eq!(fail(json!({"path": "p"})), "no branch is checked out");
    bed.git("p", ["switch", "-q", "--orphan", "island"]);
    bed.put("p/x", "x\n");
    bed.ok("commit", json!({"path": "p", "message": "m"}));
    assert!(fail(json!({"path": "p", "branch": "main"})).contains("unrelated histories"));
}

#[test]
fn a_push_sends_and_never_forces() {
    let bed = Bed::with_remote();
    let answer = bed.ok("push", json!({"path": "p"}));
    assert_eq!(answer["pushed_refs"], json!([]));
    bed.put("p/b.txt", "b\n");
    bed.ok("commit", json!({"path": "p", "message": "b"}));
    let answer = bed.ok("push", json!({"path": "p"}));
    assert_eq!(
        answer,
        json!({"pushed_refs": ["refs/heads/main"], "head_commit": head(&bed, "p")})
    );
    assert_eq!(head(&bed, "../outside/r.git"), head(&bed, "p"));
    assert_eq!(bed.ok("status", json!({"path": "p"}))["ahead"], 0);
    // A new branch, named.
    bed.git("p", ["branch", "side", "HEAD~1"]);
    let answer = bed.ok("push", json!({"path": "p", "branch": "side"}));
    assert_eq!(answer["pushed_refs"], json!(["refs/heads/side"]));
    // Behind the remote, known or not.
    bed.commit_elsewhere("c.txt", "c\n");
    let theirs = head(&bed, "../outside/r.git");
    bed.put("p/d.txt", "d\n");
    bed.ok("commit", json!({"path": "p", "message": "d"}));
    bed.git(
        "p",
        ["config", "remote.origin.push", "+refs/heads/*:refs/heads/*"],
    );
    for fetched in [false, true] {
        if fetched {
            bed.git("p", ["fetch", "-q"]);
        }
        let error = bed.fail("push", json!({"path": "p"}), "PushRejected");
        assert_eq!(error["context"]["branch"], "main");
        assert_eq!(error["recovery_actions"][0]["inputs"], json!({"path": "p"}));
    }
    assert_eq!(head(&bed, "../outside/r.git"), theirs);
    bed.ok("pull", json!({"path": "p"}));
    bed.ok("push", json!({"path": "p"}));
}

#[test]
fn a_push_that_cannot_be_is_told() {
    let bed = Bed::with_remote();
    let fail = |inputs| {
        let error = bed.fail("push", inputs, "PushFailed");
        error["context"]["reason"].as_str().unwrap().to_owned()
    };
    assert!(fail(json!({"path": "p", "branch": "nope"})).contains("'nope' is not there"));
    assert_eq!(
        fail(json!({"path": "p", "remote": "nope"})),
        "there is no remote 'nope'"
    );
    bed.fail(
        "push",
        json!({"path": "p", "branch": "+main"}),
        "PushFailed",
    );
    bed.fail(
        "push",
        json!({"path": "p", "branch": "main:other"}),
        "InvalidInput",
    );
    bed.fail(
        "push",
        json!({"path": "p", "branch": "--force"}),
        "InvalidInput",
    );
    // The remote's own word against it.
    bed.put(
        "../outside/r.git/hooks/pre-receive",
        "#!/bin/sh\necho never >&2\nexit 1\n",
    );
    let hook = bed.outside("r.git/hooks/pre-receive");
    std::fs::set_permissions(hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bed.git("p", ["commit", "-q", "--allow-empty", "-m", "x"]);
    assert_eq!(
        fail(json!({"path": "p"})),
        "the remote refused it: pre-receive hook declined"
    );
    // A mirror would overwrite and delete everything there.
    bed.git("p", ["config", "remote.origin.mirror", "true"]);
    bed.fail("push", json!({"path": "p"}), "PushFailed");
    bed.git("p", ["switch", "-q", "--detach"]);
    assert_eq!(fail(json!({"path": "p"})), "no branch is checked out");
}

#[test]
fn over_http_and_through_a_proxy() {
    let mut bed = Bed::with_remote();
    bed.git("../outside/r.git", ["config", "http.receivepack", "true"]);
    let server = Server::of_repositories(&bed.outside(""));
    let url = server.url("r.git");
    bed.ok("clone", json!({"url": url, "path": "c"}));
    bed.put(
        "c/big",
        (0..3_000_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect::<Vec<_>>(),
    );
    bed.ok("commit", json!({"path": "c", "message": "big"}));
    bed.ok("push", json!({"path": "c"}));
    bed.commit_elsewhere("b.txt", "b\n");
    assert_eq!(bed.ok("pull", json!({"path": "c"}))["new_commits"], 1);
    // A name that only the proxy knows, and a repository that would rather use another proxy or none.
    bed.cx.network = Some(Network {
        proxy: Some(format!("http://{}", server.address)),
        schemes: &["http"],
        allows: Arc::new(|scheme, host, port| {
            (scheme, host, port) == ("http", "git.example.invalid", 80)
        }),
    });
    bed.git(
        "c",
        [
            "remote",
            "set-url",
            "origin",
            "http://git.example.invalid/r.git",
        ],
    );
    let dead = "http://127.0.0.1:1";
    for key in [
        "http.proxy",
        "http.http://git.example.invalid/.proxy",
        "remote.origin.proxy",
    ] {
        bed.git("c", ["config", key, dead]);
    }
    bed.commit_elsewhere("c.txt", "c\n");
    assert_eq!(bed.ok("pull", json!({"path": "c"}))["new_commits"], 1);
    bed.put("c/d.txt", "d\n");
    bed.ok("commit", json!({"path": "c", "message": "d"}));
    bed.ok("push", json!({"path": "c"}));
    bed.ok(
        "clone",
        json!({"url": "http://git.example.invalid/r.git", "path": "d"}),
    );
    assert!(
        server
            .seen()
            .contains("GET http://git.example.invalid/r.git/info/refs")
    );
}
