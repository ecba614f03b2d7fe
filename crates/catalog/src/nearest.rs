//! What a caller may have meant.

use strsim::{damerau_levenshtein, jaro_winkler};

/// Longer names are not compared: nobody meant them.
const MAX_COMPARED_BYTES: usize = 128;

/// The field that a wrong name most likely meant: equal but for case and separators, or two slips away.
pub(crate) fn field<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let wrong = plain(wrong);
    names
        .map(|name| (damerau_levenshtein(&wrong, &plain(name)), name))
        .filter(|(slips, name)| *slips <= 2 && *slips * 2 < name.len())
        .min()
        .map(|(_, name)| name)
}

/// The three names nearest to a wrong one.
pub(crate) fn names<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong: String = wrong.chars().take(MAX_COMPARED_BYTES).collect();
    let wrong = plain(&wrong);
    let last = |name: &str| name.rsplit('.').next().map(plain).unwrap_or_default();
    let mut scored: Vec<(f64, &str)> = names
        .map(|name| {
            let whole = jaro_winkler(&wrong, &plain(name));
            // A bare verb such as `read_file` or `search` is nearer to `filesystem.read` than the
            // letters of the whole name say.
            let verb = 0.9 * jaro_winkler(&wrong, &last(name));
            (whole.max(verb), name)
        })
        .collect();
    scored.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.cmp(y)));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Lower case without separators: `Max-Results` and `max_results` are the same.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-' | '.' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_case_are_recognised_and_other_words_are_not() {
        let all = ["path", "max_results", "include_hidden"];
        assert_eq!(field("Path", all.into_iter()), Some("path"));
        assert_eq!(field("maxResults", all.into_iter()), Some("max_results"));
        assert_eq!(
            field("include_hiden", all.into_iter()),
            Some("include_hidden")
        );
        assert_eq!(field("colour", all.into_iter()), None);
        assert_eq!(field("at", ["to"].into_iter()), None);
    }

    #[test]
    fn three_names_nearest_first() {
        let all = [
            "filesystem.read",
            "filesystem.write",
            "agent.whoami",
            "system.time",
        ];
        assert_eq!(
            names("filesystem.raed", all.into_iter()).first(),
            Some(&"filesystem.read")
        );
        assert_eq!(
            names("read", all.into_iter()).first(),
            Some(&"filesystem.read")
        );
        assert_eq!(names("x", all.into_iter()).len(), 3);
    }
}
