//! Every file capability, and what it must not reach.

use crate::bed::{LONG, Mode, modes};
use crate::permits;
use crate::setting::{Setting, agent, call};
use kruxos_capabilities::filesystem::confined;
use kruxos_types::ErrorType;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_lives_its_whole_life_in_a_worker() {
    for mode in modes() {
        let setting = Setting::new(mode);
        let text = "one\ntwo\nthree\n";
        let written = setting
            .call(
                "filesystem.write",
                json!({"path": "notes/a.md", "content": text, "create_parents": true}),
            )
            .await
            .unwrap();
        assert!(written.is_object(), "{mode:?} {written}");
        let on_host = setting.workspace.join("notes/a.md");
        assert_eq!(std::fs::read_to_string(&on_host).unwrap(), text);

        // As the agent writes paths: relative, absolute in the box, absolute on the host.
        for path in [
            "notes/a.md",
            "/workspace/notes/a.md",
            on_host.to_str().unwrap(),
        ] {
            let read = setting
                .call("filesystem.read", json!({"path": path}))
                .await
                .unwrap();
            assert_eq!(read["content"], text, "{path}");
        }
        setting
            .call(
                "filesystem.append",
                json!({"path": "notes/a.md", "content": "four\n"}),
            )
            .await
            .unwrap();
        setting
            .call(
                "filesystem.copy",
                json!({"source": "notes/a.md", "destination": "notes/b.md"}),
            )
            .await
            .unwrap();
        setting
            .call(
                "filesystem.move",
                json!({"source": "notes/b.md", "destination": "c.md"}),
            )
            .await
            .unwrap();
        let found = setting
            .call(
                "filesystem.search",
                json!({"pattern": "**/*.md", "path": "."}),
            )
            .await
            .unwrap();
        assert_eq!(
            found["total"]
                .as_u64()
                .or(found["matches"].as_array().map(|m| m.len() as u64)),
            Some(2),
            "{found}"
        );
        let found = setting
            .call(
                "filesystem.search_content",
                json!({"pattern": "four", "path": "."}),
            )
            .await
            .unwrap();
        assert!(found.to_string().contains("four"), "{found}");
        let stat = setting
            .call("filesystem.stat", json!({"path": "c.md"}))
            .await
            .unwrap();
        assert_eq!(stat["size"], 19, "{stat}");

        // The trash is on another mount: what is deleted or replaced is copied, and comes back.
        let deleted = setting
            .call("filesystem.delete", json!({"path": "c.md"}))
            .await
            .unwrap();
        assert!(!setting.workspace.join("c.md").exists());
        let id = deleted["trash_path"].as_str().expect("an id").to_owned();
        setting
            .call("filesystem.restore", json!({"trash_path": id}))
            .await
            .unwrap();
        assert_eq!(
            std::fs::read_to_string(setting.workspace.join("c.md")).unwrap(),
            format!("{text}four\n")
        );
        setting
            .call(
                "filesystem.write",
                json!({"path": "c.md", "content": "new"}),
            )
            .await
            .unwrap();
        let objects = "tester/trash/changes/objects";
        let objects = setting.bed.directory.path().join(objects);
        let kept = std::fs::read_dir(objects).unwrap().any(|entry| {
            std::fs::read_to_string(entry.unwrap().path())
                .is_ok_and(|kept| kept.ends_with("four\n"))
        });
        assert!(kept, "the replaced content is kept for undo");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_come_back_with_their_ways_out() {
    let setting = Setting::new(modes()[0]);
    let error = setting
        .call("filesystem.read", json!({"path": "nowhere/x.md"}))
        .await
        .unwrap_err();
    assert_eq!(error.error_type(), ErrorType::FileNotFound);
    let actions = error.recovery_actions();
    assert_eq!(actions[0].capability.as_deref(), Some("filesystem.search"));
    assert_eq!(actions[0].inputs.as_ref().unwrap()["pattern"], "x.md");
    let error = setting
        .call("filesystem.watch", json!({"path": "."}))
        .await
        .unwrap_err();
    assert_eq!(
        error.error_type(),
        ErrorType::TooManyWatches,
        "watches are the gateway's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_is_reached() {
    for mode in modes() {
        let setting = Setting::new(mode);
        let outside = setting.bed.directory.path().join("outside");
        std::fs::write(&outside, "secret").unwrap();
        let link = |name: &str, to: &std::path::Path| {
            std::os::unix::fs::symlink(to, setting.workspace.join(name)).unwrap();
        };
        link("link", &outside);
        link("passwd", "/etc/passwd".as_ref());
        link("up", "../../..".as_ref());
        link("trash", "/.kruxos/trash".as_ref());
        let paths = [
            "../../../etc/shadow",
            "/etc/passwd",
            "link",
            "passwd",
            "up/outside",
            "/proc/self/environ",
            "/.kruxos/trash",
            "trash",
            "/workspace/../etc/passwd",
            outside.to_str().unwrap(),
        ];
        for path in paths {
            for name in ["filesystem.read", "filesystem.list", "filesystem.delete"] {
                if name == "filesystem.delete" && !path.contains('/') {
                    // Deleting a link deletes the link.
                    continue;
                }
                let error = setting.call(name, json!({"path": path})).await.unwrap_err();
                assert_eq!(
                    error.error_type(),
                    ErrorType::PathOutOfScope,
                    "{name} {path}"
                );
            }
        }
        let other = agent(&setting.bed, "other");
        call(
            &other,
            "filesystem.write",
            json!({"path": "mine", "content": "private"}),
        )
        .await
        .unwrap();
        let theirs = setting.bed.directory.path().join("other/workspace/mine");
        assert!(theirs.exists());
        let error = setting
            .call("filesystem.read", json!({"path": theirs.to_str().unwrap()}))
            .await
            .unwrap_err();
        assert_eq!(error.error_type(), ErrorType::PathOutOfScope);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_and_unnamed_paths_are_seen_from_inside() {
    let setting = Setting::new(modes()[0]);
    setting
        .call(
            "filesystem.write",
            json!({"path": "a.md", "content": "old\n"}),
        )
        .await
        .unwrap();
    let ask = async |request: Vec<u8>| {
        confined::answer(&setting.agent.call(&request, LONG).await.unwrap())
    };
    let inputs = |value: Value| value.as_object().unwrap().clone();
    let write = permits::definition("filesystem.write");
    let wanted = inputs(json!({"path": "a.md", "content": "new\n"}));
    let preview = ask(confined::preview_request(write, &wanted).unwrap())
        .await
        .unwrap();
    assert!(
        preview["diff"].as_str().unwrap().contains("+new"),
        "{preview}"
    );
    let deleted = setting
        .call("filesystem.delete", json!({"path": "a.md"}))
        .await
        .unwrap();
    let restore = permits::definition("filesystem.restore");
    let wanted = inputs(json!({"trash_path": deleted["trash_path"]}));
    let path = ask(confined::unnamed_path_request(restore, &wanted).unwrap())
        .await
        .unwrap();
    assert_eq!(path, "/workspace/a.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_none_is_an_error_and_no_death() {
    let setting = Setting::new(modes()[0]);
    for request in [
        "",
        "{}",
        "[1]",
        "{\"wanted\":\"run\",\"capability\":\"process.run\",\"session\":null,\"inputs\":{}}",
    ] {
        let answer = setting.agent.call(request.as_bytes(), LONG).await.unwrap();
        let error = confined::answer(&answer).unwrap_err();
        assert_eq!(error.error_type(), ErrorType::Internal, "{request}");
    }
    assert_eq!(setting.bed.launcher.stats().snapshot().workers, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_quota_of_the_worker_is_a_structured_error() {
    let bed = crate::bed::Bed::new(modes()[0]);
    let mut spec = bed.spec(permits::TESTER);
    spec.limits.file_bytes = 1000;
    let setup = kruxos_capabilities::filesystem::confined::Setup {
        principal: kruxos_types::Principal::agent(permits::TESTER),
        workspace: spec.workspace.clone(),
        trash_keep_seconds: 60,
        undo_quota: 1 << 30,
        mounts: Vec::new(),
    };
    spec.worker_setup = setup.encode().unwrap();
    let agent = bed.open(spec);
    let error = call(
        &agent,
        "filesystem.write",
        json!({"path": "big", "content": "x".repeat(2000)}),
    )
    .await
    .unwrap_err();
    assert_ne!(error.error_type(), ErrorType::FileNotFound, "{error}");
    call(
        &agent,
        "filesystem.write",
        json!({"path": "small", "content": "x"}),
    )
    .await
    .unwrap();
    assert_eq!(
        bed.mode == Mode::Service,
        rustix::process::geteuid().is_root()
    );
}
