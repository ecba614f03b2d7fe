//! Texts that regular expressions and globs match, made from the expressions.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Characters of a made-up text; a longer one helps nobody understand a difference.
const MAX_SAMPLE: usize = 1_024;
/// Alternatives that are tried.
const MAX_CHOICES: usize = 8;

/// Texts that the expression matches, one for each alternative. They are guesses: whoever asks tries them.
pub(super) fn of_regex(expression: &str) -> Vec<String> {
    let Ok(hir) = regex_syntax::parse(expression) else {
        return Vec::new();
    };
    let mut found = texts(&hir);
    found.retain(|text| text.len() <= MAX_SAMPLE);
    found
}

fn texts(hir: &Hir) -> Vec<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(Class::Unicode(class)) => class
            .ranges()
            .first()
            .map(|range| plain(range.start(), range.end()))
            .into_iter()
            .collect(),
        HirKind::Class(Class::Bytes(class)) => {
            let first = class.ranges().first();
            first
                .map(|range| plain(char::from(range.start()), char::from(range.end())))
                .into_iter()
                .collect()
        }
        HirKind::Repetition(repetition) => {
            let once = texts(&repetition.sub);
            let times = repetition.min.min(64) as usize;
            once.iter().map(|text| text.repeat(times)).collect()
        }
        HirKind::Capture(capture) => texts(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().flat_map(texts).take(MAX_CHOICES).collect(),
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |so_far, part| {
            let next = texts(part);
            let joined = so_far
                .iter()
                .flat_map(|before| next.iter().map(move |after| format!("{before}{after}")));
            joined
                .filter(|text| text.len() <= MAX_SAMPLE)
                .take(MAX_CHOICES)
                .collect()
        }),
    }
}

/// A letter of the range where it has one, since a NUL reads badly.
fn plain(first: char, last: char) -> String {
    let letters = ['a', 'A', '0', '-', ' '];
    let found = letters
        .into_iter()
        .find(|letter| (first..=last).contains(letter));
    found.unwrap_or(first).to_string()
}

/// A path that the glob matches.
pub(super) fn of_glob(glob: &str) -> String {
    let mut path = String::new();
    let mut rest = glob.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => path.push_str("any/where"),
            '*' => path.push_str("any"),
            '?' => path.push('x'),
            '\\' => path.extend(rest.next()),
            '[' => {
                let set: String = rest.by_ref().take_while(|c| *c != ']').collect();
                // Of a negated set, something that is hardly in it.
                path.push(match set.strip_prefix(['!', '^']) {
                    Some(_) => '~',
                    None => set.chars().next().unwrap_or('x'),
                });
            }
            '{' => {
                let choices: String = rest.by_ref().take_while(|c| *c != '}').collect();
                path.push_str(&of_glob(choices.split(',').next().unwrap_or_default()));
            }
            c => path.push(c),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn samples_match_what_they_were_made_from() {
        for expression in [
            "^(ls|cat)$",
            "^git (status|log)( .*)?$",
            "[a-z]+\\d{3}",
            "\\bfoo\\b|bar",
            "(?i)make",
            "^/usr/bin/[^/]+$",
            "a{2,5}b*",
            ".",
        ] {
            let regex = regex::Regex::new(expression).unwrap();
            let found = of_regex(expression);
            assert!(
                !found.is_empty() && found.iter().all(|text| regex.is_match(text)),
                "{expression}: {found:?}"
            );
        }
        assert_eq!(of_regex("^(ls|cat)$"), ["ls", "cat"]);
        for glob in [
            "**/*.rs",
            "a/**",
            "*.{md,txt}",
            "[ab]?/x",
            "/mnt/**/y",
            "**",
            "[!a]b",
        ] {
            let matcher = globset::GlobBuilder::new(glob)
                .literal_separator(true)
                .build()
                .unwrap()
                .compile_matcher();
            assert!(matcher.is_match(of_glob(glob)), "{glob}: {}", of_glob(glob));
        }
    }
}
