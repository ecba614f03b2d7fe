//! Capability patterns: an exact name, `category.*` (any depth below) or `*`.

use crate::diagnostic::{Mistake, nearest};
use kruxos_catalog::Catalog;

/// What a rule applies to, resolved to positions in the catalogue.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    /// As written.
    pub(crate) text: Box<str>,
    /// Catalogue positions, ascending.
    pub(crate) ids: Vec<u16>,
    /// Exact > longer prefix > `*`.
    pub(crate) specificity: usize,
}

/// The specificity of an exact name: greater than any prefix can be long.
const EXACT: usize = usize::MAX;

impl Pattern {
    /// Resolves a pattern.
    ///
    /// # Errors
    /// The message for a pattern that matches no capability, with the nearest name.
    pub(crate) fn parse(text: &str, catalog: &Catalog) -> Result<Pattern, Mistake> {
        let all = catalog.all();
        let make = |ids: Vec<u16>, specificity| Pattern {
            text: text.into(),
            ids,
            specificity,
        };
        let position = |index: usize| u16::try_from(index).ok();
        if text == "*" {
            return Ok(make((0..all.len()).filter_map(position).collect(), 0));
        }
        if let Some(prefix) = text.strip_suffix(".*") {
            let below = |name: &str| {
                name.strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with('.'))
            };
            let ids: Vec<u16> = all
                .iter()
                .enumerate()
                .filter(|(_, definition)| !prefix.is_empty() && below(definition.name))
                .filter_map(|(index, _)| position(index))
                .collect();
            if ids.is_empty() {
                let categories = categories(catalog);
                let near = nearest(prefix, categories.iter().copied());
                return Err(Mistake::from(unknown(
                    "capability category",
                    text,
                    near.map(|name| format!("{name}.*")),
                )));
            }
            return Ok(make(ids, prefix.len()));
        }
        if text.contains('*') {
            return Err(Mistake::from(format!(
                "`{text}` is not a pattern: use an exact name, `category.*` or `*`"
            )));
        }
        match all
            .iter()
            .position(|definition| definition.name == text)
            .and_then(position)
        {
            Some(id) => Ok(make(vec![id], EXACT)),
            None => {
                let categories = categories(catalog);
                if categories.contains(&text) {
                    return Err(Mistake::from(unknown(
                        "capability",
                        text,
                        Some(format!("{text}.*")),
                    )));
                }
                let near = nearest(text, all.iter().map(|definition| definition.name));
                Err(Mistake::from(unknown(
                    "capability",
                    text,
                    near.map(str::to_owned),
                )))
            }
        }
    }

    pub(crate) fn covers(&self, id: u16) -> bool {
        self.ids.binary_search(&id).is_ok()
    }
}

fn unknown(what: &str, text: &str, near: Option<String>) -> String {
    match near {
        Some(near) => format!("unknown {what} `{text}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{text}`"),
    }
}

/// Every dotted prefix of a capability's name.
pub(crate) fn categories(catalog: &Catalog) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for definition in catalog.all() {
        for (dot, _) in definition.name.match_indices('.') {
            if let Some(prefix) = definition.name.get(..dot) {
                found.push(prefix);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
