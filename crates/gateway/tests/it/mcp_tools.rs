//! The tool list and what a call answers.

use crate::support::{World, call};
use serde_json::{Value, json};

fn names(result: &Value) -> Vec<String> {
    let tools = result["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_what_policy_allows_in_a_fixed_order() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let list =
        || async { world.ask(&token, "tools/list", json!({})).await.json()["result"].clone() };
    let before = list().await;
    let shown = names(&before);
    let own: Vec<_> = shown
        .iter()
        .filter(|name| name.contains("__"))
        .cloned()
        .collect();
    let mut sorted = own.clone();
    sorted.sort();
    assert_eq!(own, sorted);
    assert!(own.contains(&"system__time".to_owned()), "{own:?}");
    assert_eq!(names(&list().await), shown);
    for tool in before["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tool| tool["name"].as_str().unwrap().contains("__"))
    {
        assert!(tool["_meta"]["kruxos/tier"].is_string(), "{tool}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
        assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
        assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
        assert!(tool["description"].as_str().unwrap().len() <= 4096);
    }
    world
        .policy(
            "a",
            "  system.time: {tier: blocked}\n  system.info: {tier: approval_required}\n",
        )
        .await;
    let after = list().await;
    assert!(!names(&after).contains(&"system__time".to_owned()));
    let info = after["tools"]
        .as_array()
        .unwrap()
        .iter()
        .find(|tool| tool["name"] == "system__info")
        .unwrap();
    assert_eq!(info["_meta"]["kruxos/tier"], "approval_required");
    let other = world.agent("b").await;
    let theirs = world.ask(&other, "tools/list", json!({})).await.json();
    assert!(
        names(&theirs["result"]).contains(&"system__time".to_owned()),
        "one agent's list is not another's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toolset_narrows_the_list() {
    let sets = [(
        "files".to_owned(),
        vec!["filesystem.re*".to_owned(), "system.time".to_owned()],
    )];
    let world = World::with(|config| config.server.toolsets = sets.into()).await;
    let token = world.agent("a").await;
    let mut socket = world
        .try_socket("/mcp?toolset=files", &token)
        .await
        .unwrap();
    socket.ask(crate::support::initialize("2025-11-25")).await;
    let listed = socket
        .ask(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}))
        .await;
    let own: Vec<_> = names(&listed["result"])
        .into_iter()
        .filter(|name| name.contains("__"))
        .collect();
    assert_eq!(
        own,
        ["filesystem__read", "filesystem__restore", "system__time"]
    );
    let unknown = world
        .send(world.post("/mcp?toolset=nothing", &token, &[], "{}"))
        .await;
    assert_eq!(unknown.status, 400);
    assert_eq!(unknown.json()["context"]["expected"], "files");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_a_call_is_a_tool_result_with_the_facts_twice() {
    let world = World::start().await;
    let token = world.agent("a").await;
    world.policy("a", "  system.info: {tier: blocked}\n").await;
    let mut socket = world.socket(&token).await;
    socket.ask(crate::support::initialize("2025-11-25")).await;
    for (tool, arguments, error) in [
        (
            "filesystem__read",
            json!({"path": "nothing.txt"}),
            "FileNotFound",
        ),
        ("filesystem__read", json!({"path": 7}), "InvalidInput"),
        ("filesystem__read", json!([1]), "InvalidInput"),
        ("system__time", json!({"unknown": 1}), "InvalidInput"),
        ("no__such", json!({}), "CapabilityNotFound"),
        ("system__info", json!({}), "PolicyDenied"),
    ] {
        let answer = socket.ask(call(3, tool, arguments)).await;
        let result = &answer["result"];
        assert_eq!(result["isError"], true, "{answer}");
        assert_eq!(result["structuredContent"]["error_type"], error, "{answer}");
        let text: Value =
            serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"]);
        assert!(
            !text["recovery_actions"].as_array().unwrap().is_empty(),
            "{text}"
        );
    }
    let missing = socket
        .ask(json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {}}))
        .await;
    assert_eq!(missing["error"]["code"], -32602);
    for name in ["system__time", "system_time", "system.time"] {
        assert_eq!(
            socket.ask(call(5, name, json!({}))).await["result"]["isError"],
            false,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_cursor_is_32602() {
    let world = World::start().await;
    let token = world.agent("a").await;
    let answer = world
        .ask(&token, "tools/list", json!({"cursor": "!"}))
        .await;
    assert_eq!(answer.code(), -32602);
}
