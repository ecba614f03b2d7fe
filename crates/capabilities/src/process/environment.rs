//! A program's environment: built from empty, so that nothing of the gateway's own is in it.

use kruxos_types::CallError;
use std::collections::BTreeMap;

/// What every program has. `HOME` is the workspace: dot files of tools belong to the agent.
const BASE: [(&str, &str); 8] = [
    ("HOME", "/workspace"),
    ("LANG", "C.UTF-8"),
    ("LOGNAME", "agent"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("SHELL", "/bin/sh"),
    ("TERM", "dumb"),
    ("TMPDIR", "/tmp"),
    ("USER", "agent"),
];

/// Names that make an innocent program run something else. Inside the box they would gain nothing that
/// the agent does not have; refusing them keeps what was approved and what runs the same.
const REFUSED: [&str; 20] = [
    "BASH_ENV",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LOCPATH",
    "MALLOC_TRACE",
    "NODE_OPTIONS",
    "NODE_REPL_EXTERNAL_MODULE",
    "PERL5DB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "RUBYOPT",
    "SHELLOPTS",
    "_JAVA_OPTIONS",
];
/// The same for whole families: the dynamic loader's and git's, and bash's exported functions.
const REFUSED_PREFIXES: [&str; 4] = ["LD_", "GIT_", "BASH_FUNC_", "DYLD_"];

/// The whole environment of a program, with `added` by the caller.
///
/// # Errors
/// `InvalidInput` names the variable that is not a name, not allowed or holds a NUL.
pub(super) fn build(added: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, CallError> {
    for (name, value) in added {
        check(name, value)?;
    }
    let base = BASE
        .iter()
        .filter(|(name, _)| !added.contains_key(*name))
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let own = added
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    Ok(base.chain(own).collect())
}

fn check(name: &str, value: &str) -> Result<(), CallError> {
    let refuse = |why: &str, expected: &str| {
        let shown: String = name.chars().take(64).collect();
        Err(CallError::invalid_input(
            "environment",
            &format!("'{shown}' {why}"),
            expected,
        ))
    };
    let mut bytes = name.bytes();
    let starts = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    if !starts || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return refuse(
            "is not a name of a variable",
            "names of letters, digits and _, not beginning with a digit",
        );
    }
    let refused = REFUSED.contains(&name)
        || REFUSED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
    if refused {
        return refuse(
            "makes programs run other code and is not allowed",
            "variables that the program itself reads; run what you mean as the command",
        );
    }
    if value.contains('\0') {
        return refuse("holds a NUL", "values without NUL");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn built(name: &str, value: &str) -> Result<Vec<(String, String)>, CallError> {
        build(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_is_added_stands_in_place_of_the_base() {
        let environment = built("PATH", "/opt/bin").unwrap();
        let paths: Vec<_> = environment.iter().filter(|(n, _)| n == "PATH").collect();
        assert_eq!(paths, [&("PATH".to_owned(), "/opt/bin".to_owned())]);
        assert!(environment.iter().any(|(name, _)| name == "HOME"));
    }

    #[test]
    fn nothing_of_this_process_is_in_it() {
        let environment = build(&BTreeMap::new()).unwrap();
        assert_eq!(environment.len(), BASE.len());
    }

    #[test]
    fn names_that_run_other_code_are_refused_and_named() {
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "GIT_SSH_COMMAND",
            "NODE_OPTIONS",
            "PYTHONSTARTUP",
            "BASH_ENV",
            "GCONV_PATH",
            "BASH_FUNC_ls",
        ] {
            let error = built(name, "x").unwrap_err();
            assert!(error.description().contains(name), "{error:?}");
        }
        for name in ["", "1A", "A-B", "A=B", "Ä", "A\0"] {
            assert!(built(name, "x").is_err(), "{name:?}");
        }
        assert!(built("A", "x\0y").is_err());
        for name in ["CARGO_HOME", "PYTHONPATH", "GITHUB_TOKEN_FILE", "_X1"] {
            assert!(built(name, "x").is_ok(), "{name}");
        }
    }
}
