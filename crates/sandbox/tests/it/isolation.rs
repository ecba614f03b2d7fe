//! What a box sees and does not see, and what one agent can do to another: nothing.

use crate::bed::{Bed, LONG, ask, modes, run, shell, until_printed};
use kruxos_sandbox::client::Outcome;
use kruxos_sandbox::spec::{Mount, WORKSPACE};
use std::os::unix::fs::MetadataExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_shared_with_the_host_and_a_mount_is_what_it_was_made() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let mut spec = bed.spec("writer");
        let workspace = spec.workspace.clone();
        std::fs::write(workspace.join("from-host"), "host").unwrap();
        let (library, shelf) = (bed.make("library"), bed.make("shelf"));
        std::fs::write(library.join("book"), "text").unwrap();
        if mode == crate::bed::Mode::Service {
            std::os::unix::fs::chown(&shelf, Some(spec_uid(&spec)), None).unwrap();
        }
        for (label, source, writable) in
            [("library", library, false), ("shelf", shelf.clone(), true)]
        {
            spec.mounts.push(Mount {
                label: label.into(),
                source,
                writable,
            });
        }
        let agent = bed.open(spec);
        let line = "cat from-host /mnt/library/book; echo box > from-box; echo new > /mnt/shelf/new; \
                    echo no > /mnt/library/no; echo no > /mnt/no; echo no > /no; mv from-box /mnt/shelf/moved; true";
        let done = run(&agent, shell(line)).await;
        assert_eq!(done.stdout, "hosttext", "{}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 3, "{}", done.stderr);
        assert_eq!(
            std::fs::read_to_string(shelf.join("moved")).unwrap(),
            "box\n"
        );
        assert_eq!(std::fs::read_to_string(shelf.join("new")).unwrap(), "new\n");
        assert_eq!(ask(&agent, "read /workspace/from-host").await, "host");
        assert_eq!(ask(&agent, "read /mnt/library/book").await, "text");
        assert_eq!(ask(&agent, "write /mnt/library/no").await, "error 30");
        // The real path of the workspace means the same to a worker as to the gateway.
        let real = workspace.join("from-worker");
        assert_eq!(
            ask(&agent, &format!("write {}", real.display())).await,
            "ok"
        );
        assert_eq!(std::fs::read(&real).unwrap(), b"written");
        assert_eq!(
            std::fs::metadata(&real).unwrap().uid(),
            std::fs::metadata(&workspace).unwrap().uid()
        );
    }
}

fn spec_uid(spec: &kruxos_sandbox::spec::BoxSpec) -> u32 {
    match spec.identity {
        kruxos_sandbox::spec::Identity::Own(uid) => uid,
        kruxos_sandbox::spec::Identity::Caller => unreachable!(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trash_is_for_workers_only() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("tidy");
        assert_eq!(ask(&agent, "write /.kruxos/trash/entry").await, "ok");
        assert_eq!(ask(&agent, "write /workspace/file").await, "ok");
        // Two mounts: a handler copies instead.
        let crossing = ask(&agent, "rename /workspace/file /.kruxos/trash/file").await;
        assert_eq!(crossing, format!("error {}", libc::EXDEV));
        let done = run(
            &agent,
            // Landlock refuses to list; whether a name is there only mounts decide.
            shell("ls -A /.kruxos; for n in trash proc; do test -e /.kruxos/$n && echo $n; done; true"),
        )
        .await;
        assert_eq!(done.stdout, "", "{}", done.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_agent_sees_nothing_of_another() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let victim = bed.agent("victim");
        let workspace = bed.directory.path().join("victim").join("workspace");
        let running = victim
            .run(shell("echo secret > secret; echo ready; sleep 1000"))
            .await
            .unwrap();
        until_printed(&running, "ready").await;
        let attacker = bed.agent("attacker");
        let secret = workspace.join("secret").display().to_string();
        assert!(std::path::Path::new(&secret).exists());
        let line = format!(
            "cat {secret}; ls {}; ls -d /proc/[0-9]* | wc -l; cat /proc/1/environ; kill -9 -1; echo",
            bed.directory.path().display()
        );
        let done = run(&attacker, shell(&line)).await;
        assert!(!done.stdout.contains("secret\n"), "{}", done.stdout);
        let error = ask(&attacker, &format!("read {secret}")).await;
        assert!(error.starts_with("error "), "{error}");
        assert!(running.ended().is_none());
        running.signal(libc::SIGKILL).unwrap();
        assert_eq!(running.wait().await.outcome, Outcome::Killed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_one_agent_see_no_processes_and_no_system() {
    for mode in modes() {
        let bed = Bed::new(mode);
        let agent = bed.agent("worker");
        for path in [
            "/etc/passwd",
            "/usr/bin/env",
            "/proc/1/environ",
            "/.kruxos/proc/1/status",
            "/dev/null",
            "/tmp/x",
        ] {
            let answer = ask(&agent, &format!("read {path}")).await;
            assert!(answer.starts_with("error "), "{mode:?} {path}: {answer}");
        }
        let answer = ask(&agent, "write /tmp/x").await;
        assert!(answer.starts_with("error "), "{answer}");
        for call in [
            libc::SYS_fork,
            libc::SYS_execve,
            libc::SYS_socket,
            libc::SYS_mount,
            libc::SYS_ptrace,
        ] {
            assert_eq!(
                ask(&agent, &format!("call {call}")).await,
                libc::EPERM.to_string()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_of_someone_else_is_given_to_the_agents_own_uid_and_links_are_not_followed() {
    if !modes().contains(&crate::bed::Mode::Service) {
        return;
    }
    let bed = Bed::new(crate::bed::Mode::Service);
    let spec = bed.spec("heir");
    let own = spec_uid(&spec);
    let workspace = spec.workspace.clone();
    let outside = bed.directory.path().join("outside");
    std::fs::write(&outside, "mine").unwrap();
    std::fs::create_dir(workspace.join("deep")).unwrap();
    std::fs::write(workspace.join("deep/file"), "old").unwrap();
    std::os::unix::fs::symlink(&outside, workspace.join("link")).unwrap();
    std::fs::hard_link(&outside, workspace.join("hard")).unwrap();
    let agent = bed.open(spec);
    assert_eq!(
        ask(&agent, &format!("write {WORKSPACE}/deep/file")).await,
        "ok"
    );
    assert_eq!(
        std::fs::metadata(workspace.join("deep/file"))
            .unwrap()
            .uid(),
        own
    );
    assert_eq!(
        std::fs::symlink_metadata(workspace.join("link"))
            .unwrap()
            .uid(),
        own
    );
    assert_eq!(std::fs::metadata(&outside).unwrap().uid(), 0);
    let answer = agent
        .call(format!("write {WORKSPACE}/hard").as_bytes(), LONG)
        .await
        .unwrap();
    assert!(answer.starts_with(b"error "));
}
