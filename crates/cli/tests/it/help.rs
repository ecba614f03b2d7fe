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

/// What the reference says beside the help texts.
const PREFACE: &str = "# Command line

Generated from the program's own help; `KRUXOS_UPDATE_DOCS=1 cargo test -p kruxos-cli --test it reference`
writes it anew.

Every listing answers JSON with `--json`. Errors and notes go to stderr with what to do next; with
`--json` an error of the gateway is its structured error. Commands that destroy something ask first;
`--yes` skips the question, and where nobody can be asked they are refused.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | usage: a command, option or input that cannot be right |
| 3 | the vault is locked |
| 4 | not found |
| 5 | no gateway can be reached |
| 6 | refused: by policy, by a state that does not allow it, or because nobody confirmed |
| 143 | `approve watch` was ended by a signal; its terminal is as it was |
";

fn reference(command: &mut clap::Command, path: &str, all: &mut String) {
    all.push_str(&format!(
        "\n## {path}\n\n```text\n{}\n```\n",
        command.render_help().to_string().trim_end()
    ));
    let names: Vec<String> = command
        .get_subcommands()
        .map(|one| one.get_name().to_owned())
        .collect();
    for name in names {
        let below = command.find_subcommand_mut(&name).unwrap();
        reference(below, &format!("{path} {name}"), all);
    }
}

#[test]
fn the_reference_is_fresh() {
    let mut command = kruxos_cli::command().term_width(100);
    command.build();
    let mut all = PREFACE.to_owned();
    reference(&mut command, "kruxos", &mut all);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    #[allow(
        clippy::disallowed_methods,
        reason = "a switch of this test, not configuration"
    )]
    if std::env::var_os("KRUXOS_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).unwrap();
        std::fs::write(file, &all).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        written == all,
        "docs/cli.md is stale: run this test with KRUXOS_UPDATE_DOCS=1"
    );
}

#[test]
fn the_command_tree_is_consistent() {
    kruxos_cli::command().debug_assert();
}

#[test]
fn what_is_not_built_is_absent() {
    let command = kruxos_cli::command();
    for later in [
        "vault", "doctor", "connect", "pack", "setup", "model", "agents",
    ] {
        assert!(command.find_subcommand(later).is_none(), "{later}");
    }
}
