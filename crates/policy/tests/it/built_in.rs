use crate::world::{Call, call, compile, read, run, set, sources};
use kruxos_types::{Principal, Tier};
use serde_json::json;

/// A file that allows everything: what is blocked all the same is built in.
const OPEN: &str = "capabilities: {'*': {tier: autonomous}}";

fn blocked(call: &Call) -> bool {
    call.tier(&set(&[("alice", OPEN)])) == Tier::Blocked
}

#[test]
fn system_paths_are_never_written() {
    let write = |path: &str| call("filesystem.write", json!({"path": path, "content": ""}));
    for path in [
        "/etc/passwd",
        "/etc",
        "/usr/bin/x",
        "/lib64/x",
        "/lib/x",
        "/boot/x",
        "/dev/sda",
        "/proc/1/mem",
        "/var/lib/x",
        "/",
        "/a/../etc/x",
        "/workspace/../etc/x",
        "../../../etc/x",
    ] {
        assert!(blocked(&write(path)), "{path}");
        assert!(
            blocked(&call("filesystem.delete", json!({ "path": path }))),
            "{path}"
        );
        assert!(
            !blocked(&read(path)),
            "reading {path} is the executor's matter"
        );
    }
    for path in [
        "x",
        "/workspace/etc/x",
        "etc/passwd",
        "/etcx",
        "/library/x",
        "/mnt/data/x",
        "/srv/ws/alice/x",
    ] {
        assert!(!blocked(&write(path)), "{path}");
    }
    let copy = |source: &str, destination: &str| {
        call(
            "filesystem.copy",
            json!({"source": source, "destination": destination}),
        )
    };
    assert!(blocked(&copy("x", "/etc/x")));
    assert!(!blocked(&copy("/etc/hosts", "x")));
    assert!(blocked(&call(
        "filesystem.move",
        json!({"source": "/etc/x", "destination": "y"})
    )));
    let mut inside = write("/var/lib/kruxos/workspaces/alice/x");
    inside.workspace = "/var/lib/kruxos/workspaces/alice".to_owned();
    assert!(
        !blocked(&inside),
        "the agent's own workspace may lie below a system directory"
    );
}

#[test]
fn the_protections_hold_without_any_file_and_say_why() {
    let set = set(&[]);
    let call = call(
        "filesystem.write",
        json!({"path": "/etc/passwd", "content": ""}),
    );
    let verdict = call.verdict(&set);
    assert_eq!(
        (
            verdict.tier(),
            verdict.winner().as_str(),
            verdict.winner_rule()
        ),
        (Tier::Blocked, "built_in", Some("built_in.system_paths"))
    );
    assert!(
        verdict
            .winner_reason()
            .is_some_and(|reason| reason.contains("System directories"))
    );
    assert_eq!(verdict.winner_place(), None);
}

#[test]
fn the_gateways_own_files_are_out_of_reach() {
    let mut sources = sources(&[("alice", OPEN)]);
    sources.data_dir = Some("/home/me/.kruxos/".to_owned());
    let set = compile(&sources).unwrap().0;
    for (path, rule) in [
        ("/home/me/.kruxos/audit/0001.log", "built_in.audit_log"),
        (
            "/home/me/.kruxos/policies/system.yaml",
            "built_in.policy_files",
        ),
        ("/home/me/.kruxos/vault/master.key", "built_in.secret_files"),
        ("/home/me/.kruxos/state.db", "built_in.gateway_data"),
        (
            "/home/me/.kruxos/workspaces/bob/notes",
            "built_in.gateway_data",
        ),
        ("/home/me/x/../.kruxos/audit", "built_in.audit_log"),
    ] {
        let with_workspace = |mut call: Call| {
            call.workspace = "/home/me/.kruxos/workspaces/alice".to_owned();
            call
        };
        for call in [
            read(path),
            run("cat", &[path]),
            run("sh", &["-c", &format!("tail -f '{path}' > x")]),
        ] {
            let call = with_workspace(call);
            let normal = !path.contains("..");
            let by_program = call.capability != "filesystem.read";
            if rule == "built_in.gateway_data" && !by_program {
                // The roots of `filesystem.*` end above it, which is told as an escape.
                assert_eq!(call.tier(&set), Tier::Autonomous);
                continue;
            }
            if normal || call.capability == "filesystem.read" {
                assert_eq!(
                    call.verdict(&set).winner_rule(),
                    Some(rule),
                    "{path} {:?}",
                    call.inputs
                );
            }
        }
        let own = with_workspace(read("/home/me/.kruxos/workspaces/alice/notes"));
        assert_eq!(own.tier(&set), Tier::Autonomous);
        let own = with_workspace(run("cat", &["/home/me/.kruxos/workspaces/alice/notes"]));
        assert_eq!(own.tier(&set), Tier::Autonomous);
    }
    assert_eq!(read("/home/me/.kruxosx/audit").tier(&set), Tier::Autonomous);
}

#[test]
fn another_agents_state_is_out_of_reach() {
    let backup = |agent: &str| call("state.backup.create", json!({ "agent": agent }));
    assert!(blocked(&backup("bob")));
    assert!(!blocked(&backup("alice")));
    let open = set(&[("user", OPEN)]);
    assert_eq!(
        backup("bob").by(Principal::user("eve")).tier(&open),
        Tier::Autonomous,
        "a person may"
    );
}

#[test]
fn addresses_that_clients_read_differently_are_blocked() {
    let get = |url: &str| call("network.http_request", json!({"url": url, "method": "GET"}));
    for url in [
        "http:evil.com",
        "https://good.com\\@evil.com",
        "https://ｅvil.com",
        "https://ev%69l.com",
        "no scheme",
    ] {
        assert!(blocked(&get(url)), "{url}");
    }
    assert!(!blocked(&get("https://xn--bcher-kva.example/x?y=%20#z")));
}

#[test]
fn commands_of_mass_destruction_are_blocked() {
    for (command, args) in [
        ("rm", vec!["-rf", "/"]),
        ("rm", vec!["-fr", "/*"]),
        ("rm", vec!["-r", "-f", "/home"]),
        ("rm", vec!["-rf", "/home/"]),
        ("rm", vec!["-rf", "/etc/*"]),
        ("rm", vec!["-Rf", "/usr/../"]),
        ("rm", vec!["--recursive", "--force", "/var"]),
        ("rm", vec!["-rf", "--no-preserve-root", "x"]),
        ("rm", vec!["-rf", "../../../../.."]),
        ("rm", vec!["-rf", "~"]),
        ("rm", vec!["-rf", "--", "/"]),
        ("/bin/rm", vec!["-rf", "/"]),
        ("rm -rf /", vec![]),
        ("rm -rf", vec!["/"]),
        ("sudo", vec!["rm", "-rf", "/"]),
        ("sudo -n env A=b nice -n 5 rm -rf /", vec![]),
        ("busybox", vec!["rm", "-rf", "/"]),
        ("sh", vec!["-c", "rm -rf /"]),
        ("bash", vec!["-lc", "cd /tmp && rm -rf '/'"]),
        ("bash", vec!["-c", "echo hi; (rm -r -f \"/\")"]),
        ("bash", vec!["-c", "true || r\\m -rf /"]),
        ("bash", vec!["-c", "echo $(rm -rf /)"]),
        ("bash", vec!["-c", "if true; then rm -rf /usr; fi"]),
        ("bash", vec!["-c", "sh -c 'rm -rf /'"]),
        ("bash", vec!["-c", "eval 'rm -rf /'"]),
        ("bash", vec!["-c", "rm -rf /$UNSET"]),
        ("find", vec!["/", "-delete"]),
        ("find", vec!["/etc", "-exec", "rm", "{}", ";"]),
        ("chmod", vec!["-R", "000", "/"]),
        ("chown", vec!["-R", "nobody", "/usr"]),
        ("dd", vec!["if=/dev/zero", "of=/dev/sda"]),
        ("mkfs.ext4", vec!["/dev/vda1"]),
        ("mkfs", vec!["-t", "ext4", "/dev/nvme0n1"]),
        ("wipefs", vec!["-a", "/dev/sdb"]),
        ("sh", vec!["-c", "cat image > /dev/sda"]),
        ("sh", vec!["-c", "cat image >/dev/../dev/sda"]),
        ("sh", vec!["-c", "echo x | tee /dev/sda"]),
        ("cp", vec!["image", "/dev/mmcblk0"]),
        ("bash", vec!["-c", ":(){ :|:& };:"]),
        ("bash", vec!["-c", "bomb() { bomb | bomb & }; bomb"]),
        ("bash", vec!["-c", "function f(){ f|f& };f"]),
    ] {
        assert!(blocked(&run(command, &args)), "{command} {args:?}");
    }
    let fed = call(
        "process.run",
        json!({"command": "bash", "args": ["-s"], "stdin": "rm -rf /\n"}),
    );
    assert!(blocked(&fed));
    let inside = call(
        "process.run",
        json!({"command": "rm", "args": ["-rf", "../../.."], "working_directory": "a"}),
    );
    assert!(blocked(&inside));
}

#[test]
fn ordinary_commands_are_not() {
    for (command, args) in [
        ("rm", vec!["-rf", "target"]),
        ("rm", vec!["-rf", "/workspace/build"]),
        ("rm", vec!["-rf", "/workspace/*"]),
        ("rm", vec!["-rf", "/tmp/x", "./*"]),
        ("rm", vec!["-rf", "/srv/ws/alice/build"]),
        ("rm", vec!["-f", "/x"]),
        ("rm", vec!["-rf", "node_modules/", "$BUILD/out"]),
        ("sh", vec!["-c", "make > /dev/null 2>&1"]),
        ("sh", vec!["-c", "make 2>/dev/stderr | tee log"]),
        ("dd", vec!["if=/dev/zero", "of=disk.img", "bs=1M"]),
        ("dd", vec!["if=/dev/sda", "of=/dev/null"]),
        ("mkfs.ext4", vec!["disk.img"]),
        ("find", vec![".", "-name", "*.o", "-delete"]),
        ("find", vec!["/", "-name", "x"]),
        ("chmod", vec!["-R", "u+w", "src"]),
        ("grep", vec!["-r", "rm -rf /", "docs"]),
        ("git", vec!["commit", "-m", "rm -rf / is blocked"]),
        ("echo", vec!["rm", "-rf", "/"]),
        ("bash", vec!["-c", "f() { echo hi; }; f"]),
        ("ls", vec!["/"]),
        ("", vec![]),
    ] {
        assert!(!blocked(&run(command, &args)), "{command} {args:?}");
    }
}

/// Found by the differential test: the first path's part of the data directory hid the second's.
#[test]
fn a_move_from_one_part_of_the_data_directory_into_another_meets_the_protections_of_both() {
    let mut sources = sources(&[("alice", OPEN)]);
    sources.data_dir = Some("/home/me/.kruxos".to_owned());
    let set = compile(&sources).unwrap().0;
    for (source, destination, expected) in [
        ("outputs/x", "policies/org.yaml", Tier::Blocked),
        ("policies/org.yaml", "outputs/x", Tier::Blocked),
        ("outputs/x", "vault/x", Tier::Blocked),
        ("outputs/x", "outputs/y", Tier::Autonomous),
    ] {
        let place = |below: &str| format!("/home/me/.kruxos/{below}");
        let moved = call(
            "filesystem.move",
            json!({"source": place(source), "destination": place(destination)}),
        );
        assert_eq!(moved.tier(&set), expected, "{source} to {destination}");
    }
}
