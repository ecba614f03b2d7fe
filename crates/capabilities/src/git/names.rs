//! Names that a caller gives to git. Git also takes them as arguments, so none begins with a dash.

use kruxos_types::CallError;

/// A branch to make, switch to, or talk about: the rules of git-check-ref-format(1), and without what
/// git would read as a dash-option or as an expression.
pub(super) fn branch(field: &str, name: &str) -> Result<(), CallError> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.ends_with(".lock")
    };
    let character =
        |c: char| !c.is_control() && !matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let valid = !name.starts_with('-')
        && !matches!(name, "HEAD" | "@")
        && !name.contains("..")
        && !name.contains("@{")
        && name.chars().all(character)
        && name.split('/').all(part);
    if valid {
        return Ok(());
    }
    Err(CallError::invalid_input(
        field,
        "it is not a valid name of a branch",
        "letters, digits, '-', '_', '.' and '/', such as fix/login; not beginning with '-'",
    ))
}

/// What names a commit: an id, a branch, a tag, or an expression such as HEAD~3.
pub(super) fn revision(field: &str, text: &str) -> Result<(), CallError> {
    if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(CallError::invalid_input(
            field,
            "it cannot name a commit",
            "a commit id, branch or tag, such as main or HEAD~3; not beginning with '-'",
        ));
    }
    Ok(())
}

/// A remote by its name; addresses are for git.clone.
pub(super) fn remote(name: &str) -> Result<(), CallError> {
    let character = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let valid = name.chars().all(character)
        && !name.starts_with(['-', '.', '/'])
        && !name.contains("..")
        && !name.is_empty();
    if valid {
        return Ok(());
    }
    Err(CallError::invalid_input(
        "remote",
        "it is not the name of a remote",
        "the name of a remote of the repository, such as origin; not an address",
    ))
}

/// A person's name or address in a commit.
pub(super) fn person(field: &str, text: &str) -> Result<(), CallError> {
    let crud = |c: char| c.is_ascii_punctuation() || c.is_whitespace();
    let breaks = |c: char| c.is_control() || matches!(c, '<' | '>');
    if text.chars().any(breaks) || text.chars().all(crud) {
        return Err(CallError::invalid_input(
            field,
            "it cannot stand in a commit",
            "text with letters, without '<', '>' and control characters",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_git_reads_otherwise_are_refused() {
        for name in [
            "", "-d", "--force", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", ".a",
            "a/.b", "a/", "/a", "a//b", "a.lock", "a.lock/b", "a.", "@", "HEAD", "@{-1}", "a@{1}",
            "a\nb", "a\x7f",
        ] {
            assert!(branch("name", name).is_err(), "{name:?}");
        }
        for name in ["main", "fix/login", "a-b", "ü", "v1.2", "a@b", "heads/x"] {
            assert!(branch("name", name).is_ok(), "{name:?}");
        }
        for name in ["-x", "", "a\0", "a\n"] {
            assert!(revision("commit", name).is_err(), "{name:?}");
        }
        assert!(revision("commit", "HEAD~3^{/fix}").is_ok());
        for name in [
            "",
            "-o",
            "ext::sh",
            "/tmp/x",
            "../x",
            "a b",
            "https://x",
            "x\n",
        ] {
            assert!(remote(name).is_err(), "{name:?}");
        }
        assert!(remote("origin").is_ok() && remote("team/fork-2").is_ok());
        for name in ["", " ", "<>", "a<b", "a\nb", ",.;"] {
            assert!(person("author_name", name).is_err(), "{name:?}");
        }
        assert!(person("author_name", "Ada Lovelace (sen.)").is_ok());
    }
}
