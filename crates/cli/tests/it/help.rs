//! Every help text there is: what a newcomer reads must not change by accident.

/// The long help of a command and of everything below it.
fn tree(command: &mut clap::Command, path: &str, all: &mut String) {
    all.push_str(&format!("===== {path}\n{}\n", command.render_long_help()));
    let names: Vec<String> = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    for name in names {
        let below = command.find_subcommand_mut(&name).unwrap();
        tree(below, &format!("{path} {name}"), all);
    }
}

#[test]
fn the_whole_help_tree() {
    let mut command = kruxos_cli::command().term_width(100);
    command.build();
    let mut all = String::new();
    tree(&mut command, "kruxos", &mut all);
    insta::assert_snapshot!("help", all);
}

#[test]
fn the_command_tree_is_consistent() {
    kruxos_cli::command().debug_assert();
}

#[test]
fn what_is_not_built_is_absent() {
    let command = kruxos_cli::command();
    for later in [
        "vault", "doctor", "connect", "pack", "setup", "mount", "model", "agents", "sandbox",
    ] {
        assert!(command.find_subcommand(later).is_none(), "{later}");
    }
}
