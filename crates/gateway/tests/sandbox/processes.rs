//! Programs of an agent: started, watched, ended, and what is told of them.

use crate::stage::{Stage, until};
use serde_json::{Value, json};

/// A shell line in the background; its process id.
fn background(stage: &mut Stage, line: &str, more: &Value) -> String {
    let mut inputs = json!({"command": "sh", "args": ["-c", line], "background": true});
    for (name, value) in more.as_object().into_iter().flatten() {
        inputs[name] = value.clone();
    }
    let started = stage.done("process.run", inputs);
    started["process_id"].as_str().unwrap().to_owned()
}

fn monitor(stage: &mut Stage, id: &str) -> Value {
    stage.done("process.monitor", json!({"process_id": id}))
}

#[test]
fn processor_time_is_bounded_for_all_of_a_program_together() {
    let mut stage = Stage::new();
    let line = "for i in 1 2 3 4; do while :; do :; done & done; wait";
    let inputs = json!({"command": "sh", "args": ["-c", line], "cpu_limit": 0.1, "timeout": 20});
    let error = stage.refused("process.run", inputs);
    assert_eq!(error["error_type"], "ResourceLimitExceeded", "{error}");
    assert_eq!(error["context"]["resource"], "cpu", "{error}");
    assert_eq!(error["context"]["limit"], 2, "{error}");
}

#[test]
fn a_limit_that_ended_a_background_program_is_told() {
    let mut stage = Stage::new();
    let more = json!({"cpu_limit": 0.1, "timeout": 10});
    let id = background(&mut stage, "while :; do :; done", &more);
    until("the program is not ended", || {
        monitor(&mut stage, &id)["state"] == "killed"
    });
    let told = monitor(&mut stage, &id);
    let limit = &told["resource_usage"]["limit_hit"];
    assert_eq!(*limit, json!({"resource": "cpu", "limit": 1}), "{told}");
}

#[test]
fn what_a_program_uses_is_told_while_it_runs() {
    let mut stage = Stage::new();
    let line = "head -c 8000000 /dev/zero > file; sync; echo written; exec sleep 600";
    let id = background(&mut stage, line, &json!({}));
    until("nothing was written", || {
        monitor(&mut stage, &id)["resource_usage"]["written_bytes"].as_u64() >= Some(8_000_000)
    });
    let usage = monitor(&mut stage, &id)["resource_usage"].clone();
    assert!(usage["memory_peak_bytes"].as_u64() > Some(0), "{usage}");
    let killed = stage.done("process.kill", json!({"process_id": id}));
    assert_eq!(killed["state"], "killed", "{killed}");
    let again = stage.refused("process.kill", json!({"process_id": id}));
    assert_eq!(again["error_type"], "ProcessAlreadyExited", "{again}");
}

#[test]
fn output_is_read_in_pieces_and_wrong_questions_are_refused() {
    let mut stage = Stage::new();
    let id = background(&mut stage, "echo one; echo two >&2; echo three", &json!({}));
    until("it goes on", || {
        monitor(&mut stage, &id)["state"] == "exited"
    });
    let logs = |stage: &mut Stage, more: Value| {
        let mut inputs = json!({"process_id": id});
        for (name, value) in more.as_object().into_iter().flatten() {
            inputs[name] = value.clone();
        }
        stage.agent.call("process.logs", inputs).unwrap()
    };
    let first = logs(&mut stage, json!({"stream": "stdout"})).unwrap();
    assert!(first.to_string().contains("one"), "{first}");
    assert!(!first.to_string().contains("two"), "{first}");
    let missing = stage.refused("process.logs", json!({"process_id": "proc_nothing"}));
    assert_eq!(missing["error_type"], "ProcessNotFound", "{missing}");
    let list = stage.done("process.list", json!({"state_filter": "exited"}));
    assert!(list.to_string().contains(&id), "{list}");
    let list = stage.done("process.list", json!({"state_filter": "running"}));
    assert!(!list.to_string().contains(&id), "{list}");
}

#[test]
fn no_more_programs_run_at_once_than_may() {
    let stage = Stage::new();
    let token = stage.daemon.introduction.agent_token().unwrap().to_owned();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = stage.daemon.client(&token).unwrap();
            std::thread::spawn(move || {
                let inputs = json!({"command": "sleep", "args": ["600"], "background": true});
                (0..6)
                    .filter(|_| client.call("process.run", inputs.clone()).unwrap().is_ok())
                    .count()
            })
        })
        .collect();
    let started: usize = clients.into_iter().map(|one| one.join().unwrap()).sum();
    assert_eq!(started, 32);
}
