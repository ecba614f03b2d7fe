use crate::diagnostic::{Place, Problems, suggestion};
use crate::yaml::{At, Key, Node};
use kruxos_catalog::Catalog;
use kruxos_types::Tier;

/// Entries of one list in a condition or section.
pub(crate) const MAX_LIST: usize = 1_000;

/// Reads typed values out of the tree; what does not fit becomes a problem with its place.
pub(crate) struct Reader<'r, 'f> {
    pub(crate) problems: &'r mut Problems<'f>,
    pub(crate) catalog: &'r Catalog,
    /// Regular expressions and globs so far.
    pub(crate) expressions: usize,
    /// Rules so far.
    pub(crate) rules: usize,
}

impl Reader<'_, '_> {
    /// The pairs of a mapping.
    pub(crate) fn pairs<'n>(&mut self, at: &'n At, what: &str) -> &'n [(Key, At)] {
        match &at.node {
            Node::Map(pairs) => pairs,
            _ => {
                self.problems.fatal(
                    at.place,
                    format!("`{what}` must be a mapping, not {}", at.kind()),
                );
                &[]
            }
        }
    }

    /// The items of a list.
    pub(crate) fn items<'n>(&mut self, at: &'n At, what: &str) -> &'n [At] {
        match &at.node {
            Node::Seq(items) => items,
            _ => {
                self.problems.fatal(
                    at.place,
                    format!("`{what}` must be a list, not {}", at.kind()),
                );
                &[]
            }
        }
    }

    pub(crate) fn text<'n>(&mut self, at: &'n At, what: &str) -> Option<&'n str> {
        match &at.node {
            Node::Str(text) => Some(text),
            Node::Bool(_) | Node::Int(_) | Node::Float(_) => {
                let kind = at.kind();
                self.problems.fatal(
                    at.place,
                    format!("`{what}` must be a string, not {kind}; put it in quotes"),
                );
                None
            }
            _ => {
                self.problems.fatal(
                    at.place,
                    format!("`{what}` must be a string, not {}", at.kind()),
                );
                None
            }
        }
    }

    /// A string, or a list of at least one.
    pub(crate) fn texts<'n>(&mut self, at: &'n At, what: &str) -> Vec<(&'n str, Place)> {
        let items = match &at.node {
            Node::Seq(items) => items.as_slice(),
            _ => std::slice::from_ref(at),
        };
        if items.is_empty() || items.len() > MAX_LIST {
            let message = format!(
                "`{what}` must have 1 to {MAX_LIST} entries, not {}",
                items.len()
            );
            self.problems.fatal(at.place, message);
            return Vec::new();
        }
        items
            .iter()
            .filter_map(|item| self.text(item, what).map(|text| (text, item.place)))
            .collect()
    }

    pub(crate) fn integer(
        &mut self,
        at: &At,
        what: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<u64> {
        let number = match at.node {
            Node::Int(number) if range.contains(&number) => u64::try_from(number).ok(),
            _ => None,
        };
        if number.is_none() {
            let message = format!(
                "`{what}` must be a whole number from {} to {}",
                range.start(),
                range.end()
            );
            self.problems.fatal(at.place, message);
        }
        number
    }

    /// One of a few names.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        text: &str,
        place: Place,
        what: &str,
        valid: &[(&str, T)],
    ) -> Option<T> {
        let found = valid
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = valid.iter().map(|(name, _)| *name).collect();
            self.problems.fatal(
                place,
                format!("unknown {what} `{text}`{}", suggestion(text, &names)),
            );
        }
        found
    }

    pub(crate) fn tier(&mut self, at: &At, what: &str) -> Option<Tier> {
        let names = Tier::ALL.map(|tier| (tier.as_str(), tier));
        let text = self.text(at, what)?;
        self.choice(text, at.place, "tier", &names)
    }

    pub(crate) fn unknown_key(&mut self, key: &Key, inside: &str, valid: &[&str]) {
        let message = format!(
            "unknown field `{}` in {inside}{}",
            key.name,
            suggestion(&key.name, valid)
        );
        self.problems.fatal(key.place, message);
    }
}
