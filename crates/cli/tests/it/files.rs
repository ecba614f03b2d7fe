//! Configuration and policy.

use crate::support::World;
use serde_json::json;

#[test]
fn configuration_is_shown_and_set_in_the_file() {
    let world = World::start();
    let all = world.json(&["config", "show"]);
    let port = all["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["key"] == "server.port")
        .unwrap();
    assert_eq!(
        (&port["value"], &port["default"]),
        (&7700.into(), &7700.into())
    );
    assert_eq!(
        world.run(&["config", "show", "server.port"]).stdout,
        "7700\n"
    );
    let set = world.json(&["config", "set", "server.port", "7710"]);
    assert_eq!(
        (&set["value"], &set["restart_needed"]),
        (&7710.into(), &true.into())
    );
    let text = std::fs::read_to_string(world.data_dir().join("config.yaml")).unwrap();
    assert_eq!(text, "server:\n  port: 7710\n");
    let wrong = world.run(&["config", "set", "server.prot", "1"]);
    assert_eq!(wrong.code, 4);
    assert!(wrong.stderr.contains("server.port"), "{}", wrong.stderr);
    assert_eq!(
        world.run(&["config", "set", "server.port", "99999"]).code,
        2
    );
    assert_eq!(
        std::fs::read_to_string(world.data_dir().join("config.yaml")).unwrap(),
        text
    );
}

#[test]
fn a_template_is_chosen_for_one_agent_or_all() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    world.json(&["agent", "create", "b"]);
    let one = world.json(&[
        "config",
        "set",
        "policy",
        "personal-permissive",
        "--agent",
        "a",
        "--yes",
    ]);
    assert_eq!(one["changed"], json!(["a"]));
    let all = world.json(&["config", "set", "policy", "personal-permissive", "--yes"]);
    assert_eq!(all["changed"], json!(["b"]));
    assert_eq!(
        world.json(&["config", "show", "policy"])["agents"]["b"],
        "personal-permissive"
    );
    assert_eq!(
        world
            .run(&["config", "set", "policy", "no-such", "--yes"])
            .code,
        4
    );
}

#[test]
fn check_policy_explains_every_layer() {
    let world = World::start();
    world.json(&["agent", "create", "a"]);
    let ask = [
        "config",
        "check-policy",
        "--agent",
        "a",
        "--capability",
        "filesystem.write",
    ];
    let decision = world.json(&ask);
    let layers: Vec<_> = decision["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["layer"].clone())
        .collect();
    assert_eq!(layers.first(), Some(&"built_in".into()));
    assert_eq!(layers.last(), Some(&"definition".into()));
    assert!(layers.contains(&decision["winner"]), "{decision}");
    let with_input = world.json(
        &[
            &ask[..],
            &["--input", "path=/etc/passwd", "--input", "content=x"],
        ]
        .concat(),
    );
    assert_eq!(with_input["tier"], "blocked", "{with_input}");
    let human = world.run(&ask);
    assert!(human.stdout.contains("decided by"), "{}", human.stdout);
    let unknown = world.run(&[
        "config",
        "check-policy",
        "--agent",
        "a",
        "--capability",
        "filesystem.wriet",
    ]);
    assert_eq!(unknown.code, 4);
}
