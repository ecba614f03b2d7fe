//! The way to the network: none but the proxy, and that only to what policy lists.

use crate::stage::{Stage, until};
use serde_json::json;
use std::io::Write;
use std::net::TcpListener;

/// A server of the host's that greets whoever connects.
fn greeter() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Who leaves early needs no greeting.
            let _sent = stream.and_then(|mut stream| stream.write_all(b"greetings\n"));
        }
    });
    port
}

/// What a program gets that asks the box's proxy for a host.
fn connect(stage: &mut Stage, target: &str) -> String {
    let script = "exec 3<>/dev/tcp/127.0.0.1/3128\nprintf 'CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' $1 $1 >&3\ncat <&3\n";
    stage.done(
        "filesystem.write",
        json!({"path": "connect.sh", "content": script}),
    );
    let inputs = json!({"command": "bash", "args": ["connect.sh", target], "timeout": 20});
    let answer = stage.done("process.run", inputs);
    answer["stdout_summary"].as_str().unwrap().to_owned()
}

#[test]
fn programs_reach_what_policy_lists_and_nothing_else() {
    let (listed, other) = (greeter(), greeter());
    let policy = format!(
        "rules:\n  - match: {{capability: \"*\"}}\n    tier: autonomous\nnetwork:\n  allow: [\"127.0.0.1:{listed}\"]\n"
    );
    let mut stage = Stage::with_policy(&policy);
    let answer = connect(&mut stage, &format!("127.0.0.1:{listed}"));
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("greetings\n"),
        "{answer}"
    );
    let answer = connect(&mut stage, &format!("127.0.0.1:{other}"));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let script = "exec 3<>/dev/tcp/127.0.0.1/$1\n";
    stage.done(
        "filesystem.write",
        json!({"path": "direct.sh", "content": script}),
    );
    let inputs = json!({"command": "bash", "args": ["direct.sh", listed.to_string()]});
    let refused = stage.done("process.run", inputs);
    assert_ne!(refused["exit_code"], 0, "the host's loopback: {refused}");
    assert_eq!(stage.shell("echo $https_proxy"), "http://127.0.0.1:3128");
    let mut events = Vec::new();
    until("the connections are not in the audit log", || {
        let entries = stage.control("GET", "/audit?kind=service&limit=50", None);
        events = entries["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| {
                entry["metadata"]["event"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        ["egress.opened", "egress.closed", "egress.refused"]
            .iter()
            .all(|event| events.iter().any(|known| known == event))
    });
}

#[test]
fn without_a_list_nothing_is_reached_and_git_says_why() {
    let mut stage = Stage::new();
    let port = greeter();
    let answer = connect(&mut stage, &format!("127.0.0.1:{port}"));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert_eq!(stage.shell("echo ${https_proxy:-none}"), "none");
    let error = stage.refused(
        "git.clone",
        json!({"url": "https://example.invalid/a.git", "path": "a"}),
    );
    assert!(
        error["description"].as_str().unwrap().contains("network"),
        "{error}"
    );
}

/// A server of the host's that keeps every connection.
fn keeper() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            (&stream).write_all(b"greetings\n").unwrap();
            kept.push(stream);
        }
    });
    port
}

#[test]
fn a_host_that_policy_takes_away_is_not_reached_any_longer() {
    let port = keeper();
    let network = format!("network:\n  allow: [\"127.0.0.1:{port}\"]\n");
    let rules = "rules:\n  - match: {capability: \"*\"}\n    tier: autonomous\n";
    let mut stage = Stage::with_policy(&format!("{rules}{network}"));
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/3128\nprintf 'CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n\\r\\n' >&3\ncat <&3\n"
    );
    stage.done(
        "filesystem.write",
        json!({"path": "open.sh", "content": script}),
    );
    let inputs = json!({"command": "bash", "args": ["open.sh"], "background": true});
    let id = stage.done("process.run", inputs)["process_id"].clone();
    let logs = json!({"process_id": id, "stream": "stdout"});
    until("nothing came", || {
        let told = stage.done("process.logs", logs.clone());
        told.to_string().contains("greetings")
    });
    let file = stage
        .directory
        .path()
        .join("data/policies/agents/default-agent.yaml");
    std::fs::write(file, rules).unwrap();
    until("the connection is open still", || {
        let told = stage.done("process.monitor", json!({"process_id": id}));
        told["state"] != "running"
    });
    let entries = stage.control("GET", "/audit?kind=service&limit=50", None);
    assert!(
        entries.to_string().contains("does not allow it any more"),
        "{entries}"
    );
}

/// What `serve` holds goes with the box: the port, and with it the box's network namespace.
#[test]
fn a_box_that_ended_leaves_no_port_behind() {
    let mut stage = Stage::with_policy(
        "rules:\n  - match: {capability: \"*\"}\n    tier: autonomous\nnetwork:\n  allow: [a.example]\n",
    );
    let given = tempfile::tempdir().unwrap();
    let mounts = "/agents/default-agent/mounts";
    let mount = json!({"label": "data", "source": given.path()});
    stage.control("POST", mounts, Some(mount));
    let descriptors = format!("/proc/{}/fd", stage.daemon.pid());
    let sockets = || {
        let open = std::fs::read_dir(&descriptors).unwrap().flatten();
        let links = open.filter_map(|one| std::fs::read_link(one.path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    };
    stage.shell("true");
    let before = sockets();
    for number in 0..20 {
        let toggle = Some(json!({"read_only": number % 2 == 0}));
        stage.control("PATCH", &format!("{mounts}/data"), toggle);
        stage.shell("true");
    }
    until("sockets of boxes that have ended", || {
        sockets() < before + 10
    });
}
