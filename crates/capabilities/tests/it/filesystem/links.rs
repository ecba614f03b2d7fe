//! Absolute symbolic links that stay inside the workspace.

use super::bed::Bed;
use rustix::fs::{CWD, RenameFlags};
use serde_json::json;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// The two spellings that an agent knows of the same place.
fn spellings(bed: &Bed, rel: &str) -> [PathBuf; 2] {
    [PathBuf::from("/workspace").join(rel), bed.path(rel)]
}

#[test]
fn they_work_for_everything_that_takes_a_path() {
    let model = Bed::new();
    for which in 0..spellings(&model, "").len() {
        let bed = Bed::new();
        bed.put("real/deep/file", "content");
        let link = |to: &str, at: &str| {
            symlink(&spellings(&bed, to)[which], bed.path(at)).unwrap();
        };
        link("real/deep", "dir");
        link("dir/file", "file");
        symlink("file", bed.path("chain")).unwrap();
        for path in [
            "dir/file",
            "file",
            "chain",
            "dir/../deep/file",
            "/workspace/dir/./file",
        ] {
            let answer = bed.ok("read", json!({"path": path}));
            assert_eq!(answer["content"], "content", "{path}");
            assert_eq!(bed.ok("stat", json!({"path": path}))["type"], "file");
        }
        let listed = bed.ok("list", json!({"path": "."}));
        let targets = listed["entries"].as_array().unwrap();
        let of = |name: &str| targets.iter().find(|entry| entry["name"] == name).unwrap();
        assert_eq!(of("dir")["target"], "directory");
        assert_eq!(of("chain")["target"], "file");
        assert_eq!(bed.ok("list", json!({"path": "dir"}))["total"], 1);

        bed.ok("write", json!({"path": "file", "content": "new"}));
        bed.ok("append", json!({"path": "chain", "content": "er"}));
        bed.ok(
            "edit",
            json!({"path": "dir/file", "pattern": "newer", "replace": "newest"}),
        );
        assert_eq!(bed.get("real/deep/file"), "newest");
        assert!(bed.path("file").is_symlink() && bed.path("chain").is_symlink());
        bed.ok(
            "write",
            json!({"path": "dir/more/x", "content": "", "create_parents": true}),
        );
        assert_eq!(bed.entries("real/deep/more"), ["x"]);
        bed.ok("copy", json!({"source": "file", "destination": "dir/copy"}));
        bed.ok("delete", json!({"path": "dir/copy"}));
        assert_eq!(bed.entries("real/deep"), ["file", "more"]);
        assert_eq!(
            bed.ok("search", json!({"path": "dir", "pattern": "*"}))["total_matches"],
            3
        );
    }
}

#[test]
fn those_that_lead_out_by_a_detour_are_refused() {
    let bed = Bed::new();
    bed.put("real/file", "mine");
    bed.put_outside("secret", "theirs");
    let targets = [
        PathBuf::from("/workspace/../outside/secret"),
        PathBuf::from("/workspace/real/../../outside/secret"),
        PathBuf::from("/workspacex/real/file"),
        PathBuf::from("/proc/self/root/workspace"),
        bed.path("..").join("outside/secret"),
        bed.outside("secret"),
        PathBuf::from("/"),
    ];
    for (number, target) in targets.iter().enumerate() {
        let name = format!("link{number}");
        symlink(target, bed.path(&name)).unwrap();
        // Reached by a link that is itself fine.
        symlink(
            format!("/workspace/{name}"),
            bed.path(&format!("to-{name}")),
        )
        .unwrap();
        for path in [
            name.clone(),
            format!("to-{name}"),
            format!("real/../{name}"),
        ] {
            for (capability, inputs) in [
                ("read", json!({"path": path})),
                ("stat", json!({"path": path})),
                ("write", json!({"path": path, "content": "x"})),
            ] {
                let error = bed.fail(capability, inputs, "PathOutOfScope");
                assert_eq!(error["context"]["escape"], true, "{capability} {path}");
            }
        }
    }
    assert_eq!(bed.get_outside("secret"), "theirs");
    let error = bed.fail("read", json!({"path": "link0"}), "PathOutOfScope");
    let told = error["agent_description"].as_str().unwrap();
    assert!(told.contains("symbolic link in it leads out"), "{told}");
}

#[test]
fn links_in_a_ring_end() {
    let bed = Bed::new();
    symlink("/workspace/b", bed.path("a")).unwrap();
    symlink("/workspace/a", bed.path("b")).unwrap();
    symlink("/workspace/own/x", bed.path("own")).unwrap();
    for path in ["a", "a/x", "own", "own/x"] {
        bed.fail("read", json!({"path": path}), "InvalidInput");
        bed.fail(
            "write",
            json!({"path": path, "content": ""}),
            "InvalidInput",
        );
    }
    symlink("/workspace/none", bed.path("broken")).unwrap();
    bed.fail("read", json!({"path": "broken"}), "FileNotFound");
    bed.ok("write", json!({"path": "broken", "content": "made"}));
    assert_eq!(bed.get("none"), "made");
}

/// What a link says is read apart from opening it; whoever swaps it in between gets nothing.
#[test]
fn a_race_of_absolute_links_never_gets_out() {
    const ROUNDS: usize = 3_000;
    let bed = Bed::new();
    bed.put("real/secret", "inside");
    bed.put_outside("secret", "theirs");
    symlink("/workspace/real", bed.path("flip")).unwrap();
    symlink(bed.outside(""), bed.path("out")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (one, other) = (bed.path("flip"), bed.path("out"));
                rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let mut inside = 0;
        for round in 0..ROUNDS {
            if let Ok(answer) = bed.call("read", json!({"path": "flip/secret"})) {
                assert_eq!(answer["content"], "inside");
                inside += 1;
            }
            let content = format!("{round}");
            bed.call("write", json!({"path": "flip/new", "content": content}))
                .ok();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(inside > 0, "nothing was read at all");
    });
    assert_eq!(bed.get_outside("secret"), "theirs");
    assert!(!bed.outside("new").exists());
}
