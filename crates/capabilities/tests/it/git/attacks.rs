//! Repositories that would run a program of their own (spec/attacks.md, 101-107). Each trick is first
//! shown to work with plain git, so that a test whose trap is broken fails.

use super::bed::Bed;
use super::server::Server;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A workspace with a program that leaves a trace, in a repository with a remote.
struct Trap {
    bed: Bed,
    /// Passes on what it reads, as a filter does.
    program: String,
    /// Ends at once: in the place of a remote's program one that reads would wait for git for ever,
    /// which waits for it.
    remote: String,
}

impl Trap {
    fn new() -> Trap {
        let bed = Bed::with_remote();
        let trace = bed.outside("trace");
        let program = |name: &str, then: &str| {
            let program = bed.outside(name);
            let text = format!("#!/bin/sh\ntouch {}\n{then}\n", trace.display());
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            program.display().to_string()
        };
        let (program, remote) = (program("program", "exec cat"), program("remote", "exit 1"));
        Trap {
            bed,
            program,
            remote,
        }
    }

    fn set(&self, key: &str, value: &str) {
        self.bed.git("p", ["config", key, value]);
    }

    fn trace(&self) -> PathBuf {
        self.bed.outside("trace")
    }

    /// Plain git falls for it.
    #[track_caller]
    fn works(&self, arguments: &[&str]) {
        let output = self.bed.try_git("p", arguments);
        assert!(self.trace().exists(), "the trap is broken: {output:?}");
        std::fs::remove_file(self.trace()).unwrap();
    }

    /// Every capability, as far as it gets; none falls for it.
    #[track_caller]
    fn is_harmless(&self) {
        self.none_runs_it(everything(&self.bed));
    }

    /// The calls that look at files and change them: enough for one more trick of a kind.
    #[track_caller]
    fn is_harmless_to_files(&self) {
        let calls = everything(&self.bed).into_iter();
        let on_files = |(name, _): &(&str, Value)| matches!(*name, "status" | "diff" | "commit");
        self.none_runs_it(calls.filter(on_files).collect());
    }

    /// The calls that talk to remotes, and one that does not.
    #[track_caller]
    fn is_harmless_to_remotes(&self) {
        self.bed
            .git("p", ["commit", "-q", "--allow-empty", "-m", "x"]);
        let url = "http://127.0.0.1/x";
        self.none_runs_it(vec![
            ("status", json!({"path": "p"})),
            ("pull", json!({"path": "p"})),
            ("push", json!({"path": "p"})),
            ("clone", json!({"url": url, "path": "n"})),
        ]);
    }

    #[track_caller]
    fn none_runs_it(&self, calls: Vec<(&str, Value)>) {
        for (name, inputs) in calls {
            drop(self.bed.call(name, inputs.clone()));
            assert!(!self.trace().exists(), "{name} {inputs} ran it");
        }
    }
}

/// Calls of all nine, with something to do for each.
fn everything(bed: &Bed) -> Vec<(&'static str, Value)> {
    // A repository without a commit inside another one is in the way of every commit of that.
    if bed.path("p/inner").exists() {
        std::fs::remove_dir_all(bed.path("p/inner")).unwrap();
    }
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    bed.commit_elsewhere("a.txt", &format!("theirs {count}\n"));
    bed.put("p/a.txt", format!("changed {count}\n"));
    bed.put("p/new.txt", format!("new {count}\n"));
    let branch = format!("b{count}");
    vec![
        ("status", json!({"path": "p"})),
        ("diff", json!({"path": "p"})),
        ("diff", json!({"path": "p", "commit": "HEAD"})),
        ("log", json!({"path": "p"})),
        ("log", json!({"path": "p/a.txt"})),
        ("branch", json!({"path": "p", "action": "list"})),
        ("pull", json!({"path": "p"})),
        (
            "commit",
            json!({"path": "p", "message": "m", "files": ["new.txt"]}),
        ),
        ("commit", json!({"path": "p", "message": "m"})),
        (
            "diff",
            json!({"path": "p", "cached": true, "commit": "HEAD~1"}),
        ),
        (
            "branch",
            json!({"path": "p", "action": "create", "name": branch, "start_point": "HEAD~1"}),
        ),
        (
            "branch",
            json!({"path": "p", "action": "switch", "name": "main"}),
        ),
        (
            "branch",
            json!({"path": "p", "action": "delete", "name": branch}),
        ),
        ("pull", json!({"path": "p"})),
        ("push", json!({"path": "p"})),
        ("init", json!({"path": "p/inner"})),
        (
            "clone",
            json!({"url": bed.remote_url(), "path": format!("clone{count}")}),
        ),
    ]
}

#[test]
fn the_benign_twin_works() {
    let trap = Trap::new();
    let conflict = |name: &str, error: &kruxos_types::CallError| {
        name == "pull" && error.to_json()["error_type"] == "MergeConflict"
            || name == "push" && error.to_json()["error_type"] == "PushRejected"
    };
    for (name, inputs) in everything(&trap.bed) {
        if let Err(error) = trap.bed.call(name, inputs.clone()) {
            assert!(conflict(name, &error), "{name} {inputs}: {error:?}");
        }
    }
    // Without conflict, pull and push too.
    trap.bed.git("p", ["reset", "-q", "--hard", "origin/main"]);
    trap.bed.git("p", ["clean", "-qffd"]);
    trap.bed.commit_elsewhere("far.txt", "x\n");
    trap.bed.put("p/near.txt", "x\n");
    trap.bed.ok("commit", json!({"path": "p", "message": "m"}));
    assert_eq!(
        trap.bed.ok("pull", json!({"path": "p"}))["up_to_date"],
        false
    );
    trap.bed.ok("push", json!({"path": "p"}));
}

#[test]
fn monitors_pagers_and_editors_do_not_run() {
    let trap = Trap::new();
    trap.set("core.fsmonitor", &trap.program);
    trap.works(&["status"]);
    for key in [
        "core.pager",
        "core.editor",
        "sequence.editor",
        "alias.status",
        "pager.log",
        "core.askPass",
    ] {
        trap.set(key, &trap.program);
    }
    trap.set("alias.diff", &format!("!{}", trap.program));
    trap.is_harmless();
}

#[test]
fn hooks_do_not_run() {
    let trap = Trap::new();
    let hooks = [
        "pre-commit",
        "prepare-commit-msg",
        "commit-msg",
        "post-commit",
        "post-checkout",
        "pre-push",
        "post-merge",
        "pre-merge-commit",
        "post-index-change",
        "reference-transaction",
        "pre-auto-gc",
        "fsmonitor-watchman",
    ];
    std::fs::create_dir_all(trap.bed.path("p/.git/hooks")).unwrap();
    for hook in hooks {
        let path = trap.bed.path(&format!("p/.git/hooks/{hook}"));
        std::fs::copy(&trap.program, &path).unwrap();
    }
    trap.works(&["commit", "--allow-empty", "-m", "x"]);
    trap.is_harmless();
    // By configuration, in a file that the work tree has.
    let own = trap.bed.path("p/hooks");
    std::fs::rename(trap.bed.path("p/.git/hooks"), &own).unwrap();
    trap.set("core.hooksPath", "hooks");
    trap.works(&["commit", "--allow-empty", "-m", "x"]);
    trap.is_harmless_to_files();
    trap.set("hook.mine.event", "pre-commit");
    trap.set("hook.mine.command", &trap.program);
    trap.is_harmless_to_files();
}

#[test]
fn diff_programs_do_not_run() {
    let trap = Trap::new();
    trap.bed.put("p/.gitattributes", "* diff=mine\n");
    trap.bed.git("p", ["add", "-A"]);
    trap.bed.git("p", ["commit", "-qm", "attributes"]);
    trap.bed.put("p/a.txt", "changed\n");
    trap.set("diff.mine.textconv", &trap.program);
    trap.works(&["diff"]);
    trap.is_harmless();
    trap.bed.put("p/a.txt", "changed again\n");
    trap.set("diff.mine.command", &trap.program);
    trap.works(&["diff"]);
    trap.is_harmless_to_files();
    trap.bed
        .git("p", ["config", "--remove-section", "diff.mine"]);
    trap.bed.put("p/a.txt", "changed once more\n");
    trap.set("diff.external", &trap.program);
    trap.works(&["diff"]);
    trap.is_harmless_to_files();
}

#[test]
fn filters_do_not_run() {
    let trap = Trap::new();
    trap.bed.put("p/.gitattributes", "*.txt filter=a=b.c\n");
    trap.bed.git("p", ["add", "-A"]);
    trap.bed.git("p", ["commit", "-qm", "attributes"]);
    trap.set("filter.a=b.c.clean", &trap.program);
    trap.set("filter.a=b.c.smudge", &trap.program);
    trap.set("filter.a=b.c.required", "true");
    trap.bed.put("p/a.txt", "changed\n");
    trap.works(&["diff"]);
    trap.is_harmless();
    trap.set("filter.a=b.c.process", &trap.program);
    trap.bed.put("p/a.txt", "changed again\n");
    trap.works(&["diff"]);
    trap.is_harmless_to_files();
    // Set where only an included file says so.
    trap.bed
        .git("p", ["config", "--remove-section", "filter.a=b.c"]);
    let text = format!("[filter \"a=b.c\"]\n\tclean = {}\n", trap.program);
    trap.bed.put("p/more.conf", text);
    trap.set("includeIf.onbranch:**.path", "../more.conf");
    trap.bed.put("p/a.txt", "changed once more\n");
    trap.works(&["diff"]);
    trap.is_harmless_to_files();
}

#[test]
fn merge_drivers_and_strategies_do_not_run() {
    let trap = Trap::new();
    let bed = &trap.bed;
    bed.put("p/.git/info/attributes", "*.txt merge=mine\n");
    trap.set(
        "merge.mine.driver",
        &format!("{} < /dev/null", trap.program),
    );
    bed.commit_elsewhere("a.txt", "zero\none\n");
    bed.put("p/a.txt", "one\ntwo\n");
    bed.git("p", ["commit", "-qam", "ours"]);
    bed.git("p", ["fetch", "-q"]);
    trap.works(&["merge", "-q", "origin/main"]);
    bed.git("p", ["reset", "-q", "--hard", "HEAD@{1}"]);
    trap.is_harmless();
    // Where no trick is meant, text is merged as ever.
    bed.git("p", ["reset", "-q", "--hard", "origin/main"]);
    bed.git("p", ["clean", "-qffd"]);
    bed.put("p/long.txt", "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    bed.ok("commit", json!({"path": "p", "message": "base"}));
    bed.ok("push", json!({"path": "p"}));
    bed.commit_elsewhere("long.txt", "1\n2\n3\n4\n5\n6\n7\n8\nnine\n");
    bed.put("p/long.txt", "one\n2\n3\n4\n5\n6\n7\n8\n9\n");
    bed.ok("commit", json!({"path": "p", "message": "ours"}));
    bed.ok("pull", json!({"path": "p"}));
    assert_eq!(bed.get("p/long.txt"), "one\n2\n3\n4\n5\n6\n7\n8\nnine\n");
    trap.set("branch.main.mergeOptions", "--strategy=ours");
    bed.commit_elsewhere("long.txt", "1\n2\n3\n4\nfive\n6\n7\n8\nnine\n");
    bed.ok("pull", json!({"path": "p"}));
    let both = "one\n2\n3\n4\nfive\n6\n7\n8\nnine\n";
    assert_eq!(bed.get("p/long.txt"), both);
}

#[test]
fn signatures_start_nothing() {
    let trap = Trap::new();
    trap.set("gpg.program", &trap.program);
    trap.set("commit.gpgSign", "true");
    trap.set("user.signingKey", "x");
    trap.works(&["commit", "--allow-empty", "-m", "x"]);
    for (key, value) in [
        ("gpg.format", "ssh"),
        ("log.showSignature", "true"),
        ("push.gpgSign", "true"),
        ("merge.verifySignatures", "true"),
    ] {
        trap.set(key, value);
    }
    trap.set("gpg.ssh.program", &trap.program);
    trap.set("gpg.ssh.defaultKeyCommand", &trap.program);
    trap.is_harmless();
}

#[test]
fn remotes_do_not_choose_programs() {
    let trap = Trap::new();
    trap.set("remote.origin.uploadpack", &trap.remote);
    trap.works(&["fetch"]);
    trap.set("remote.origin.receivepack", &trap.remote);
    trap.is_harmless();
    let bed = &trap.bed;
    trap.set("protocol.allow", "always");
    trap.set("protocol.ext.allow", "always");
    trap.set("core.sshCommand", &trap.remote);
    trap.set("core.gitProxy", &trap.remote);
    let ext = format!("ext::{} x", trap.remote);
    for (url, way) in [
        (ext.as_str(), "fetch"),
        ("ssh://127.0.0.1/x", "fetch"),
        ("127.0.0.1:x", "fetch"),
        ("git://127.0.0.1:1/x", "fetch"),
    ] {
        bed.git("p", ["remote", "set-url", "origin", url]);
        trap.works(&[way]);
        trap.is_harmless_to_remotes();
    }
    // By an address that stands for another one.
    bed.git("p", ["remote", "set-url", "origin", "http://127.0.0.1/x"]);
    trap.set(&format!("url.{ext}.insteadOf"), "http://127.0.0.1/x");
    trap.works(&["fetch"]);
    trap.is_harmless_to_remotes();
    for url in [
        format!("{ext}://x").replace(' ', ""),
        format!("--upload-pack={}://x", trap.remote),
        "-x://y".to_owned(),
    ] {
        assert!(bed.call("clone", json!({"url": url, "path": "n"})).is_err());
        assert!(!trap.trace().exists(), "{url}");
    }
}

#[test]
fn nobody_is_asked_for_a_password() {
    let trap = Trap::new();
    let server = Server::for_nobody();
    let url = server.url("r.git");
    trap.bed.git("p", ["remote", "set-url", "origin", &url]);
    trap.set("credential.helper", &trap.program);
    trap.works(&["fetch"]);
    trap.bed
        .git("p", ["config", "--unset", "credential.helper"]);
    let own = format!("credential.http://{}.helper", server.address);
    trap.set(&own, &trap.program);
    trap.works(&["fetch"]);
    trap.set("credential.helper", &trap.program);
    trap.set("core.askPass", &trap.program);
    trap.set("http.extraHeader", "X-Leak: one");
    trap.set(
        &format!("http.http://{}/.extraHeader", server.address),
        "X-Leak: two",
    );
    for name in ["pull", "push"] {
        drop(trap.bed.call(name, json!({"path": "p"})));
        assert!(!trap.trace().exists(), "{name}");
    }
    trap.bed
        .fail("clone", json!({"url": url, "path": "n"}), "CloneFailed");
    assert!(!trap.trace().exists());
    let ours = server.seen();
    assert!(
        ours.contains("/r.git/info/refs") && !ours.contains("X-Leak"),
        "{ours}"
    );
}

#[test]
fn what_looks_like_a_repository_inside_another_is_none() {
    let trap = Trap::new();
    let bed = &trap.bed;
    bed.git("p", ["init", "-q", "--bare", "docs"]);
    bed.git("p/docs", ["config", "core.bare", "false"]);
    bed.git("p/docs", ["config", "core.worktree", "."]);
    bed.git("p/docs", ["config", "core.fsmonitor", &trap.program]);
    bed.git("p/docs", ["status"]);
    assert!(trap.trace().exists(), "the trap is broken");
    std::fs::remove_file(trap.trace()).unwrap();
    for (name, inputs) in [
        ("status", json!({"path": "p/docs"})),
        ("commit", json!({"path": "p/docs", "message": "m"})),
    ] {
        bed.fail(name, inputs, "NotARepository");
        assert!(!trap.trace().exists());
    }
    trap.is_harmless();
}

#[test]
fn submodules_are_left_alone() {
    let trap = Trap::new();
    let bed = &trap.bed;
    let url = bed.remote_url();
    bed.git(
        "p",
        [
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            &url,
            "sub",
        ],
    );
    bed.git("p", ["commit", "-qm", "sub"]);
    // Its own settings are not looked at, so nothing looks into it.
    bed.git("p/sub", ["config", "filter.x.clean", &trap.program]);
    bed.put("p/.git/modules/sub/info/attributes", "* filter=x\n");
    // As long as before: only by its content it can be told to have changed.
    bed.put("p/sub/a.txt", "two\n");
    trap.works(&["status"]);
    bed.put("p/sub/a.txt", "six\n");
    trap.set("submodule.sub.ignore", "none");
    trap.set("submodule.recurse", "true");
    trap.set("fetch.recurseSubmodules", "true");
    trap.set("push.recurseSubmodules", "on-demand");
    trap.set("diff.submodule", "log");
    trap.set("submodule.sub.update", &format!("!{}", trap.program));
    bed.git(
        "p",
        [
            "config",
            "-f",
            ".gitmodules",
            "submodule.sub.ignore",
            "none",
        ],
    );
    trap.is_harmless();
    let clone = bed.ok("clone", json!({"url": url, "path": "with"}));
    assert_eq!(clone["default_branch"], "main");
}

#[test]
fn what_a_submodule_has_checked_out_is_committed() {
    let bed = Bed::with_remote();
    let url = bed.remote_url();
    for name in ["sub", "[x]"] {
        bed.git("p", ["submodule", "--quiet", "add", &url, name]);
    }
    bed.ok("commit", json!({"path": "p", "message": "two"}));
    let committed = |inputs: Value| bed.ok("commit", inputs)["files_committed"].clone();
    let step = |name: &str| {
        let directory = format!("p/{name}");
        bed.git(&directory, ["commit", "-q", "--allow-empty", "-m", "step"]);
        bed.put(&format!("p/{name}/a.txt"), "changed\n");
    };
    for name in ["sub", "[x]"] {
        step(name);
    }
    bed.put("p/b.txt", "b\n");
    let only = json!({"path": "p", "message": "m", "files": ["[x]"]});
    assert_eq!(committed(only), 1);
    let missing = json!({"path": "p", "message": "m", "files": ["sub", "nope"]});
    let error = bed.fail("commit", missing, "FileNotFound");
    assert_eq!(error["context"]["path"], "nope");
    assert_eq!(committed(json!({"path": "p", "message": "m"})), 2);
    step("sub");
    std::fs::remove_dir_all(bed.path("p/[x]")).unwrap();
    assert_eq!(committed(json!({"path": "p", "message": "m"})), 2);
    let inside = json!({"path": "p", "message": "m", "files": ["sub/a.txt"]});
    bed.fail("commit", inside, "CommitFailed");
    let none = json!({"path": "p", "message": "m"});
    bed.fail("commit", none, "NothingToCommit");
}

#[test]
fn a_partial_clone_fetches_nothing_by_itself() {
    let trap = Trap::new();
    let bed = &trap.bed;
    bed.git(
        "../outside/r.git",
        ["config", "uploadpack.allowFilter", "true"],
    );
    let url = bed.remote_url();
    bed.git(
        ".",
        [
            "clone",
            "-q",
            "--no-checkout",
            "--filter=blob:none",
            &url,
            "part",
        ],
    );
    bed.git("part", ["config", "remote.origin.uploadpack", &trap.remote]);
    bed.try_git("part", ["checkout", "main"]);
    assert!(trap.trace().exists(), "the trap is broken");
    std::fs::remove_file(trap.trace()).unwrap();
    for (name, inputs) in [
        ("status", json!({"path": "part"})),
        ("diff", json!({"path": "part", "commit": "HEAD"})),
        ("log", json!({"path": "part/a.txt"})),
        (
            "branch",
            json!({"path": "part", "action": "create", "name": "x"}),
        ),
    ] {
        drop(bed.call(name, inputs));
        assert!(!trap.trace().exists(), "{name}");
    }
}

#[test]
fn configuration_that_is_no_configuration_is_not_quoted() {
    let bed = Bed::with_repository();
    std::fs::write(bed.outside("secret"), "root:hunter2:0:0\n").unwrap();
    bed.git(
        "p",
        [
            "config",
            "include.path",
            bed.outside("secret").to_str().unwrap(),
        ],
    );
    let error = bed.fail("status", json!({"path": "p"}), "NotARepository");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(
        error["description"]
            .as_str()
            .unwrap()
            .contains(".git/config")
    );
}

#[test]
fn settings_that_cannot_be_masked_are_refused() {
    let bed = Bed::with_repository();
    let config = bed.get("p/.git/config");
    bed.put(
        "p/.git/config",
        [config.as_bytes(), b"[filter \"a\xff\"]\n\tclean = cat\n"].concat(),
    );
    bed.fail("status", json!({"path": "p"}), "PermissionDenied");
    let many: String = (0..300)
        .map(|n| format!("[filter \"f{n}\"]\n\tclean = cat\n"))
        .collect();
    bed.put("p/.git/config", config.clone() + &many);
    bed.fail("status", json!({"path": "p"}), "PermissionDenied");
    let long: String = (0..60_000)
        .map(|n| format!("[x \"{n}\"]\n\tyyyyyyyyyyyyyyyyyy = 1\n"))
        .collect();
    bed.put("p/.git/config", config.clone() + &long);
    bed.fail("status", json!({"path": "p"}), "PermissionDenied");
    bed.put("p/.git/config", config);
    bed.ok("status", json!({"path": "p"}));
}

#[test]
fn the_environment_is_built_from_empty() {
    let bed = Bed::with_repository();
    bed.ok("status", json!({"path": "p"}));
    bed.ok("log", json!({"path": "p"}));
    let jobs = bed.programs.jobs.lock().unwrap();
    assert!(jobs.len() > 4);
    for job in jobs.iter() {
        let value = |name: &str| {
            let found = job.environment.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("GIT_CONFIG_GLOBAL"), Some("/dev/null"));
        assert_eq!(value("GIT_ALLOW_PROTOCOL"), Some("none"));
        assert_eq!(value("GIT_ASKPASS"), None);
        assert_eq!(value("GIT_TERMINAL_PROMPT"), Some("0"));
        assert_eq!(value("GIT_HTTP_LOW_SPEED_TIME"), Some("120"));
        assert_eq!(job.timeout.as_secs(), 120);
        assert_eq!(job.directory.to_str(), Some("/workspace"));
        assert!(matches!(job.arguments[0].as_str(), "git" | "stat"));
    }
}
