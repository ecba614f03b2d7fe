//! Checks of one file.

use super::Finding;
use super::source::SourceFile;
use regex::Regex;
use std::sync::LazyLock;

/// Lines that are not tests; a file that needs more is two files.
const MAX_LINES: usize = 800;
/// Lines of one function.
const MAX_FUNCTION_LINES: usize = 100;

/// Where the environment may be read: once each, for the configuration.
const ENVIRONMENT_READERS: [&str; 4] = [
    "crates/gateway/src/config.rs",
    "crates/gateway/src/bin/kruxosd.rs",
    "crates/cli/src/locate.rs",
    "crates/cli/src/output.rs",
];

/// Which lines a pattern is looked for in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Code that ships.
    Product,
    /// Tests.
    Tests,
    /// Both.
    All,
}

/// A pattern that must not be there.
struct Ban {
    check: &'static str,
    pattern: Regex,
    lines: Lines,
    /// Whether it is looked for in comments instead of code.
    in_comments: bool,
    message: &'static str,
    exempt: fn(&str) -> bool,
    /// Lines that match and are right.
    excused: fn(&SourceFile, usize) -> bool,
}

#[expect(
    clippy::unwrap_used,
    reason = "the patterns are constants; a test compiles them"
)]
static BANS: LazyLock<Vec<Ban>> = LazyLock::new(|| {
    let ban = |check, pattern: &str, lines, message| Ban {
        check,
        pattern: Regex::new(pattern).unwrap(),
        lines,
        in_comments: false,
        message,
        exempt: |_| false,
        excused: |_, _| false,
    };
    vec![
        ban(
            "string-error",
            r"\bResult<.*,\s*String>",
            Lines::Product,
            "an error is a type, not a String",
        ),
        ban(
            "sleep",
            r"\bsleep(_until)?\(",
            Lines::Tests,
            "a test waits for an event, not for time",
        ),
        ban(
            "ignore",
            r"#\[ignore\b",
            Lines::All,
            "an ignored test proves nothing",
        ),
        ban(
            "unfinished",
            r"\b(todo|unimplemented)!",
            Lines::All,
            "unfinished code is not merged",
        ),
        Ban {
            excused: |file, index| is_bound(file, index) || is_explained(file, index),
            ..ban(
                "swallowed",
                r"\.ok\(\);",
                Lines::Product,
                "a failure is dropped without a reason",
            )
        },
        Ban {
            in_comments: true,
            ..ban(
                "to-do",
                r"(//|#|/\*).*\b(TODO|FIXME)\b",
                Lines::All,
                "what is to do is an issue, not a comment",
            )
        },
        Ban {
            exempt: |path| ENVIRONMENT_READERS.contains(&path),
            ..ban(
                "environment",
                r"\benv::(var|vars)(_os)?\(",
                Lines::Product,
                "the environment is read for the configuration only",
            )
        },
        Ban {
            exempt: |path| path.starts_with("crates/sandbox/"),
            ..ban(
                "unsafe",
                r"\bunsafe\s*(\{|fn\b|impl\b|extern\b|trait\b)",
                Lines::All,
                "unsafe belongs to the sandbox",
            )
        },
    ]
});

/// All checks of one file.
pub(super) fn file(file: &SourceFile, findings: &mut Vec<Finding>) {
    if file.is_generated {
        return;
    }
    let mut report = |index: usize, check: &'static str, message: String| {
        if !file.allows(index, check) {
            findings.push(Finding {
                path: file.path.clone(),
                line: index + 1,
                check,
                message,
            });
        }
    };
    for ban in BANS.iter().filter(|ban| file.is_rust() || ban.in_comments) {
        if (ban.exempt)(&file.path) || file.path.ends_with(".yaml") {
            continue;
        }
        for (index, line) in file.lines.iter().enumerate() {
            let looked_at = match ban.lines {
                Lines::All => true,
                Lines::Product => !line.is_test,
                Lines::Tests => line.is_test,
            };
            let text = if ban.in_comments {
                &line.comment
            } else {
                &line.code
            };
            if looked_at && ban.pattern.is_match(text) && !(ban.excused)(file, index) {
                report(index, ban.check, ban.message.to_owned());
            }
        }
    }
    let count = file.lines.iter().filter(|line| !line.is_test).count();
    if count > MAX_LINES {
        report(
            0,
            "file-length",
            format!("{count} lines that are not tests; at most {MAX_LINES}"),
        );
    }
    if file.is_rust() {
        for (index, length) in long_functions(file) {
            let message = format!("a function of {length} lines; at most {MAX_FUNCTION_LINES}");
            report(index, "function-length", message);
        }
    }
}

/// Whether the statement that ends here gives its value to something.
fn is_bound(file: &SourceFile, index: usize) -> bool {
    let upwards = file.lines.iter().take(index + 1).rev();
    let mut code = upwards.map(|line| line.code.trim());
    let goes_on = |line: &&str| !line.starts_with(['.', ')', '}']);
    code.find(goes_on)
        .is_some_and(|first| first.contains('=') || first.starts_with("return"))
}

/// Whether a comment above says why.
fn is_explained(file: &SourceFile, index: usize) -> bool {
    let above = index.checked_sub(1).and_then(|above| file.lines.get(above));
    above.is_some_and(|line| line.text.trim_start().starts_with("//"))
}

/// Functions over the limit, by rustfmt's layout: the closing brace stands below the `fn`'s own indent.
fn long_functions(file: &SourceFile) -> Vec<(usize, usize)> {
    let indent = |text: &str| text.len() - text.trim_start().len();
    let mut long = Vec::new();
    for (index, line) in file
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_test)
    {
        let code = line.code.trim_start();
        let is_function = code.split(['(', '<']).next().is_some_and(|head| {
            let words: Vec<&str> = head.split_whitespace().collect();
            words.iter().rev().nth(1) == Some(&"fn")
        });
        if !is_function {
            continue;
        }
        let own = indent(&line.code);
        let end = file.lines.iter().skip(index + 1).position(|later| {
            indent(&later.code) == own && later.code.trim_start().starts_with('}')
        });
        let length = end.map_or(0, |end| end + 2);
        if length > MAX_FUNCTION_LINES && !line.code.trim_end().ends_with([';', '}']) {
            long.push((index, length));
        }
    }
    long
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(path: &str, text: &str) -> Vec<&'static str> {
        let mut findings = Vec::new();
        file(&SourceFile::new(path.to_owned(), text), &mut findings);
        findings.iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn each_ban_finds_what_it_is_for() {
        let product = "crates/policy/src/a.rs";
        let test = "crates/policy/tests/it/a.rs";
        for (path, text, check) in [
            (
                product,
                "fn a() -> Result<Vec<u8>, String> {}",
                "string-error",
            ),
            (test, "std::thread::sleep(d);", "sleep"),
            (test, "#[ignore]", "ignore"),
            (product, "fn a() { todo!() }", "unfinished"),
            (product, "thing().ok();", "swallowed"),
            (product, "// TODO later", "to-do"),
            (product, "std::env::var(\"X\")", "environment"),
            (product, "unsafe { x }", "unsafe"),
        ] {
            assert_eq!(checks(path, text), [check], "{text}");
        }
    }

    #[test]
    fn what_is_right_is_not_found() {
        for (path, text) in [
            (
                "crates/policy/src/a.rs",
                "let text = \"todo!() unsafe { TODO\";",
            ),
            ("crates/policy/src/a.rs", "tokio::time::sleep(d).await;"),
            (
                "crates/policy/tests/it/a.rs",
                "fn a() -> Result<(), String> {}",
            ),
            ("crates/sandbox/src/a.rs", "unsafe { x }"),
            ("crates/gateway/src/config.rs", "std::env::vars()"),
            ("crates/policy/src/a.rs", "let a = b.ok();"),
            ("crates/policy/src/a.rs", "let a = b\n    .c()\n    .ok();"),
            (
                "crates/policy/src/a.rs",
                "// the reader is gone\nthing().ok();",
            ),
            (
                "crates/policy/src/a.rs",
                "// tidy: allow(swallowed): the reader is gone\nthing().ok();",
            ),
        ] {
            assert_eq!(checks(path, text), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn long_files_and_functions_are_found() {
        let body = "    x();\n".repeat(120);
        assert_eq!(
            checks("crates/a/src/a.rs", &format!("fn a() {{\n{body}}}\n")),
            ["function-length"]
        );
        assert_eq!(
            checks("crates/a/src/a.rs", &"x;\n".repeat(900)),
            ["file-length"]
        );
        let mostly_tests = format!(
            "fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "x;\n".repeat(900)
        );
        assert_eq!(
            checks("crates/a/src/a.rs", &mostly_tests),
            Vec::<&str>::new()
        );
    }
}
