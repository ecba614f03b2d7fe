//! A file, with what the checks need to know of its lines.

/// A hand-written file.
pub(crate) struct SourceFile {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) is_generated: bool,
}

/// One line.
pub(crate) struct Line {
    /// As it is written.
    pub(crate) text: String,
    /// Rust without comments and without what is in string literals; other languages as written.
    pub(crate) code: String,
    /// The comments of Rust; other languages as written.
    pub(crate) comment: String,
    /// Whether only tests contain it.
    pub(crate) is_test: bool,
}

impl SourceFile {
    pub(crate) fn new(path: String, text: &str) -> SourceFile {
        let is_rust = path.ends_with(".rs");
        let (code, comments) = if is_rust {
            split(text)
        } else {
            (text.to_owned(), text.to_owned())
        };
        let test_file = is_test_path(&path);
        let mut test_module = false;
        let mut after_attribute = false;
        let lines = text.lines().zip(code.lines().zip(comments.lines()));
        let lines = lines.map(|(text, (code, comment))| {
            // By convention the tests of a module are its last item.
            test_module |=
                after_attribute && code.starts_with("mod ") && code.trim_end().ends_with('{');
            after_attribute =
                code.starts_with("#[cfg(test)]") || (after_attribute && code.starts_with("#["));
            Line {
                text: text.to_owned(),
                code: code.to_owned(),
                comment: comment.to_owned(),
                is_test: test_file || test_module,
            }
        });
        let lines: Vec<Line> = lines.collect();
        let is_generated = lines
            .first()
            .is_some_and(|first| first.text.contains("Generated from"));
        SourceFile {
            path,
            lines,
            is_generated,
        }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the line, or the one above, allows what this check finds, with a reason.
    pub(crate) fn allows(&self, index: usize, check: &str) -> bool {
        let marker = format!("tidy: allow({check}): ");
        let says = |index: usize| {
            self.lines.get(index).is_some_and(|line| {
                line.text
                    .split_once(&marker)
                    .is_some_and(|(_, reason)| !reason.trim().is_empty())
            })
        };
        says(index) || index.checked_sub(1).is_some_and(says)
    }
}

/// Integration tests, benches, test modules in files of their own, and the crate for tests.
fn is_test_path(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    parts
        .iter()
        .any(|part| matches!(*part, "tests" | "benches" | "testkit" | "tests.rs"))
}

/// What a scanner is in the middle of.
enum State {
    Code,
    LineComment,
    BlockComment(usize),
    Text { hashes: Option<usize> },
}

/// Rust as code without comments and the insides of string literals, and as comments alone. What is
/// left out becomes spaces, so lines and columns stay.
fn split(text: &str) -> (String, String) {
    let letters: Vec<char> = text.chars().collect();
    let at = |index: usize| letters.get(index).copied().unwrap_or('\0');
    let hashes_from = |start: usize| (start..).take_while(|index| at(*index) == '#').count();
    let mut kept = String::with_capacity(text.len());
    let mut comments = String::with_capacity(text.len());
    let mut state = State::Code;
    let mut index = 0;
    while index < letters.len() {
        let letter = at(index);
        let mut width = 1;
        let mut keep = false;
        match state {
            State::Code => match (letter, at(index + 1)) {
                ('/', '/') => state = State::LineComment,
                ('/', '*') => (state, width) = (State::BlockComment(1), 2),
                ('"', _) => (state, keep) = (State::Text { hashes: None }, true),
                ('r', '"' | '#')
                    if !at_word(&letters, index)
                        && at(index + 1 + hashes_from(index + 1)) == '"' =>
                {
                    let hashes = hashes_from(index + 1);
                    (state, width) = (
                        State::Text {
                            hashes: Some(hashes),
                        },
                        hashes + 2,
                    );
                }
                ('\'', '\\') => {
                    width = 3
                        + (index + 3..)
                            .take_while(|i| !matches!(at(*i), '\'' | '\0'))
                            .count()
                        + 1
                }
                ('\'', _) if at(index + 2) == '\'' => width = 3,
                _ => keep = true,
            },
            State::LineComment if letter == '\n' => state = State::Code,
            State::BlockComment(depth) => match (letter, at(index + 1)) {
                ('*', '/') => {
                    state = if depth == 1 {
                        State::Code
                    } else {
                        State::BlockComment(depth - 1)
                    };
                    width = 2;
                }
                ('/', '*') => (state, width) = (State::BlockComment(depth + 1), 2),
                _ => {}
            },
            State::Text { hashes: None } => match letter {
                '\\' => width = 2,
                '"' => (state, keep) = (State::Code, true),
                _ => {}
            },
            State::Text {
                hashes: Some(hashes),
            } if letter == '"' && hashes_from(index + 1) >= hashes => {
                (state, width) = (State::Code, hashes + 1);
            }
            _ => {}
        }
        let in_comment = matches!(state, State::LineComment | State::BlockComment(_));
        for offset in 0..width {
            let letter = at(index + offset);
            let shown = |wanted: bool| {
                if wanted || letter == '\n' {
                    letter
                } else {
                    ' '
                }
            };
            kept.push(shown(keep));
            comments.push(shown(in_comment));
        }
        index += width;
    }
    (kept, comments)
}

/// Whether the letter at this index goes on a word.
fn at_word(letters: &[char], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| letters.get(before));
    before.is_some_and(|letter| letter.is_alphanumeric() || *letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_and_lines_stay() {
        let text = "let a = \"x // y\"; // z\nlet b = r#\"unsafe \"q\" {\"#; /* c /* d */ e */ f('\"', '\\'', 'a');\n&'a str";
        let (code, comments) = split(text);
        assert!(
            comments.contains("// z") && comments.contains("c /* d") && !comments.contains("y")
        );
        assert_eq!(code.lines().count(), 3);
        for gone in ["x", "z", "unsafe", "q", "c ", "d", " e "] {
            assert!(!code.contains(gone), "{gone}: {code}");
        }
        for kept in ["let a", "let b", "f(", "&'a str"] {
            assert!(code.contains(kept), "{kept}: {code}");
        }
    }

    #[test]
    fn test_modules_and_test_files_are_told_from_code() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    fn b() {}\n}\n";
        let file = SourceFile::new("crates/a/src/b.rs".to_owned(), text);
        let marks: Vec<bool> = file.lines.iter().map(|line| line.is_test).collect();
        assert_eq!(marks, [false, false, false, true, true, true]);
        assert!(SourceFile::new("crates/a/tests/it/main.rs".to_owned(), text).lines[0].is_test);
    }

    #[test]
    fn an_allowance_needs_a_reason() {
        let file = |text: &str| SourceFile::new("a.rs".to_owned(), text);
        assert!(
            file("// tidy: allow(sleep): the kernel has no event\nsleep();").allows(1, "sleep")
        );
        assert!(!file("// tidy: allow(sleep): \nsleep();").allows(1, "sleep"));
        assert!(!file("// tidy: allow(sleep): because\nsleep();").allows(1, "ignore"));
    }
}
